"""The ridge solution of one device and of a block."""

import numpy as np
import pytest

from backrow.client.history import RawHistory
from backrow.client.solve import FloatArray, gram, solve_block, user_factors

ALPHA0, RIDGE = 0.4, 0.1


def model(titles: int = 60, factors: int = 5, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(titles, factors))


def history(seed: int, watched: int, titles: int = 60, weights: FloatArray | None = None) -> RawHistory:
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(titles, watched, replace=False)).astype(np.int32)
    return RawHistory(rows, random.uniform(0.1, 3, watched) if weights is None else weights)


def loss(v: FloatArray, p: FloatArray, x: FloatArray) -> float:
    return float(0.5 * np.sum((ALPHA0 + x) * (v @ p - (x > 0)) ** 2) + 0.5 * RIDGE * p @ p)


def test_weights_of_one_give_the_equation_of_the_derivation() -> None:
    v, own = model(), history(1, 12, weights=np.ones(12))
    seen = v[own.titles]
    expected = np.linalg.solve(ALPHA0 * v.T @ v + seen.T @ seen + RIDGE * np.eye(5), (1 + ALPHA0) * seen.sum(axis=0))
    np.testing.assert_allclose(user_factors(v, own.titles, own.weights, ALPHA0, RIDGE), expected, rtol=1e-12)


def test_the_solution_minimises_the_weighted_loss() -> None:
    v, own = model(), history(2, 20)
    x = np.zeros(len(v))
    x[own.titles] = own.weights
    best = user_factors(v, own.titles, own.weights, ALPHA0, RIDGE)
    gradient = v.T @ ((ALPHA0 + x) * (v @ best - (x > 0))) + RIDGE * best
    np.testing.assert_allclose(gradient, 0, atol=1e-10)
    step = np.random.default_rng(3).normal(size=5) * 1e-3
    assert loss(v, best + step, x) > loss(v, best, x) < loss(v, best - step, x)


def test_a_block_gives_each_device_what_it_gets_alone_bit_for_bit() -> None:
    v = model()
    block = [history(seed, 1 + 3 * seed % 50) for seed in range(17)]
    together = solve_block(v, block, ALPHA0, RIDGE)
    for row, own in enumerate(block):
        assert np.array_equal(together[row], solve_block(v, [own], ALPHA0, RIDGE)[0])
        alone = user_factors(v, own.titles, own.weights, ALPHA0, RIDGE)
        np.testing.assert_allclose(together[row], alone, rtol=1e-12)


def test_a_given_gram_matrix_changes_nothing() -> None:
    v, block = model(), [history(seed, 9) for seed in range(4)]
    given = solve_block(v, block, ALPHA0, RIDGE, item_gram=gram(v))
    assert np.array_equal(given, solve_block(v, block, ALPHA0, RIDGE))


def test_single_precision_factors_are_solved_in_double_precision() -> None:
    narrow, own = model().astype(np.float32), history(5, 10)
    v: FloatArray = narrow  # type: ignore[assignment]
    found = user_factors(v, own.titles, own.weights, ALPHA0, RIDGE)
    assert found.dtype == np.float64
    assert np.array_equal(found, user_factors(v.astype(np.float64), own.titles, own.weights, ALPHA0, RIDGE))


def test_an_empty_history_has_zero_factors() -> None:
    empty = RawHistory(np.zeros(0, np.int32), np.zeros(0))
    assert not solve_block(model(), [empty, history(1, 3)], ALPHA0, RIDGE)[0].any()
    assert not user_factors(model(), empty.titles, empty.weights, ALPHA0, RIDGE).any()


def test_an_empty_block_has_no_rows() -> None:
    assert solve_block(model(), [], ALPHA0, RIDGE).shape == (0, 5)


def test_title_the_model_does_not_have_is_refused() -> None:
    beyond = RawHistory(np.array([60], np.int32), np.ones(1))
    with pytest.raises(ValueError, match="60 titles"):
        solve_block(model(), [beyond], ALPHA0, RIDGE)


@pytest.mark.parametrize(("alpha0", "ridge"), [(-0.1, 0.1), (float("nan"), 0.1), (0.4, 0.0), (0.4, float("inf"))])
def test_settings_without_a_unique_solution_are_refused(alpha0: float, ridge: float) -> None:
    with pytest.raises(ValueError, match=r"alpha0|ridge"):
        solve_block(model(), [history(1, 3)], alpha0, ridge)
