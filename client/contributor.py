"""Answers calls for one device: first the policy, the ledger and the budget, then the history.

Whatever a reply costs or commits to is on disk before the reply is handed out. Consent is asked for the one purpose
that the round's reservation names, at each of the four gates (`gates`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backrow.client.answers import answer_device, since_of, titles_of
from backrow.client.egress import EgressLog
from backrow.client.gates import Gates, WithdrawnError
from backrow.client.history import RawHistory
from backrow.client.ledger_watch import check_ledger
from backrow.client.model import PublicModel
from backrow.client.policy import DevicePolicy
from backrow.client.rounds import Begun, Rounds
from backrow.client.vault.store import Vault
from backrow.client.weights import RECENT_SECONDS
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.codec import MAGIC
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import MalformedMessageError, RefusedCallError
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg.steps import UNMASK
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall, SecureOpen

if TYPE_CHECKING:
    from backrow.client.spending import Spending

Answerable = Callable[[int, int | None], tuple[PublicModel | None, RawHistory | None]]
"""(recent seconds, since) to the installed model and the history in its rows."""


def read_call(data: bytes, coordinator_key: bytes) -> wire.RoundCall | SecureCall:
    """What a device is asked. A step of a secure sum is checked as it is taken.

    Raises:
        SignatureError, MalformedMessageError: it is neither.
        RefusedCallError: another message of the coordinator.
    """
    message = wire.decode(data) if data.startswith(MAGIC) else wire.decode_signed(data, coordinator_key)
    if isinstance(message, SecureCall) is data.startswith(MAGIC) and isinstance(message, wire.RoundCall | SecureCall):
        return message
    raise RefusedCallError(f"a device answers round calls only, this is a {type(message).__name__}")


class Contributor:
    """One device's answers. Not for two threads at once.

    Args:
        vault: of participation.
        identity: the device's key in secure sums.
        random: makes the source of one reply's rounding, noise and secrets.
        answerable: gives model and history.
        gates: ask for consent.
        egress: where everything that is handed out is written first.
    """

    def __init__(
        self,
        vault: Vault,
        policy: DevicePolicy,
        spending: "Spending",
        coordinator_key: bytes,
        identity: Callable[[], SigningKey],
        random: Callable[[], RandomSource],
        answerable: Answerable,
        gates: Gates,
        egress: EgressLog,
    ) -> None:
        self._vault, self._policy, self._spending = vault, policy, spending
        self._key, self._identity, self._random, self._answerable = coordinator_key, identity, random, answerable
        self._gates, self._egress, self._rounds = gates, egress, Rounds(vault)

    def reply(self, data: bytes) -> bytes | None:
        """The bytes that may leave; None if a gate stopped them. Raises as `Device.take_part`."""
        call = read_call(data, self._key)
        try:
            return self._step(call) if isinstance(call, SecureCall) else self._answer_in_the_clear(call)
        except WithdrawnError:
            return None

    def leave(self) -> None:
        """Drop out of every secure sum and forget what it needed. Raises: VaultError."""
        self._rounds.leave()

    def _answer_in_the_clear(self, call: wire.RoundCall) -> bytes:
        if call.plan.aggregation is not Aggregation.TRUSTED:
            raise RefusedCallError("the question of a secure sum came outside of one: not answered in the clear")
        reserved_at, purpose = self._admit(call)
        values = self._answer(call, purpose)
        self._spending.reserve(call.plan, reserved_at)
        data = wire.encode(wire.Contribution(call.plan.run_id, call.plan.round, call.plan.query.query, values))
        self._gates.before_sending(purpose)
        self._egress.answered(data, purpose, call.plan)
        return data

    def _step(self, call: SecureCall) -> bytes:
        from backrow.client.secure import Participant, hear
        from backrow.privacy.wire_secure import SecureReply

        if len(call.parts) != 1:
            raise MalformedMessageError(f"a device is given its own part alone, these are {len(call.parts)}")
        ((name, part),) = call.parts.items()
        heard = hear(call, self._key)
        if heard.opening is not None:
            begun = Begun(call.round, *self._admit(heard.opening), heard.opening.plan.query.query)
            self._rounds.check(call.run_id, call.round, begun.purpose)
            self._gates.before_advertising(begun.purpose)
        else:
            begun = self._rounds.going_on(call.run_id, call.round)
            if call.step == UNMASK:
                self._gates.before_unmasking(begun.purpose)

        def answer(question: wire.RoundCall) -> wire.IntArray:
            values = self._answer(question, begun.purpose)
            self._spending.reserve(question.plan, begun.at)
            return values

        participant = Participant(
            self._identity(), self._policy.smallest_cohort, self._policy.adversaries, self._key,
            self._rounds, "", answer, lambda _: self._random(),
        )  # fmt: skip
        reply = participant.step(call, heard, part)
        if heard.opening is not None:
            self._rounds.begin(call.run_id, begun)
        data = wire.encode(SecureReply(call.run_id, call.round, call.step, {name: reply}))
        asked = None if heard.question is None else heard.question.plan
        self._gates.before_sending(begun.purpose)
        self._egress.stepped(data, begun.purpose, begun.query, call.step, asked)
        return data

    def _admit(self, call: wire.RoundCall | SecureOpen) -> tuple[int, Purpose]:
        """When the round's budget was reserved, and what for. Raises RefusedCallError and LedgerErrors."""
        plan = call.plan
        self._policy.check(plan, call.cohort_size)
        reserved_at, purpose = check_ledger(plan, call.ledger, self._key, self._vault)
        self._spending.check(plan, reserved_at)
        return reserved_at, purpose

    def _answer(self, call: wire.RoundCall, purpose: Purpose) -> wire.IntArray:
        source = self._random()
        if source.simulated and not call.plan.simulated:
            raise RefusedCallError("a seeded device answers simulated rounds only: open it with random=OsRandom")
        try:
            recent_seconds = int(call.settings.get("recent_seconds", RECENT_SECONDS))
            since, rows = since_of(call), (titles_of(call), call.catalogue)
        except (LookupError, ValueError) as problem:
            raise _lacking(problem) from problem
        self._gates.before_reading(purpose)
        try:
            model, history = self._answerable(recent_seconds, since)
            if model is None or history is None or rows != (len(model.ids), catalogue_digest(model.ids)):
                raise RefusedCallError(
                    "the call is about a catalogue this device does not have: install its bundle first"
                )
            return answer_device(call, history, source)
        except ImportError as problem:
            raise RefusedCallError(f"the call's trainer needs {problem.name}, which is not installed here") from None
        except (LookupError, ValueError) as problem:
            raise _lacking(problem) from problem


def _lacking(problem: Exception) -> RefusedCallError:
    return RefusedCallError(
        f"the call lacks what its trainer needs, or contradicts itself ({type(problem).__name__}): not answered"
    )
