"""Drives one secure sum over the edges: five steps out and back. What it learns is the sum and who is in it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from backrow.privacy import wire
from backrow.privacy.errors import BackrowError, VoidRoundError
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_plan import NO_PROOF
from backrow.privacy.wire_secure import SecureCall, SecureOpen, SecureReply, session_of
from backrow.server.cohort import Cohort

Exchange = Callable[[Mapping[int, bytes]], Iterable[tuple[int, wire.Message]]]
"""Node to the bytes for it, to the messages that came back; nodes that fail are not among them."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A secure sum.

    Attributes:
        values: shape (coordinates,), noise shares of the survivors included.
        survivors: whose answers it is made of, sorted.
        rule: neighbours and threshold.
    """

    values: wire.IntArray
    survivors: tuple[str, ...]
    rule: Neighbourhood


@dataclass(frozen=True, slots=True)
class Sent:
    """What devices sent in a round.

    Attributes:
        bytes_up: by one device; in a secure sum the average over those that advertised, rounded up.
        masked: masked vectors.
    """

    bytes_up: int
    masked: int = 0


@dataclass(slots=True)
class SecureCollection:
    """One round's secure sum.

    Attributes:
        question: what is asked, its devices left empty: the same for everybody.
        tolerance: what the round stands.
        exchange: carries messages to edges and back.
        problems: what edges and devices did wrong, in sentences.
        suppressed: who has opted out by now, asked before answers are collected and before the sum is frozen: they
            are left out from there.
        freeze: told who is in the sum before anybody is asked to unmask it; raises `VoidRoundError` if it must not be.
    """

    cohort: Cohort
    question: wire.RoundCall
    tolerance: Tolerance
    key: SigningKey
    exchange: Exchange
    problems: list[str]
    suppressed: Callable[[], Collection[str]]
    freeze: Callable[[Collection[str]], None]
    _bytes: int = 0
    _masked: int = 0
    _devices: int = 0
    _home: dict[str, int] = field(default_factory=dict)

    def collect(self) -> Collected:
        """Run the five steps.

        Raises:
            VoidRoundError: too few devices stayed; nothing of the sum is known, the budget stays reserved.
        """
        plan = self.question.plan
        self._home = {name: node for node, names in self.cohort.nodes.items() for name in names}
        opening = SecureOpen(
            plan,
            self.cohort.size,
            self._cohort_digest(),
            wire.question_digest(self.question),
            self.tolerance.adversaries,
            self.tolerance.dropouts,
            self.question.ledger,
        )
        try:
            session = session_of(opening, self.key.public)
        except ValueError as problem:
            raise VoidRoundError(str(problem)) from None
        secure = SecureRound(session, self.cohort.identities, self.key)
        try:
            return self._steps(secure, opening)
        finally:
            self.problems += [
                f"round {plan.round}: device {each.device} at step {each.step}: {each.reason}"
                for each in secure.problems
            ]

    def _steps(self, secure: SecureRound, opening: SecureOpen) -> Collected:
        signed_opening = wire.encode_signed(opening, self.key)
        signed_question = wire.encode_signed(replace(self.question, ledger=NO_PROOF), self.key)
        for reply in self._ask(ADVERTISE, dict.fromkeys(self._home, b""), signed_opening):
            secure.take_advertisements(reply.parts)
        rosters = secure.send_rosters()
        self._devices = len(rosters)
        for reply in self._ask(SHARE, rosters):
            secure.take_shares(reply.parts)
        boxes, suppressed = secure.send_boxes(), self.suppressed()
        boxes = {name: box for name, box in boxes.items() if name not in suppressed}
        for reply in self._ask(MASK, boxes, signed_question):
            if reply.summed:
                secure.add_masked(reply.summed, reply.values)
                self._masked += len(reply.summed)
                self._bytes += len(reply.summed) * reply.values.nbytes
        survivors = self._frozen(secure)
        for reply in self._ask(AGREE, survivors):
            secure.take_agreements(reply.parts)
        for reply in self._ask(UNMASK, secure.send_agreements()):
            secure.take_answers(reply.parts)
        done = secure.result()
        return Collected(done.values, done.survivors, secure.rule)

    def _frozen(self, secure: SecureRound) -> dict[str, bytes]:
        """Who is in the sum, from here on. Who has opted out by now has dropped out of it."""
        gone = secure.leave_out(self.suppressed())
        try:
            survivors = secure.send_survivors()
        except VoidRoundError as problem:
            if not gone:
                raise
            raise VoidRoundError(
                f"somebody opted out before the sum was frozen, and {gone - 1} others of one piece left too: {problem}"
            ) from None
        self.freeze(survivors.keys())  # asked once more: nobody came on the list in between
        return survivors

    @property
    def sent(self) -> Sent:
        """So far."""
        return Sent(-(-self._bytes // max(self._devices, 1)), self._masked)

    def _ask(self, step: int, parts: Mapping[str, bytes], common: bytes = b"") -> Iterable[SecureReply]:
        """Replies of the edges to one step, as they come."""
        plan = self.question.plan
        by_node: dict[int, dict[str, bytes]] = {}
        for name, part in parts.items():
            by_node.setdefault(self._home[name], {})[name] = part
        calls = {
            node: wire.encode(SecureCall(plan.run_id, plan.round, step, common, mine))
            for node, mine in sorted(by_node.items())
        }
        for node, message in self.exchange(calls):
            if not isinstance(message, SecureReply) or (message.run_id, message.round, message.step) != (
                plan.run_id, plan.round, step,
            ):  # fmt: skip
                self.problems.append(f"round {plan.round}: node {node} answered another question at step {step}")
            elif strangers := {*message.parts, *message.summed} - by_node[node].keys():
                self.problems.append(f"round {plan.round}: node {node} answered for {min(strangers)}, not its own")
            else:
                self._bytes += sum(map(len, message.parts.values()))
                yield message

    def _cohort_digest(self) -> bytes:
        try:
            return cohort_digest(self.cohort.identities)
        except BackrowError as problem:
            raise VoidRoundError(str(problem)) from None
