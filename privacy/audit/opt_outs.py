"""Who may leave a list of opt-outs: by a newer statement, signed by the key that put her there. Pure.

Which key is an owner's own, the statements do not show: the first one under a pseudonym binds it. Her receipt does.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault, Findings, counted
from backrow.privacy.audit.story import Reserved, Story
from backrow.privacy.consent import ConsentRecord, OptOutRequest
from backrow.privacy.errors import BackrowError, LedgerError
from backrow.privacy.statements import Statement, check_follows, digests, parsed

NEVER = 2**63


class Heard(NamedTuple):
    """What was compared with the signed statements.

    Attributes:
        statements: how many were handed over; None: not handed over.
        committed: the ledger commits to statements: when they came is not the coordinator's word alone.
        left: how often somebody left a list.
        receipts: of owners, compared with lists and statements.
    """

    statements: int | None
    committed: bool
    left: int
    receipts: int


class Journal:
    """The statements that were handed over, without those that are not what they should be.

    Args:
        lines: as `Lists.statements`.
        found: told of every statement that is left out.
    """

    def __init__(self, lines: Sequence[bytes], found: Findings) -> None:
        self.statements: list[Statement | None] = []
        self.names: dict[bytes, set[str]] = {}
        self.beginnings = digests(lines)
        self._placed: dict[str, list[tuple[int, Statement]]] = {}
        self._used: dict[str, int] = {}
        self._standing: tuple[int, set[str]] = (0, set())
        for number, line in enumerate(lines):
            try:
                self.statements.append(self._taken(number, line))
            except (BackrowError, ValueError, LookupError, TypeError, RecursionError) as problem:
                self.statements.append(None)
                found.add(
                    Fault.STATEMENT,
                    f"Statement {number + 1} of those handed over does not count ({problem}).",
                )

    def of(self, name: str) -> list[tuple[int, Statement]]:
        """What was signed under a pseudonym, each with its place; all by one key, each newer than the one before."""
        return self._placed.get(name, [])

    def may_leave(self, name: str, upto: int) -> bool:
        """Whether there is an opt-out and a newer statement that lifts it among the first `upto`; each serves once."""
        first = self._used.get(name, -1)
        asked = next((place for place, each in self.of(name) if place > first and not each.record.granted), upto)
        lifts = (place for place, each in self.of(name) if asked < place < upto and each.record.granted)
        if (lifted := next(lifts, None)) is None:
            return False
        self._used[name] = lifted
        return True

    def standing(self, upto: int) -> set[str]:
        """Whose newest statement among the first `upto` is an opt-out; asked for in growing order."""
        done, names = self._standing
        for each in self.statements[done:upto]:
            if each is not None:
                names.discard(each.pseudonym) if each.record.granted else names.add(each.pseudonym)
        self._standing = max(done, upto), names
        return names

    def _taken(self, number: int, line: bytes) -> Statement:
        statement = parsed(line)
        placed = self.of(statement.pseudonym)
        check_follows(placed[-1][1] if placed else None, statement)
        self.names.setdefault(statement.record.device, set()).add(statement.pseudonym)
        self._placed.setdefault(statement.pseudonym, []).append((number, statement))
        return statement


def check_statements(
    lists: Lists, sealed: Mapping[int, Sequence[str]], story: Story, receipts: Sequence[OptOutRequest], found: Findings
) -> Heard:
    """That nobody left a list, or never came onto it, against her newest signed word.

    Args:
        sealed: those of the lists of opt-outs that are the committed ones, by entry.
        receipts: opt-outs that owners have kept.

    Raises:
        LedgerError: nobody can tell which pseudonym a receipt is about.
    """
    journal = Journal(lists.statements or (), found)
    before, upto, committed, left = frozenset[str](), len(journal.statements), False, 0
    for index, (_, entry) in sorted(story.opt_outs.items()):
        standing: set[str] = set()
        if lists.statements is not None and entry.statements is not None:
            number = journal.beginnings.get(entry.statements)
            if number is None or (committed and number < upto):
                found.add(
                    Fault.LISTS,
                    f"The statements handed over are not those that entry {index} commits to, or it takes back some "
                    "that an earlier entry had committed to.",
                    index,
                )
            else:
                upto, standing = number, journal.standing(number)
            committed = True
        if (people := sealed.get(index)) is None:
            continue
        now = frozenset(people)
        gone = before - now
        unsigned = {name for name in gone if not journal.may_leave(name, upto)}
        left += len(gone)
        if unsigned:
            found.add(
                Fault.DROPPED,
                f"{counted(len(unsigned), 'person', 'people')} who stood on the list of opt-outs before entry {index} "
                "left it with that entry, and no newer statement, signed by the key that asked for the opt-out, "
                f"{'allows it' if lists.statements is not None else 'was handed over that allows it'}.",
                index,
            )
        if missing := standing - now - unsigned:
            found.add(
                Fault.DROPPED,
                f"The list of opt-outs that entry {index} seals leaves out {counted(len(missing), 'person', 'people')} "
                "whose newest signed statement, to which it commits, is an opt-out.",
                index,
            )
        before = now
    for request in receipts:
        if not (names := {request.pseudonym} - {""} or journal.names.get(request.record.device, set())):
            raise LedgerError(
                "a receipt names no pseudonym, and no statement that was handed over is signed by its key: nobody can "
                "tell whom it is about; ask for an opt-out that names the pseudonym"
            )
        for name in sorted(names):
            _check_receipt(request.record, name, lists, journal, story, found)
    return Heard(None if lists.statements is None else len(journal.statements), committed, left, len(receipts))


def _check_receipt(
    record: ConsentRecord, name: str, lists: Lists, journal: Journal, story: Story, found: Findings
) -> None:
    """That its signer was not invited once her opt-out had come, until she took it back."""
    said, signed = journal.of(name), datetime.fromtimestamp(min(record.at, 2**35), UTC).strftime("%Y-%m-%d %H:%M UTC")
    if said and said[0][1].record.device != record.device:
        found.add(
            Fault.DROPPED,
            f"The opt-out of {signed} that its owner has kept was replaced: what was handed over under her pseudonym "
            "is signed by another key than hers.",
        )
        return
    mine = [(place, each) for place, each in said if not each.record.granted and each.record.counter >= record.counter]
    came = min((each.at for _, each in mine), default=record.at)
    if mine:  # not believed to have come later than the ledger committed to it
        sure = [
            time for time, entry in story.opt_outs.values()
            if journal.beginnings.get(entry.statements or b"", 0) > mine[0][0]
        ]  # fmt: skip
        came = min([came, *sure])
    lifted = min((each.at for _, each in said if each.record.granted and each.record.counter > record.counter),
                 default=NEVER)  # fmt: skip
    asked = [
        index for index, reserved in sorted(story.releases.items())
        if came < _looked(reserved, story) and reserved.time < lifted and name in lists.participants.get(index, ())
    ]  # fmt: skip
    if asked:
        found.add(
            Fault.DROPPED,
            f"The opt-out of {signed} that its owner has kept was not heeded: afterwards she was invited to "
            f"{counted(len(asked), 'round', 'rounds')} of which a sum was released (entries "
            f"{', '.join(map(str, asked[:20]))}), and no newer statement by her key had allowed it.",
            *asked[:20],
        )


def _looked(reserved: Reserved, story: Story) -> int:
    """Until when an opt-out must have come so that a round had to heed it: the end of the one before, Unix seconds."""
    if reserved.position:
        earlier = story.reserves[reserved.position - 1]
        return earlier.time if earlier.close_time is None else earlier.close_time
    before = bisect_right(sorted(story.opt_outs), reserved.index)
    return min((time for time, _ in list(story.opt_outs.values())[:before]), default=0)
