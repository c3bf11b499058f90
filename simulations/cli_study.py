"""`backrow sweep`, `backrow plan` and `backrow compare`: how an engineer chooses an epsilon."""

import json as json_
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backrow.simulations.study.compare import Comparison
    from backrow.simulations.study.plan import Plan
    from backrow.simulations.study.sweep import Sweep

Scenario = Annotated[Path, typer.Argument(metavar="RUN.toml")]
Data = Annotated[str | None, typer.Option(metavar="NAME|PATH", help="In place of the scenario's data.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of one value; may be repeated.")
]
Jobs = Annotated[int, typer.Option(help="Worker processes, one processor each.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of tables.")]
Track = Annotated[
    str | None, typer.Option(metavar="URI", help="Also log to this MLflow (extra track): a server, or sqlite:///FILE.")
]


def sweep(
    scenario: Scenario,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE,...", help="Values of one key; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Of every point, counted up from the scenario's.")] = 5,
    jobs: Jobs = 2,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sweep; one that is there goes on. [default: runs/SCENARIO-sweep]")
    ] = None,
    data: Data = None,
    settings: Settings = None,
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Leave the non-private models out.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep every cell's run folder in runs/.")] = False,
    track: Track = None,
    json: Json = False,
) -> None:
    """Run every point of a grid with every seed: means with confidence intervals, Parquet, one page.

    A cell that is finished is not computed again: call it once more in the same words, and a sweep that was killed goes
    on. A cell that fails loses no other; exit code 1 says that there was one. All is checked before anything runs.
    """
    from backrow.simulations import console
    from backrow.simulations.report.study import write_page
    from backrow.simulations.scenario_file import load_scenario
    from backrow.simulations.study.grid import parse_axis
    from backrow.simulations.study.pages import sweep_content
    from backrow.simulations.study.sweep import run_sweep

    axes = [parse_axis(text) for text in grid or ()]
    loaded = load_scenario(scenario, settings or (), data=data)
    folder = out or Path("runs") / f"{scenario.stem}-sweep"
    if track is not None:
        from backrow.simulations.study.track import require

        require()
    with console.progress() as observe:
        found = run_sweep(
            loaded, axes, folder, seeds=seeds, jobs=jobs, baselines=not no_baselines, keep=keep, observe=observe
        )
    write_page(folder / "sweep.html", sweep_content(found))
    if track is not None:
        from backrow.simulations.study.track import track_sweep

        track_sweep(found, track)
    if json:
        sys.stdout.write(json_.dumps(found.summary(), indent=1) + "\n")
    else:
        print_sweep(found)
    console.say(f"page: {folder / 'sweep.html'}", to=console.err if json else console.out)
    for record in found.failed:
        at = ", ".join(f"{key}={value}" for key, value in record.point.items())
        console.print_error(f"{at or record.kind}, seed {record.seed}: {record.error}")
    if found.failed:
        console.print_error(
            f"{len(found.failed)} of {len(found.records)} cells failed; the others are kept: call again"
        )
        raise typer.Exit(1)


def print_sweep(found: "Sweep") -> None:
    """The means of the first protocol."""
    from backrow.simulations.console import say
    from backrow.simulations.study.pages import rows_terms, sweep_content
    from backrow.simulations.wording import duration

    say(f"\n{found.dataset}, split {found.split}, {found.devices:,} devices, {found.titles:,} titles", "bold")
    (shown,) = sweep_content(found).tables
    show(shown.head, [line.cells for line in shown.lines])
    rows = [row for record in found.records for row in record.rows]
    say(f"epsilon: {rows_terms(rows)}; 95 %: Student's t over seeds; ground truth, never released", "dim")
    done = len(found.records) - found.skipped
    say(f"{done} cells in {duration(found.seconds)}, {found.skipped} finished before, {len(found.failed)} failed")


def show(head: "Sequence[str]", lines: "Iterable[Sequence[str]]") -> None:
    """A table; as wide as it is where no terminal limits it."""
    from rich.console import Console
    from rich.table import Table

    from backrow.simulations.console import out

    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for cells in lines:
        table.add_row(*cells)
    (out if out.is_terminal else Console(highlight=False, width=200)).print(table)


