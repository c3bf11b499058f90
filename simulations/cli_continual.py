"""`backrow continual`: a model that is trained anew every week, under one budget for all weeks."""

from pathlib import Path
from typing import Annotated

import typer


def continual(
    scenario: Annotated[Path | None, typer.Argument(metavar="CONTINUAL.toml")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; must not exist. [default: runs/SCENARIO-N]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with a run that was killed; takes no CONTINUAL.toml.")
    ] = None,
) -> None:
    """Train a model every week while devices come and go, warm from the last week's, and say what each week gained.

    One budget covers every release of all weeks; it is committed before the first and never exceeded (docs/churn.md).
    Simulation only; the folder is one that `backrow audit verify` reads.
    """
    from backrow.simulations import console
    from backrow.simulations.cli import unused_folder
    from backrow.simulations.continual import SCENARIO, run_continual
    from backrow.simulations.continual_scenario import load_continual
    from backrow.simulations.report.continual import NAMES

    if (scenario is None) == (resume is None) or (resume is not None and out is not None):
        raise typer.BadParameter(
            "give a scenario file (and --out), or --resume with the folder of a run that was killed"
        )
    if resume is not None:
        folder = resume.with_name(resume.name.removesuffix(".unfinished"))
        scenario = folder.with_name(f"{folder.name}.unfinished") / SCENARIO
    else:
        assert scenario is not None
        folder = out or unused_folder(scenario.stem)
    results = run_continual(
        load_continual(scenario),
        folder,
        observe=lambda words: console.say(words, "dim", console.err),
        resume=resume is not None,
    )
    console.say(results.claim)
    joined, left, out_of = (
        sum(getattr(week, each) for week in results.weeks) for each in ("joined", "left", "opted_out")
    )
    console.say(f"{len(results.weeks)} weeks: {joined:,} devices joined, {left:,} left, {out_of:,} opted out")
    console.say(f"HR@10 / NDCG@10 in the week after each model, from week {results.since} on (ground truth):")
    for name, quality in results.overall.items():
        console.say(f"  {NAMES[name]:18} {quality}")
    if results.stopped is not None:
        console.print_warnings([f"stopped before its last week: {results.stopped}"])
    console.say(f"report: {folder / 'report.html'}")
