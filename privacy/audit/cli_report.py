"""`backrow audit report`: the HTML report of one ledger. Mount it with `app.command(epilog=EPILOG)(report)`."""

from pathlib import Path
from typing import Annotated

import typer

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
)

EPILOG = "Example: backrow audit report runs/first --key coordinator.pub --out report.html"


def report(
    run: Run,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write; an earlier report is replaced.")] = Path(
        "audit-report.html"
    ),
    key: Key = None,
    production: Annotated[bool, typer.Option("--production", help="Refuse simulations: they protect nobody.")] = False,
    attacks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `backrow audit attack --json` printed.")
    ] = None,
    operator: Operator = None,
    lists: Pseudonyms = None,
    seen: SeenPaths = None,
    bundle: BundleFolder = None,
    releases: ReleasesFolder = None,
    witness_key: WitnessKeys = None,
    witnesses: Demanded = 0,
    receipt: Receipts = None,
) -> None:
    """Audit a ledger and write one page to read and print: claim, verification, opt-outs, deletions, records.

    The page holds everything it shows and needs no network. It is written for a ledger that does not verify, too,
    and says so first; the exit code is then that of `backrow audit verify`.
    """
    from backrow.privacy.audit.report import write
    from backrow.privacy.audit.report_attacks import parse_attacks
    from backrow.privacy.audit.report_material import parse_statements
    from backrow.privacy.audit.screen import console

    measured = None if attacks is None else parse_attacks(bytes_of(attacks))
    statements = None if operator is None else parse_statements(bytes_of(operator))
    audit = audited(run, key, production, lists, seen, bundle, releases, witness_key, witnesses, receipt)
    write(out, run, audit, attacks=measured, statements=statements)
    terminal = console()
    terminal.print(f"written: {out}", markup=False)
    if audit.findings:
        found = ", ".join(dict.fromkeys(finding.fault.label for finding in audit.findings))
        terminal.print(f"the ledger does not verify: {found}", markup=False)
    raise typer.Exit(audit.exit_code)
