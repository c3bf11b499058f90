"""The coordinator's rounds over a Flower grid: enrol, reserve, ask, add, noise, record, release."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from backrow.privacy import wire
from backrow.privacy.consent import purpose_of
from backrow.privacy.errors import BudgetExhaustedError, CohortError, MalformedMessageError, OptOutError, VoidRoundError
from backrow.privacy.plan import Aggregation, RoundPlan, Schedule
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.signing import SigningKey
from backrow.server.archive import Archive
from backrow.server.aside import HEAD_START, Aside
from backrow.server.book import Book
from backrow.server.cohort import Cohort, invite
from backrow.server.drawn import DrawnNoise
from backrow.server.hosting import Hosting
from backrow.server.outcome import Outcome, RoundReport
from backrow.server.programs.base import Answer
from backrow.server.programs.program import Program
from backrow.server.provenance import Provenances
from backrow.server.questions import upload_bytes, with_sentinel_rows
from backrow.server.round import OpenRound, Release, RoundSum, Void
from backrow.server.secure import SecureCollection, Sent
from backrow.server.suppression import SuppressionList

__all__ = ["Coordinator", "Outcome", "RoundReport", "pack", "unpack"]

START_TIMEOUT = 120.0
"""Seconds to wait for nodes to register."""
NODE_TIMEOUT = 3600.0
"""Seconds to wait for a node's answer; Flower reports dead nodes earlier."""


