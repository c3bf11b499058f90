"""A report for machines: JSON, the same fields as the dataclasses. Pure."""

import json
import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report
from backrow.privacy.ledger.signed_entry import SignedEntry

FORMAT = "backrow-audit/1"


def to_json(report: Report) -> str:
    """The report as JSON text.

    Bytes are hex, an infinite epsilon is the text "infinity", an entry is the object that was signed.
    """
    written = {"format": FORMAT, "passed": report.passed, "exit_code": report.exit_code, **_plain(report)}
    return json.dumps(written, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case Fault():
            return {"name": value.label, "exit_code": value.exit_code, "meaning": value.meaning}
        case SignedEntry():
            return json.loads(value.encode())
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case float() if not math.isfinite(value):
            return "infinity" if value > 0 else str(value)
        case tuple() | list():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
