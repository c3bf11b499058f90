"""For all neighbouring populations: the integers never differ by more than the derived sensitivity."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backrow.privacy.clipping import clip, clip_dense, clip_outer
from backrow.privacy.quantise import Rounding, integer_sensitivity, quantise, quantise_block
from backrow.privacy.randomness import SeededRandom

SCALES = st.integers(-3, 30).map(lambda power: 2.0**power)
BOUNDS = st.floats(0.01, 100)
# Halves, their neighbours and powers of two: where rounding moves furthest.
AWKWARD = st.one_of(
    st.sampled_from([0.0, 0.5, -0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), 1.5, 0.25, 2.0**-30, 1e6]),
    st.floats(-100, 100),
)


def square(values: np.ndarray) -> int:
    return sum(value * value for value in values.ravel().tolist())


def within(values: np.ndarray, bound: float) -> bool:
    return square(values) <= Fraction(bound) ** 2


@st.composite
def blocks(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 8)), draw(st.integers(1, 3))
    return draw(hnp.arrays(np.float64, shape, elements=AWKWARD)), draw(st.integers(0, shape[0] - 1))


@settings(max_examples=300, deadline=None)
@given(blocks(), BOUNDS, SCALES)
def test_one_device_changes_the_sum_of_a_dense_block_by_at_most_the_sensitivity(
    block: tuple[np.ndarray, int], clip_norm: float, scale: float
) -> None:
    updates, device = block
    without = updates.copy()
    without[device] = 0.0
    change = (
        quantise_block(clip_dense(updates, clip_norm), scale).values
        - quantise_block(clip_dense(without, clip_norm), scale).values
    )
    assert within(change, integer_sensitivity(clip_norm, updates[0].size, scale, Rounding.BLOCK_NEAREST))


@settings(max_examples=300, deadline=None)
@given(blocks(), BOUNDS, SCALES, st.integers(0, 2**32))
def test_one_device_changes_the_sum_of_an_outer_block_by_at_most_the_sensitivity(
    block: tuple[np.ndarray, int], clip_norm: float, scale: float, seed: int
) -> None:
    updates, device = block
    left, right = updates[:, :, 0], np.random.default_rng(seed).normal(size=(len(updates), 3))
    without = left.copy()
    without[device] = 0.0
    change = (
        quantise_block(clip_outer(left, right, clip_norm), scale).values
        - quantise_block(clip_outer(without, right, clip_norm), scale).values
    )
    assert within(change, integer_sensitivity(clip_norm, change.size, scale, Rounding.BLOCK_NEAREST))


@settings(deadline=None)
@given(blocks(), BOUNDS, SCALES, st.integers(0, 2**32))
@pytest.mark.parametrize("rounding", [Rounding.DEVICE_STOCHASTIC, Rounding.DEVICE_NEAREST])
def test_one_device_never_adds_more_than_the_sensitivity(
    rounding: Rounding, block: tuple[np.ndarray, int], clip_norm: float, scale: float, seed: int
) -> None:
    update = clip(block[0][0], clip_norm)
    answer = quantise(update, scale, rounding, SeededRandom(seed))
    assert within(answer.values, integer_sensitivity(clip_norm, update.values.size, scale, rounding))


def test_the_block_bound_is_reached_by_a_block_at_the_worst_place() -> None:
    # Every coordinate of the sum goes from just below a half to just above.
    titles = 400
    updates = np.stack([np.full((titles, 1), 0.4999), np.full((titles, 1), 0.0002)])
    without = updates * np.array([1.0, 0.0])[:, None, None]
    norm = 0.0002 * np.sqrt(titles)
    change = (
        quantise_block(clip_dense(updates, 10.0), 1.0).values - quantise_block(clip_dense(without, 10.0), 1.0).values
    )
    bound = integer_sensitivity(norm, titles, 1.0, Rounding.BLOCK_NEAREST)
    assert bound * 0.999 < np.sqrt(square(change)) <= bound


def test_the_bound_of_a_device_rounded_to_nearest_is_reached() -> None:
    update = clip(np.full((400, 1), 0.5001), 100.0)
    norm = float(np.linalg.norm(update.values))
    answer = quantise(clip(update.values, norm * (1 + 1e-9)), 1.0, Rounding.DEVICE_NEAREST)
    bound = integer_sensitivity(norm * (1 + 1e-9), 400, 1.0, Rounding.DEVICE_NEAREST)
    assert bound * 0.999 < np.sqrt(square(answer.values)) <= bound


def test_forgetting_that_both_sums_are_rounded_would_be_noticed() -> None:
    # Control: with the bound of one rounding (sC + sqrt(D) / 2) the worst block above must fail.
    updates = np.stack([np.full((400, 1), 0.4999), np.full((400, 1), 0.0002)])
    without = updates * np.array([1.0, 0.0])[:, None, None]
    change = (
        quantise_block(clip_dense(updates, 10.0), 1.0).values - quantise_block(clip_dense(without, 10.0), 1.0).values
    )
    assert not within(change, integer_sensitivity(0.0002 * 20, 400, 1.0, Rounding.DEVICE_NEAREST))


def test_adding_in_floating_point_stays_within_the_slack() -> None:
    # 64 devices that nearly cancel: the float sum is wrong in its last bits, by less than the slack.
    rng = np.random.default_rng(5)
    answers = clip_dense(rng.normal(size=(64, 300, 1)), 1.0)
    exact = [sum(Fraction(value) for value in answers.values[:, row, 0].tolist()) for row in range(300)]
    error = [Fraction(value) - true for value, true in zip(answers.total()[:, 0].tolist(), exact, strict=True)]
    assert any(error)
    assert sum(e * e for e in error) <= (Fraction(2) ** 12 * Fraction(1, 2**53)) ** 2
