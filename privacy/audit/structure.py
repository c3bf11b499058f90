"""Whether the lines of a ledger are one coordinator's entries, whole and in order. Pure; never repairs.

`ledger.verification` refuses at the first fault; an auditor wants them all, each by its name.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise

from backrow.privacy.audit.findings import MOST_ALIKE, Fault, Findings, counted
from backrow.privacy.audit.signatures import Signatures
from backrow.privacy.errors import BackrowError, DamagedLedgerError, NoteError, SignatureError, UnknownEntryError
from backrow.privacy.ledger.checkpoint import SignedCheckpoint, open_checkpoint
from backrow.privacy.ledger.signed_entry import SignedEntry, decode_entry, payload_of
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.ledger.verification import log_key

_BEYOND = 2**62
_BATCH, _BATCH_BYTES = 1024, 2**23
"""Lines whose signatures are verified together, at most."""


class Structure:
    """Fed every line in order (`feed`, once), then `finish`.

    Args:
        key: to verify against; None if nobody named one: then nothing counts as signed.
        note: the checkpoint; None if it is missing.
    """

    def __init__(self, key: bytes | None, note: bytes | None, found: Findings) -> None:
        self.tree = Tree()
        self.signed: SignedCheckpoint | None = None
        self._key, self._found = key, found
        self._places = array("q")
        self._earlier: tuple[int, int] | None = None
        self._unsigned: list[int] = []
        self._foreign: list[int] = []
        self._clock: list[int] = []
        self._malformed = False
        self.origin = ""
        self._open(note)

    def _open(self, note: bytes | None) -> None:
        if note is None:
            self._found.add(Fault.UNREADABLE, "The checkpoint is missing: nobody has signed this ledger as a whole.")
            return
        if self._key is None:
            return
        try:
            self.signed = open_checkpoint(note, log_key(note, self._key))
            self.origin = self.signed.checkpoint.origin
        except SignatureError:
            self._found.add(
                Fault.CHECKPOINT_SIGNATURE,
                "The checkpoint does not bear the coordinator's signature: it was changed, or somebody else signed it.",
            )
        except NoteError as problem:
            self._found.add(Fault.CHECKPOINT, f"The checkpoint cannot be read: {problem}.")

    def feed(self, lines: Iterable[bytes]) -> Iterator[tuple[int, SignedEntry]]:
        """The entries in these lines, each with its newline, and the places where they stand; what is none is noted."""
        with Signatures(self._key) as signatures:
            for some in _in_batches(lines):
                read = [self._read(line, self.tree.size + place) for place, line in enumerate(some)]
                pairs = list(zip(some, read, strict=True))
                good = iter(signatures.check([(payload_of(line[:-1], e), e.signature) for line, e in pairs if e]))
                for line, entry in pairs:
                    index = self.tree.size
                    self._place(line, entry, entry is not None and next(good))
                    if entry is not None:
                        yield index, entry

    def _read(self, line: bytes, index: int) -> SignedEntry | None:
        if not line.endswith(b"\n"):
            self._found.add(
                Fault.UNFINISHED,
                f"The last line, at place {index}, breaks off after {len(line)} bytes: writing was interrupted, or the "
                "file was cut.",
                index,
            )
            return None
        try:
            return decode_entry(line[:-1])
        except UnknownEntryError as problem:
            self._found.add(Fault.UNKNOWN, f"Line {index + 1}: {problem}.", index)
        except BackrowError as problem:
            self._found.add(Fault.MALFORMED, f"Line {index + 1} is not an entry: {problem}.", index)
        return None

    def _place(self, line: bytes, entry: SignedEntry | None, signed: bool) -> None:
        index = self.tree.size
        if entry is None:
            self._malformed = True
            if not line.endswith(b"\n"):
                return
        self.tree.append(leaf_hash(line[:-1]))
        if entry is None or not signed:
            # What an entry without a signature says of its own place is anybody's word.
            if entry is not None:
                self._unsigned.append(index)
            self._places.append(index)
            return
        self._places.append(min(entry.index, _BEYOND))
        self.origin = self.origin or entry.origin
        if entry.origin != self.origin:
            self._foreign.append(index)
        if self._earlier is not None and entry.time < self._earlier[1]:
            self._clock.append(index)
        self._earlier = (index, entry.time)

    def finish(self) -> None:
        """Judge what only the whole shows."""
        if self.tree.size == 0 and not self._malformed:
            self._found.add(Fault.EMPTY, "The ledger holds no entry: there is nothing to rely on.")
        if self._unsigned:
            whose = "the coordinator" if self._key is not None else "a coordinator whose key is known"
            self._found.add(
                Fault.SIGNATURE,
                f"{_entries(self._unsigned)} not signed by {whose}: changed after signing, or signed by somebody else.",
                *self._unsigned[:MOST_ALIKE],
            )
        self._order()
        if self._foreign:
            self._found.add(
                Fault.FOREIGN,
                f"{_entries(self._foreign)} signed for another ledger than {self.origin!r}, and was put here.",
                *self._foreign[:MOST_ALIKE],
            )
        elif self._clock and not self._misplaced:
            self._found.add(
                Fault.CLOCK,
                f"{_entries(self._clock)} dated earlier than the entry before: a clock ran backwards, or dates are "
                "invented.",
                *self._clock[:MOST_ALIKE],
            )
        self._compare()

    @property
    def _misplaced(self) -> bool:
        return any(fault in self._found for fault in (Fault.REMOVED, Fault.REPEATED, Fault.MOVED))

    def _order(self) -> None:
        places = self._places
        if all(place == index for index, place in enumerate(places)) or self._foreign:
            return
        ordered = sorted(places)
        twice = sorted({left for left, right in pairwise(ordered) if left == right})
        gaps = [(left + 1, right) for left, right in pairwise([-1, *ordered]) if right > left + 1]
        first = list(dict.fromkeys(places))
        moved = [right for left, right in pairwise(first) if right < left]
        if twice:
            self._found.add(Fault.REPEATED, f"{_entries(twice)} in the ledger more than once.", *twice[:MOST_ALIKE])
        if gaps:
            missing = [start for start, _ in gaps]
            gone = counted(sum(end - start for start, end in gaps), "entry is", "entries are")
            self._found.add(
                Fault.REMOVED,
                f"{gone} missing, from entry {missing[0]} on: signed, then taken out.",
                *missing[:MOST_ALIKE],
            )
        if moved:
            self._found.add(
                Fault.MOVED,
                f"{_entries(moved)} not in the place in which it was signed: the order was changed.",
                *moved[:MOST_ALIKE],
            )

    def _compare(self) -> None:
        """Hold the lines against the checkpoint; a fault that was named already is not named twice."""
        if self.signed is None or self._unsigned or self._malformed or self._misplaced or self._foreign:
            return
        size, covered = self.tree.size, self.signed.checkpoint.size
        if size < covered:
            if size and Fault.UNREADABLE not in self._found:
                self._found.add(
                    Fault.CUT_OFF,
                    f"The ledger ends after {size} entries; the coordinator has signed {covered}: "
                    f"{counted(covered - size, 'entry was', 'entries were')} taken away from the end.",
                    size - 1,
                )
            return
        if self.tree.root(covered) != self.signed.checkpoint.root:
            self._found.add(
                Fault.REWRITTEN,
                f"The first {covered} entries are signed one by one, but are not those that the checkpoint was signed "
                "for: an entry was replaced.",
            )
        elif size > covered:
            self._found.add(
                Fault.UNCOVERED,
                f"{counted(size - covered, 'entry', 'entries')} from entry {covered} on are under no checkpoint: the "
                "coordinator stopped before it signed them, or somebody else added them. Opening its ledger "
                "settles this.",
                covered,
            )


def _in_batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines in order, so many at a time; those before a line that cannot be read come first."""
    some: list[bytes] = []
    size = 0
    try:
        for line in lines:
            some.append(line)
            size += len(line)
            if len(some) == _BATCH or size >= _BATCH_BYTES:
                yield some
                some, size = [], 0
    except (DamagedLedgerError, OSError):
        yield some
        raise
    yield some


def _entries(indices: list[int]) -> str:
    if len(indices) == 1:
        return f"Entry {indices[0]} is"
    shown = ", ".join(map(str, indices[:3])) + (", ..." if len(indices) > 3 else "")
    return f"{len(indices)} entries ({shown}) are"
