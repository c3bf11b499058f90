"""`backrow data`: which viewing data there is, where it comes from, what it holds."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backrow.simulations.datasets.dataset import Dataset

app = typer.Typer(name="data", help="Viewing data: what there is, fetch it, look at it.", no_args_is_help=True)


@app.command(name="list", epilog="Example: backrow data list")
def list_() -> None:
    """List the data sets that have a name, and where each is or can be had. Touches no network."""
    from rich.table import Table

    from backrow.simulations.console import out, say
    from backrow.simulations.datasets.registry import available

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "what", "where"):
        table.add_column(name, overflow="fold")
    for listing in available():
        table.add_row(*listing)
    out.print(table)
    say("\nAny CSV or Parquet file with user, item, timestamp and optionally rating or count can be given by its path.")


@app.command(epilog="Example: backrow data get ml-100k")
def get(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Bring a data set (ml-100k or ml-1m) to this machine and check it. A copy that is there is used."""
    from backrow.simulations.console import say

    dataset = _loaded(name)
    say(
        f"{dataset.name} is ready, from {dataset.source}: {len(dataset.viewers):,} viewers, "
        f"{len(dataset.catalogue):,} titles, {len(dataset.interactions):,} interactions"
    )


@app.command(epilog="Example: backrow data describe my-views.csv")
def describe(name: Annotated[str, typer.Argument(metavar="NAME|PATH")]) -> None:
    """Say what a named data set, or a CSV or Parquet file, holds, after the checks that every run makes."""
    from backrow.simulations.console import say
    from backrow.simulations.datasets.registry import describe as facts_of

    facts = {key.replace("_", " "): _words(key, value) for key, value in facts_of(_loaded(name)).items()}
    width = max(map(len, facts))
    for key, words in facts.items():
        say(f"{key:<{width}}  {words}")


def _loaded(name: str) -> "Dataset":
    """Checked data; its warnings are shown."""
    import time

    from backrow.simulations.console import print_warnings
    from backrow.simulations.datasets.registry import load

    dataset = load(name, now=int(time.time()))
    print_warnings(dataset.warnings)
    return dataset


def _words(key: str, value: str | int | float) -> str:
    if key in ("first_timestamp", "last_timestamp"):
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, int) else str(value)
    if key == "density":
        return f"{value:.2%}"
    if key == "median_per_viewer":
        return f"{value:g} titles"
    return f"{value:,}" if isinstance(value, int) else str(value)
