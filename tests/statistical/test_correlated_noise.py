"""Correlated noise has the covariance that it claims, over releases and within one.

Every check exceeds its point with probability FALSE_ALARM if all is well (over seeds; with these seeds the outcome
is fixed), and has controls that must exceed it.
"""

import numpy as np
import pytest
from scipy import stats

from backrow.privacy.correlated import Correlation, next_noise
from backrow.privacy.correlated_design import Matrix, cumulative, design
from backrow.privacy.randomness import RandomSource, SeededRandom

FALSE_ALARM = 1e-6
COORDINATES = 20_000
SENSITIVITY = 200.0
WEEKS = design(Matrix.SQUARE_ROOT, cumulative(8), 8, 4, 3, 2, 1.5)


def noises(correlation: Correlation, random: RandomSource) -> np.ndarray:
    sampler, past = correlation.sampler(SENSITIVITY), []
    for _ in range(correlation.horizon):
        past.append(next_noise(correlation, sampler.sample(random, COORDINATES), past))
    return np.array(past) / SENSITIVITY


def claimed(correlation: Correlation) -> np.ndarray:
    """sd^2 (C' C)^-1, with C written out."""
    below = np.subtract.outer(np.arange(correlation.horizon), np.arange(correlation.horizon))
    padded = np.zeros(correlation.horizon)
    padded[: len(correlation.coefficients)] = np.array(correlation.coefficients) / 2**correlation.bits
    matrix = np.where(below >= 0, padded[np.abs(below)], 0)
    return np.asarray(correlation.spread**2 * np.linalg.inv(matrix.T @ matrix))


def covariance_p(drawn: np.ndarray, covariance: np.ndarray) -> float:
    """Likelihood ratio of a zero-mean normal with this covariance, chi-square with T (T + 1) / 2 degrees: p-value."""
    horizon, size = drawn.shape
    ratio = np.linalg.solve(covariance, drawn @ drawn.T / size)
    statistic = size * (np.trace(ratio) - np.linalg.slogdet(ratio)[1] - horizon)
    # Bartlett: at this size the expectation is above that of chi-square by less than 1e-4 of it.
    return float(stats.chi2.sf(statistic, horizon * (horizon + 1) / 2))


def test_the_empirical_covariance_is_the_claimed_one() -> None:
    drawn = noises(WEEKS, SeededRandom(11, "correlated"))
    assert covariance_p(drawn, claimed(WEEKS)) > FALSE_ALARM


@pytest.mark.parametrize(
    "wrong",
    [
        design(Matrix.INDEPENDENT, cumulative(8), 8, 1, 3, 2, 1.5),
        Correlation((64, 33, 24, 20), 6, 8, 3, 2, 1.5),  # one coefficient is a 64th off
        Correlation(WEEKS.coefficients, WEEKS.bits, 8, 3, 2, 1.5 * 0.98),
    ],
)
def test_another_covariance_is_noticed(wrong: Correlation) -> None:
    drawn = noises(wrong, SeededRandom(11, "correlated"))
    assert covariance_p(drawn, claimed(WEEKS)) < FALSE_ALARM


def test_each_release_is_normal_with_the_claimed_standard_deviation() -> None:
    drawn = noises(WEEKS, SeededRandom(12, "correlated"))
    own = [WEEKS.release_spread(place) for place in range(1, 9)]
    found = [stats.kstest(row / sd, "norm").pvalue for row, sd in zip(drawn, own, strict=True)]
    assert min(found) > FALSE_ALARM / 8
    spoilt = [stats.kstest(row / WEEKS.spread, "norm").pvalue for row in drawn[1:]]  # the noise is not z
    assert max(spoilt) < FALSE_ALARM / 8
