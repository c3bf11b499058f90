"""One device's side of a secure sum, as its host runs it: what it must remember is kept before it replies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backrow.privacy import wire
from backrow.privacy.errors import MalformedMessageError, RefusedCallError
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg import steps
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall, SecureOpen, plan_digest, session_of

if TYPE_CHECKING:
    from backrow.privacy.secagg.device import SecureDevice

_DIGEST = 32


class Memory(Protocol):
    """Where a device keeps the state of its secure sums: secret, and there again after a restart."""

    def get(self, name: str) -> bytes | None:
        """What was put under this name."""
        ...

    def put(self, name: str, value: bytes) -> None:
        """Keep; durable when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What the coordinator says to every device at a step, its signature checked.

    Attributes:
        opening: at step 1.
        question, digest: at step 3.
    """

    opening: SecureOpen | None = None
    question: wire.RoundCall | None = None
    digest: bytes = b""


def hear(call: SecureCall, coordinator_key: bytes) -> Heard:
    """Check and read what is common to all devices of a step.

    Raises:
        SignatureError: not signed by the pinned coordinator.
        MalformedMessageError: not what belongs to the step, or of another round.
    """
    if call.step in (SHARE, AGREE, UNMASK) and not call.common:
        return Heard()
    if call.step not in (ADVERTISE, MASK):
        raise MalformedMessageError(f"a secure sum has no such message at step {call.step}: it is ignored")
    message = wire.decode_signed(call.common, coordinator_key)
    if isinstance(message, SecureOpen | wire.RoundCall):
        place = message.plan.run_id, message.plan.round
        if place == (call.run_id, call.round) and isinstance(message, SecureOpen) is (call.step == ADVERTISE):
            if isinstance(message, SecureOpen):
                return Heard(opening=message)
            return Heard(question=message, digest=wire.question_digest(message))
    raise MalformedMessageError(f"step {call.step} of a secure sum came with another step's or round's message")


@dataclass(frozen=True, slots=True)
class Participant:
    """A device in the secure sums of a run.

    Attributes:
        identity: its Ed25519 key, the same in every round.
        smallest_cohort: fewest devices in a sum.
        adversaries: fraction of the cohort that a round must stand as adversaries, at least.
        memory: one for each device, or `name` tells them apart.
        name: under which `memory` keeps the state.
        answer: computes this device's integers for a question, noise share included; called once a round.
        random: step to the source of that step's secrets.
    """

    identity: SigningKey
    smallest_cohort: int
    adversaries: float
    coordinator_key: bytes
    memory: Memory
    name: str
    answer: Callable[[wire.RoundCall], wire.IntArray]
    random: Callable[[int], RandomSource]

    def step(self, call: SecureCall, heard: Heard, part: bytes) -> bytes:
        """The reply to one step.

        Args:
            heard: of this call.
            part: what the protocol has for this device.

        Raises:
            RefusedCallError: this device took part in the round already, or the question is not the one announced.
            SecureSumError and its kin: a rule of the protocol is broken; the device drops out.
        """
        if call.step == ADVERTISE:
            assert heard.opening is not None
            return self._begin(heard.opening)
        plan, device = self._kept(call)
        match call.step:
            case steps.SHARE:
                after, reply = device.share(part, self.random(SHARE))
            case steps.MASK:
                assert heard.question is not None
                if heard.digest != device.session.question or plan_digest(heard.question.plan) != plan:
                    raise RefusedCallError("the question is not the one this round was opened for: not answered")
                after, reply = device.mask(part, self.answer(heard.question))
            case steps.AGREE:
                after, reply = device.agree(part)
            case _:
                after, reply = device.unmask(part)
        self.memory.put(self._key(call.run_id), plan + after.save())
        return reply

    def _begin(self, opening: SecureOpen) -> bytes:
        from backrow.privacy.secagg.device import SecureDevice
        from backrow.privacy.secagg.session import SecurePolicy

        key, plan = self._key(opening.plan.run_id), plan_digest(opening.plan)
        try:
            session = session_of(opening, self.coordinator_key)
        except ValueError as problem:
            raise RefusedCallError(f"there can be no such secure sum ({problem}): not answered") from None
        kept = self.memory.get(key)
        if kept is not None:
            former = SecureDevice.restore(kept[_DIGEST:], self.identity)
            if former.session == session and kept[:_DIGEST] == plan and former.state.NUMBER == ADVERTISE:
                return former.reply
            if former.session.round >= session.round:
                raise RefusedCallError("this device took part in the round already: a device counts once")
        policy = SecurePolicy(self.smallest_cohort, self.adversaries)
        device, reply = SecureDevice.begin(session, policy, self.identity, self.random(ADVERTISE))
        self.memory.put(key, plan + device.save())
        return reply

    def _kept(self, call: SecureCall) -> "tuple[bytes, SecureDevice]":
        from backrow.privacy.secagg.device import SecureDevice

        kept = self.memory.get(self._key(call.run_id))
        if kept is not None:
            device = SecureDevice.restore(kept[_DIGEST:], self.identity)
            if device.session.round == call.round:
                return kept[:_DIGEST], device
        raise RefusedCallError("this device takes no part in that round: not answered")

    def _key(self, run_id: str) -> str:
        return f"secure/{run_id}/{self.name}" if self.name else f"secure/{run_id}"
