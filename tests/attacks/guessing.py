"""How well an attacker guesses: area under the ROC curve with its confidence interval, and a learned attack."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]

WIDE = 5.0
"""Standard errors of every interval: a side is missed by chance once in 3.5 million tests."""


@dataclass(frozen=True, slots=True)
class Auc:
    """Chance that a member scores higher than a non-member. Attributes: `error`, standard error (DeLong 1988)."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """Of the confidence interval."""
        return self.value - WIDE * self.error

    @property
    def high(self) -> float:
        """Of the confidence interval."""
        return self.value + WIDE * self.error


def auc(scores: Scores, member: NDArray[np.bool_]) -> Auc:
    """Of an attacker who says `member` of the highest scores; ties count half."""
    inside, outside = scores[member], scores[~member]
    ranks, m, n = stats.rankdata(np.concatenate([inside, outside])), len(inside), len(outside)
    above = (ranks[:m] - stats.rankdata(inside)) / n  # of each member: the part of non-members below it
    below = 1 - (ranks[m:] - stats.rankdata(outside)) / m
    error = math.sqrt(np.var(above, ddof=1) / m + np.var(below, ddof=1) / n)
    return Auc(float(np.mean(above)), max(error, 1 / (m + n)))


def bits_of(values: NDArray[np.uint32], extra: Scores | None = None) -> Scores:
    """Every bit of every number, and what else the attacker has; shape (trials, features)."""
    bits = np.unpackbits(np.ascontiguousarray(values).view(np.uint8), axis=1).astype(float)
    return bits if extra is None else np.column_stack([bits, extra])


def learned(features: Scores, member: NDArray[np.bool_]) -> Auc:
    """An attack fitted to one half of the trials by ridge regression, and tried on the other."""
    half = len(member) // 2
    centre, spread = features[:half].mean(axis=0), features[:half].std(axis=0) + 1e-9
    known = (features[:half] - centre) / spread
    weights = np.linalg.solve(
        known.T @ known + 10 * np.eye(known.shape[1]), known.T @ (member[:half] - np.mean(member[:half]))
    )
    return auc((features[half:] - centre) / spread @ weights, member[half:])


def optimal(mu: float) -> float:
    """Of the best test between N(0, 1) and N(mu, 1): no attack on a mu-private release does better."""
    return float(stats.norm.cdf(mu / math.sqrt(2)))
