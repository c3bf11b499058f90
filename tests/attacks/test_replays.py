"""The same round again and again: the noise of many answers to one question would average out."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.client.secure import Participant, hear
from backrow.privacy import wire
from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall, SecureOpen, session_of
from tests.unit.client.devices import COORDINATOR, round_call

COUNTS = {f"d{n}": np.array([200 * n, -400, 600 + 200 * n]) for n in range(5)}
NOISE, TIMES = 50.0, 64


class Kept(dict[str, bytes]):
    """A host's memory."""

    def put(self, name: str, value: bytes) -> None:
        self[name] = value


class Forgetful(Kept):
    """A host that has forgotten the round by the time it is over."""

    def put(self, name: str, value: bytes) -> None:
        super().put(name, value)
        if SecureDevice.restore(value[32:], IDENTITY[name.split("/")[-1]]).state.NUMBER == 5:
            del self[name]


IDENTITY = {name: SigningKey(SeededRandom(n, "hosts").bytes(32)) for n, name in enumerate(COUNTS)}


def averaged(memories: Mapping[str, Kept]) -> NDArray[np.int64]:
    """The mean of 64 noisy sums, all of one round, to the nearest possible count."""
    question = round_call(
        rows=3, cohort=5, minimum=5, population=5, omitted=0.2, noise=Noise.SHARES, scale=2.0**11,
        rounding=Rounding.DEVICE_STOCHASTIC, aggregation=Aggregation.SECURE, run_id="again",
    )  # fmt: skip
    members = {name: key.public for name, key in IDENTITY.items()}
    opening = SecureOpen(
        question.plan, 5, cohort_digest(members), wire.question_digest(question), 0.05, 0.05, question.ledger
    )
    session, share = session_of(opening, COORDINATOR.public), DiscreteGaussian(NOISE)
    random = SeededRandom(1, "again")
    devices = {
        name: Participant(
            key, 3, 0.05, COORDINATOR.public, memories[name], name,
            lambda _, name=name: COUNTS[name] + share.sample(random, 3), lambda _: random,
        )
        for name, key in IDENTITY.items()
    }  # fmt: skip

    def ask(step: int, parts: Mapping[str, bytes]) -> dict[str, bytes]:
        message = {1: opening, 3: question}.get(step)
        common = b"" if message is None else wire.encode_signed(message, COORDINATOR)
        call = SecureCall("again", 1, step, common, parts)
        return {name: devices[name].step(call, hear(call, COORDINATOR.public), part) for name, part in parts.items()}

    total = np.zeros(3)
    for _ in range(TIMES):
        secure = SecureRound(session, members, COORDINATOR)
        secure.take_advertisements(ask(1, dict.fromkeys(members, b"")))
        secure.take_shares(ask(2, secure.send_rosters()))
        for name, reply in ask(3, secure.send_boxes()).items():
            secure.add_masked([name], messages.decode_masked(reply, session))
        secure.take_agreements(ask(4, secure.send_survivors()))
        secure.take_answers(ask(5, secure.send_agreements()))
        total += secure.result().values
    return np.rint(total / TIMES / 200).astype(np.int64) * 200


def test_a_round_that_is_asked_again_and_again_loses_its_noise_if_hosts_forget_it() -> None:
    # Of one sum the noise has standard deviation 112, of the mean of 64 of them 14: 7 of these to the next count.
    np.testing.assert_array_equal(averaged({name: Forgetful() for name in COUNTS}), sum(COUNTS.values()))


def test_a_round_is_answered_once_whoever_asks_how_often() -> None:
    with pytest.raises(RefusedCallError, match="a device counts once"):
        averaged({name: Kept() for name in COUNTS})
