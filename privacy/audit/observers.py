"""The ledger against checkpoints that others have seen of it, and those who have cosigned its own. Pure."""

from collections.abc import Sequence

from backrow.privacy.audit.evidence import Seen, Witnesses
from backrow.privacy.audit.findings import Fault, Findings, counted
from backrow.privacy.audit.model import Cosigned
from backrow.privacy.errors import BackrowError, LedgerError, ProofError, SignatureError
from backrow.privacy.ledger.checkpoint import SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.fork import ForkProof, prove_fork
from backrow.privacy.ledger.note import Note
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


def check_witnesses(note: bytes, key: bytes, witnesses: Witnesses, found: Findings) -> tuple[Cosigned, ...]:
    """Who stands behind a checkpoint, besides the coordinator. One key counts once, under whatever names.

    Args:
        note: the checkpoint, a readable note.
        key: the coordinator's.

    Raises:
        LedgerError: the auditor takes the coordinator for a witness.
    """
    read = Note.parse(note)
    good: dict[bytes, Cosigned] = {}
    for witness in witnesses.keys:
        if witness.public == key:
            raise LedgerError(f"the witness {witness.name} has the coordinator's own key: name an independent one")
        mine = [s for s in read.signatures if (s.name, s.key_id) == (witness.name, witness.key_id)]
        try:
            times = [signature.time for signature in read.verified([witness])] if mine else []
        except SignatureError:
            found.add(
                Fault.COSIGNATURE,
                f"The checkpoint bears a cosignature in the name of {witness.name} that its key did not make: it was "
                "changed, or copied from another checkpoint.",
            )
            continue
        if times:
            good.setdefault(witness.public, Cosigned(witness.name, witness.public, max(times)))
    if len(good) < witnesses.demanded:
        found.add(
            Fault.WITNESSES,
            f"{counted(len(good), 'witness has', 'witnesses have')} cosigned the checkpoint, {witnesses.demanded} "
            "must: too few besides the coordinator have seen this ledger.",
        )
    return tuple(good.values())


def strangers(note: bytes, key: bytes, witnesses: Witnesses) -> tuple[str, ...]:
    """Names on a checkpoint whose keys the auditor does not have: anybody could have written them."""
    read = Note.parse(note)
    known = {(each.name, each.key_id) for each in (*witnesses.keys, log_key(note, key))}
    return tuple(dict.fromkeys(s.name for s in read.signatures if (s.name, s.key_id) not in known))


def _proof(signed: SignedCheckpoint | None, theirs: SignedCheckpoint, tree: Tree, seen: Seen) -> list[ForkProof]:
    if signed is None:
        return []
    larger = tree if signed.checkpoint.size >= theirs.checkpoint.size else Tree(seen.leaves)
    try:
        proof = prove_fork(signed, theirs, larger)
    except ProofError:
        return []
    return [] if proof is None else [proof]
