"""Opening a ledger that may have been cut off while it was written. Runs on the coordinator.

An append is done once its lines and then a new checkpoint are on disk. So a crash, at any byte, leaves the
entries of the checkpoint whole, and after them at most what one unfinished append has written. The rule:

1. The entries that the checkpoint covers must be there, unchanged. Otherwise nothing is repaired.
2. Whole lines after them must be entries signed by this coordinator, in place. They are kept: a reservation
   is never forgotten. Any other line is damage, and nothing is repaired.
3. An unfinished last line (no newline) never was in force. It is removed, in one step with 4.
4. What was done is told to the caller and appended as a finding, with the hash of what was removed.
"""

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from backrow.privacy.errors import ClockError
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.entries import FindingEntry
from backrow.privacy.ledger.files import lines_of, sync_folder, write_all
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.signed_entry import decode_entry, open_entry, sign_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash, sha256
from backrow.privacy.ledger.verification import check_place, check_prefix

UNFINISHED = "unfinished-append"
"""The finding that a repair leaves."""
_PIECE = 2**20


@dataclass(frozen=True, slots=True)
class Repair:
    """What opening a ledger had to put right.

    Attributes:
        kept: indices of whole entries after the last checkpoint.
        removed: bytes of an unfinished line.
    """

    kept: tuple[int, ...]
    removed: bytes

    def __str__(self) -> str:
        done = f"{len(self.kept)} whole entries after the last checkpoint were kept"
        if self.removed:
            done += f", an unfinished line of {len(self.removed)} bytes (SHA-256 {sha256(self.removed).hex()}) removed"
        return f"the coordinator stopped while it wrote: {done}"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A ledger file that is whole again.

    Attributes:
        tree: of all its entries, that of a repair included.
        time: of the last entry, 0 if there is none.
        repair: what was done; if anything, the checkpoint must be signed anew.
    """

    tree: Tree
    time: int
    repair: Repair | None


def recover(path: Path, checkpoint: Checkpoint, signer: Signer, time: int) -> Recovered:
    """Check a ledger file against its verified checkpoint, and repair its end by the rule above.

    Args:
        time: Unix seconds, for the record of a repair.

    Raises:
        DamagedLedgerError: entries of the checkpoint are missing or changed, or a line is out of place.
        MalformedEntryError, UnknownEntryError, SignatureError: a whole line at the end is no entry of this
            coordinator.
        ClockError: time runs backwards, now or between entries; nothing was repaired.
    """
    tree, last_time, last, tail, whole = Tree(), 0, b"", b"", 0
    with path.open("rb") as file:
        for raw in lines_of(file):
            if not raw.endswith(b"\n"):
                tail = raw
                break
            last, whole = raw[:-1], whole + len(raw)
            if tree.size >= checkpoint.size:
                entry = open_entry(last, signer.key.public)
                check_place(entry, checkpoint.origin, tree.size, last_time)
                last_time = entry.time
            if tree.append(leaf_hash(last)) == checkpoint.size - 1:
                last_time = decode_entry(last).time
    check_prefix(tree, checkpoint)
    kept = tuple(range(checkpoint.size, tree.size))
    if not (kept or tail):
        return Recovered(tree, last_time, None)
    if time < last_time:
        raise ClockError(f"the clock runs {last_time - time} s behind the last entry: set it; nothing was repaired")
    repair = Repair(kept, tail)
    finding = FindingEntry(UNFINISHED, repair.kept, str(repair))
    line = sign_entry(signer.key, signer.name, tree.size, time, finding).encode()
    _replace_tail(path, whole, line + b"\n")
    tree.append(leaf_hash(line))
    return Recovered(tree, time, repair)


def _replace_tail(path: Path, whole: int, line: bytes) -> None:
    """Keep the first `whole` bytes and add a line, in one step: the tail is there, or the finding about it."""
    draft = path.with_name(f".{path.name}")
    with path.open("rb") as old, FileIO(draft, "wb") as new:
        for start in range(0, whole, _PIECE):
            write_all(new, old.read(min(_PIECE, whole - start)))
        write_all(new, line)
        os.fsync(new.fileno())
    draft.replace(path)
    sync_folder(path.parent)
