"""The entry for a public registry of DP deployments, as files. What it says is `report_registry`'s part. Pure."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backrow.privacy.audit.model import Report
from backrow.privacy.errors import LedgerError

if TYPE_CHECKING:
    from backrow.privacy.audit.report_material import Details


def registry_entry(
    report: Report, details: "Details | None" = None, statements: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The entry of a ledger that verifies. What neither the ledger nor its operator says is None, and stays so.

    Args:
        details: what signed entries add (`Details.of(signed_entries(run, report.key))`).
        statements: the operator's own words (`parse_statements`).

    Raises:
        LedgerError: it does not: nothing false is put in a public registry.
    """
    from backrow.privacy.audit.report_registry import export_registry

    if not report.passed or report.policy is None:
        raise LedgerError("the ledger does not verify: only what was found true belongs in a public registry")
    return export_registry(report, details, statements)


def missing(entry: Mapping[str, Any], inside: str = "") -> tuple[str, ...]:
    """Fields that nobody has filled in, each with the path to it."""
    names: list[str] = []
    for name, value in entry.items():
        path = f"{inside}.{name}" if inside else name
        match value:
            case dict() if value:
                names += missing(value, path)
            case list() if value:
                for each in value:
                    names += missing(each, path) if isinstance(each, dict) else []
            case _ if value in (None, "", [], {}):
                names.append(path)
    return tuple(names)


def to_json(entry: dict[str, Any]) -> str:
    """The entry for machines."""
    return json.dumps(entry, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def to_markdown(entry: dict[str, Any], title: str) -> str:
    """The same entry for people: one bullet a field."""
    return "\n".join([f"# {title}", "", *_lines(entry, 0)]) + "\n"


def _lines(value: dict[str, Any], depth: int) -> list[str]:
    lines = []
    for name, item in value.items():
        label = f"{'  ' * depth}- **{name.replace('_', ' ')}**"
        match item:
            case dict() if item:
                lines += [label, *_lines(item, depth + 1)]
            case list() if item:
                lines.append(label)
                for each in item:
                    indent = "  " * (depth + 1)
                    lines += _lines(each, depth + 1) if isinstance(each, dict) else [f"{indent}- {each}"]
            case None | [] | {} | "":
                lines.append(f"{label}: MISSING, for the operator to state")
            case _:
                lines.append(f"{label}: {str(item).replace(chr(10), ' ')}")
    return lines
