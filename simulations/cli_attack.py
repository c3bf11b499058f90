"""`backrow audit attack`: try to refute a scenario's claim."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from backrow.simulations.attack import AttackReport


def attack(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    canaries: Annotated[int, typer.Option(help="Crafted devices, each included by a fair coin.")] = 1000,
    data: Annotated[str | None, typer.Option(metavar="NAME|PATH", help="In place of the scenario's data.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="In place of one value; may be repeated.")
    ] = None,
    noise_factor: Annotated[
        float, typer.Option(help="Add only this share of the claimed noise, to see the attack find it.")
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of words.")] = False,
) -> None:
    """Attack a run of SCENARIO.toml: canaries against its sums, real viewers against its sums and its model.

    Nothing is kept. An attack can refute a claim, never prove it. Exit code 1 if the claim is refuted.
    """
    import time

    from backrow.simulations import console
    from backrow.simulations.attack import attack as run_attack
    from backrow.simulations.pipeline import prepare
    from backrow.simulations.scenario_file import load_scenario

    loaded = load_scenario(scenario, settings or (), data=data)
    console.say(console.budget_words(loaded.privacy), "dim", console.err)
    viewers = loaded.trainer not in ("opacus-event", "sgd")
    if not viewers:
        told = f"trainer {loaded.trainer} answers what this attack does not recompute: viewers are not attacked"
        console.print_warnings([told])
    with console.progress() as observe:
        prepared = prepare(loaded, now=int(time.time()))
        report = run_attack(
            loaded, prepared, canaries=canaries, noise_factor=noise_factor, membership=viewers, observe=observe
        )
    if json:
        sys.stdout.write(report.to_json())
    else:
        print_report(report)
    for finding in report.findings:
        console.print_error(finding)
    if report.findings:
        raise typer.Exit(1)


def print_report(report: "AttackReport") -> None:
    """The figures in words and one table."""
    from rich.table import Table

    from backrow.simulations.attack import p_words
    from backrow.simulations.console import out, say

    audit, silent_p = report.canaries.audit, report.canaries.silent_p
    say(f"claim: {report.claim}")
    if report.noise_factor != 1:
        say(f"noise really added: {report.noise_factor:g} of the claimed standard deviation", "yellow")
    say(
        f"one-run audit: {audit.correct} of {audit.guesses} guesses about {audit.canaries} canaries right: epsilon is "
        f"at least {audit.epsilon_lower:.2f} ({audit.confidence:.0%} confidence, delta {audit.delta:g}; had all been "
        f"right, {audit.epsilon_reach:.2f})"
    )
    if silent_p is not None:
        say(f"noise on {report.canaries.silent_coordinates:,} untouched coordinates: {p_words(silent_p)}, one-sided")
    table = Table(box=None, pad_edge=False, header_style="dim", title="Membership attacks", title_justify="left")
    table.add_column("attacker sees", overflow="fold")
    for name in ("AUC", "95 % interval", "members", "others"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [("released sums, of crafted canaries", report.canaries.auc)]
    rows += [(f"{one.sees}, of viewers", one.auc) for one in report.membership]
    for sees, auc in rows:
        interval = f"{auc.low:.3f} .. {auc.high:.3f}"
        table.add_row(sees, f"{auc.value:.3f}", interval, f"{auc.members:,}", f"{auc.non_members:,}")
    out.print(table)
    if report.largest_auc is not None:
        say(f"the claimed noise allows any attack an AUC of at most {report.largest_auc:.3f}; .5 is guessing", "dim")
    if not report.findings:
        say("nothing refutes the claim; no attack can prove it", "dim")
