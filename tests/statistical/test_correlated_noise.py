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


def best_attack(correlation: Correlation, drawn: np.ndarray, answered: list[int]) -> tuple[float, float]:
    """How far one device moves the likelihood ratio's statistic, and how far the noise does, in standard deviations."""
    change = np.zeros(correlation.horizon)
    change[answered] = 1  # norm of each answer in sensitivities of one sum
    direction = np.linalg.solve(claimed(correlation), change)
    statistic = direction @ drawn
    return float(direction @ change), float(statistic.std())


def test_the_best_attack_on_the_worst_device_sees_the_claimed_mu() -> None:
    # The sample's standard deviation is within 4.9 / sqrt(2 n) of the true one, but once in a million runs.
    drawn = noises(WEEKS, SeededRandom(13, "correlated"))
    shift, spread = best_attack(WEEKS, drawn, [0, 2, 4])
    assert abs(shift / spread / WEEKS.mu() - 1) < 4.9 / np.sqrt(2 * COORDINATES)
    for others in ([1, 3, 5], [0, 3, 6], [5, 7], [0]):
        shift, spread = best_attack(WEEKS, drawn, others)
        assert shift / spread < WEEKS.mu() * (1 + 4.9 / np.sqrt(2 * COORDINATES))


def test_the_best_attack_notices_a_device_that_answers_more_often_or_a_sum_of_squares_in_place_of_the_sensitivity() -> (
    None
):
    drawn = noises(WEEKS, SeededRandom(13, "correlated"))
    shift, spread = best_attack(WEEKS, drawn, [0, 1, 2])  # not two weeks apart
    assert shift / spread > WEEKS.mu() * 1.1
    columns = np.array(WEEKS.coefficients) / 2**WEEKS.bits
    naive = WEEKS.mu() * np.sqrt(3) * np.linalg.norm(columns) / WEEKS.sensitivity()  # as if columns were orthogonal
    shift, spread = best_attack(WEEKS, drawn, [0, 2, 4])
    assert shift / spread > naive * (1 + 4.9 / np.sqrt(2 * COORDINATES))


def test_each_release_is_normal_with_the_claimed_standard_deviation() -> None:
    drawn = noises(WEEKS, SeededRandom(12, "correlated"))
    own = [WEEKS.release_spread(place) for place in range(1, 9)]
    found = [stats.kstest(row / sd, "norm").pvalue for row, sd in zip(drawn, own, strict=True)]
    assert min(found) > FALSE_ALARM / 8
    spoilt = [stats.kstest(row / WEEKS.spread, "norm").pvalue for row in drawn[1:]]  # the noise is not z
    assert max(spoilt) < FALSE_ALARM / 8
