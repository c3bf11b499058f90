"""The coordinator's side of the ledger: reserve before a round's first message, release or void after it.

Everything a run releases stands in one ledger under one budget. A reservation counts as spent whether or not
a release follows: a crash can waste budget, never hide it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from backrow.privacy.errors import BookError
from backrow.privacy.ledger.entries import (
    EnrolmentEntry,
    OptOutEntry,
    PolicyEntry,
    PublicationEntry,
    ReleaseEntry,
    ReserveEntry,
    ScheduleEntry,
    VoidEntry,
)
from backrow.privacy.ledger.parts import Additions, Basis, Provenance, Purpose
from backrow.privacy.ledger.pseudonyms import key_commitment
from backrow.privacy.ledger.releases import CLOSED_FORM, ZCDP, release_entry
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_plan import LedgerProof
from backrow.server.budget import added, check_budget, spent_epsilon, spent_of
from backrow.server.cohort import Cohort
from backrow.server.crowd import Crowds
from backrow.server.policy import LedgerPolicy
from backrow.server.receipts import Closed, Receipt, Reservation
from backrow.server.seals import Seals
from backrow.server.suppression import SuppressionList


class Book:
    """Writes one run's ledger. Make it with `begin` or `resume`; close it.

    Attributes:
        closed: how every round so far ended, in order.
        participants: entry of a release to the pseudonyms invited; secret, for an auditor who is to see them.
        survivors: entry of a release to the pseudonyms in its sum, where that is known; secret like them.
        seals, crowds: the sealed suppression lists, and who was seen in cohorts.
    """

    def __init__(
        self, ledger: Ledger, policy: LedgerPolicy, schedule: Schedule, epoch_key: bytes, clock: Callable[[], int]
    ) -> None:
        """Use `begin` or `resume`."""
        self._ledger, self._policy, self._schedule, self._clock = ledger, policy, schedule, clock
        self._reserves: list[ReserveEntry] = []
        self._lines: dict[int, bytes] = {}
        self._open: Reservation | None = None
        self._purposes: tuple[Purpose, ...] = ()
        self.seals, self.crowds = Seals(epoch_key), Crowds(epoch_key)
        self._published: set[tuple[bytes, bytes]] = set()
        self.closed: list[Closed] = []
        self.participants: dict[int, Sequence[str]] = {}
        self.survivors: dict[int, Sequence[str]] = {}

    @classmethod
    def begin(
        cls,
        folder: Path,
        key: SigningKey,
        policy: LedgerPolicy,
        schedule: Schedule,
        devices: int,
        epoch_key: bytes,
        clock: Callable[[], int],
        suppression: SuppressionList | None = None,
        purposes: tuple[Purpose, ...] | None = None,
    ) -> "Book":
        """Start a ledger: policy, committed schedule, enrolment, and the suppression list.

        Args:
            folder: must exist and hold no ledger.
            devices: N, how many are enrolled.
            epoch_key: 32 secret bytes, under which pseudonyms are hashed.
            clock: Unix seconds.
            suppression: None: opt-outs are not taken, the list stays empty.
            purposes: one for every round; None: all train.

        Raises:
            LedgerError: there is a ledger, or it cannot be written.
        """
        rules = policy.write(folder)
        ledger = Ledger.create(folder, f"backrow/{schedule.run_id}", key)
        entry = PolicyEntry(
            rules, key.public, policy.stamp, schedule.unit, schedule.adjacency, policy.epsilon, policy.delta,
            policy.purposes, policy.additions, policy.minimum,
        )  # fmt: skip
        purposes = (Purpose.TRAIN,) * len(schedule.rounds) if purposes is None else purposes
        opt_outs = Seals(epoch_key).entry(suppression)
        ledger.append_all(
            [entry, ScheduleEntry(schedule, purposes), EnrolmentEntry(devices, key_commitment(epoch_key)), opt_outs],
            clock(),
        )
        book = cls(ledger, policy, schedule, epoch_key, clock)
        book._purposes = purposes
        book.seals.take(ledger.size - 1, opt_outs, ledger.time, suppression.opted_out if suppression else ())
        return book

    @classmethod
    def resume(
        cls,
        folder: Path,
        key: SigningKey,
        policy: LedgerPolicy,
        schedule: Schedule,
        epoch_key: bytes,
        clock: Callable[[], int],
        suppression: SuppressionList | None = None,
    ) -> "Book":
        """Go on after a crash. A round that was open is voided: its budget stays spent, it is not asked again.

        Args:
            suppression: as `begin`; it must hold every list that the ledger has sealed.

        Raises:
            LedgerError and its kin: the ledger is damaged, or another process writes it.
            BookError: it is the ledger of another schedule.
            SuppressionError: the suppression list is older than the ledger, or another one.
        """
        book = cls(Ledger.open(folder, key, clock()), policy, schedule, epoch_key, clock)
        try:
            book._replay(suppression)
        except BaseException:
            book.close()
            raise
        return book

    @property
    def spent(self) -> float | None:
        """Epsilon of everything reserved so far; None where no privacy is claimed."""
        return self.spent_after(len(self._reserves))

    def spent_after(self, rounds: int) -> float | None:
        """Epsilon of the first so many reservations; None where no privacy is claimed."""
        entries = self._reserves[:rounds]
        if self._schedule.epsilon is None:
            return None
        return spent_epsilon([entry.plan for entry in entries], self._schedule.delta, added(entries))

    def purpose_of(self, plan: RoundPlan) -> Purpose:
        """What the schedule has committed a round to."""
        return self._purposes[plan.round - 1]

    def seal(self, suppression: SuppressionList) -> frozenset[str]:
        """Commit to the list as it is now, if it is not the sealed one; whom it names, for whoever invites.

        Before a round's reservation, and again when its survivors are frozen: what was sealed last binds a release.
        """
        if suppression.opted_out != self.seals.people:
            entry = self.seals.entry(suppression)
            receipt = self._ledger.append(entry, self._now())
            self.seals.take(receipt.index, entry, self._ledger.time, suppression.opted_out)
        return self.seals.people

    def reserve(
        self, plan: RoundPlan, *, purpose: Purpose = Purpose.TRAIN, basis: Basis = Basis.SCHEDULED, settled: bool = True
    ) -> Reservation:
        """Set a round's budget aside, durably, before its first message; `settled` False: call `settle` before that.

        Raises:
            BookError: a round is still open; or this is not the schedule's next round; or the policy allows
                no additions.
            BudgetExhaustedError: with it, the total, or its purpose's, would exceed the budget.
        """
        if self._open is not None:
            raise BookError(f"round {self._open.round} is still open: release or void it first")
        self._check_place(plan, basis)
        filtered = basis is Basis.ADDITION or added(self._reserves)
        check_budget(plan, purpose, self._reserves, self._schedule, self._policy.purposes, filtered)
        plans = [*(entry.plan for entry in self._reserves), plan]
        entry = ReserveEntry(purpose, plan, basis, spent_of(plans, self._schedule, filtered))
        receipt = self._ledger.append(entry, self._now(), settled=settled)
        self._reserves.append(entry)
        self._lines[receipt.index] = receipt.line
        self._open = Reservation(plan.round, receipt.index)
        return self._open

    def proof(self, reservation: Reservation) -> LedgerProof:
        """What a round's call shows to devices: its reservation, in a ledger that has only grown."""
        return LedgerProof(self._ledger.checkpoint, self._ledger.leaves, self._lines[reservation.index])

    def release(
        self,
        reservation: Reservation,
        cohort: Cohort,
        participants: int,
        digest: str,
        sentinels: tuple[int, ...],
        provenance: Provenance,
        rule: Neighbourhood | None = None,
        survivors: tuple[str, ...] | None = None,
        settled: bool = True,
        kept: Callable[[], object] = lambda: None,
    ) -> Receipt:
        """Record a release; the receipt is what `RoundSum.release` asks for.

        Args:
            rule: of the secure sum; None where edges are trusted.
            survivors: who is in a secure sum; None where edges add: then everyone invited counts.
            settled: False: its checkpoint is on the way, see `settle`.
            kept: waits until the values are on disk: not before then does the ledger say so.

        Raises:
            OptOutError: one of them had opted out. Nothing is recorded: void the round.
        """
        self.seals.check(cohort.devices() if survivors is None else survivors)
        self._close_open(reservation)
        reserve = self._reserves[-1]
        crowd = self.crowds.see(cohort, participants, reserve.plan, rule, *self.seals.current, survivors)
        entry = release_entry(
            reservation.index, reserve, self._schedule, crowd, provenance, bytes.fromhex(digest),
            spent_of([reserve.plan], self._schedule), ZCDP if added(self._reserves) else CLOSED_FORM, sentinels,
        )  # fmt: skip
        written = self._ledger.append(entry, self._now(), settled=settled, after=kept)
        self.participants[written.index] = self.crowds.devices
        if survivors is not None:
            self.survivors[written.index] = tuple(sorted(survivors))
        receipt = Receipt(reservation.round, digest, written.index)
        self.closed.append(Closed(reserve.plan, receipt, participants))
        return receipt

    def void(self, reservation: Reservation, reason: str) -> None:
        """Record that a reserved round released nothing. Its budget stays spent."""
        self._close_open(reservation)
        self._ledger.append(VoidEntry(reservation.index, reason), self._now())
        self.closed.append(Closed(self._reserves[-1].plan, None, 0))

    def publish(self, receipts: list[Receipt], manifest: bytes, model: bytes) -> None:
        """Record a model bundle; hashes of its manifest and tensors, 32 bytes each."""
        if (manifest, model) in self._published:
            return  # a resumed run writes the same bytes again
        self._published.add((manifest, model))
        claim = spent_of([entry.plan for entry in self._reserves], self._schedule, added(self._reserves))
        indices = tuple(receipt.index for receipt in receipts)
        self._ledger.append(PublicationEntry(self._schedule.run_id, indices, manifest, model, claim), self._now())

    def settle(self) -> None:
        """Wait until the checkpoint over everything recorded is on disk too. Raises: LedgerError: the disk refuses."""
        self._ledger.settle()

    def close(self) -> None:
        """Let go of the files."""
        self._ledger.close()

    def _now(self) -> int:
        """The clock, never before the last entry: a corrected clock must not keep a round from being closed."""
        return max(self._clock(), self._ledger.time)

    def _check_place(self, plan: RoundPlan, basis: Basis) -> None:
        if basis is Basis.ADDITION:
            if self._policy.additions is not Additions.ZCDP or plan.correlation is not None:
                raise BookError(
                    "the policy allows no release outside the committed schedule, or it has correlated noise, whose "
                    "draws are used once: nothing is sent"
                )
            return
        position = sum(entry.basis is Basis.SCHEDULED for entry in self._reserves)
        if position >= len(self._schedule.rounds) or plan != self._schedule.rounds[position]:
            raise BookError(f"round {plan.round} is not the next round of the committed schedule: nothing is sent")

    def _close_open(self, reservation: Reservation) -> None:
        if self._open != reservation:
            raise BookError(f"round {reservation.round} is not open: it was released or voided before")
        self._open = None

    def _replay(self, suppression: SuppressionList | None) -> None:
        begun = False
        for signed in self._ledger.entries():
            match signed.body:
                case ScheduleEntry(schedule=schedule) if schedule != self._schedule:
                    raise BookError("this is the ledger of another schedule: resume with the run's own settings")
                case ScheduleEntry(purposes=purposes):
                    self._purposes = purposes
                case OptOutEntry() as entry:
                    self.seals.take(signed.index, entry, signed.time, self.seals.named_by(entry, suppression))
                    begun = True  # the last of the four entries that a ledger begins with
                case ReserveEntry() as entry:
                    self._reserves.append(entry)
                    self._open = Reservation(entry.plan.round, signed.index)
                case ReleaseEntry() as entry:
                    receipt = Receipt(entry.plan.round, entry.values.hex(), signed.index)
                    self.closed.append(Closed(entry.plan, receipt, entry.crowd.survived))
                    self._open = None
                case VoidEntry():
                    self.closed.append(Closed(self._reserves[-1].plan, None, 0))
                    self._open = None
                case PublicationEntry(manifest=manifest, model=model):
                    self._published.add((manifest, model))
        if not begun:
            raise BookError("the ledger was cut off before its schedule and nothing was asked: begin in a new folder")
        if self._open is not None:
            self.void(self._open, "the coordinator stopped while this round was open")