@dataclass(slots=True)
class Coordinator:
    """Runs a committed schedule once, or what an earlier coordinator left of it.

    Attributes:
        book: the ledger; what it holds already is replayed, not asked again.
        archive: the released integers.
        key: signs every call.
        noise: round number to the source of that round's noise.
        observe: told of every finished round.
        nodes: how many nodes to wait for before the first round; later rounds take whoever is there.
        problems: what nodes did wrong, in sentences; filled while running.
        suppression: who has opted out, read anew in every round; None: opt-outs are not taken, the list stays empty.
        after: called once every round is closed, rounds that are replayed included, with the program and all releases
            up to there; may publish.
    """

    schedule: Schedule
    program: Program
    book: Book
    archive: Archive
    key: SigningKey
    noise: Callable[[int], RandomSource]
    observe: Callable[[RoundReport], None]
    nodes: int = 1
    problems: list[str] = field(default_factory=list)
    suppression: SuppressionList | None = None
    after: Callable[[RoundPlan, Program, Sequence[Release]], None] = lambda plan, program, releases: None
    _hosting: Hosting = field(default_factory=Hosting)
    _provenances: Provenances = field(default_factory=Provenances)
    _releases: list[Release] = field(default_factory=list)
    _reports: list[RoundReport] = field(default_factory=list)
    _aside: Aside = field(default_factory=Aside, init=False)

    def run(self, grid: Grid) -> Outcome:
        """Every round of the schedule, or as far as the budget and the population carry.

        A void round costs its reserved budget and the run goes on; an exhausted budget ends it cleanly. Who opts out
        is not asked from the next round on, and is left out of a secure sum that has not been frozen.

        Raises:
            SuppressionError: the list of opt-outs cannot be read. Nothing more is asked.
            LedgerError: the disk refuses what the ledger holds.
        """
        with self._aside:
            outcome = self._run(grid)
        self.book.settle()
        return outcome

    def _run(self, grid: Grid) -> Outcome:
        program, stopped = self._replay(), None
        self._await_nodes(grid)
        for plan in self.schedule.rounds[len(self.book.closed) :]:
            started = time.monotonic()
            try:
                # Enrolment asks for no data. Without enough devices nothing is reserved and nothing is asked.
                cohort = self._enrol(grid, plan)
                reservation = self.book.reserve(plan, purpose=self.book.purpose_of(plan), settled=False)
            except (CohortError, BudgetExhaustedError) as problem:
                stopped = str(problem)
                break
            opened = OpenRound.open(plan, cohort, reservation)
            sent = Sent(upload_bytes(plan))
            closed: RoundSum | Void
            if plan.aggregation is Aggregation.SECURE:
                closed, sent = self._collect_securely(grid, opened, program)
            else:
                closed = self._collect(grid, opened, program)
            program = self._finish(closed, opened, program)
            self.after(plan, program, tuple(self._releases))
            ended = closed.reason if isinstance(closed, Void) else "released"
            took_part = 0 if isinstance(closed, Void) else closed.participants
            self._report(plan, ended, cohort.size, took_part, sent, time.monotonic() - started)
            self.observe(self._reports[-1])
        self._opted_out()  # whoever opted out after the last round stands in the ledger too
        return Outcome(program, tuple(self._releases), tuple(self._reports), stopped)

    def _finish(self, closed: RoundSum | Void, opened: OpenRound, program: Program) -> Program:
        """Record how the round ended; the program after it."""
        plan, query = opened.plan, opened.plan.query.query
        closed = self._heed_opt_outs(closed, opened.cohort)
        if isinstance(closed, Void):
            self.book.void(opened.reservation, closed.reason)
            return program.absorb(query, None)
        closed.noisy.flags.writeable = False  # what is kept, hashed and released is one and the same
        kept = self._aside.do(partial(self.archive.keep, plan.round, closed.noisy))
        digest = self._aside.do(closed.digest)
        after = program.absorb(query, _answer(closed))
        before, later = program.public_tensors(query), after.public_tensors(query)
        provenance, sentinels = self._provenances.of(program.settings, before, later), closed.sentinels
        receipt = self.book.release(
            opened.reservation,
            opened.cohort,
            closed.participants,
            digest(),
            sentinels,
            provenance,
            closed.rule,
            closed.survivors,
            settled=False,
            kept=kept,
        )
        self._releases.append(closed.release(receipt))
        return after

    def _replay(self) -> Program:
        """The program after the rounds that an earlier coordinator closed."""
        program = self.program
        for closed in self.book.closed:
            plan, answer, ended = closed.plan, None, "void before the run was resumed"
            if closed.receipt is None:
                self.archive.forget(plan.round)
            else:
                shape = (plan.query.rows, plan.query.columns)
                noisy = self.archive.load(plan.round, closed.receipt.digest, shape)
                total = RoundSum(plan, noisy, closed.participants)
                self._releases.append(total.release(closed.receipt))
                answer = _answer(total)
                ended = "released"
            program = program.absorb(plan.query.query, answer)
            self.after(plan, program, tuple(self._releases))
            self._report(plan, ended, closed.participants, closed.participants, Sent(upload_bytes(plan)), 0.0)
        return program

    def _report(self, plan: RoundPlan, ended: str, invited: int, took_part: int, sent: Sent, seconds: float) -> None:
        spent = self.book.spent_after(len(self._reports) + 1)
        self._reports.append(RoundReport(plan, ended, invited, took_part, spent, sent.bytes_up, seconds, sent.masked))

    def _await_nodes(self, grid: Grid) -> None:
        """Nodes register while Flower starts; give them time, then go on with those that are there."""
        give_up = time.monotonic() + START_TIMEOUT
        while len(list(grid.get_node_ids())) < self.nodes and time.monotonic() < give_up:
            time.sleep(0.1)

    def _enrol(self, grid: Grid, plan: RoundPlan) -> Cohort:
        """Ask every node anew: nodes come and go between rounds, and so do consents."""
        secure = plan.aggregation is Aggregation.SECURE
        call = wire.EnrolCall(plan.run_id, secure, plan.round, purpose_of(self.book.purpose_of(plan)))
        calls = self._hosting.calls(call, sorted(grid.get_node_ids()), self.suppression, self.key)
        replies = {}
        for node, message in self._exchange(grid, wire.ENROL_ACTION, calls):
            if (
                isinstance(message, wire.EnrolReply)
                and message.run_id == plan.run_id
                and len(message.identities) == (len(message.devices) if secure else 0)
            ):
                replies[node] = message
                continue
            self.problems.append(f"round {plan.round}: node {node} did not answer the enrolment call")
        self._hosting.heard(replies)
        return invite(dict(sorted(replies.items())), plan.minimum, plan.population, self._opted_out())

    def _opted_out(self) -> frozenset[str]:
        """Who has opted out by now, sealed in the ledger."""
        if self.suppression is None:
            return frozenset()
        self.suppression.refresh()
        return self.book.seal(self.suppression)

    def _heed_opt_outs(self, closed: RoundSum | Void, cohort: Cohort) -> RoundSum | Void:
        """No release if somebody in the sum is on the list that was sealed last. Edges do not say who is in theirs."""
        try:
            if not isinstance(closed, Void):
                self.book.seals.check(cohort.devices() if closed.survivors is None else closed.survivors)
        except OptOutError as problem:
            return Void(closed.plan, str(problem))
        return closed

    def _freeze(self, survivors: Collection[str]) -> None:
        """Seal the list anew; the sum of anybody on it is never unmasked."""
        self._opted_out()
        try:
            self.book.seals.check(survivors)
        except OptOutError as problem:
            raise VoidRoundError(f"opted out before the sum was frozen: {problem}") from None

    def _call(self, opened: OpenRound, program: Program) -> wire.RoundCall:
        """The round's question; whom it goes to is left empty."""
        plan = opened.plan
        question = program.ask(plan.query.query)
        tensors = {name: with_sentinel_rows(tensor, plan) for name, tensor in question.tensors.items()}
        catalogue = program.settings.catalogue
        proof = self.book.proof(opened.reservation)
        size = opened.cohort.size
        return wire.RoundCall(plan, question.trainer, size, (), tensors, question.settings, catalogue, proof)

    def _collect_securely(self, grid: Grid, opened: OpenRound, program: Program) -> tuple[RoundSum | Void, Sent]:
        """The noisy sum of a round whose devices mask their answers, or why there is none; and what they sent."""
        plan, settings = opened.plan, program.settings
        self.book.settle()  # the reservation, before the first message
        collection = SecureCollection(
            opened.cohort,
            self._call(opened, program),
            Tolerance(settings.adversaries, settings.dropouts),
            self.key,
            lambda calls: self._exchange(grid, wire.SECURE_ACTION, calls),
            self.problems,
            self._opted_out,
            self._freeze,
        )
        closed: RoundSum | Void
        try:
            done = collection.collect()
            closed = opened.settle(done.values, done.survivors, done.rule).close(self.noise(plan.round))
        except VoidRoundError as problem:
            closed = Void(plan, str(problem))
        return closed, collection.sent

    def _collect(self, grid: Grid, opened: OpenRound, program: Program) -> RoundSum | Void:
        """The noisy sum of a round whose edges add. What does not need their answers is made while they train."""
        plan, call, nodes = opened.plan, self._call(opened, program), opened.cohort.nodes.items()
        calls = {node: wire.encode_signed(replace(call, devices=names), self.key) for node, names in nodes}
        self.book.settle()  # the reservation, before the first message
        drawn = self._aside.do(lambda: DrawnNoise(plan, self.noise(plan.round), self.noise), HEAD_START)
        seen = self._aside.do(lambda: self.book.crowds.commitment(opened.cohort), HEAD_START)
        for node, message in self._exchange(grid, wire.ANSWER_ACTION, calls):
            try:
                if not isinstance(message, wire.BlindSum):
                    raise MalformedMessageError(f"node {node} answered with a {type(message).__name__}")
                opened = opened.add(node, message)
            except MalformedMessageError as problem:
                self.problems.append(f"round {plan.round}: {problem}")
        seen()
        return opened.close(drawn())

    def _exchange(self, grid: Grid, action: str, calls: Mapping[int, bytes]) -> Iterable[tuple[int, wire.Message]]:
        messages = [Message(pack(data), node, action) for node, data in calls.items()]
        for reply in grid.send_and_receive(messages, timeout=NODE_TIMEOUT):
            node = reply.metadata.src_node_id
            if reply.has_error():
                self.problems.append(f"node {node} failed: {reply.error.reason}")
                continue
            try:
                yield node, wire.decode(unpack(reply.content))
            except MalformedMessageError as problem:
                self.problems.append(f"node {node}: {problem}")


def _answer(total: RoundSum) -> Answer:
    """A closed round as programs read it."""
    return Answer(total.values, total.plan.noise_scale, total.plan.noise_multiplier, total.spread)


def pack(data: bytes) -> RecordDict:
    """One wire message as Flower content."""
    return RecordDict({wire.RECORD: ConfigRecord({wire.FIELD: data})})


def unpack(content: RecordDict) -> bytes:
    """The wire message in Flower content.

    Raises:
        MalformedMessageError: there is none.
    """
    record = content.get(wire.RECORD)
    data = record.get(wire.FIELD) if isinstance(record, ConfigRecord) else None
    if not isinstance(data, bytes):
        raise MalformedMessageError("the Flower message carries no backrow message")
    return data
