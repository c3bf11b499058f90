"""Attacks on the sum itself: false shares, vectors of other rounds or lengths, numbers that wrap, NaN in the question.

A coordinator or an edge that wants a wrong sum can always have one; these are devices and outsiders.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.privacy import clipping, plan, wire
from backrow.privacy.errors import (
    MalformedMessageError,
    NonFiniteUpdateError,
    RosterError,
    UnsafePlanError,
    VoidRoundError,
)
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import coordinator, edge
from backrow.privacy.secagg.masks import from_ring, to_ring
from backrow.privacy.signing import CALL
from tests import builders
from tests.attacks.malice import VICTIM, Spied, at_step_2, on_ring, spied
from tests.secure_sums import COORDINATOR as SUMMING
from tests.unit.client.devices import COORDINATOR, ready, round_call

# False shares


def lied_to() -> Spied:
    """One device vanishes, so that no share of its key is to spare; a neighbour of it answers falsely."""
    run = spied(20).until(2)
    order = on_ring(run)
    run.dropped = {order[2]: 3}
    for step in (3, 4):
        run.take(step, run.step(step))
    replies = run.step(5)
    false = bytes(byte ^ (place % 32 == 31) for place, byte in enumerate(replies[VICTIM][2:]))
    run.take(5, replies | {VICTIM: replies[VICTIM][:2] + false})
    return run


def test_a_false_share_makes_the_sum_garbage_if_secrets_are_not_held_against_commitments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for rule in ("seed_fits", "key_fits"):
        monkeypatch.setattr(coordinator, rule, lambda *_: lambda _: True)
    run = lied_to()
    result = run.secure.result()
    assert len(result.survivors) == 19
    assert not np.any(result.values == run.expected(result.survivors))


def test_a_false_share_without_which_nothing_opens_ends_the_round() -> None:
    # With a share to spare it is found and left out: tests/unit/privacy/secagg/test_unmasking.py.
    with pytest.raises(VoidRoundError, match="garbage"):
        lied_to().secure.result()


# Vectors that do not belong


def finished(run: Spied, replies: dict[str, bytes]) -> tuple[np.ndarray, tuple[str, ...]]:
    run.take(3, replies)
    for step in (4, 5):
        run.take(step, run.step(step))
    result = run.secure.result()
    return result.values, result.survivors


def replayed() -> tuple[Spied, dict[str, bytes]]:
    """The victim's edge adds its vector of the round before."""
    run, former = spied(20, round=2).until(2), spied(20, round=1).until(3)
    return run, run.step(3) | {VICTIM: former.replies[3][VICTIM]}


def short() -> tuple[Spied, dict[str, bytes]]:
    """The victim sends one number, which is added to every coordinate."""
    run = spied(20).until(2)
    replies = run.step(3)
    return run, replies | {VICTIM: replies[VICTIM][:38]}


Attack = Callable[[], tuple[Spied, dict[str, bytes]]]


def whatever_it_is(data: bytes, _: object) -> NDArray[np.uint32]:
    return np.frombuffer(data, dtype="<u4", offset=34)


