"""An audit on the terminal: tables of checks, findings, rounds and attempts."""

import math
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from backrow.privacy.audit.demo import Attempt
from backrow.privacy.audit.model import Report, RoundRow, State
from backrow.privacy.ledger.canonical import Json
from backrow.privacy.ledger.fields import to_json
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.units import round_up

_COLOURS = {State.PASSED: "green", State.FAILED: "red", State.NOT_CHECKED: "yellow"}
_MOST = 20
_WIDE = 160


def console() -> Console:
    """Standard output; lines wrap on a terminal and hardly elsewhere."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=_WIDE)


def print_report(report: Report, out: Console) -> None:
    """Verdict, checks, findings, epsilons; and what an auditor would need to check more."""
    checks = Table("check", "result", "what was done", title=escape(f"audit of {report.source}"), title_justify="left")
    for check in report.checks:
        checks.add_row(check.topic, f"[{_COLOURS[check.state]}]{check.state}[/]", escape(check.sentence))
    out.print(checks)
    out.print(escape(f"ledger {report.origin or '(unnamed)'}, {report.entries} entries, root {report.root.hex()}"))
    if report.key is not None:
        out.print(f"key {report.key.hex()} ({'pinned' if report.pinned else '[yellow]not pinned[/]'})")
    for witness in report.witnesses:
        out.print(escape(f"witness {witness.name}, key {witness.key.hex()}: cosigned {_time(witness.time)}"))
    _print_accounts(report, out)
    for note in report.notes:
        out.print(f"[dim]note:[/] {escape(note)}")
    if report.needs:
        out.print("To check more, an auditor needs:")
        for need in report.needs:
            out.print(f"  - {escape(need)}")
    for finding in report.findings:
        out.print(f"[red]{finding.fault}[/] (exit code {finding.fault.exit_code}): {escape(finding.sentence)}")
    if report.passed:
        out.print("[green]No fault was found in what was checked.[/]")
    else:
        out.print(
            f"[red]The ledger does not verify: {len(report.findings)} finding{'s' * (len(report.findings) > 1)}.[/]"
        )


def _print_accounts(report: Report, out: Console) -> None:
    if not report.accounts or report.policy is None:
        return
    policy = report.policy
    title = f"epsilon at delta {policy.delta:g}, unit {policy.unit}, adjacency {policy.adjacency}"
    table = Table("spent on", "rounds", "closed form", "with sampler", "PLD", "Renyi bound", "budget", title=title)
    for account in report.accounts:
        table.add_row(
            "everything" if account.purpose is None else account.purpose.value,
            str(account.rounds),
            *(epsilon_text(value) for value in (account.closed_form, account.with_sampler, account.pld, account.rdp)),
            epsilon_text(account.budget),
        )
    out.print(table)


def print_rounds(report: Report, out: Console) -> None:
    """Every reserved round; of many, the first and the last."""
    delta = f"{report.policy.delta:g}" if report.policy is not None else "-"
    head = ("entry", "time", "round", "purpose", "query", "ended", "people", "noise", "epsilon", "claimed")
    table = Table(*head, title=f"rounds reserved; epsilon so far, at delta {delta}")
    rows: list[RoundRow | None] = list(report.rounds)
    if len(rows) > 2 * _MOST:
        rows = [*rows[:_MOST], None, *rows[-_MOST:]]
    for row in rows:
        if row is None:
            table.add_row(*["..."] * len(head))
            continue
        table.add_row(
            str(row.reserve),
            _time(row.time),
            escape(str(row.round) if row.run == report.rounds[0].run else f"{row.run}: {row.round}"),
            row.purpose.value,
            row.query,
            row.closing.value,
            "-" if row.survived is None else f"{row.survived} of {row.invited}",
            f"{row.noise_multiplier:.4g} x",
            epsilon_text(row.cumulative),
            epsilon_text(row.claimed.epsilon),
        )
    out.print(table)
    for each in report.others[:_MOST]:
        out.print(escape(f"entry {each.index}: {each.kind}"))


def print_entry(entry: SignedEntry, out: Console) -> None:
    """Every field of one entry."""
    table = Table("field", "value", title=f"entry {entry.index}: {entry.kind}")
    for name, value in _flat(to_json(entry.body), ""):
        table.add_row(name, escape(value if len(value) <= 200 else f"{value[:200]}... ({len(value)} characters)"))
    out.print(table)


def _flat(value: Json, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}" if name else key)]
    if isinstance(value, list) and all(not isinstance(item, dict) for item in value):
        return [(name, ", ".join(map(str, value)))]
    if isinstance(value, list):
        return [pair for place, item in enumerate(value[:_MOST]) for pair in _flat(item, f"{name}[{place}]")]
    return [(name, str(value))]


def print_attempts(attempts: tuple[Attempt, ...], out: Console) -> None:
    """What was done, what was found, and whether under the right name."""
    table = Table("tampering", "what was done", Column("found as", no_wrap=True), "caught")
    for each in attempts:
        if not each.possible:
            found, caught = "-", "[dim]not possible here[/]"
        else:
            found = "[red]nothing[/]" if each.finding is None else str(each.finding.fault)
            caught = "[green]yes[/]" if each.caught else f"[red]NO: it is {each.tampering.fault}[/]"
        table.add_row(each.tampering.name, each.tampering.done, found, caught)
    out.print(table)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%y-%m-%d %H:%M") if seconds < 10**11 else str(seconds)


def epsilon_text(epsilon: float | None) -> str:
    """An epsilon for a table: never less than it is."""
    if epsilon is None:
        return "-"
    return round_up(epsilon, 4) if math.isfinite(epsilon) else "infinite"
