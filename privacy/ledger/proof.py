"""Portable proofs as text: of one entry in a log, and that a log has only grown. Pure.

Source: c2sp.org/tlog-proof@v1 and the body of `add-checkpoint` in c2sp.org/tlog-witness.
"""

from collections.abc import Collection
from dataclasses import dataclass

from backrow.privacy.errors import NoteError, ProofError
from backrow.privacy.ledger.checkpoint import SignedCheckpoint, open_checkpoint, read_decimal
from backrow.privacy.ledger.keys import VerifierKey, from_base64, to_base64
from backrow.privacy.ledger.note import LARGEST_NOTE
from backrow.privacy.ledger.tree import EMPTY_ROOT, HASH_BYTES, leaf_hash, verify_consistency, verify_inclusion

FORMAT = "c2sp.org/tlog-proof@v1"
MOST_HASHES = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """That one entry is in a log. Stored as `.tlog-proof`.

    Attributes:
        index: of the entry, from 0.
        hashes: from the leaf's sibling to the root's child, 32 bytes each.
        checkpoint: the signed note.
        extra: anything; not authenticated.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The bytes of the proof."""
        lines = [FORMAT, f"index {self.index}", *map(to_base64, self.hashes), ""]
        if self.extra is not None:
            lines.insert(1, f"extra {to_base64(self.extra)}")
        return "".join(line + "\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "TlogProof":
        """The proof in these bytes.

        Raises:
            NoteError: they are none.
        """
        lines, checkpoint = _split(data)
        if not lines or lines[0] != FORMAT:
            raise NoteError(f"this is not a proof: it does not begin with {FORMAT}")
        extra = None
        if len(lines) > 1 and lines[1].startswith("extra "):
            extra = from_base64(lines.pop(1).removeprefix("extra "))
        index = _labelled(lines[1:2], "index")
        return cls(index, _hashes(lines[2:]), checkpoint, extra)

    def verify(
        self, entry: bytes, log: VerifierKey, witnesses: Collection[VerifierKey] = (), quorum: int = 0
    ) -> SignedCheckpoint:
        """Return the checkpoint if this entry is in the log. Offline.

        Args:
            entry: the bytes that were logged: the line, without its newline.
            log, witnesses, quorum: as of `open_checkpoint`.

        Raises:
            NoteError, SignatureError: the checkpoint is not good.
            ProofError: the entry is not at that index of that log.
        """
        signed = open_checkpoint(self.checkpoint, log, witnesses, quorum)
        checkpoint = signed.checkpoint
        verify_inclusion(self.index, checkpoint.size, self.hashes, leaf_hash(entry), checkpoint.root)
        return signed


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That a newer checkpoint extends an older one. What a witness or device asks for.

    Attributes:
        old_size: of the older checkpoint.
        hashes: 32 bytes each; none if `old_size` is 0 or nothing was added.
        checkpoint: the newer one, a signed note.
    """

    old_size: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The bytes of the proof."""
        lines = [f"old {self.old_size}", *map(to_base64, self.hashes), ""]
        return "".join(line + "\n" for line in lines).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "ConsistencyProof":
        """The proof in these bytes.

        Raises:
            NoteError: they are none.
        """
        lines, checkpoint = _split(data)
        return cls(_labelled(lines[:1], "old"), _hashes(lines[1:]), checkpoint)

    def verify(self, old_root: bytes, size: int, root: bytes) -> None:
        """Return if the log of this size and root extends the older one.

        Raises:
            ProofError: it does not.
        """
        if self.old_size == 0:
            if self.hashes or old_root != EMPTY_ROOT:
                raise ProofError("from the empty log on there is nothing to prove: the proof is worthless")
            return
        verify_consistency(self.old_size, size, self.hashes, old_root, root)


def _split(data: bytes) -> tuple[list[str], bytes]:
    if len(data) > 2 * LARGEST_NOTE:
        raise NoteError(f"the proof has {len(data)} bytes, at most {2 * LARGEST_NOTE} are read: it is refused")
    head, blank, checkpoint = data.partition(b"\n\n")
    if not blank or not head.isascii():
        raise NoteError("a proof has a blank line before its checkpoint: this one is damaged")
    return head.decode("ascii").split("\n"), checkpoint


def _labelled(lines: list[str], label: str) -> int:
    if not lines or not lines[0].startswith(label + " "):
        raise NoteError(f"the proof has no line {label!r}: it is damaged")
    return read_decimal(lines[0].removeprefix(label + " "))


def _hashes(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > MOST_HASHES:
        raise NoteError(f"the proof has {len(lines)} hashes, at most {MOST_HASHES} are read: it is refused")
    hashes = tuple(map(from_base64, lines))
    if any(len(node) != HASH_BYTES for node in hashes):
        raise NoteError(f"every hash of a proof has {HASH_BYTES} bytes: this one is damaged")
    return hashes
