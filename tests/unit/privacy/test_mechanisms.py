"""The integer Gaussian: its exact probabilities, its stream, and what its error costs."""

import itertools
import math

import mpmath
import numpy as np
import pytest

from backrow.privacy import mechanisms
from backrow.privacy.accounting.gaussian import delta as exact_delta
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.mechanisms import IntegerGaussian, claim_inflation
from backrow.privacy.randomness import OsRandom, SeededRandom

U64 = 2**64


def exact_log_mass(value: int, sd: float) -> mpmath.mpf:
    """ln P(round(Z) = value), to about 80 digits."""
    with mpmath.workdps(150):
        far, near = (abs(value) + mpmath.mpf("0.5")) / sd, (abs(value) - mpmath.mpf("0.5")) / sd
        return mpmath.log((mpmath.erfc(near / mpmath.sqrt(2)) - mpmath.erfc(far / mpmath.sqrt(2))) / 2)


def sampled_mass(sd: float, values: list[int]) -> list[int]:
    """Probability of each value per candidate, times 2^128 times the cell width: an exact integer.

    Measured from outside: for each value a candidate that proposes it, and by bisection the largest
    128-bit number with which it is accepted.
    """
    table = mechanisms._table(sd)
    ends = [0, *table.ends.tolist(), U64]
    cells = [(value >> table.bits) + table.half for value in values]
    words = np.zeros((len(values), 4), dtype=np.uint64)
    words[:, 0] = [ends[cell] for cell in cells]
    words[:, 3] = [value & (2**table.bits - 1) for value in values]
    low, high = [0] * len(values), [2**128] * len(values)  # accepted below low, refused from high
    for _ in range(128):
        middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        words[:, 1], words[:, 2] = [m >> 64 for m in middle], [m % U64 for m in middle]
        kept = set(table.accepted(words).tolist())
        for index, value in enumerate(values):
            if value in kept:
                low[index] = middle[index]
            else:
                high[index] = middle[index]
    return [(ends[cell + 1] - ends[cell]) * top for cell, top in zip(cells, high, strict=True)]


def spread(values: list[int], sd: float, sampled_sd: float) -> float:
    """Largest difference of ln(sampled / exact) between two values: they are proportional, one factor is free."""
    with mpmath.workdps(60):
        ratios = [
            mpmath.log(mass) - exact_log_mass(value, sd)
            for value, mass in zip(values, sampled_mass(sampled_sd, values), strict=True)
        ]
        return float(max(ratios) - min(ratios))


def probes(sd: float) -> list[int]:
    """All values within reach, or 400 of them with the ends and the neighbourhoods of cell borders."""
    reach = math.floor(12 * sd)
    if reach < 1000:
        return list(range(-reach, reach + 1))
    rng = np.random.default_rng(1)
    width = 2 ** mechanisms._table(sd).bits
    borders = [width * cell + step for cell in (-900, -1, 0, 1, 512) for step in (-1, 0, 1)]
    anywhere = [*rng.integers(-reach, reach + 1, 370).tolist(), -reach, reach]
    return sorted({value for value in [*borders, *anywhere] if abs(value) <= reach})


@pytest.mark.parametrize("sd", [2.0, 3.0, 41.7, 81.3, 1023.9, 1024.1, 1e4, 1e7, 12345678.9, 2.0**40])
def test_every_probability_is_the_rounded_gaussians_up_to_the_stated_error(sd: float) -> None:
    assert 0 < spread(probes(sd), sd, sd) < IntegerGaussian(sd).relative_error


def test_a_standard_deviation_off_by_one_in_a_billion_would_be_noticed() -> None:
    # Control of the test above.
    assert spread(probes(81.3), 81.3 * (1 + 1e-9), 81.3) > IntegerGaussian(81.3).relative_error


@pytest.mark.parametrize("sd", [2.0, 1000.0, 1e6, 2.0**40])
def test_the_weights_of_the_cells_add_up_to_every_64_bit_word(sd: float) -> None:
    table = mechanisms._table(sd)
    ends = [0, *table.ends.tolist(), U64]
    assert len(ends) == 2 * table.half + 2
    assert all(low < high for low, high in itertools.pairwise(ends))


@pytest.mark.parametrize("sd", [2.0, 81.0, 5000.0])
def test_little_is_rejected(sd: float) -> None:
    words = SeededRandom(1).uint64(4 * 20_000).reshape(-1, 4)
    assert len(mechanisms._table(sd).accepted(words)) > 19_900


@pytest.mark.parametrize("sd", [3.0, 5000.0, 1e9])
def test_two_portions_are_the_same_draws_as_one(sd: float) -> None:
    noise = IntegerGaussian(sd)
    source = SeededRandom(2)
    parts = np.concatenate([noise.sample(source, size) for size in (1, 0, 999, 20_000)])
    np.testing.assert_array_equal(parts, noise.sample(SeededRandom(2), 21_000))


