"""The command line of the auditor: `backrow audit`, or `python -m backrow.privacy.audit`. Offline."""

import sys
import tempfile
from os import urandom
from pathlib import Path
from typing import Annotated

import typer

from backrow.privacy.audit import cli_report
from backrow.privacy.audit.evidence import ledger_path, open_lines, read_evidence
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.inputs import (
    BundleFolder,
    Demanded,
    Key,
    Operator,
    Pseudonyms,
    Receipts,
    ReleasesFolder,
    Run,
    SeenPaths,
    WitnessKeys,
    audited,
    bytes_of,
    key_of,
    lists_of,
)
from backrow.privacy.consent import read_opt_out
from backrow.privacy.errors import BackrowError, LedgerError
from backrow.privacy.ledger.entries import OptOutEntry

CODES = "Exit codes: 0 no fault found; 1 a file or option is not understood; 2 usage; and one for each fault:\n\n" + (
    ", ".join(f"{fault.exit_code} {fault.label}" for fault in Fault)
)

app = typer.Typer(
    name="audit",
    help="Check what a coordinator claims, with the run folder and its public key alone: offline, and without "
    "believing it. Start with: backrow audit verify RUN --key KEY",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog=CODES)
def verify(
    run: Run,
    key: Key = None,
    production: Annotated[bool, typer.Option("--production", help="Refuse simulations: they protect nobody.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    lists: Pseudonyms = None,
    seen: SeenPaths = None,
    bundle: BundleFolder = None,
    releases: ReleasesFolder = None,
    witness_key: WitnessKeys = None,
    witnesses: Demanded = 0,
    receipt: Receipts = None,
) -> None:
    """Check signatures, order, every epsilon, crowds, opt-outs, models and measured noise. Changes nothing.

    Epsilon is recomputed from the noise of every round, in several independent ways, after every entry.
    Without --key the run's own key is used, which shows only that the run agrees with itself. --seen finds
    ledgers that were rolled back or told to two people in two ways. --lists finds people who had opted out,
    and who was taken off the list without her signature; --receipt, whether one opt-out was heeded.
    --witness-key counts the independent witnesses who have cosigned the checkpoint.
    """
    from backrow.privacy.audit.machine import to_json
    from backrow.privacy.audit.screen import console, print_report

    report = audited(run, key, production, lists, seen, bundle, releases, witness_key, witnesses, receipt)
    if json:
        sys.stdout.write(to_json(report))
    else:
        print_report(report, console())
    raise typer.Exit(report.exit_code)


@app.command(epilog="Example: backrow audit show runs/first --entry 5")
def show(
    run: Run,
    entry: Annotated[int | None, typer.Option(metavar="N", min=0, help="Every field of this entry.")] = None,
) -> None:
    """Print the rounds of a ledger with the auditor's own figures, or one entry with every field."""
    from backrow.privacy.audit.screen import console, print_entry, print_report, print_rounds
    from backrow.privacy.ledger.signed_entry import decode_entry

    if entry is not None:
        lines = _lines(run)
        if entry >= len(lines):
            raise LedgerError(f"there is no entry {entry}: the ledger has {len(lines)}")
        print_entry(decode_entry(lines[entry].removesuffix(b"\n")), console())
        return
    report = audited(run, None)
    if report.passed:
        print_rounds(report, console())
    else:
        print_report(report, console())
    raise typer.Exit(report.exit_code)


@app.command(epilog="Example: backrow audit prove runs/first --entry 5 --out release-5.tlog-proof")
def prove(
    run: Run,
    entry: Annotated[int, typer.Option(metavar="N", min=0, help="Index of the entry, as `show` prints it.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write; must not exist.")],
    absent: Annotated[
        str | None, typer.Option(metavar="PSEUDONYM", help="Prove that this pseudonym is not on the entry's list.")
    ] = None,
    lists: Pseudonyms = None,
) -> None:
    """Write a proof that anyone can check without the ledger: of one entry, or of one owner's absence.

    The proof of an entry holds the entry, the hashes up to the root, and the signed checkpoint (C2SP tlog-proof).
    With --absent and --lists it shows that a pseudonym is on no place of the entry's list: for a release, of its
    participants; for an opt-outs entry, of those who opted out. It tells nothing about anybody else.
    """
    from backrow.privacy.audit import screen
    from backrow.privacy.audit.proofs import prove_absence, prove_entry

    lines, note = _lines(run), read_evidence(run).note
    if note is None:
        raise LedgerError("the checkpoint is missing: there is nothing to prove against")
    if entry >= len(lines):
        raise LedgerError(f"there is no entry {entry}: the ledger has {len(lines)}")
    if absent is None:
        data = prove_entry(lines, note, entry).encode()
    elif (held := lists_of(run, lists)) is None:
        raise LedgerError("a proof of absence is made from the list: name it with --lists")
    else:
        data = prove_absence(lines, note, entry, held, absent)
    with out.open("xb") as file:
        file.write(data)
    screen.console().print(f"written: {out}")


@app.command("check-proof", epilog="Example: backrow audit check-proof release-5.tlog-proof --key coordinator.pub")
def check(
    proof: Annotated[Path, typer.Argument(metavar="FILE", help="What `backrow audit prove` wrote.")],
    key: Annotated[str, typer.Option(metavar="KEY", help="The coordinator's public key: hex, a vkey, or a file.")],
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The signed opt-out of whom the proof of absence is about.")
    ] = None,
) -> None:
    """Check a proof without the ledger, and print what it shows.

    With --receipt: that somebody who opted out is absent from a list of opt-outs sealed later is a fault (67), unless
    she has taken it back since. Whom a keyed hash stands for, who made the proof says.
    """
    from backrow.privacy.audit.proofs import check_proof
    from backrow.privacy.audit.screen import console, print_entry

    proved, out = check_proof(bytes_of(proof), key_of(key)), console()
    print_entry(proved.entry, out)
    size, origin = proved.checkpoint.checkpoint.size, proved.checkpoint.checkpoint.origin
    out.print(f"Entry {proved.entry.index} is in the ledger {origin} of {size} entries.", markup=False)
    if proved.absent is not None:
        out.print(f"The pseudonym with the keyed hash {proved.absent.hex()} is not on its list.", markup=False)
    if receipt is None:
        return
    signed = read_opt_out(bytes_of(receipt)).record.at
    if proved.absent is None:
        raise LedgerError("a receipt is compared with a proof of absence: ask for one (`backrow audit prove --absent`)")
    if isinstance(proved.entry.body, OptOutEntry) and signed < proved.entry.time:
        out.print(
            f"[red]{Fault.DROPPED}[/]: the opt-out was signed before this list was sealed, and its signer is not on "
            "it. Unless she has taken it back since, or it was still on its way, it was not heeded."
        )
        raise typer.Exit(Fault.DROPPED.exit_code)
    out.print("Nothing in this proof speaks against the receipt.")


@app.command(epilog="Example: backrow audit export runs/first --registry --out registry")
def export(
    run: Run,
    registry: Annotated[bool, typer.Option("--registry", help="For the public registry of DP deployments.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Receives deployment.json and deployment.md.")],
    key: Key = None,
    operator: Operator = None,
) -> None:
    """Write the entry for a public registry, from what the audit found to be true. Sends nothing anywhere.

    What no ledger can know comes from --operator, in the operator's own words; what is in neither is null in the
    file and listed as missing. Nothing is made up.
    """
    from backrow.privacy.audit import screen
    from backrow.privacy.audit.registry import missing, registry_entry, to_json, to_markdown
    from backrow.privacy.audit.report_material import Details, parse_statements, signed_entries

    if not registry:
        raise LedgerError("say what to export: --registry")
    report = audited(run, key)
    statements = None if operator is None else parse_statements(bytes_of(operator))
    entry = registry_entry(report, Details.of(signed_entries(run, report.key)), statements)
    out.mkdir(parents=True, exist_ok=True)
    (out / "deployment.json").write_text(to_json(entry), encoding="utf-8")
    (out / "deployment.md").write_text(to_markdown(entry, report.origin), encoding="utf-8")
    terminal = screen.console()
    terminal.print(f"written: {out / 'deployment.json'} and deployment.md", markup=False)
    if gaps := missing(entry):
        terminal.print("Missing, because neither the ledger nor an operator's statement says it:")
        for gap in gaps:
            terminal.print(f"  - {gap.removeprefix('deployment.')}", markup=False)


@app.command("tamper-demo", epilog="Example: backrow audit tamper-demo runs/first")
def tamper_demo(run: Run) -> None:
    """Tamper with copies of a ledger in about thirty ways, and show under which name each is caught.

    Edits, deletes, reorders, truncates, rolls back, forks, signs again with another key; and, with the right key,
    lies: about noise, epsilon, the budget, the crowd, opt-outs. The copies lie in a temporary folder and are signed
    with keys made for this, because nobody but the coordinator has hers. Exit code 3 if anything is missed.
    """
    from backrow.privacy.audit.demo import tamper_demo as demonstrate
    from backrow.privacy.audit.screen import console, print_attempts
    from backrow.privacy.signing import SigningKey

    with tempfile.TemporaryDirectory(prefix="backrow-tamper-") as folder:
        attempts = demonstrate(run, Path(folder), SigningKey(urandom(32)), SigningKey(urandom(32)))
    out = console()
    print_attempts(attempts, out)
    missed = [each.tampering.name for each in attempts if not each.caught]
    tried = sum(each.possible for each in attempts)
    if missed:
        out.print(f"[red]Not caught, or under another name: {', '.join(missed)}[/]")
        raise typer.Exit(3)
    out.print(f"[green]{tried} of {tried} caught, each under its name.[/]")


app.command(epilog=cli_report.EPILOG)(cli_report.report)


def main() -> None:
    """`python -m backrow.privacy.audit`: exit code 0, that of a fault, 1 (a sentence on standard error) or 2."""
    try:
        app()
    except BackrowError as error:
        sys.stderr.write(f"error: {error}\n")
    except OSError as error:
        sys.stderr.write(f"error: {error.filename}: {error.strerror}\n" if error.filename else f"error: {error}\n")
    sys.exit(1)


def _lines(run: Path) -> list[bytes]:
    try:
        with open_lines(run) as lines:
            return list(lines)
    except OSError as problem:
        raise LedgerError(f"{ledger_path(run)} cannot be read ({problem.strerror}): check the path") from None
