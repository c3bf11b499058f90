"""What a device or witness does with a log: remember its last checkpoint, and refuse what does not extend it.

Pure: the caller stores `View.note` before it acts on the view, and a witness before it sends its cosignature.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from backrow.privacy.errors import ForkError, ProofError, RollbackError
from backrow.privacy.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.fork import ForkProof, prove_fork
from backrow.privacy.ledger.keys import VerifierKey
from backrow.privacy.ledger.note import Signature, Signer
from backrow.privacy.ledger.proof import ConsistencyProof
from backrow.privacy.ledger.tree import Tree, implied_roots


@dataclass(frozen=True, slots=True)
class View:
    """What one observer has seen of one log.

    Attributes:
        log: the pinned key.
        seen: the last checkpoint; None before the first, which is taken on trust.
        witnesses: whose cosignatures this observer trusts.
        quorum: how many of them every new checkpoint must carry.
    """

    log: VerifierKey
    seen: SignedCheckpoint | None = None
    witnesses: tuple[VerifierKey, ...] = ()
    quorum: int = 0

    @classmethod
    def restore(
        cls, log: VerifierKey, note: bytes | None, witnesses: Collection[VerifierKey] = (), quorum: int = 0
    ) -> "View":
        """The view whose `note` was stored; None if nothing was.

        Raises:
            NoteError, SignatureError: the stored note is damaged or of another log.
        """
        seen = None if note is None else open_checkpoint(note, log, witnesses)
        return cls(log, seen, tuple(witnesses), quorum)

    @property
    def note(self) -> bytes | None:
        """What to store."""
        return None if self.seen is None else self.seen.note

    @property
    def size(self) -> int:
        """Entries of the last checkpoint; a consistency proof begins here."""
        return 0 if self.seen is None else self.seen.checkpoint.size

    def advance(self, update: ConsistencyProof) -> "View":
        """The view after a checkpoint that provably extends the last one.

        Raises:
            NoteError, SignatureError: not a checkpoint signed by this log, or too few witnesses.
            RollbackError: it is older than the last one.
            ForkError: it provably contradicts the last one; carries the proof for others.
            ProofError: nothing shows that it extends the last one.
        """
        new = open_checkpoint(update.checkpoint, self.log, self.witnesses, self.quorum)
        if self.seen is not None:
            old = self.seen.checkpoint
            self._compare(old, new)
            if update.old_size != old.size:
                raise ProofError(f"the proof begins at {update.old_size} entries, this party has seen {old.size}")
            try:
                update.verify(old.root, new.checkpoint.size, new.checkpoint.root)
            except ProofError:
                self._convict(old, new, update)
                raise
        elif update.old_size != 0 or update.hashes:
            raise ProofError("this party has seen no checkpoint yet: the proof begins at 0 entries")
        return replace(self, seen=new)

    def advance_by_leaves(self, leaves: Sequence[bytes], note: bytes) -> "View":
        """The same with the hashes of all entries instead of a proof: the same bytes for everybody.

        A proof is made for one old size, and asking for it tells the coordinator when this party was last
        there; the list of leaves is not. It also convicts a forger in every case.

        Args:
            leaves: `leaf_hash` of every entry, 32 bytes each.
            note: the new checkpoint.

        Raises:
            NoteError, SignatureError, RollbackError, ForkError: as `advance`.
            ProofError: the checkpoint is not of these entries.
        """
        new, tree = open_checkpoint(note, self.log, self.witnesses, self.quorum), Tree(leaves)
        if (tree.size, tree.root()) != (new.checkpoint.size, new.checkpoint.root):
            raise ProofError("the checkpoint is not of these entries: fetch both again")
        if self.seen is not None:
            self._compare(self.seen.checkpoint, new)
            if self.size and (fork := prove_fork(self.seen, new, tree)) is not None:
                _refuse(fork)
        return replace(self, seen=new)

    def _compare(self, old: Checkpoint, new: SignedCheckpoint) -> None:
        if new.checkpoint.size < old.size:
            raise RollbackError(
                f"the coordinator shows {new.checkpoint.size} entries but has shown {old.size}: entries were taken back"
            )
        if new.checkpoint.size == old.size and new.checkpoint.root != old.root and self.note is not None:
            _refuse(ForkProof(self.note, new.note, new.checkpoint.root, ()))

    def _convict(self, old: Checkpoint, new: SignedCheckpoint, update: ConsistencyProof) -> None:
        """Raise ForkError if the failed proof is good for another past: then it shows the forger's."""
        if old.size == 0 or self.note is None:
            return
        past, present = implied_roots(0, old.size, new.checkpoint.size, update.hashes, old.root)
        if present == new.checkpoint.root:
            _refuse(ForkProof(self.note, new.note, past, update.hashes))


def witness(view: View, update: ConsistencyProof, signer: Signer, time: int) -> tuple[View, Signature]:
    """Check that a log has only grown, and cosign. Runs on the witness.

    Args:
        time: Unix seconds.

    Returns:
        The view to store, durably, before the cosignature is sent; and the cosignature.

    Raises:
        LedgerError, SignatureError: as `View.advance`; then nothing is signed.
        ValueError: the signer is not a witness.
    """
    advanced = view.advance(update)
    assert advanced.seen is not None
    return advanced, advanced.seen.cosign(signer, time)


def _refuse(fork: ForkProof) -> NoReturn:
    raise ForkError(
        "the coordinator has signed two ledgers that contradict each other: keep this proof and show it to others",
        fork.encode(),
    )
