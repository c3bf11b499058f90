"""C2SP checkpoints: the signed size and root of a log, and witnesses' cosignatures on them. Pure.

Source: c2sp.org/tlog-checkpoint@v1.0.0 and c2sp.org/tlog-cosignature@v1.1.0.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from backrow.privacy.errors import NoteError, SignatureError
from backrow.privacy.ledger.keys import Kind, VerifierKey, from_base64, to_base64
from backrow.privacy.ledger.note import Note, Signature, Signer
from backrow.privacy.ledger.tree import EMPTY_ROOT, HASH_BYTES, LARGEST_SIZE

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a log.

    Attributes:
        origin: the log's identity; its key has the same name.
        size: number of entries.
        root: 32 bytes.
        extensions: opaque lines; we write none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= LARGEST_SIZE or len(self.root) != HASH_BYTES:
            raise NoteError(f"a checkpoint has a size and a root of {HASH_BYTES} bytes: this one is damaged")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteError("a checkpoint of no entries has a fixed root, not this one: it is refused")
        if not all(line and "\n" not in line for line in (self.origin, *self.extensions)):
            raise NoteError("a checkpoint's lines are not empty: this one is damaged")

    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint in the text of a note.

        Raises:
            NoteError: it is none.
        """
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not text.endswith("\n"):
            raise NoteError("a checkpoint has three lines or more, origin, size and root: this is none")
        return cls(lines[0], read_decimal(lines[1]), from_base64(lines[2]), tuple(lines[3:]))

    def sign(self, signer: Signer) -> Note:
        """The checkpoint as a note signed by its log. Runs on the coordinator.

        Raises:
            ValueError: the signer is not named after the log, or is a witness.
        """
        if signer.name != self.origin or signer.kind is not Kind.ED25519:
            raise ValueError(f"a checkpoint of {self.origin!r} is signed by the key of that name, not {signer.name!r}")
        return Note(self.text(), (signer.sign(self.text()),))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint whose signatures were verified. Made by `open_checkpoint` only.

    Attributes:
        note: the bytes that were verified, signatures of strangers included.
        cosignatures: by witnesses that the reader knows.
    """

    checkpoint: Checkpoint
    note: bytes
    cosignatures: tuple[Signature, ...] = ()

    def cosign(self, witness: Signer, time: int) -> Signature:
        """A witness' statement that it has seen this checkpoint and nothing that contradicts it.

        Runs on the witness, which first checks consistency (`observer.witness`).

        Args:
            time: Unix seconds.

        Raises:
            ValueError: the signer is not a witness.
        """
        if witness.kind is not Kind.COSIGNATURE:
            raise ValueError("a witness signs with a key of its own, of the kind COSIGNATURE")
        return witness.sign(self.checkpoint.text(), time)


def open_checkpoint(
    data: bytes, log: VerifierKey, witnesses: Collection[VerifierKey] = (), quorum: int = 0
) -> SignedCheckpoint:
    """Verify a checkpoint and read it.

    Args:
        data: the note.
        log: the pinned key of the log, named like its origin.
        witnesses: keys of witnesses that the reader trusts.
        quorum: how many of them, with different keys, must have cosigned.

    Raises:
        NoteError: the note is damaged or no checkpoint, or of another log.
        SignatureError: not signed by the log, a known signature does not match, or too few witnesses.
    """
    note = Note.parse(data)
    note.verified([log])
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log.name:
        raise NoteError(f"the checkpoint is of {checkpoint.origin!r}, not of {log.name!r}: fetch the right one")
    by = {(witness.name, witness.key_id): witness for witness in witnesses}
    if any(witness.kind is not Kind.COSIGNATURE or witness.public == log.public for witness in by.values()):
        raise ValueError("a witness has a key of its own, of the kind COSIGNATURE")
    signed = any((signature.name, signature.key_id) in by for signature in note.signatures)
    cosignatures = note.verified(by.values()) if signed else ()
    agreeing = {by[signature.name, signature.key_id].public for signature in cosignatures}
    if len(agreeing) < quorum:
        raise SignatureError(
            f"{len(agreeing)} known witnesses have cosigned the checkpoint, {quorum} must: wait for the others"
        )
    return SignedCheckpoint(checkpoint, data, cosignatures)


def read_decimal(text: str) -> int:
    """A size or index in ASCII digits without leading zeros.

    Raises:
        NoteError: it is something else, or beyond 2^63 - 1.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > LARGEST_SIZE:
        raise NoteError(f"{text[:80]!r} is not a size or index: it is refused")
    return int(text)
