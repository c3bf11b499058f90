"""Clipping: a bounded norm, as stored."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backrow.privacy.clipping import (
    ClippedUpdate,
    DenseBlock,
    OuterBlock,
    RowsBlock,
    clip,
    clip_dense,
    clip_outer,
    clip_rows,
)
from backrow.privacy.errors import NonFiniteUpdateError

FLOATS = st.floats(-1e74, 1e74, allow_subnormal=True)
BOUNDS = st.floats(1e-50, 1e50)


def exact_square(values: np.ndarray) -> Fraction:
    return sum((Fraction(value) ** 2 for value in values.ravel().tolist()), Fraction(0))


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=FLOATS), BOUNDS)
def test_the_stored_norm_never_exceeds_the_bound(update: np.ndarray, clip_norm: float) -> None:
    assert exact_square(clip(update, clip_norm).values) <= Fraction(clip_norm) ** 2


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(1, 6)), elements=FLOATS),
    hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(1, 4)), elements=FLOATS),
    BOUNDS,
)
def test_the_norm_of_a_rank_one_answer_never_exceeds_the_bound(
    left: np.ndarray, right: np.ndarray, clip_norm: float
) -> None:
    block = clip_outer(left, right, clip_norm)
    for index in range(3):
        square = exact_square(block.left[index]) * exact_square(block.right[index])
        assert square <= Fraction(clip_norm) ** 2


def test_many_coordinates_at_the_bound_stay_within_it() -> None:
    update = np.random.default_rng(1).normal(size=(3706, 64))
    clipped = clip(update, 0.05).values
    assert exact_square(clipped) <= Fraction(0.05) ** 2
    assert np.linalg.norm(clipped) == pytest.approx(0.05, rel=1e-9)


def test_a_small_update_is_kept_as_it_is() -> None:
    update = np.array([[0.3], [-0.4]])
    np.testing.assert_array_equal(clip(update, 1.0).values, update)


def test_the_direction_is_kept() -> None:
    update = np.array([[3.0, -4.0], [0.0, 12.0]])
    np.testing.assert_allclose(clip(update, 1.0).values, update / 13, rtol=1e-12)


def test_a_zero_update_stays_zero() -> None:
    assert not clip(np.zeros((4, 2)), 1.0).values.any()
    assert not clip_outer(np.zeros((2, 4)), np.ones((2, 3)), 1.0).total().any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_an_update_that_cannot_be_bounded_is_refused(bad: float) -> None:
    update = np.array([[1.0], [bad]])
    with pytest.raises(NonFiniteUpdateError, match="check the watch history"):
        clip(update, 1.0)
    with pytest.raises(NonFiniteUpdateError):
        clip_outer(update.T, np.ones((1, 2)), 1.0)
    with pytest.raises(NonFiniteUpdateError):
        ClippedUpdate(update, 1.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, np.nan, np.inf, 1e-200])
def test_a_bound_that_bounds_nothing_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="clip_norm must be a positive number"):
        clip(np.ones((2, 2)), bound)
    with pytest.raises(ValueError, match="clip_norm must be a positive number"):
        clip_outer(np.ones((1, 2)), np.ones((1, 2)), bound)


def test_a_long_update_cannot_be_passed_off_as_clipped() -> None:
    with pytest.raises(ValueError, match="use clip"):
        ClippedUpdate(np.array([[1.001]]), 1.0)
    with pytest.raises(ValueError, match="use clip"):
        DenseBlock(np.array([[[0.5]], [[1.001]]]), 1.0)
    with pytest.raises(ValueError, match="use clip"):
        OuterBlock(np.array([[2.0], [0.1]]), np.array([[0.6], [0.1]]), 1.0)


def test_a_block_is_the_sum_of_its_devices() -> None:
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(5, 7)), rng.normal(size=(5, 3))
    outer = clip_outer(left, right, 0.5)
    dense = clip_dense(left[:, :, None] * right[:, None, :], 0.5)
    for block in (outer, dense):
        assert len(block) == 5
        np.testing.assert_allclose(block.total(), sum(block.device(i).values for i in range(5)), atol=1e-14)
    np.testing.assert_allclose(outer.total(), dense.total(), atol=1e-14)


def test_devices_of_a_block_are_clipped_one_by_one() -> None:
    updates = np.array([[[0.5]], [[10.0]], [[-3.0]]])
    np.testing.assert_allclose(clip_dense(updates, 1.0).values.ravel(), [0.5, 1.0, -1.0], rtol=1e-12)


def test_an_answer_by_the_rows_it_touches_is_clipped_as_the_dense_one() -> None:
    starts, ids = np.array([0, 2, 2, 3]), np.array([1, 4, 0])
    rows = np.array([[3.0, 4.0], [0.0, 12.0], [0.5, 0.0]])
    block = clip_rows(starts, ids, rows, 5, 1.0)
    dense = np.zeros((3, 5, 2))
    dense[0, [1, 4]], dense[2, 0] = rows[:2], rows[2]
    expected = clip_dense(dense, 1.0)
    assert len(block) == 3
    for device in range(3):
        assert np.array_equal(block.device(device).values, expected.device(device).values)
    assert np.array_equal(block.total(), expected.total())


@pytest.mark.parametrize(
    ("starts", "ids", "rows", "said"),
    [
        ([0, 2], [1, 1], [[0.1], [0.1]], "distinct"),
        ([0, 2], [2, 1], [[0.1], [0.1]], "ascending"),
        ([0, 1], [5], [[0.1]], "not among 5"),
        ([0, 1], [-1], [[0.1]], "not among 5"),
        ([0, 2], [1], [[0.1]], "contradict"),
        ([0, 1], [1], [[2.0]], "passed off as clipped"),
    ],
)
def test_rows_that_are_no_clipped_answer_are_refused(
    starts: list[int], ids: list[int], rows: list[list[float]], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        RowsBlock(np.array(starts), np.array(ids), np.array(rows), 5, 1.0)


def test_rows_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NonFiniteUpdateError):
        clip_rows(np.array([0, 1]), np.array([0]), np.array([[np.nan]]), 5, 1.0)