def plan(
    scenario: Scenario,
    epsilon: Annotated[str, typer.Option(metavar="LIST", help="Epsilons to ask about.")] = "1,3,8",
    devices: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Devices to ask about. [default: 1/4, 1/2, 1, 4 times what is there]"),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="HR@10 to reach. [default: 95 % of what it is without noise]")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Of every point.")] = 3,
    jobs: Jobs = 2,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the plan; one that is there goes on. [default: runs/SCENARIO-plan]")
    ] = None,
    data: Data = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Say how many devices an epsilon needs, and which epsilon so many devices allow.

    The devices at hand play more or fewer by having the noise of every release scaled. It is checked against samples of
    them that train by themselves, and the page shows the error. A forecast, and no claim.
    """
    from backrow.simulations import console
    from backrow.simulations.report.study import write_page
    from backrow.simulations.scenario_file import load_scenario
    from backrow.simulations.study.pages_plan import plan_content
    from backrow.simulations.study.plan import run_plan

    loaded = load_scenario(scenario, settings or (), data=data)
    folder = out or Path("runs") / f"{scenario.stem}-plan"
    epsilons, sizes = numbers("--epsilon", epsilon), None if devices is None else numbers("--devices", devices)
    with console.progress() as observe:
        found = run_plan(
            loaded, folder, epsilons=epsilons, devices=None if sizes is None else [round(size) for size in sizes],
            target=target, seeds=seeds, jobs=jobs, observe=observe,
        )  # fmt: skip
    write_page(folder / "plan.html", plan_content(found))
    if json:
        sys.stdout.write(json_.dumps(found.as_dict(), indent=1) + "\n")
    else:
        print_plan(found)
    console.say(f"page: {folder / 'plan.html'}", to=console.err if json else console.out)


def numbers(option: str, text: str) -> list[float]:
    """The numbers in "1,3,8".

    Raises:
        BadParameter: a word is none, or none is there.
    """
    try:
        found = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = []
    if not found:
        raise typer.BadParameter(f"{option} takes numbers, separated by commas, got {text!r}")
    return found


def print_plan(found: "Plan") -> None:
    """Both answers, and the check."""
    from backrow.simulations.console import say
    from backrow.simulations.study.pages_plan import plan_content
    from backrow.simulations.wording import rate

    content = plan_content(found)
    for part in content.tables:
        say(f"\n{part.title}", "bold")
        show(part.head, [line.cells for line in part.lines])
        say(part.foot, "dim")
    say(f"\n{found.dataset}, {found.population:,} {found.kind} devices, re-scaled: a forecast, and no claim")
    for figure in content.figures:
        say(f"HR@10 {rate(found.target)}: {figure.value} {figure.words} (delta {found.delta:g}, unit device, zero-out)")


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B")],
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 10_000,
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page.")] = None,
    json: Json = False,
) -> None:
    """Say whether two runs on the same viewers differ: paired bootstrap, interval and p-value.

    Needs the data of both runs, which no run folder holds. Figures are the simulator's ground truth.
    """
    from backrow.simulations import console
    from backrow.simulations.report.study import write_page
    from backrow.simulations.study.compare import compare_runs
    from backrow.simulations.study.pages_pair import compare_content

    with console.progress() as observe:
        found = compare_runs(first, second, resamples=resamples, observe=observe)
    if out is not None:
        write_page(out, compare_content(found))
    if json:
        sys.stdout.write(json_.dumps(found.as_dict(), indent=1) + "\n")
    else:
        print_comparison(found)
    if out is not None:
        console.say(f"page: {out}", to=console.err if json else console.out)


def print_comparison(found: "Comparison") -> None:
    """One line per figure."""
    from backrow.simulations.console import say
    from backrow.simulations.study.pages_pair import compare_content

    content = compare_content(found)
    (table,) = content.tables
    say(content.headline, "bold")
    say(content.meaning[0])
    show(table.head, [line.cells for line in table.lines])
    say(f"epsilon: {content.terms}; {table.lead}", "dim")
    say(content.reading[1], "dim")
