"""Intervals: Student's t over seeds, and the paired bootstrap over viewers."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
_AT_ONCE = 2_000_000
"""Draws held in memory at a time."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: of it.
        deviation: standard deviation of one seed's figure; None for a single seed.
        low, high: Student's t-interval of the mean; None for a single seed.
        count: of seeds.
    """

    value: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int


def mean_over_seeds(values: list[float] | FloatArray, confidence: float = CONFIDENCE) -> Mean:
    """Mean and Student's t-interval: normal errors, equal spread, independent seeds.

    Raises:
        ValueError: no value, or confidence outside (0, 1).
    """
    from scipy.stats import t

    figures = np.asarray(values, dtype=np.float64)
    if not len(figures) or not 0 < confidence < 1:
        raise ValueError(f"a mean needs a value, and confidence in (0, 1), got {len(figures)} and {confidence}")
    middle = float(figures.mean())
    if len(figures) == 1:
        return Mean(middle, None, None, None, 1)
    deviation = float(figures.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, len(figures) - 1)) * deviation / math.sqrt(len(figures))
    return Mean(middle, deviation, middle - half, middle + half, len(figures))


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of paired differences.

    Attributes:
        value: of it.
        low, high: percentile interval of the bootstrap.
        p_value: how often a resample of the centred differences is at least as far from 0; two-sided, never 0.
        pairs, resamples: how many.
    """

    value: float
    low: float
    high: float
    p_value: float
    pairs: int
    resamples: int


def paired_bootstrap(
    differences: FloatArray, seed: int, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Difference:
    """Resample pairs with replacement: what would other viewers from the same source say?

    Args:
        differences: one per viewer, shape (viewers,).
        seed: of the resamples.

    Raises:
        ValueError: fewer than two pairs, or no resamples.
    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", sections 13.3 and 16.4.
    """
    if len(differences) < 2 or resamples < 1:
        raise ValueError(f"a bootstrap needs two pairs and a resample, got {len(differences)} and {resamples}")
    # Few values occur (a hit more, a hit less, some gains): the counts of a resample are multinomial.
    values, counts = np.unique(differences, return_counts=True)
    random = np.random.default_rng(seed)
    means, step = np.empty(resamples), max(1, _AT_ONCE // len(values))
    for start in range(0, resamples, step):
        drawn = random.multinomial(len(differences), counts / len(differences), min(step, resamples - start))
        means[start : start + step] = drawn @ values / len(differences)
    middle = float(differences.mean())
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    further = int(np.sum(np.abs(means - middle) >= abs(middle) * (1 - 1e-12)))
    p_value = 1.0 if middle == 0 else (1 + further) / (1 + resamples)
    return Difference(middle, float(low), float(high), p_value, len(differences), resamples)
