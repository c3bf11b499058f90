"""What the entries read so far amount to: the state that every check of the next entry looks at. Pure."""

from dataclasses import dataclass, field

from backrow.privacy.audit.model import Closing
from backrow.privacy.ledger.entries import (
    EnrolmentEntry,
    OptOutEntry,
    PolicyEntry,
    PublicationEntry,
    ReleaseEntry,
    ReserveEntry,
    RetractionEntry,
    ScheduleEntry,
    VoidEntry,
)
from backrow.privacy.ledger.parts import Basis, Crowd, Spent
from backrow.privacy.ledger.signed_entry import SignedEntry


@dataclass(slots=True)
class Reserved:
    """One reservation and what became of it.

    Attributes:
        position: how many reservations stand before it.
        enrolment, opt_out: indices of the latest such entries before it; None if there were none.
        crowd, sentinels: of the first release that names it.
        sealed: index of the latest list of opt-outs before that release: the one that binds it.
    """

    index: int
    time: int
    position: int
    entry: ReserveEntry
    enrolment: int | None
    opt_out: int | None
    closing: Closing = Closing.OPEN
    close: int | None = None
    close_time: int | None = None
    crowd: Crowd | None = None
    sentinels: int | None = None
    sealed: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """An epsilon that an entry claims.

    Attributes:
        entry: its index.
        what: in words.
        last: position of the last reservation it covers; None: the positions in `rounds` only.
        upto: position of the last reservation that it could cover; None: it covers no other.
        accountant: who counted, where the entry says so.
    """

    entry: int
    what: str
    spent: Spent
    last: int | None
    rounds: tuple[int, ...]
    upto: int | None
    accountant: str | None = None


@dataclass(slots=True)
class Story:
    """Everything said so far. `tell` after the checks of an entry."""

    policy: PolicyEntry | None = None
    schedules: dict[str, ScheduleEntry] = field(default_factory=dict)
    reserves: list[Reserved] = field(default_factory=list)
    by_index: dict[int, Reserved] = field(default_factory=dict)
    open_of: dict[str, Reserved] = field(default_factory=dict)
    next_round: dict[str, int] = field(default_factory=dict)
    releases: dict[int, Reserved] = field(default_factory=dict)
    enrolments: dict[int, EnrolmentEntry] = field(default_factory=dict)
    opt_outs: dict[int, tuple[int, OptOutEntry]] = field(default_factory=dict)
    publications: dict[int, PublicationEntry] = field(default_factory=dict)
    retracted: set[int] = field(default_factory=set)
    others: list[SignedEntry] = field(default_factory=list)
    claims: list[Claimed] = field(default_factory=list)
    latest_enrolment: int | None = None
    latest_opt_out: int | None = None

    def tell(self, signed: SignedEntry, index: int) -> None:
        """Take one entry in."""
        match signed.body:
            case ReserveEntry() as entry:
                self._reserve(entry, index, signed.time)
            case ReleaseEntry() as entry:
                self._release(entry, index, signed.time)
            case VoidEntry(reserve=reserve):
                reserved = self.by_index.get(reserve)
                if reserved is not None and reserved.closing is Closing.OPEN:
                    self._close(reserved, Closing.VOID, index, signed.time)
            case _:
                self.others.append(signed)
                self._note(signed, index)

    def _note(self, signed: SignedEntry, index: int) -> None:
        match signed.body:
            case PolicyEntry() as policy if index == 0:
                self.policy = policy
            case ScheduleEntry() as entry:
                self.schedules.setdefault(entry.schedule.run_id, entry)
            case EnrolmentEntry() as entry:
                self.enrolments[index], self.latest_enrolment = entry, index
            case OptOutEntry() as entry:
                self.opt_outs[index], self.latest_opt_out = (signed.time, entry), index
            case PublicationEntry() as entry:
                self.publications[index] = entry
                rounds = [self.releases[each].position for each in entry.releases if each in self.releases]
                if rounds:
                    claimed = Claimed(
                        index, "the published model", entry.claim, None, tuple(rounds), len(self.reserves) - 1
                    )
                    self.claims.append(claimed)
            case RetractionEntry(entry=retracted):
                self.retracted.add(retracted)
            case _:
                pass

    def _reserve(self, entry: ReserveEntry, index: int, time: int) -> None:
        position, run = len(self.reserves), entry.plan.run_id
        reserved = Reserved(index, time, position, entry, self.latest_enrolment, self.latest_opt_out)
        self.reserves.append(reserved)
        self.by_index[index] = reserved
        self.open_of[run] = reserved
        if entry.basis is Basis.SCHEDULED:
            self.next_round[run] = entry.plan.round
        self.claims.append(Claimed(index, "everything reserved up to it", entry.cumulative, position, (), position))

    def _release(self, entry: ReleaseEntry, index: int, time: int) -> None:
        reserved = self.by_index.get(entry.reserve)
        if reserved is None:
            return
        position = reserved.position
        self.releases[index] = reserved
        self.claims.append(Claimed(index, "this release by itself", entry.alone, None, (position,), None))
        whole = Claimed(
            index, "everything reserved up to it", entry.cumulative, position, (), position, entry.accountant
        )
        self.claims.append(whole)
        if reserved.closing is Closing.OPEN:
            reserved.crowd, reserved.sentinels = entry.crowd, len(entry.sentinels)
            reserved.sealed = self.latest_opt_out
            self._close(reserved, Closing.RELEASED, index, time)

    def _close(self, reserved: Reserved, closing: Closing, index: int, time: int) -> None:
        reserved.closing, reserved.close, reserved.close_time = closing, index, time
        run = reserved.entry.plan.run_id
        if self.open_of.get(run) is reserved:
            del self.open_of[run]
