"""Whether the files of a ledger are one coordinator's, whole and in order. Pure; never repairs.

This is the structure only. Whether the entries are true (epsilon, budgets, order of events) is the audit's part.
"""

from collections.abc import Collection
from dataclasses import dataclass

from backrow.privacy.errors import ClockError, DamagedLedgerError
from backrow.privacy.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.keys import VerifierKey
from backrow.privacy.ledger.note import Note
from backrow.privacy.ledger.signed_entry import SignedEntry, open_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash


@dataclass(frozen=True, slots=True)
class LedgerFiles:
    """What lies in the files of a ledger, not checked.

    Attributes:
        lines: of ledger.jsonl, without their newlines.
        tail: what follows the last newline; empty in a ledger that is whole.
        checkpoint: the signed note.
    """

    lines: tuple[bytes, ...]
    tail: bytes
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class VerifiedLedger:
    """A ledger whose structure, signatures and root were checked. Made by `verify_files` only."""

    entries: tuple[SignedEntry, ...]
    signed: SignedCheckpoint
    tree: Tree


def verify_files(
    files: LedgerFiles, public_key: bytes, witnesses: Collection[VerifierKey] = (), quorum: int = 0
) -> VerifiedLedger:
    """The ledger, if every line is an entry signed by this key, in its place, and the checkpoint is theirs.

    Args:
        files: as `store.read_files` gives them.
        public_key: the pinned coordinator's, 32 bytes.
        witnesses, quorum: as of `open_checkpoint`.

    Raises:
        NoteError, SignatureError: the checkpoint is damaged, or not this coordinator's.
        MalformedEntryError, UnknownEntryError: a line is not an entry.
        SignatureError: an entry is not signed by this coordinator.
        ClockError: time runs backwards.
        DamagedLedgerError: entries are missing, moved or cut off, or the checkpoint is of others.
    """
    signed = open_checkpoint(files.checkpoint, log_key(files.checkpoint, public_key), witnesses, quorum)
    entries: list[SignedEntry] = []
    tree = Tree()
    for line in files.lines:
        entry = open_entry(line, public_key)
        check_place(entry, signed.checkpoint.origin, tree.size, entries[-1].time if entries else 0)
        entries.append(entry)
        tree.append(leaf_hash(line))
    if files.tail:
        raise DamagedLedgerError("the last line is not finished: the coordinator must open its ledger to repair it")
    check_prefix(tree, signed.checkpoint)
    if tree.size != signed.checkpoint.size:
        raise DamagedLedgerError(
            f"{tree.size - signed.checkpoint.size} entries follow the checkpoint, which covers "
            f"{signed.checkpoint.size}: the coordinator must open its ledger to sign them"
        )
    return VerifiedLedger(tuple(entries), signed, tree)


def log_key(note: bytes, public_key: bytes) -> VerifierKey:
    """The pinned key under the name that this checkpoint gives its log.

    Raises:
        NoteError: it is no checkpoint.
    """
    return VerifierKey(Checkpoint.parse(Note.parse(note).text).origin, public_key)


def check_place(entry: SignedEntry, origin: str, index: int, not_before: int) -> None:
    """Return if an entry belongs where it stands.

    Args:
        not_before: time of the entry before it.

    Raises:
        DamagedLedgerError: it is of another ledger, or from another place.
        ClockError: it is older than the one before it.
    """
    if entry.origin != origin:
        raise DamagedLedgerError(f"entry {index} is of the ledger {entry.origin!r}, not {origin!r}: it was put here")
    if entry.index != index:
        raise DamagedLedgerError(
            f"entry {entry.index} stands at place {index}: entries were removed, repeated or moved"
        )
    if entry.time < not_before:
        raise ClockError(f"entry {index} is {not_before - entry.time} s older than the one before it: check the clock")


def check_prefix(tree: Tree, checkpoint: Checkpoint) -> None:
    """Return if the entries begin with those of the checkpoint.

    Raises:
        DamagedLedgerError: there are fewer, or others.
    """
    if tree.size < checkpoint.size:
        raise DamagedLedgerError(
            f"the ledger holds {tree.size} entries, its checkpoint covers {checkpoint.size}: entries were removed; "
            "restore the file"
        )
    if tree.root(checkpoint.size) != checkpoint.root:
        raise DamagedLedgerError(
            f"the first {checkpoint.size} entries are not those of the checkpoint: the ledger or the checkpoint was "
            "replaced; restore both"
        )
