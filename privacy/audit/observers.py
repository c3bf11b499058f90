"""The ledger against checkpoints that others have seen of it. Pure."""

from collections.abc import Sequence

from backrow.privacy.audit.evidence import Seen
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.errors import BackrowError, LedgerError, ProofError
from backrow.privacy.ledger.checkpoint import SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.fork import ForkProof, prove_fork
from backrow.privacy.ledger.tree import Tree
from backrow.privacy.ledger.verification import log_key


def check_seen(
    seen: Sequence[Seen], key: bytes, signed: SignedCheckpoint | None, tree: Tree, found: Findings
) -> tuple[ForkProof, ...]:
    """Whether this ledger extends what others have seen.

    Args:
        signed: the ledger's own checkpoint, verified; None if it has none, and then no proof can be made.
        tree: of its entries.

    Returns:
        Proofs of forks, for anybody.

    Raises:
        LedgerError: a checkpoint that the auditor brought is not one of this coordinator.
    """
    proofs = []
    for each in seen:
        try:
            theirs = open_checkpoint(each.note, log_key(each.note, key))
        except BackrowError as problem:
            raise LedgerError(f"{each.name} is no checkpoint of this coordinator ({problem}): bring another") from None
        if signed is not None and theirs.checkpoint.origin != signed.checkpoint.origin:
            raise LedgerError(f"{each.name} is a checkpoint of another ledger, {theirs.checkpoint.origin!r}")
        size = theirs.checkpoint.size
        if size <= tree.size:
            forked = tree.root(size) != theirs.checkpoint.root
        else:
            forked = len(each.leaves) >= size and Tree(each.leaves[:size]).root(tree.size) != tree.root()
            if not forked:
                found.add(
                    Fault.ROLLED_BACK,
                    f"{each.name} shows that the coordinator has signed {size} entries; now it shows {tree.size}: "
                    "entries were taken back.",
                )
        if forked:
            found.add(
                Fault.FORKED,
                f"{each.name} is signed for {size} entries that are not the ones of this ledger: the coordinator has "
                "told two people two stories.",
            )
            proofs += _proof(signed, theirs, tree, each)
    return tuple(proofs)


def _proof(signed: SignedCheckpoint | None, theirs: SignedCheckpoint, tree: Tree, seen: Seen) -> list[ForkProof]:
    if signed is None:
        return []
    larger = tree if signed.checkpoint.size >= theirs.checkpoint.size else Tree(seen.leaves)
    try:
        proof = prove_fork(signed, theirs, larger)
    except ProofError:
        return []
    return [] if proof is None else [proof]
