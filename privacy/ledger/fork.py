"""Proof of fraud: two checkpoints, signed by one log, that do not extend one another. Pure.

Whoever has the log's public key can check it, offline and without either log. Three things convince: both
checkpoints are signed; the log of the newer one has another root at the older one's size; that it has is
proved by an ordinary consistency proof.
"""

from dataclasses import dataclass

from backrow.privacy.errors import MalformedEntryError, NoteError, ProofError
from backrow.privacy.ledger import canonical
from backrow.privacy.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.fields import from_json, to_json
from backrow.privacy.ledger.keys import VerifierKey
from backrow.privacy.ledger.tree import Tree, verify_consistency

FORMAT = "backrow-fork/1"


@dataclass(frozen=True, slots=True)
class ForkProof:
    """A fork, for anybody.

    Attributes:
        older: signed note of the checkpoint with fewer (or as many) entries.
        newer: signed note of the other.
        other_root: root of the newer one's log at the older one's size.
        hashes: consistency proof from `other_root` to the newer root; none if both have the same size.
    """

    older: bytes
    newer: bytes
    other_root: bytes
    hashes: tuple[bytes, ...]

    def verify(self, log: VerifierKey) -> tuple[Checkpoint, Checkpoint]:
        """Return the two checkpoints if they convict the holder of this key.

        Raises:
            NoteError, SignatureError: one of them is not a checkpoint signed by this log.
            ProofError: both can be of one honest log.
        """
        older, newer = (open_checkpoint(note, log).checkpoint for note in (self.older, self.newer))
        if older.root == self.other_root:
            raise ProofError("both checkpoints have the same root at the same size: this proves no fork")
        verify_consistency(older.size, newer.size, self.hashes, self.other_root, newer.root)
        return older, newer

    def encode(self) -> bytes:
        """One line of canonical JSON."""
        return canonical.encode({"format": FORMAT, **to_json(self)}) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "ForkProof":
        """The proof in these bytes.

        Raises:
            NoteError: they are none.
        """
        try:
            fields = canonical.decode(data.removesuffix(b"\n"))
            if fields.pop("format", None) != FORMAT:
                raise NoteError(f"this is not a proof of a fork: its format is not {FORMAT}")
            return from_json(cls, fields)
        except (MalformedEntryError, ValueError) as problem:
            raise NoteError(f"this is not a proof of a fork: {problem}") from None


def prove_fork(first: SignedCheckpoint, second: SignedCheckpoint, tree: Tree) -> ForkProof | None:
    """The proof that two signed checkpoints contradict each other, or None if they do not.

    Args:
        tree: of the log that the larger checkpoint was signed for (of either, if they have one size).

    Raises:
        ProofError: the tree is not of that log.
    """
    older, newer = sorted((first, second), key=lambda signed: signed.checkpoint.size)
    sizes = older.checkpoint.size, newer.checkpoint.size
    if sizes[0] == sizes[1]:
        root, hashes = newer.checkpoint.root, list[bytes]()
    else:
        if tree.size < sizes[1] or tree.root(sizes[1]) != newer.checkpoint.root:
            raise ProofError("the tree is not of the log that the larger checkpoint was signed for")
        root, hashes = tree.root(sizes[0]), tree.consistency_proof(*sizes)
    if root == older.checkpoint.root:
        return None
    return ForkProof(older.note, newer.note, root, tuple(hashes))
