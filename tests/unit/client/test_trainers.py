"""Trainers: what leaves is bounded, and is the gradient or the power step it says it is."""

import numpy as np
import pytest

from backrow.client.history import RawHistory
from backrow.client.solve import solve_block
from backrow.client.training.base import TrainingCall
from backrow.client.training.counts import PopularityCounts, RecentCounts
from backrow.client.training.gradient import GradientTrainer
from backrow.client.training.registry import TRAINERS, trainer_for
from backrow.client.training.subspace import SubspaceTrainer
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.queries import Query
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import RoundCall
from tests.builders import gradient_call, histories, plan

BLOCK = histories(9, 40)
RANDOM = SeededRandom(0)


def training(call: RoundCall | None = None) -> TrainingCall:
    call = call or gradient_call(clip_norm=1e9, scale=1.0)
    return TrainingCall(call.plan, call.tensors, call.settings)


def loss(factors: np.ndarray, history: RawHistory, alpha0: float = 0.4, ridge: float = 0.1) -> float:
    """The device's loss at its own optimum, written out over all titles."""
    weights, wanted = np.full(len(factors), alpha0), np.zeros(len(factors))
    weights[history.titles] += history.weights
    wanted[history.titles] = 1
    rooted = factors * np.sqrt(weights)[:, None]
    p = np.linalg.solve(rooted.T @ rooted + ridge * np.eye(factors.shape[1]), factors.T @ (weights * wanted))
    return float(0.5 * weights @ (factors @ p - wanted) ** 2 + 0.5 * ridge * p @ p)


def test_the_gradient_answer_is_the_derivative_of_the_devices_own_loss() -> None:
    call = training()
    answer = GradientTrainer().answer(call, BLOCK, RANDOM)
    factors = np.array(call.tensors["factors"])
    step = 1e-6
    for device in (0, 3, 8):
        gradient = answer.device(device).values
        for title, column in [(0, 0), (7, 2), (39, 4)]:
            up, down = factors.copy(), factors.copy()
            up[title, column] += step
            down[title, column] -= step
            numeric = (loss(up, BLOCK[device]) - loss(down, BLOCK[device])) / (2 * step)
            assert gradient[title, column] == pytest.approx(numeric, abs=1e-5)


def test_a_device_that_watched_nothing_answers_zero() -> None:
    for trainer, call in [
        (GradientTrainer(), training()),
        (PopularityCounts(), TrainingCall(plan(rows=40), {}, {})),
        (RecentCounts(), TrainingCall(plan(Query.RECENT, rows=40), {}, {})),
    ]:
        assert not np.any(trainer.answer(call, BLOCK[:1], RANDOM).device(0).values)


def test_counts_have_norm_one_and_recent_counts_hold_recent_titles_only() -> None:
    popular = PopularityCounts().answer(TrainingCall(plan(rows=40), {}, {}), BLOCK, RANDOM)
    recent = RecentCounts().answer(TrainingCall(plan(Query.RECENT, rows=40), {}, {}), BLOCK, RANDOM)
    for device in range(1, len(BLOCK)):
        counts = popular.device(device).values[:, 0]
        assert np.linalg.norm(counts) == pytest.approx(1, abs=1e-9)
        assert set(np.flatnonzero(counts)) == set(BLOCK[device].titles)
        expected = set(BLOCK[device].titles[BLOCK[device].recent])
        assert set(np.flatnonzero(recent.device(device).values[:, 0])) == expected


def test_the_subspace_answer_is_the_power_step_off_the_public_directions() -> None:
    rng = np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(40, 4)))
    deflation, basis = directions[:, :1], directions[:, 1:]
    call = TrainingCall(plan(Query.SUBSPACE, 40, 3, clip_norm=10.0), {"deflation": deflation, "basis": basis}, {})
    answer = SubspaceTrainer().answer(call, BLOCK, RANDOM)
    x = np.zeros(40)
    x[BLOCK[4].titles] = BLOCK[4].weights / np.linalg.norm(BLOCK[4].weights)
    residual = x - deflation[:, 0] * (deflation[:, 0] @ x)
    np.testing.assert_allclose(answer.device(4).values, np.outer(residual, basis.T @ residual), atol=1e-12)
    assert np.abs(deflation.T @ answer.total()).max() < 1e-12


@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 3.0])
def test_every_answer_is_clipped_and_the_block_total_is_the_sum_of_its_devices(clip_norm: float) -> None:
    answer = GradientTrainer().answer(training(gradient_call(clip_norm=clip_norm)), BLOCK, RANDOM)
    devices = [answer.device(index).values for index in range(len(BLOCK))]
    assert max(np.linalg.norm(values) for values in devices) <= clip_norm
    np.testing.assert_allclose(answer.total(), np.sum(devices, axis=0), rtol=1e-12, atol=1e-15)


def test_a_devices_answer_does_not_depend_on_who_shares_its_block() -> None:
    alone = GradientTrainer().answer(training(), [BLOCK[5]], RANDOM).device(0).values
    among = GradientTrainer().answer(training(), BLOCK, RANDOM).device(5).values
    np.testing.assert_allclose(alone, among, rtol=1e-12, atol=1e-15)


def test_a_trainer_answers_its_own_query_only() -> None:
    for name, query in TRAINERS.items():
        other = Query.SUBSPACE if query is Query.GRADIENT else Query.GRADIENT
        with pytest.raises(RefusedCallError, match="answers"):
            trainer_for(other, name)
    with pytest.raises(RefusedCallError, match="known"):
        trainer_for(Query.GRADIENT, "send everything")


def test_more_weight_pulls_the_devices_own_factors_towards_a_title() -> None:
    call = gradient_call(clip_norm=1e9, scale=1.0)
    light = RawHistory(np.array([1, 2], np.int32), np.array([1.0, 1.0]))
    heavy = RawHistory(np.array([1, 2], np.int32), np.array([9.0, 1.0]))
    factors = np.asarray(call.tensors["factors"])
    scores = solve_block(factors, [light, heavy], 0.4, 0.1) @ factors[1]
    assert scores[0] < scores[1] < 1
