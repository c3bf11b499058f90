"""Keys of signed notes, as one word each: a vkey to verify with, an skey to sign with. Pure.

Source: c2sp.org/signed-note@v1.1.0; signing keys as in golang.org/x/mod/sumdb/note, where the format began.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum

from backrow.privacy.errors import NoteError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.signing import PUBLIC_KEY_BYTES, SigningKey

ID_BYTES = 4
_SECRET = "PRIVATE+KEY+"


class Kind(IntEnum):
    """Signature type identifiers; others are unknown here, and ignored."""

    ED25519 = 1
    """Over the text."""
    COSIGNATURE = 4
    """By a witness, over the text of a checkpoint and the time."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under.

    Attributes:
        name: not empty, without spaces and plus signs.
        public: Ed25519, 32 bytes.
    """

    name: str
    public: bytes
    kind: Kind = Kind.ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise NoteError(f"an Ed25519 key has {PUBLIC_KEY_BYTES} bytes, got {len(self.public)}: check the key")

    @property
    def key_id(self) -> bytes:
        """Four bytes that, with the name, tell keys apart; no protection by themselves."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)[:ID_BYTES]

    def __str__(self) -> str:
        """The vkey: name, id and key as one word."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """The key in a vkey.

        Raises:
            NoteError: damaged, of an unknown type, or its id is not its own.
        """
        kind, name, material = _split_key(vkey)
        key = cls(name, material, kind)
        if str(key) != vkey:
            raise NoteError("the key's id is not the one of its name and bytes: it was mistyped; copy it again")
        return key


def to_skey(name: str, seed: bytes, kind: Kind = Kind.ED25519) -> str:
    """A signing key as one word. Secret; `seed` is 32 bytes."""
    key_id = VerifierKey(name, SigningKey(seed).public, kind).key_id
    return f"{_SECRET}{name}+{key_id.hex()}+{to_base64(bytes([kind]) + seed)}"


def parse_skey(skey: str) -> tuple[Kind, str, bytes]:
    """Type, name and seed of a signing key.

    Raises:
        NoteError: damaged, or its id is not its own.
    """
    if not skey.startswith(_SECRET):
        raise NoteError(f"this is not a signing key: it begins with {_SECRET}")
    kind, name, seed = _split_key(skey.removeprefix(_SECRET))
    if to_skey(name, seed, kind) != skey:
        raise NoteError("the key's id is not the one of its name and bytes: it was mistyped; copy it again")
    return kind, name, seed


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """The bytes in standard base64; only its one canonical spelling is read.

    Raises:
        NoteError: it is something else.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if to_base64(data) != text:
        raise NoteError(f"{text[:80]!r} is not base64: it is damaged")
    return data


def check_name(name: str) -> None:
    """Refuse what cannot be a key's name.

    Raises:
        NoteError: empty, or holds a space, a plus sign or a control character.
    """
    if not name or "+" in name or any(letter.isspace() or letter < " " for letter in name):
        raise NoteError(f"{name[:80]!r} cannot be a key's name: use one word without plus signs")


def _split_key(text: str) -> tuple[Kind, str, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise NoteError(f"{text[:80]!r} is not a key: it has the form name+id+base64")
    material = from_base64(parts[2])
    try:
        kind = Kind(material[0])
    except (IndexError, ValueError):
        raise NoteError(f"the key of {parts[0]!r} is of a type that is not supported: use Ed25519") from None
    if len(material) != 1 + PUBLIC_KEY_BYTES:
        raise NoteError(f"the key of {parts[0]!r} does not have {PUBLIC_KEY_BYTES} bytes: copy it again")
    return kind, parts[0], material[1:]
