"""Integer noise and stochastic rounding have the distribution they claim.

Every check compares a statistic with the point that it exceeds with probability FALSE_ALARM if all
is well (over seeds; with these seeds the outcome is fixed), and each has a control that must exceed it.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from backrow.privacy.clipping import ClippedUpdate
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.quantise import Rounding, quantise
from backrow.privacy.randomness import OsRandom, RandomSource, SeededRandom

FALSE_ALARM = 1e-6
DRAWS = 200_000
SCALES = [3.0, 81.0, 1e4, 1e7]

Draws = NDArray[np.int64]


def sample(sd: float, random: RandomSource) -> Draws:
    return IntegerGaussian(sd).sample(random, DRAWS)


def cells(values: Draws, sd: float) -> float:
    """Chi-square over at most 100 equally likely cells: p-value."""
    edges = np.unique(np.floor(sd * stats.norm.ppf(np.arange(1, 100) / 100)))
    observed = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    expected = len(values) * np.diff(stats.norm.cdf((edges + 0.5) / sd), prepend=0.0, append=1.0)
    return float(stats.chisquare(observed, expected).pvalue)


def low_bits(values: Draws, sd: float) -> float:
    """Chi-square of the values modulo 16, uniform for sd >= 81: p-value."""
    return float(stats.chisquare(np.bincount(values % 16, minlength=16)).pvalue)


def moments(values: Draws, sd: float) -> float:
    """Mean, variance (sd^2 + 1/12) and kurtosis, normal for so many draws: least p-value of three, times 3."""
    variance = sd**2 + 1 / 12
    scaled = values / np.sqrt(variance)
    scores = [scaled.mean(), (np.mean(scaled**2) - 1) / np.sqrt(2), (np.mean(scaled**4) - 3) / np.sqrt(96)]
    return float(3 * np.min(stats.norm.sf(np.abs(scores) * np.sqrt(len(values))) * 2))


def neighbours(values: Draws, sd: float) -> float:
    """Correlation of successive draws: p-value."""
    correlation = np.mean(values[1:] / sd * (values[:-1] / sd))
    return float(2 * stats.norm.sf(abs(correlation) * np.sqrt(len(values))))


CHECKS: dict[str, Callable[[Draws, float], float]] = {
    "cells": cells,
    "low bits": low_bits,
    "moments": moments,
    "neighbours": neighbours,
}
APPLICABLE = [(sd, name) for sd in SCALES for name in CHECKS if sd >= 81 or name != "low bits"]


@pytest.mark.parametrize(("sd", "check"), APPLICABLE)
def test_integer_noise_is_the_rounded_gaussian(sd: float, check: str) -> None:
    assert CHECKS[check](sample(sd, SeededRandom(20, check)), sd) > FALSE_ALARM


@pytest.mark.parametrize("sd", [3.0, 1e7])
def test_noise_from_the_system_has_the_same_distribution(sd: float) -> None:
    # Fresh entropy at every run: a false alarm once in 10^9 runs.
    values = sample(sd, OsRandom())
    assert cells(values, sd) > 5e-10
    assert moments(values, sd) > 5e-10


@pytest.mark.parametrize("sd", SCALES)
@pytest.mark.parametrize("check", ["cells", "moments"])
def test_noise_three_per_cent_too_small_would_be_noticed(sd: float, check: str) -> None:
    assert CHECKS[check](sample(0.97 * sd, SeededRandom(21)), sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", [3.0, 81.0])
def test_truncating_instead_of_rounding_would_be_noticed(sd: float) -> None:
    truncated = np.trunc(SeededRandom(22).numpy().normal(0, sd, DRAWS)).astype(np.int64)
    assert cells(truncated, sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", [81.0, 1e4, 1e7])
def test_a_stuck_low_bit_would_be_noticed(sd: float) -> None:
    assert low_bits(sample(sd, SeededRandom(23)) & ~1, sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_using_noise_twice_would_be_noticed(sd: float) -> None:
    assert neighbours(np.repeat(sample(sd, SeededRandom(24))[: DRAWS // 2], 2), sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_coordinates_drawn_from_two_seeds_are_unrelated(sd: float) -> None:
    one, two = sample(sd, SeededRandom(25, "a")), sample(sd, SeededRandom(25, "b"))
    assert neighbours(np.stack([one, two], axis=1).ravel(), sd) > FALSE_ALARM
    assert neighbours(np.stack([one, one], axis=1).ravel(), sd) < FALSE_ALARM  # control


def rounding_bias(rounding: Rounding) -> float:
    """Average distance of 2,000 roundings from the answer, normal: p-value."""
    update = ClippedUpdate(np.linspace(0.01, 0.49, 50)[:, None], 10.0)
    random = SeededRandom(26)
    total = sum(quantise(update, 1.0, rounding, random).values for _ in range(2000))
    spread = np.sqrt(2000 * np.sum(update.values * (1 - update.values)))
    return float(2 * stats.norm.sf(abs(np.sum(total - 2000 * update.values)) / spread))


def test_stochastic_rounding_is_unbiased() -> None:
    assert rounding_bias(Rounding.DEVICE_STOCHASTIC) > FALSE_ALARM
    assert rounding_bias(Rounding.DEVICE_NEAREST) < FALSE_ALARM  # control
