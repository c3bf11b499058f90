"""The HTML report: seven reports and the answers to NIST SP 800-226 in one file, without a script. Printable.

Everything in it comes from the audit, from signed entries, and from what the auditor adds by hand; nothing from a
clock, so that the same evidence gives the same bytes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from backrow.privacy.audit.model import Report
from backrow.privacy.audit.report_attacks import Attacks
from backrow.privacy.audit.report_checks import entries_section, rounds_section, verification
from backrow.privacy.audit.report_claim import claim_sheet, head_of
from backrow.privacy.audit.report_material import Details, Material, signed_entries
from backrow.privacy.audit.report_nist import nist
from backrow.privacy.audit.report_parts import when
from backrow.privacy.audit.report_people import deletions, opt_outs
from backrow.privacy.audit.report_records import impact, records
from backrow.privacy.audit.report_registry import registry_section
from backrow.privacy.errors import LedgerError
from backrow.privacy.ledger.signed_entry import SignedEntry

GENERATOR = "backrow audit report"
_TEMPLATE = "report.html.j2"
_HEAD_BYTES = 1024
"""Within these a report says that it is one."""

SECTIONS = (
    claim_sheet, verification, opt_outs, deletions, records, impact, registry_section, nist, rounds_section,
    entries_section,
)  # fmt: skip


def render(
    report: Report,
    entries: Iterable[SignedEntry] = (),
    *,
    attacks: Attacks | None = None,
    statements: Mapping[str, str] | None = None,
) -> str:
    """The whole page.

    Args:
        report: of `verify`.
        entries: signed entries of the same ledger (`signed_entries`); they add reasons, code hashes and which list a
            release was checked against.
        attacks: what `backrow audit attack` measured.
        statements: the operator's own words (`parse_statements`).
    """
    material = Material(report, Details.of(entries), attacks, statements or {})
    environment = Environment(
        loader=PackageLoader("backrow.privacy.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    times = material.times
    return environment.get_template(_TEMPLATE).render(
        generator=GENERATOR,
        head=head_of(material),
        sections=[make(material) for make in SECTIONS],
        origin=report.origin or "a ledger without a name",
        stand=f"as of {when(times[-1])}" if times else "without a single entry",
        key="" if report.key is None else report.key.hex(),
    )


def write(
    path: Path,
    run: Path,
    report: Report,
    *,
    attacks: Attacks | None = None,
    statements: Mapping[str, str] | None = None,
) -> None:
    """Write the page; an earlier report there is replaced.

    Args:
        run: folder or ledger that `report` is about.

    Raises:
        LedgerError: something else is there, or the file cannot be written.
    """
    page = render(report, signed_entries(run, report.key), attacks=attacks, statements=statements)
    try:
        if path.exists() and GENERATOR.encode() not in path.read_bytes()[:_HEAD_BYTES]:
            raise LedgerError(f"{path} is there and is no report: name another file with --out")
        path.write_bytes(page.encode())
    except OSError as problem:
        raise LedgerError(f"{path} cannot be written ({problem.strerror}): name another file with --out") from None