def test_the_internal_portion_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = IntegerGaussian(5000.0).sample(SeededRandom(2), 3000)
    monkeypatch.setattr(mechanisms, "_CHUNK", 7)
    np.testing.assert_array_equal(whole, IntegerGaussian(5000.0).sample(SeededRandom(2), 3000))


def test_draws_are_frozen() -> None:
    # Runs with the same seed must give the same releases in every version.
    small, large = IntegerGaussian(81.0), IntegerGaussian(1e7)
    assert small.sample(SeededRandom(1, "noise"), 6).tolist() == [-110, 4, -23, -47, -91, -86]
    assert large.sample(SeededRandom(1, "noise"), 6).tolist() == [
        -13582815,
        465310,
        -2888968,
        -5811358,
        -11248460,
        -10656773,
    ]


def test_draws_are_whole_numbers_and_differ_from_source_to_source() -> None:
    first, second = (IntegerGaussian(1e6).sample(OsRandom(), 100) for _ in range(2))
    assert first.dtype == np.int64
    assert first.shape == (100,)
    assert not np.array_equal(first, second)


def test_no_noise_is_zero_and_reads_nothing() -> None:
    source = SeededRandom(1)
    assert not IntegerGaussian(0.0).sample(source, 50).any()
    assert source.bytes(8) == SeededRandom(1).bytes(8)


@pytest.mark.parametrize("sd", [1.999, 1e-300, -3.0, 2.0**40 * 1.001, math.nan, math.inf])
def test_noise_that_cannot_be_sampled_well_is_refused(sd: float) -> None:
    with pytest.raises(UnsafePlanError, match="change the scale"):
        IntegerGaussian(sd)


def test_a_negative_number_of_draws_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        IntegerGaussian(3.0).sample(SeededRandom(1), -1)


def test_the_samplers_error_is_negligible_in_the_largest_reference_run() -> None:
    extra_epsilon, extra_delta = claim_inflation(24 * 3706 * 64, 20.0, 1e-5)
    assert 0 < extra_epsilon < 1e-7
    assert 0 < extra_delta < 1e-9


def test_the_samplers_error_is_the_derived_one() -> None:
    noise = IntegerGaussian(5.0)
    extra_epsilon, extra_delta = claim_inflation(10**6, 2.0, 1e-5)
    assert extra_epsilon == pytest.approx(2e6 * noise.relative_error)
    expected = 1e6 * noise.relative_error * 1e-5 + (1 + math.exp(2)) * 1e6 * noise.tail_mass
    assert extra_delta == pytest.approx(expected, rel=1e-6)
    assert noise.tail_mass == pytest.approx(float(mpmath.erfc(12 / mpmath.sqrt(2))))


def test_beyond_any_epsilon_the_extra_delta_is_no_probability() -> None:
    assert claim_inflation(1, 1e6, 1e-5)[1] > 1


def hockey_stick(sd: float, shift: int, epsilon: float) -> float:
    """delta of the sampled noise on one coordinate, for two sums that differ by `shift`."""
    reach = math.floor(12 * sd)
    masses = sampled_mass(sd, list(range(-reach, reach + 1)))
    total = sum(masses)
    p = {value: mpmath.mpf(mass) / total for value, mass in zip(range(-reach, reach + 1), masses, strict=True)}
    return float(sum(max(mass - mpmath.exp(epsilon) * p.get(value - shift, 0), 0) for value, mass in p.items()))


@pytest.mark.parametrize(("sd", "shift", "epsilon"), [(2.0, 1, 0.5), (2.0, 2, 1.0), (3.0, 5, 3.0), (20.0, 5, 0.1)])
def test_the_sampled_noise_is_as_private_as_what_is_accounted(sd: float, shift: int, epsilon: float) -> None:
    accounted = exact_delta(epsilon, shift / sd)
    extra_epsilon, extra_delta = claim_inflation(1, epsilon, accounted)
    assert hockey_stick(sd, shift, epsilon + extra_epsilon) <= accounted + extra_delta
    # Control: accounted as if it had a tenth more noise, it must fail.
    assert hockey_stick(sd, shift, epsilon) > exact_delta(epsilon, shift / (1.1 * sd))


@pytest.mark.parametrize("noise_scale", [2.0, 81.0, 1000.5, 2.0**24 * 1.3, 2.0**40])
def test_cells_found_by_leading_bits_are_those_found_by_search(noise_scale: float) -> None:
    table = mechanisms._table(noise_scale)
    at_ends = np.concatenate([table.ends, table.ends - np.uint64(1), table.ends + np.uint64(1)])
    words = np.concatenate([at_ends, SeededRandom(1, "words").uint64(50_000), np.array([0, 2**64 - 1], np.uint64)])
    assert np.array_equal(table.cells(words), np.searchsorted(table.ends, words, side="right"))
    assert (table.index < 0).mean() < 0.1  # or nothing would be gained
