"""A signed statement about being asked, as it arrives at the coordinator. Pure."""

from collections.abc import Mapping

from backrow.privacy.errors import SignatureError
from backrow.privacy.statements import Statement, read_statement


def received(signed: bytes, names: Mapping[bytes, str], at: int) -> Statement:
    """A statement as it arrives, checked against the enrolled identity keys.

    Args:
        signed: an opt-out, or the record that lifts one.
        names: identity key to pseudonym.
        at: now, Unix seconds.

    Raises:
        MalformedMessageError: it is no such statement.
        SignatureError: it is not signed by a device that is enrolled under this pseudonym.
    """
    record, pseudonym = read_statement(signed)
    name = names.get(record.device)
    if name is None or pseudonym not in ("", name):
        raise SignatureError(
            "this statement is not signed by a device that is enrolled here under this pseudonym: nothing was changed"
        )
    return Statement(name, at, signed, record)
