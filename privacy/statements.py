"""What a device has signed about being asked: an opt-out, or the end of one; and a coordinator's journal of them. Pure.

The coordinator keeps the journal, the ledger commits to it with every sealed list, an auditor replays it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from backrow.privacy.consent import EVERYTHING, ConsentRecord, newer, read_opt_out, read_record
from backrow.privacy.errors import BackrowError, MalformedMessageError

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


def digest(lines: Iterable[bytes]) -> bytes:
    """What the ledger says of a journal: SHA-256 of its lines with their newlines, 32 bytes."""
    whole = sha256()
    for line in lines:
        whole.update(line)
    return whole.digest()


def digests(lines: Iterable[bytes]) -> dict[bytes, int]:
    """Of every beginning of a journal its digest, and how many lines it has."""
    whole = sha256()
    found = {whole.digest(): 0}
    for number, line in enumerate(lines, 1):
        whole.update(line)
        found[whole.digest()] = number
    return found


def read_statement(signed: bytes) -> tuple[ConsentRecord, str]:
    """What a statement says, and the pseudonym in it ("": none), if the device that it names has signed it.

    Raises:
        MalformedMessageError: it is no opt-out, and no grant of everything that would lift one.
        SignatureError: changed, or signed by another key or for something else.
    """
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
    record, named = read_statement(bytes.fromhex(text))
    if named not in ("", pseudonym):
        raise ValueError("it stands under another pseudonym than it was signed for")
    made = Statement(pseudonym, at, bytes.fromhex(text), record)
    if made.line() != line.removesuffix(b"\n") + b"\n":
        raise ValueError("it is not spelled as it was written")
    return made


def check_follows(latest: Statement | None, statement: Statement) -> None:
    """Return if a statement may follow the latest one under its pseudonym; the first one binds the key.

    Raises:
        ValueError: it is signed by another key, is no newer, or lifts what nobody had asked for.
    """
    if latest is None:
        if statement.record.granted:
            raise ValueError("it lifts an opt-out that nobody had asked for")
        return
    if latest.record.device != statement.record.device:
        raise ValueError("it is signed by another key than the first one under its pseudonym")
    if newer(latest.record, statement.record) is not statement.record or latest.record == statement.record:
        raise ValueError("it is older than what the same key had said before")
