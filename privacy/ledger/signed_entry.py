"""Entries as lines: placed, timed, signed, and strictly read back. Pure."""

from dataclasses import dataclass

from backrow.privacy.errors import BackrowError, MalformedEntryError, UnknownEntryError
from backrow.privacy.ledger import entries
from backrow.privacy.ledger.canonical import LARGEST_INTEGER, Json, check_spelling, encode, parse
from backrow.privacy.ledger.entries import Body
from backrow.privacy.ledger.fields import from_json, to_json
from backrow.privacy.ledger.tree import leaf_hash
from backrow.privacy.signing import ENTRY, SIGNATURE_BYTES, SigningKey, verify

VERSION = 1
"""Of the layout of every kind; a change of any record counts it up."""

_KINDS: dict[str, type[Body]] = {
    "policy": entries.PolicyEntry,
    "schedule": entries.ScheduleEntry,
    "enrolment": entries.EnrolmentEntry,
    "opt-outs": entries.OptOutEntry,
    "reserve": entries.ReserveEntry,
    "release": entries.ReleaseEntry,
    "void": entries.VoidEntry,
    "publication": entries.PublicationEntry,
    "finding": entries.FindingEntry,
    "retraction": entries.RetractionEntry,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_KEYS = ("body", "index", "kind", "origin", "signature", "time", "version")


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """One entry in its place.

    Attributes:
        origin: identity of the ledger.
        index: its place, from 0.
        time: Unix seconds.
        signature: the coordinator's, over everything else; 64 bytes. Not verified by reading it.
    """

    origin: str
    index: int
    time: int
    body: Body
    signature: bytes

    @property
    def kind(self) -> str:
        """Kind of the body, as it is written."""
        return _NAMES[type(self.body)]

    def encode(self) -> bytes:
        """The line, without its newline.

        Raises:
            ValueError: a field cannot be written.
        """
        return _signed(_payload(self.origin, self.index, self.time, self.body), self.signature)

    def verify(self, public_key: bytes) -> None:
        """Return if the coordinator signed exactly this.

        Raises:
            SignatureError: it did not.
        """
        verify(public_key, ENTRY, _payload(self.origin, self.index, self.time, self.body), self.signature)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That an entry is in the ledger, durably. Made by the ledger only.

    Attributes:
        leaf: hash of its line, 32 bytes.
        line: as it stands there, without its newline.
    """

    entry: SignedEntry
    leaf: bytes
    line: bytes

    @property
    def index(self) -> int:
        """Its place in the ledger."""
        return self.entry.index


def sign_entry(key: SigningKey, origin: str, index: int, time: int, body: Body) -> SignedEntry:
    """Place, time and sign a body. Runs on the coordinator.

    Raises:
        ValueError: a field cannot be written.
    """
    return sign_line(key, origin, index, time, body)[0]


def sign_line(key: SigningKey, origin: str, index: int, time: int, body: Body) -> tuple[SignedEntry, bytes]:
    """As `sign_entry`, with the line: a release holds thousands of sentinels, which are written once."""
    payload = _payload(origin, index, time, body)
    signature = key.sign(ENTRY, payload)
    return SignedEntry(origin, index, time, body, signature), _signed(payload, signature)


def decode_entry(line: bytes) -> SignedEntry:
    """The entry in a line without its newline. Its signature is not verified here.

    Guarantees: `decode_entry(line).encode() == line`.

    Raises:
        UnknownEntryError: of a kind or version that is not known here.
        MalformedEntryError: not one entry in its one canonical form.
    """
    data = parse(line)
    # Strict readers below and the line's own spelling: what was read is written as this line, and no other.
    check_spelling(line, data)
    kind, version = data.get("kind"), data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UnknownEntryError(
            f"the entry has version {version!r}, known is {VERSION}: use a newer backrow to read it"
        )
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UnknownEntryError(f"the entry is of the unknown kind {kind!r}: use a newer backrow")
    try:
        if tuple(sorted(data)) != _KEYS:
            raise ValueError(f"it has the keys {sorted(data)}, not {list(_KEYS)}")
        return SignedEntry(
            origin=_text(data["origin"]),
            index=_count(data["index"]),
            time=_count(data["time"]),
            body=from_json(_KINDS[kind], data["body"]),
            signature=_signature(data["signature"]),
        )
    except (ValueError, ArithmeticError, BackrowError) as problem:
        raise MalformedEntryError(f"the {kind} entry is damaged ({problem}): it is refused") from None


def payload_of(line: bytes, entry: SignedEntry) -> bytes:
    """What is signed: the line that an entry was read from, without its signature."""
    # Keys are sorted and only numbers follow the signature: the last one found is the key.
    before, _, after = line.rpartition(b',"signature":"%b"' % entry.signature.hex().encode())
    return before + after


def open_entry(line: bytes, public_key: bytes) -> SignedEntry:
    """The entry in a line, its signature verified.

    Raises:
        UnknownEntryError, MalformedEntryError: as `decode_entry`.
        SignatureError: the holder of this key did not sign exactly this.
    """
    entry = decode_entry(line)
    verify(public_key, ENTRY, payload_of(line, entry), entry.signature)
    return entry


def receipt_for(entry: SignedEntry, line: bytes) -> Receipt:
    """The receipt of an entry that is in the ledger, whose line is this. For `store` only."""
    return Receipt(entry, leaf_hash(line), line)


def _payload(origin: str, index: int, time: int, body: Body) -> bytes:
    """The canonical line without its signature: what is signed."""
    return encode(
        {
            "body": to_json(body),
            "index": index,
            "kind": _NAMES[type(body)],
            "origin": origin,
            "time": time,
            "version": VERSION,
        }
    )


def _signed(payload: bytes, signature: bytes) -> bytes:
    # Keys are sorted and only numbers follow "time": the last one found is the key, and "signature" stands before it.
    place = payload.rindex(b'"time":')
    return b'%b"signature":"%b",%b' % (payload[:place], signature.hex().encode(), payload[place:])


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _count(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_INTEGER:
        raise ValueError(f"expected a count, got {value!r}")
    return value


def _signature(value: Json) -> bytes:
    signature = bytes.fromhex(_text(value))
    if len(signature) != SIGNATURE_BYTES or signature.hex() != value:
        raise ValueError(f"expected {SIGNATURE_BYTES} bytes in lower-case hex as the signature")
    return signature
