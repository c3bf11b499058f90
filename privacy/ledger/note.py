"""C2SP signed notes with Ed25519 signatures and witness cosignatures. Pure; everybody reads them.

Source: c2sp.org/signed-note@v1.1.0 and c2sp.org/tlog-cosignature@v1.1.0 (the Ed25519 parts).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from backrow.privacy.errors import NoteError, SignatureError
from backrow.privacy.ledger.keys import ID_BYTES, Kind, VerifierKey, check_name, from_base64, parse_skey, to_base64
from backrow.privacy.signing import SigningKey, verify_note

LARGEST_NOTE = 2**20
"""Bytes of a note, at most."""
MOST_SIGNATURES = 100

_TIME_BYTES = 8
_LATEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, verified or not.

    Attributes:
        key_id: 4 bytes.
        payload: what the key's type says: a signature, or a time and a signature.
    """

    name: str
    key_id: bytes
    payload: bytes

    def line(self) -> str:
        """The line, with its newline."""
        return f"— {self.name} {to_base64(self.key_id + self.payload)}\n"

    @property
    def time(self) -> int:
        """Unix seconds of a verified cosignature."""
        return int.from_bytes(self.payload[:_TIME_BYTES], "big")

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """The signature in a line with its newline.

        Raises:
            NoteError: it is not a signature line.
        """
        parts = line.removesuffix("\n").split(" ")
        if len(parts) != 3 or parts[0] != "—" or not line.endswith("\n"):
            raise NoteError(f"{line[:80]!r} is not a signature line: the note is damaged")
        check_name(parts[1])
        data = from_base64(parts[2])
        if len(data) <= ID_BYTES:
            raise NoteError(f"the signature of {parts[1]!r} is cut off: the note is damaged")
        return cls(parts[1], data[:ID_BYTES], data[ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs notes under a name. Runs on the coordinator (ED25519) or a witness (COSIGNATURE)."""

    name: str
    key: SigningKey
    kind: Kind = Kind.ED25519

    @property
    def verifier(self) -> VerifierKey:
        """What others verify with."""
        return VerifierKey(self.name, self.key.public, self.kind)

    def sign(self, text: str, time: int | None = None) -> Signature:
        """Sign the text of a note.

        Args:
            text: ends in a newline.
            time: Unix seconds, of a cosignature only.

        Raises:
            ValueError: a cosignature without time or a signature with one.
        """
        message, stamp = _text(text), b""
        match self.kind:
            case Kind.ED25519:
                if time is not None:
                    raise ValueError("a signature carries no time: only a witness' cosignature does")
            case Kind.COSIGNATURE:
                if time is None or not 0 <= time <= _LATEST:
                    raise ValueError(f"a cosignature says when it was made, in Unix seconds; got {time}")
                message, stamp = _cosigned(message, time), time.to_bytes(_TIME_BYTES, "big")
            case _:
                assert_never(self.kind)
        return Signature(self.name, self.verifier.key_id, stamp + self.key.sign_note(message))

    @classmethod
    def from_skey(cls, skey: str) -> "Signer":
        """The signer in an skey.

        Raises:
            NoteError: damaged, or its id is not its own.
        """
        kind, name, seed = parse_skey(skey)
        return cls(name, SigningKey(seed), kind)


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signatures, none of them verified yet.

    Attributes:
        text: ends in a newline. Ignore it before `verified` has returned.
    """

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The bytes of the note."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """The note in these bytes.

        Raises:
            NoteError: too long, not UTF-8, control characters, no text, no or a damaged signature.
        """
        if len(data) > LARGEST_NOTE:
            raise NoteError(f"the note has {len(data)} bytes, at most {LARGEST_NOTE} are read: it is refused")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NoteError("the note is not UTF-8 text: it is damaged") from None
        text, blank, signatures = whole.rpartition("\n\n")
        if not blank or not signatures:
            raise NoteError("the note has no signature: it must end with a blank line and signature lines")
        # Not splitlines(): it would also break at U+2028 and others.
        lines = re.findall(r"[^\n]*\n|[^\n]+$", signatures)
        if len(lines) > MOST_SIGNATURES:
            raise NoteError(f"the note has {len(lines)} signatures, at most {MOST_SIGNATURES} are read")
        note = cls(text + "\n", tuple(map(Signature.parse, lines)))
        _text(note.text)
        return note

    def verified(self, keys: Iterable[VerifierKey]) -> tuple[Signature, ...]:
        """The signatures by these keys, each verified; signatures by other keys are ignored.

        Raises:
            SignatureError: none is by one of these keys, or one of them does not match the text.
        """
        known = {(key.name, key.key_id): key for key in keys}
        good = []
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is not None:
                _verify(key, self.text, signature)
                good.append(signature)
        if not good:
            wanted = ", ".join(f"{key.name!r}" for key in known.values()) or "nobody"
            raise SignatureError(f"the note is not signed by {wanted}: check the key, or fetch the note again")
        return tuple(good)

    def with_signature(self, signature: Signature) -> "Note":
        """The note with one more signature; an older one by the same key is replaced."""
        others = (s for s in self.signatures if (s.name, s.key_id) != (signature.name, signature.key_id))
        return Note(self.text, (*others, signature))


def _text(text: str) -> bytes:
    if not text.endswith("\n") or any(letter < " " and letter != "\n" for letter in text):
        raise NoteError("a note's text ends in a newline and holds no control characters: it is refused")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NoteError("a note's text is Unicode: it is refused") from None


def _cosigned(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time + text


def _verify(key: VerifierKey, text: str, signature: Signature) -> None:
    message, payload = text.encode(), signature.payload
    if key.kind is Kind.COSIGNATURE:
        message, payload = _cosigned(message, signature.time), payload[_TIME_BYTES:]
        if signature.time > _LATEST:
            raise SignatureError(f"the cosignature of {key.name!r} is dated beyond all time: it is refused")
    verify_note(key.public, message, payload)