@pytest.mark.parametrize("attack", [replayed, short])
def test_a_vector_that_does_not_belong_makes_the_sum_garbage_if_the_edge_takes_it(
    monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    monkeypatch.setattr(edge, "decode_masked", whatever_it_is)
    run, replies = attack()
    values, survivors = finished(run, replies)
    assert VICTIM in survivors
    assert np.mean(values != run.expected(survivors)) >= 3 / 4


@pytest.mark.parametrize(("attack", "reason"), [(replayed, "another round"), (short, "bytes here, got 38")])
def test_a_vector_that_does_not_belong_is_not_added_and_its_device_has_dropped_out(attack: Attack, reason: str) -> None:
    run, replies = attack()
    blind = edge.add_blind(run.session, replies)
    assert reason in blind.refused[VICTIM]
    values, survivors = finished(run, replies)
    assert VICTIM not in survivors
    assert len(survivors) == 19
    np.testing.assert_array_equal(values, run.expected(survivors))


def twice(run: Spied) -> tuple[np.ndarray, tuple[str, ...]]:
    """An edge reports the victim's vector two times."""
    replies = run.step(3)
    run.add([VICTIM], replies)
    return finished(run, replies)


class Gullible(coordinator.SecureRound):
    def add_masked(self, names, vector):  # type: ignore[no-untyped-def]
        places = [self._inbox.place(name) for name in names]
        self._pieces.add(places, vector)
        self._alive.update(places)


def test_a_vector_that_is_added_twice_makes_the_sum_garbage_if_nobody_remembers() -> None:
    run = spied(20)
    run.secure = Gullible(run.session, {name: key.public for name, key in run.keys.items()}, SUMMING)
    run.edges = 20
    values, survivors = twice(run.until(2))
    assert not np.any(values == run.expected(survivors))


def test_a_vector_is_added_once() -> None:
    run = spied(20).until(2)
    run.edges = 20
    values, survivors = twice(run)
    np.testing.assert_array_equal(values, run.expected(survivors))
    assert [(each.device, each.kind) for each in run.secure.problems] == [(VICTIM, "RepeatedAnswerError")]


# Lengths


@pytest.mark.parametrize("neighbours", [0, 3, 5, 2**16 - 1])
def test_a_roster_of_another_length_or_an_enormous_one_is_refused(neighbours: int) -> None:
    run = at_step_2()
    honest = run.sent[2][VICTIM]
    announced = honest[:6] + struct.pack(">H", neighbours) + honest[8:]
    head = len(honest) - len(honest[8:]) + 1 + 3 * 32 + 3
    carried = announced[:head] + (honest[head : head + 640] * (neighbours // 4 + 1))[: 160 * neighbours]
    for forged in (announced, carried, honest + bytes(10**7)):
        with pytest.raises((MalformedMessageError, RosterError), match="neighbours"):
            run.reply(2, VICTIM, forged)
    assert {step for _, step, _ in run.heard} == {1}


# Numbers that wrap around


def overflowing() -> plan.RoundPlan:
    """A hundred answers that are each within their bound, and together are not."""
    return builders.plan(
        rows=1, clip_norm=1.0, scale=2.0**25, population=100, minimum=100, noise=Noise.SHARES, noise_multiplier=0.0,
        aggregation=Aggregation.SECURE, rounding=Rounding.DEVICE_STOCHASTIC,
    )  # fmt: skip


def test_answers_within_their_bound_wrap_around_if_the_plan_does_not_count_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "RING", 2**62)
    made = overflowing()
    answer = np.array([int(made.scale * made.query.clip_norm)])
    total = np.zeros(1, dtype=np.uint32)
    for _ in range(made.population):
        total += to_ring(answer)
    assert from_ring(total)[0] / made.scale == -28.0
    assert made.population * answer[0] / made.scale == 100.0


def test_a_plan_that_could_wrap_around_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(UnsafePlanError, match="wrap around"):
        overflowing()


def test_a_single_number_that_would_wrap_around_is_never_masked() -> None:
    run = spied(20).until(2)
    run.answers[VICTIM][0] = 2**31
    message = run.secure.send_boxes()[VICTIM]
    with pytest.raises(UnsafePlanError, match="wrap around"):
        run.reply(3, VICTIM, message)


# NaN in the question

MARK = 12345.678


def poisoned() -> bytes:
    """A signed gradient call with NaN in the public factors, which our own encoder would not send."""
    factors = SeededRandom(2).numpy().normal(size=(30, 3))
    factors[3, 1] = MARK
    call = round_call(
        Query.GRADIENT, 3, trainer="gradient", tensors={"factors": factors}, settings={"alpha0": 0.4, "ridge": 0.1}
    )
    data = wire.encode(call)
    assert data.count(struct.pack("<d", MARK)) == 1
    data = data.replace(struct.pack("<d", MARK), struct.pack("<d", np.nan))
    return COORDINATOR.sign(CALL, sha256(data)) + data


def test_nan_in_the_question_is_refused_when_it_is_read_and_again_when_it_is_clipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready(tmp_path) as device:
        call = poisoned()
        with pytest.raises(MalformedMessageError, match="NaN"):
            device.take_part(call)
        monkeypatch.setattr(np, "isfinite", lambda values: np.ones(np.shape(values), dtype=bool))
        with pytest.raises(NonFiniteUpdateError):
            device.take_part(call)
        assert device.spent.releases == 0


def test_nan_would_switch_clipping_off(monkeypatch: pytest.MonkeyPatch) -> None:
    update = np.array([[np.nan], [1e6]])
    with pytest.raises(NonFiniteUpdateError):
        clipping.clip(update, 1.0)
    monkeypatch.setattr(clipping, "_check_finite", lambda _: None)
    monkeypatch.setattr(clipping, "_check_clipped", lambda *_: None)
    assert clipping.clip(update, 1.0).values[1, 0] == 1e6
