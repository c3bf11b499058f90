"""`backrow budget`: epsilon, delta, rounds and noise, one from the others; and what a run's releases cost."""

import json as json_
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backrow.simulations.cli_study import show

if TYPE_CHECKING:
    from backrow.simulations.study.budget import Opinions

app = typer.Typer(
    name="budget",
    help="Epsilon, delta, rounds and noise: one from the others; what releases cost.",
    no_args_is_help=True,
)
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a page.")]


@app.command(epilog="Example: backrow budget solve --epsilon 3 --delta 1e-5 --rounds 12")
def solve(
    epsilon: Annotated[float | None, typer.Option(help="Of everything one device takes part in.")] = None,
    delta: Annotated[float | None, typer.Option(help="Of every epsilon.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Of the run.")] = None,
    noise_multiplier: Annotated[float | None, typer.Option(help="Noise sd / sensitivity, of every round.")] = None,
    participation: Annotated[
        int | None, typer.Option(help="Rounds one device takes part in, at the most. [default: all]")
    ] = None,
    clip_norm: Annotated[float, typer.Option(help="Bound of one answer, for the noise scale.")] = 1.0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Give three of --epsilon, --delta, --rounds and --noise-multiplier: the fourth is solved, by four accountants.

    Unit: the device; adjacency: zero-out; no amplification by sampling is claimed.
    """
    from backrow.privacy.errors import ScenarioError
    from backrow.simulations.study.budget import solve as solved

    try:
        found = solved(
            epsilon=epsilon, delta=delta, rounds=rounds, noise_multiplier=noise_multiplier,
            participation=participation, clip_norm=clip_norm,
        )  # fmt: skip
    except ValueError as problem:
        raise ScenarioError(str(problem)) from None
    if json:
        sys.stdout.write(json_.dumps(found.as_dict(), indent=1) + "\n")
    if not json or out is not None:
        from backrow.simulations.console import err, say
        from backrow.simulations.study.pages_pair import solve_content, solved_words

        if not json:
            say(f"{found.solved}: {solved_words(found)}")
            print_opinions(found.opinions)
        if out is not None:
            from backrow.simulations.report.study import write_page

            write_page(out, solve_content(found))
            say(f"page: {out}", to=err)


@app.command(epilog="Example: backrow budget explain runs/ml-100k-1")
def explain(
    source: Annotated[Path, typer.Argument(metavar="RUN|RUN.toml", help="A run folder, or a scenario.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of a scenario's value.")
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Say what each release of a run costs, alone and with everything before it, and all together by four accountants.

    A run's ledger is verified with the key in its own folder first; `backrow audit verify` does more.
    """
    from backrow.simulations.console import err, say
    from backrow.simulations.study.budget_source import explain_path
    from backrow.simulations.study.pages_pair import explain_content

    found = explain_path(source, settings or ())
    content = explain_content(found)
    if json:
        sys.stdout.write(json_.dumps(found.as_dict(), indent=1) + "\n")
    else:
        say(f"{content.headline} ({content.terms})", "bold")
        show(content.tables[0].head, [line.cells for line in content.tables[0].lines])
        say(content.tables[0].foot, "dim")
        if found.opinions is not None:
            print_opinions(found.opinions)
    if out is not None:
        from backrow.simulations.report.study import write_page

        write_page(out, content)
        say(f"page: {out}", to=err)


def print_opinions(told: "Opinions") -> None:
    """Four accountants side by side."""
    from backrow.simulations.console import say
    from backrow.simulations.study.pages_pair import opinion_lines, terms_of

    for line in opinion_lines(told):
        say(f"  {line.cells[1]:>8}  {line.cells[0]}")
    say(f"epsilon: {terms_of(told)}; rounded up", "dim")
