"""Noise sentinels: one-sided, calibrated, and sharp enough to see a tenth missing."""

import numpy as np
import pytest

from backrow.privacy.audit.sentinels import FALSE_ALARM, lower_tail_p, pooled_lower_tail_p, power
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.randomness import SeededRandom

CLAIM = 5000.0


def draws(noise_scale: float, size: int = 4096, seed: int = 1) -> list[int]:
    return [int(value) for value in IntegerGaussian(noise_scale).sample(SeededRandom(seed, "sentinels"), size)]


def test_honest_noise_passes() -> None:
    assert lower_tail_p(draws(CLAIM), CLAIM) > FALSE_ALARM


@pytest.mark.parametrize("seed", range(20))
def test_noise_a_tenth_too_small_is_found_at_4096_coordinates(seed: int) -> None:
    assert lower_tail_p(draws(0.9 * CLAIM, seed=seed), CLAIM) < FALSE_ALARM


def test_the_power_at_a_tenth_too_small_is_one_to_five_digits() -> None:
    assert power(4096, 0.9) > 0.99999
    assert power(64, 0.9) < 0.01  # so few coordinates see nothing: the number matters


def test_honest_noise_is_found_guilty_exactly_as_often_as_the_level_says() -> None:
    assert power(4096, 1.0) == pytest.approx(FALSE_ALARM, rel=1e-6)


def test_missing_noise_is_certain() -> None:
    assert lower_tail_p([0] * 64, CLAIM) == pytest.approx(0, abs=1e-30)


def test_too_much_noise_is_no_finding() -> None:
    assert lower_tail_p(draws(4 * CLAIM), CLAIM) == pytest.approx(1)


def test_small_integers_are_judged_no_stricter_than_large_ones() -> None:
    # Rounding adds 1/12 to the variance of the smallest noise that is sampled.
    p_values = [lower_tail_p(draws(2.0, 256, seed), 2.0) for seed in range(400)]
    assert np.mean(p_values) >= 0.5
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_releases_with_different_claims_are_pooled() -> None:
    # A twentieth too small in each of eight: no single release shows it, all together do.
    parts = [(draws(0.95 * claim, 1024, seed), claim) for seed, claim in enumerate([50.0, 400.0, 3000.0, 7e6] * 2)]
    assert min(lower_tail_p(*part) for part in parts) > FALSE_ALARM
    assert pooled_lower_tail_p(parts) < FALSE_ALARM


def test_absurd_integers_do_not_break_the_test() -> None:
    assert lower_tail_p([10**400, -(10**400)], CLAIM) == 1.0


@pytest.mark.parametrize("claim", [0.0, -1.0, 1.99, float("nan"), float("inf")])
def test_a_claim_that_nothing_can_be_held_against_is_refused(claim: float) -> None:
    with pytest.raises(ValueError, match="claimed standard deviation"):
        lower_tail_p([1, 2], claim)


def test_no_coordinates_are_no_evidence() -> None:
    with pytest.raises(ValueError, match="no sentinel coordinates"):
        lower_tail_p([], CLAIM)


@pytest.mark.parametrize(("coordinates", "ratio", "level"), [(0, 1, 0.1), (1, 0, 0.1), (1, 1, 0), (1, 1, 1)])
def test_power_outside_its_range_is_refused(coordinates: int, ratio: float, level: float) -> None:
    with pytest.raises(ValueError, match="no power"):
        power(coordinates, ratio, level)
