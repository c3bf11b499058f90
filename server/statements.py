"""What a device has signed about being asked, as the coordinator keeps it: an opt-out, or the end of one. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from backrow.privacy.consent import EVERYTHING, ConsentRecord, read_opt_out, read_record
from backrow.privacy.errors import BackrowError, MalformedMessageError, SignatureError

LONGEST_STATEMENT = 1_000
"""Bytes of a signed statement, at most."""
_HEX = re.compile(r"([0-9a-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of the journal: what a device signed, and when it came.

    Attributes:
        pseudonym: of the enrolled device.
        at: Unix seconds by the coordinator's clock.
        signed: the bytes as they came.
        record: what they say.
    """

    pseudonym: str
    at: int
    signed: bytes
    record: ConsentRecord

    def line(self) -> bytes:
        """As it stands in the file."""
        fields = {"at": self.at, "pseudonym": self.pseudonym, "statement": self.signed.hex()}
        return json.dumps(fields, sort_keys=True).encode() + b"\n"


def _read(signed: bytes) -> tuple[ConsentRecord, str]:
    """What a statement says, and the pseudonym in it ("": none)."""
    if len(signed) > LONGEST_STATEMENT:
        raise MalformedMessageError("this is no signed opt-out: it is too long")
    try:
        request = read_opt_out(signed)
    except BackrowError as problem:
        try:
            record = read_record(signed)
        except BackrowError:
            raise problem from None
        if record.purpose != EVERYTHING or not record.granted:
            raise MalformedMessageError(
                "this is a record of consent, but no opt-out and no grant of everything that would lift one: nothing "
                "was changed"
            ) from None
        return record, ""
    return request.record, request.pseudonym


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
    record, pseudonym = _read(signed)
    name = names.get(record.device)
    if name is None or pseudonym not in ("", name):
        raise SignatureError(
            "this statement is not signed by a device that is enrolled here under this pseudonym: nothing was changed"
        )
    return Statement(name, at, signed, record)


def parsed(line: bytes) -> Statement:
    """A statement from its line; its signature is checked again.

    Raises:
        ValueError, MalformedMessageError, SignatureError: it is none.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or sorted(fields) != ["at", "pseudonym", "statement"]:
        raise ValueError("it does not have the three fields of a statement")
    at, pseudonym, text = fields["at"], fields["pseudonym"], fields["statement"]
    if type(at) is not int or at < 0 or not isinstance(pseudonym, str) or not pseudonym:
        raise ValueError("its time or pseudonym is none")
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise ValueError("its statement is not in hex digits")
    record, named = _read(bytes.fromhex(text))
    if named not in ("", pseudonym):
        raise ValueError("it stands under another pseudonym than it was signed for")
    made = Statement(pseudonym, at, bytes.fromhex(text), record)
    if made.line() != line + b"\n":
        raise ValueError("it is not spelled as it was written")
    return made
