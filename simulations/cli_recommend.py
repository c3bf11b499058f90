"""`backrow recommend`: what one viewer's device would show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backrow.simulations.viewer import Shelf


def recommend(
    run: Annotated[Path, typer.Option(metavar="DIR", help="A run folder.")],
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="A viewer of the run's data set. [default: somebody new]")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many titles.")] = 10,
) -> None:
    """Show one viewer's recommendations and why, computed as her own device does.

    The model is verified against the run's coordinator.pub before it is used; what she watched stays where it is.
    """
    from backrow.simulations.viewer import picks_for

    print_shelf(picks_for(run, user, count), "somebody new" if user is None else f"viewer {user}")


def print_shelf(shelf: "Shelf", who: str) -> None:
    """A table of picks with reasons, to standard output."""
    from rich.table import Table
    from rich.text import Text

    from backrow.simulations.console import out, printable, say

    watched = f"{shelf.watched:,} title{'' if shelf.watched == 1 else 's'} watched"
    latest = f", lately {', '.join(shelf.last_watched)}" if shelf.last_watched else ""
    say(printable(f"{who}: {watched}{latest}"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", justify="right", style="dim")
    table.add_column("title", overflow="fold")
    table.add_column("why", overflow="fold", style="dim")
    for number, pick in enumerate(shelf.picks, start=1):
        table.add_row(str(number), Text(printable(pick.name)), Text(printable(pick.reason)))
    out.print(table)
