"""`backrow retrain-from`: a model without the devices that have opted out since."""

from pathlib import Path
from typing import Annotated

import typer


def retrain_from(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished run folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; must not exist. [default: DIR-without-N]")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Leave this device out too; may be repeated.")
    ] = None,
    terms: Annotated[bool, typer.Option("--terms", help="Say what it would cost, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
) -> None:
    """Train a run's model anew without the devices that have opted out since, as a new run with a budget of its own.

    Nothing can be subtracted from a published model: the old one stays published and its epsilon stays spent, and
    devices that stay pay for both. What that comes to is said first.
    """
    import sys

    from backrow.simulations import console
    from backrow.simulations.retrain import offer, retrain

    with console.progress() as observe:
        offered = offer(folder, device or (), observe=observe)
    for sentence in offered.terms.sentences():
        console.say(sentence, to=console.out if terms else console.err)
    if terms:
        return
    where = out or _unused(folder)
    with console.progress() as observe:
        results = retrain(offered, where, observe=observe)
    console.print_warnings(results.warnings)
    if json:
        sys.stdout.write(results.to_json())
    else:
        console.print_results(results)
    console.say(f"report: {where / 'report.html'}", to=console.err if json else console.out)


def _unused(folder: Path) -> Path:
    number = 1
    while (out := folder.with_name(f"{folder.name}-without-{number}")).exists():
        number += 1
    return out
