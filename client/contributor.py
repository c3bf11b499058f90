"""Answers calls for one device: first the policy, the ledger and the budget, then the history.

Whatever a reply costs or commits to is on disk before the reply is handed out.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from backrow.client.answers import answer_device, since_of, titles_of
from backrow.client.history import RawHistory
from backrow.client.ledger_watch import check_ledger
from backrow.client.model import PublicModel
from backrow.client.policy import DevicePolicy
from backrow.client.vault.store import Vault
from backrow.client.weights import RECENT_SECONDS
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.codec import MAGIC
from backrow.privacy.errors import MalformedMessageError, RefusedCallError
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import RandomSource
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall, SecureOpen

if TYPE_CHECKING:
    from backrow.client.spending import Spending

IDENTITY = "identity"

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


class VaultMemory:
    """A device's memory of its secure sums: sealed in its vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def get(self, name: str) -> bytes | None:
        """What was put under this name."""
        return self._vault.note(name)

    def put(self, name: str, value: bytes) -> None:
        """On disk when this returns."""
        self._vault.keep_note(name, value)


class Contributor:
    """One device's answers. Not for two threads at once.

    Args:
        vault: of participation.
        random: makes the source of one reply's rounding, noise and secrets.
        answerable: gives model and history.
        consent: asked again before the history is read.
    """

    def __init__(
        self,
        vault: Vault,
        policy: DevicePolicy,
        spending: "Spending",
        coordinator_key: bytes,
        random: Callable[[], RandomSource],
        answerable: Answerable,
        consent: Callable[[], bool],
    ) -> None:
        self._vault, self._policy, self._spending = vault, policy, spending
        self._key, self._random, self._answerable, self._consent = coordinator_key, random, answerable, consent

    def identity(self) -> SigningKey:
        """The device's key in secure sums; made and kept when first asked for."""
        seed = self._vault.note(IDENTITY)
        if seed is None:
            seed = self._random().bytes(32)
            self._vault.keep_note(IDENTITY, seed)
        return SigningKey(seed)

    def reply(self, data: bytes) -> bytes | None:
        """The bytes that may leave; None if the owner withdrew meanwhile. Raises as `Device.take_part`."""
        call = read_call(data, self._key)
        try:
            return self._step(call) if isinstance(call, SecureCall) else self._answer_in_the_clear(call)
        except _WithdrawnError:
            return None

    def _answer_in_the_clear(self, call: wire.RoundCall) -> bytes:
        if call.plan.aggregation is not Aggregation.TRUSTED:
            raise RefusedCallError("the question of a secure sum came outside of one: not answered in the clear")
        reserved_at = self._admit(call)
        values = self._answer(call)
        self._spending.reserve(call.plan, reserved_at)
        return wire.encode(wire.Contribution(call.plan.run_id, call.plan.round, call.plan.query.query, values))

    def _step(self, call: SecureCall) -> bytes:
        from backrow.client.secure import Participant, hear
        from backrow.privacy.wire_secure import SecureReply

        if len(call.parts) != 1:
            raise MalformedMessageError(f"a device is given its own part alone, these are {len(call.parts)}")
        ((name, part),) = call.parts.items()
        heard, when = hear(call, self._key), f"reserved/{call.run_id}"
        if heard.opening is not None:
            self._vault.keep_note(when, str(self._admit(heard.opening)).encode())

        def answer(question: wire.RoundCall) -> wire.IntArray:
            values = self._answer(question)
            self._spending.reserve(question.plan, int(self._vault.note(when) or b"0"))
            return values

        participant = Participant(
            self.identity(), self._policy.smallest_cohort, self._policy.adversaries, self._key,
            VaultMemory(self._vault), "", answer, lambda _: self._random(),
        )  # fmt: skip
        reply = participant.step(call, heard, part)
        return wire.encode(SecureReply(call.run_id, call.round, call.step, {name: reply}))

    def _admit(self, call: wire.RoundCall | SecureOpen) -> int:
        """When the round's budget was reserved. Raises RefusedCallError and LedgerErrors."""
        plan = call.plan
        self._policy.check(plan, call.cohort_size)
        reserved_at = check_ledger(plan, call.ledger, self._key, self._vault)
        self._spending.check(plan, reserved_at)
        return reserved_at

    def _answer(self, call: wire.RoundCall) -> wire.IntArray:
        source = self._random()
        if source.simulated and not call.plan.simulated:
            raise RefusedCallError("a seeded device answers simulated rounds only: open it with random=OsRandom")
        try:
            recent_seconds = int(call.settings.get("recent_seconds", RECENT_SECONDS))
            since, rows = since_of(call), (titles_of(call), call.catalogue)
        except (LookupError, ValueError) as problem:
            raise _lacking(problem) from problem
        if not self._consent():
            raise _WithdrawnError("the owner has withdrawn: not answered")
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


class _WithdrawnError(RefusedCallError):
    """The owner withdrew while the call was being answered."""


def _lacking(problem: Exception) -> RefusedCallError:
    return RefusedCallError(
        f"the call lacks what its trainer needs, or contradicts itself ({type(problem).__name__}): not answered"
    )
