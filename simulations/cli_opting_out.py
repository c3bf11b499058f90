"""`backrow opt-out-cost`: what a scenario's owners lose as more and more of them opt out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from backrow.privacy.errors import ScenarioError

if TYPE_CHECKING:
    from backrow.simulations.opting_out import Question
    from backrow.simulations.opting_out_results import Kind, OptOutCosts


def opt_out_cost(
    scenario: Annotated[Path, typer.Argument(metavar="RUN.toml")],
    rates: Annotated[
        str, typer.Option(metavar="LIST", help="Shares of owners who opt out, from 0 to less than 1; 0 is always run.")
    ] = "0,.1,.3,.5,.7,.9",
    kinds: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Who opts out: random (anybody), niche (rather whoever watches what few watch), mainstream (what most "
            "watch).",
        ),
    ] = "random,niche",
    seeds: Annotated[int, typer.Option(help="Runs of each, with seeds from the scenario's on.")] = 3,
    data: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="In place of the scenario's data.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of one value; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; must not exist. [default: runs/SCENARIO-opt-out-cost]")
    ] = None,
) -> None:
    """Measure what opting out costs: those who stay, and those who left and whose devices go on by themselves.

    Runs RUN.toml again and again while more and more of the same owners opt out, and compares the same people with and
    without the others. The folder gets report.html, with a plot, and opt-out-cost.json. Killed, and called again in the
    same words, it goes on where it was. A scenario with secure sums takes minutes a run: --set
    privacy.aggregation=trusted --set privacy.noise=once costs the same epsilon and takes seconds.
    """
    from backrow.simulations import console
    from backrow.simulations.scenario_file import load_scenario

    loaded = load_scenario(scenario, settings or (), data=data)
    question = asked(rates, kinds, seeds, loaded.seed)
    folder = out or Path("runs") / f"{scenario.stem}-opt-out-cost"

    from backrow.simulations.opting_out import opt_out_costs

    console.say(console.budget_words(loaded.privacy), "dim", console.err)
    with console.progress() as observe:
        costs = opt_out_costs(loaded, folder, question, observe=observe)
    console.print_warnings(costs.wrongs)
    print_costs(costs)
    console.say(f"report: {folder / 'report.html'}")


def asked(rates: str, kinds: str, seeds: int, first: int) -> "Question":
    """What the words of a command line ask for.

    Args:
        first: the first seed.

    Raises:
        ScenarioError: a word is not understood, or nothing can be made of it.
    """
    from backrow.simulations.opting_out import Question

    if seeds < 1:
        raise ScenarioError(f"--seeds {seeds}: a curve needs one run at least")
    numbers = []
    for word in rates.split(","):
        try:
            numbers.append(float(word))
        except ValueError:
            raise ScenarioError(
                f"--rates {rates}: {word.strip()!r} is no number; write shares with commas, such as 0,.3,.6"
            ) from None
    names = cast("tuple[Kind, ...]", tuple(word.strip() for word in kinds.split(",")))
    try:
        return Question(tuple(numbers), names, tuple(range(first, first + seeds)))
    except ValueError as problem:
        raise ScenarioError(str(problem)) from None


def print_costs(costs: "OptOutCosts") -> None:
    """One short table for each kind of leaving; the report has the long one."""
    from rich.table import Table

    from backrow.simulations.console import out, say
    from backrow.simulations.report.opting_out import TITLES, findings, percent, shown_rows, terms_line
    from backrow.simulations.wording import rate

    for kind in costs.kinds:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("opt out", no_wrap=True)
        table.add_column("owners", no_wrap=True)
        for name in ("devices", "HR@10", "had nobody left", "popularity"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in shown_rows(costs, kind):
            figures = (row.hr_at_10, row.all_in_hr_at_10, row.popular_hr_at_10)
            words = (rate(figure.mean) for figure in figures)
            table.add_row(percent(row.rate), row.group, f"{row.devices:,.0f}", *words)
        say(f"\n{TITLES[kind]}", "bold")
        out.print(table)
    say(f"\n{terms_line(costs)}", "dim")
    say("ground truth of the simulator, never released", "dim")
    for sentence in findings(costs):
        say(sentence)
