"""`backrow weekly`: popularity released every week, with correlated noise."""

from pathlib import Path
from typing import Annotated

import typer


def weekly(
    scenario: Annotated[Path | None, typer.Argument(metavar="WEEKLY.toml")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; must not exist. [default: runs/SCENARIO-N]")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with a run that was killed; takes no WEEKLY.toml.")
    ] = None,
) -> None:
    """Release popularity every week under one budget, and say how far each figure can be off.

    The noise of one week takes back part of that of the weeks before, so that figures over many weeks do not drift
    (docs/continual.md). Simulation only; the folder is one that `backrow audit verify` reads.
    """
    from backrow.simulations import console
    from backrow.simulations.cli import unused_folder
    from backrow.simulations.weekly import run_weekly
    from backrow.simulations.weekly_scenario import load_weekly

    if (scenario is None) == (resume is None) or (resume is not None and out is not None):
        raise typer.BadParameter(
            "give a scenario file (and --out), or --resume with the folder of a run that was killed"
        )
    if resume is not None:
        folder = resume.with_name(resume.name.removesuffix(".unfinished"))
        scenario = folder.with_name(f"{folder.name}.unfinished") / "weekly.toml"
    else:
        assert scenario is not None
        folder = out or unused_folder(scenario.stem)
    loaded = load_weekly(scenario)
    run = run_weekly(
        loaded,
        folder,
        observe=lambda report: console.say(f"week {report.plan.round}: {report.outcome}", "dim", console.err),
        resume=resume is not None,
    )
    console.say(str(run.claim))
    console.say(f"told: {loaded.workload.name}, of at most {loaded.weeks.answers} answers of a device")
    shown = set(range(0, len(run.told), max(1, len(run.told) // 8))) | {len(run.told) - 1}
    for told, error in (pair for place, pair in enumerate(zip(run.told, run.errors, strict=True)) if place in shown):
        console.say(f"week {told.week:3}: noise sd {told.spread:6.2f}, error (ground truth) {error:6.2f}")
    console.say(f"figures: {folder / 'weekly.json'}")
