"""Rounding to integers and the sensitivity that is left."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.privacy.clipping import ClippedUpdate, clip, clip_dense, clip_outer
from backrow.privacy.errors import NonFiniteUpdateError, UnsafePlanError
from backrow.privacy.quantise import (
    QuantisedUpdate,
    Rounding,
    integer_sensitivity,
    quantise,
    quantise_block,
    round_sum,
)
from backrow.privacy.randomness import SeededRandom


class Scripted:
    """A source whose words are written down: rounding all up, then all down."""

    simulated = True

    def __init__(self, *fills: int) -> None:
        self.fills = list(fills)

    def bytes(self, n: int) -> bytes:
        return self.uint64(-(-n // 8)).tobytes()[:n]

    def uint64(self, n: int) -> NDArray[np.uint64]:
        return np.full(n, self.fills.pop(0), dtype=np.uint64)


UP, DOWN = 0, 2**64 - 1


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.DEVICE_NEAREST, 1900 + 487 / 2),
        (Rounding.BLOCK_NEAREST, 1900 + 487),
        (
            Rounding.DEVICE_STOCHASTIC,
            math.sqrt(1900**2 + 487**2 / 4 + math.sqrt(2 * math.log(1000)) * (1900 + 487 / 2)),
        ),
    ],
)
def test_the_sensitivity_is_the_derived_one(rounding: Rounding, expected: float) -> None:
    assert integer_sensitivity(1900.0, 487**2, 1.0, rounding) == pytest.approx(expected, rel=1e-9)
    assert integer_sensitivity(1900 / 2**10, 487**2, 2.0**10, rounding) == pytest.approx(expected, rel=1e-9)


def test_at_the_recommended_scale_stochastic_rounding_costs_one_per_cent() -> None:
    bound = integer_sensitivity(1900.0, 237_184, 1.0, Rounding.DEVICE_STOCHASTIC)
    assert 1900 < bound < 1900 * 1.0105


def test_at_a_coarse_scale_the_certain_bound_takes_over() -> None:
    bound = integer_sensitivity(1.0, 4, 1.0, Rounding.DEVICE_STOCHASTIC)
    assert bound == pytest.approx(1 + 2, rel=1e-9)


def test_the_sensitivity_is_never_below_the_norm() -> None:
    for rounding in Rounding:
        for power in range(-10, 40):
            assert integer_sensitivity(1.0, 1, 2.0**power, rounding) > 2.0**power


@pytest.mark.parametrize(
    "arguments", [(0.0, 5, 1.0), (math.nan, 5, 1.0), (math.inf, 5, 1.0), (1.0, 0, 1.0), (1.0, 5, 0.0), (1.0, 5, 3.0)]
)
def test_a_sensitivity_of_nonsense_is_refused(arguments: tuple[float, int, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        integer_sensitivity(*arguments, Rounding.BLOCK_NEAREST)


def test_stochastic_rounding_gives_a_neighbouring_integer() -> None:
    update = clip(np.random.default_rng(3).normal(size=(50, 4)), 1.0)
    answer = quantise(update, 2.0**8, Rounding.DEVICE_STOCHASTIC, SeededRandom(1))
    distance = answer.values - update.values * 2.0**8
    assert answer.values.dtype == np.int64
    assert answer.values.shape == (50, 4)
    assert np.all(np.abs(distance) < 1)
    assert (distance > 0).any()
    assert (distance < 0).any()


def test_whole_numbers_are_never_moved() -> None:
    update = ClippedUpdate(np.array([[0.0, 0.25], [-0.5, 0.75]]), 1.0)
    for fill in (UP, DOWN):
        answer = quantise(update, 4.0, Rounding.DEVICE_STOCHASTIC, Scripted(fill))
        np.testing.assert_array_equal(answer.values, [[0, 1], [-2, 3]])


def test_a_zero_answer_stays_zero_under_every_rounding() -> None:
    zero = ClippedUpdate(np.zeros((3, 2)), 1.0)
    assert not quantise(zero, 2.0**20, Rounding.DEVICE_STOCHASTIC, Scripted(UP)).values.any()
    assert not quantise(zero, 2.0**20, Rounding.DEVICE_NEAREST).values.any()
    assert not quantise_block(clip_dense(np.zeros((2, 3, 2)), 1.0), 2.0**20).values.any()


def test_an_unlucky_rounding_is_drawn_again_until_its_norm_is_within_the_bound() -> None:
    update = ClippedUpdate(np.full((10_000, 1), 0.01), 1.0)
    answer = quantise(update, 1.0, Rounding.DEVICE_STOCHASTIC, Scripted(UP, UP, DOWN))
    assert answer.tries == 3
    assert not answer.values.any()


def test_a_broken_source_does_not_loop_for_ever() -> None:
    update = ClippedUpdate(np.full((10_000, 1), 0.01), 1.0)
    with pytest.raises(RuntimeError, match="source is broken"):
        quantise(update, 1.0, Rounding.DEVICE_STOCHASTIC, Scripted(*[UP] * 64))


def test_the_same_source_rounds_the_same_way() -> None:
    update = clip(np.random.default_rng(3).normal(size=(50, 4)), 1.0)
    first, second = (quantise(update, 256.0, Rounding.DEVICE_STOCHASTIC, SeededRandom(9)).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_integers_beyond_the_bound_cannot_be_passed_off_as_an_answer() -> None:
    bound = integer_sensitivity(1.0, 1, 2.0**30, Rounding.DEVICE_NEAREST)
    QuantisedUpdate(np.array([[math.floor(bound)]]), 1.0, 2.0**30, Rounding.DEVICE_NEAREST)
    with pytest.raises(ValueError, match="use quantise"):
        QuantisedUpdate(np.array([[math.floor(bound) + 1]]), 1.0, 2.0**30, Rounding.DEVICE_NEAREST)


def test_the_check_of_huge_integers_does_not_wrap_around() -> None:
    # 2^61 squared is 0 in 64-bit arithmetic.
    with pytest.raises(ValueError, match="use quantise"):
        QuantisedUpdate(np.full((4, 1), 2**61), 1.0, 1.0, Rounding.DEVICE_NEAREST)


def test_a_block_is_added_before_it_is_rounded() -> None:
    block = clip_dense(np.full((3, 1, 1), 0.4), 1.0)
    result = quantise_block(block, 1.0)
    assert result.values.tolist() == [[1]]
    assert result.devices == 3


def test_an_outer_block_and_its_dense_twin_give_the_same_integers() -> None:
    rng = np.random.default_rng(4)
    left, right = rng.integers(-8, 9, size=(64, 9)) / 16, rng.integers(-8, 9, size=(64, 3)) / 16
    outer, dense = clip_outer(left, right, 9.0), clip_dense(left[:, :, None] * right[:, None, :], 9.0)
    np.testing.assert_array_equal(quantise_block(outer, 256.0).values, quantise_block(dense, 256.0).values)


@pytest.mark.parametrize("devices", [0, 65])
def test_a_block_of_the_wrong_size_is_refused(devices: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 devices"):
        quantise_block(clip_dense(np.zeros((devices, 2, 1)), 1.0), 1.0)


def test_block_rounding_of_one_device_is_refused() -> None:
    with pytest.raises(ValueError, match="quantise_block"):
        quantise(ClippedUpdate(np.zeros((1, 1)), 1.0), 1.0, Rounding.BLOCK_NEAREST, SeededRandom(1))


def test_stochastic_rounding_without_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="random source"):
        quantise(ClippedUpdate(np.zeros((1, 1)), 1.0), 1.0, Rounding.DEVICE_STOCHASTIC)


def test_sums_are_rounded_to_the_nearest_integer() -> None:
    np.testing.assert_array_equal(round_sum(np.array([[0.3, -0.3], [0.125, 0.376]]), 4.0), [[1, -1], [0, 2]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sum_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(NonFiniteUpdateError):
        round_sum(np.array([[0.0, bad]]), 1.0)


@pytest.mark.parametrize("value", [2.0**42, -(2.0**42), 1e300])
def test_a_sum_that_could_wrap_around_is_refused(value: float) -> None:
    with pytest.raises(UnsafePlanError, match="lower the scale"):
        round_sum(np.array([[value]]), 2.0**20)


@pytest.mark.parametrize("scale", [0.0, -2.0, 3.0, np.nan, np.inf])
def test_a_scale_that_is_no_power_of_two_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="power of two"):
        round_sum(np.zeros((1, 1)), scale)
