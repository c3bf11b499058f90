"""Shares of noise, and their sums, have the distribution they claim.

Every check compares a statistic with the point that it exceeds with probability FALSE_ALARM if all
is well (over seeds; with these seeds the outcome is fixed), and each has a control that must exceed it.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.randomness import OsRandom, RandomSource, SeededRandom

FALSE_ALARM = 1e-6
DRAWS = 200_000
SHARES = 20
SCALES = [2.0, 3.0, 81.0, 1500.0, 2.0**14]

Draws = NDArray[np.int64]


def sample(sd: float, random: RandomSource) -> Draws:
    return DiscreteGaussian(sd).sample(random, DRAWS)


def masses(sd: float) -> tuple[Draws, NDArray[np.float64]]:
    """The values up to 10 standard deviations and their probabilities, by the definition."""
    reach = math.ceil(10 * sd)
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-((values / sd) ** 2) / 2)
    return values, weights / weights.sum()


def cells(values: Draws, sd: float) -> float:
    """Chi-square over at most 100 cells, the outer ones of about 20 draws each: p-value."""
    support, probabilities = masses(sd)
    below = np.cumsum(probabilities)
    wanted = np.concatenate([[1e-4, 1e-3], np.arange(2, 99) / 100, [1 - 1e-3, 1 - 1e-4]])
    edges = np.unique(support[np.searchsorted(below, wanted)])
    upto = np.concatenate([[0.0], below[edges - support[0]], [1.0]])
    observed = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return float(stats.chisquare(observed, len(values) * np.diff(upto)).pvalue)


def low_bits(values: Draws, sd: float) -> float:
    """Chi-square of the values modulo 16, uniform for sd >= 81: p-value."""
    return float(stats.chisquare(np.bincount(values % 16, minlength=16)).pvalue)


def moments(values: Draws, sd: float) -> float:
    """Mean, variance (sd^2) and kurtosis, normal for so many draws: least p-value of three, times 3."""
    scaled = values / sd
    scores = [scaled.mean(), (np.mean(scaled**2) - 1) / np.sqrt(2), (np.mean(scaled**4) - 3) / np.sqrt(96)]
    return float(3 * np.min(stats.norm.sf(np.abs(scores) * np.sqrt(len(values))) * 2))


def neighbours(values: Draws, sd: float) -> float:
    """Correlation of successive draws: p-value."""
    correlation = np.mean(values[1:] / sd * (values[:-1] / sd))
    return float(2 * stats.norm.sf(abs(correlation) * np.sqrt(len(values))))


def signs(values: Draws, sd: float) -> float:
    """As many above as below zero, binomial: p-value."""
    return float(stats.binomtest(int(np.sum(values > 0)), int(np.sum(values != 0))).pvalue)


CHECKS: dict[str, Callable[[Draws, float], float]] = {
    "cells": cells,
    "low bits": low_bits,
    "moments": moments,
    "neighbours": neighbours,
    "signs": signs,
}
APPLICABLE = [(sd, name) for sd in SCALES for name in CHECKS if sd >= 81 or name != "low bits"]


@pytest.mark.parametrize(("sd", "check"), APPLICABLE)
def test_a_share_is_a_discrete_gaussian(sd: float, check: str) -> None:
    assert CHECKS[check](sample(sd, SeededRandom(30, check)), sd) > FALSE_ALARM


@pytest.mark.parametrize("sd", [2.0, 1500.0])
def test_shares_from_the_system_have_the_same_distribution(sd: float) -> None:
    # Fresh entropy at every run: a false alarm once in 10^9 runs.
    values = sample(sd, OsRandom())
    assert cells(values, sd) > 2.5e-10
    assert moments(values, sd) > 2.5e-10


@pytest.mark.parametrize("sd", SCALES)
@pytest.mark.parametrize("check", ["cells", "moments"])
def test_a_share_three_per_cent_too_small_would_be_noticed(sd: float, check: str) -> None:
    assert CHECKS[check](sample(max(2.0, 0.97 * sd), SeededRandom(31)), max(2.0, 0.97 * sd) / 0.97) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_tails_cut_at_three_standard_deviations_would_be_noticed(sd: float) -> None:
    values = sample(sd, SeededRandom(32))
    within = values[np.abs(values) <= 3 * sd]
    assert cells(within, sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", [81.0, 1500.0, 2.0**14])
def test_a_stuck_low_bit_would_be_noticed(sd: float) -> None:
    assert low_bits(sample(sd, SeededRandom(33)) & ~1, sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_using_a_share_twice_would_be_noticed(sd: float) -> None:
    assert neighbours(np.repeat(sample(sd, SeededRandom(34))[: DRAWS // 2], 2), sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_a_sign_that_is_wrong_once_in_fifty_draws_would_be_noticed(sd: float) -> None:
    values = sample(sd, SeededRandom(35))
    values[::50] = np.abs(values[::50])
    assert signs(values, sd) < FALSE_ALARM


@pytest.mark.parametrize("sd", SCALES)
def test_shares_of_two_devices_are_unrelated(sd: float) -> None:
    one, two = sample(sd, SeededRandom(36, "a")), sample(sd, SeededRandom(36, "b"))
    assert neighbours(np.stack([one, two], axis=1).ravel(), sd) > FALSE_ALARM
    assert neighbours(np.stack([one, one], axis=1).ravel(), sd) < FALSE_ALARM  # control


def summed(sd: float, shares: int, seed: int) -> Draws:
    return np.asarray(sum(sample(sd, SeededRandom(seed, device)) for device in range(shares)))


@pytest.mark.parametrize("sd", [2.0, 81.0, 1500.0])
@pytest.mark.parametrize("check", ["cells", "moments"])
def test_the_sum_of_shares_is_one_draw_of_the_larger_discrete_gaussian(sd: float, check: str) -> None:
    whole = sd * math.sqrt(SHARES)
    assert CHECKS[check](summed(sd, SHARES, 37), whole) > FALSE_ALARM
    # Control: with one share of twenty missing.
    assert CHECKS[check](summed(sd, SHARES - 1, 37), whole) < FALSE_ALARM


def test_opendp_draws_from_our_probabilities() -> None:
    opendp = pytest.importorskip("opendp.prelude", reason="OpenDP, the oracle, is not installed (backrow[dev])")
    opendp.enable_features("contrib")
    for sd in (2.0, 81.0):
        space = opendp.vector_domain(opendp.atom_domain(T="i64")), opendp.l2_distance(T="i64")
        values = np.array(opendp.m.make_gaussian(*space, scale=sd)([0] * 50_000))
        # Fresh entropy at every run: a false alarm once in 10^9 runs.
        assert table_fits(values, sd) > 2.5e-10
        assert table_fits(values, 1.05 * sd) < 2.5e-10  # control


def table_fits(values: Draws, sd: float) -> float:
    """Chi-square of draws against the sampler's own table, over at most 60 cells: p-value."""
    edges = sampler_edges(sd)
    wanted = np.concatenate([[0], np.searchsorted(edges, np.arange(1, 60) / 60), [len(edges) - 1]])
    sizes = np.unique(wanted)
    observed = [np.sum((np.abs(values) >= low) & (np.abs(values) < high)) for low, high in pairwise(sizes)]
    expected = np.diff(edges[sizes]) * len(values)
    return float(stats.chisquare(observed, expected).pvalue)


def sampler_edges(sd: float) -> NDArray[np.float64]:
    """P(|X| < k) of the sampler for k = 0 .. reach + 1."""
    from backrow.privacy import discrete_gaussian

    return np.concatenate([[0.0], discrete_gaussian._table(sd).high * 2.0**-63, [1.0]])
