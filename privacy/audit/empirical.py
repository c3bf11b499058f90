"""What attacks show: a lower bound on epsilon from one run, and the area under a membership attack's curve.

An attack can refute a claim, never prove it. Both statistics are pure: scores and coins in, figures out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

CONFIDENCE = 0.95
GUESSED_SHARE = 4
"""One canary in four is guessed. Fixed before any score is seen, as the theorem asks; at 1,000 canaries it finds
noise four times too small in over 95 % of runs at claims from 1 to 4 (benchmarks/results/empirical-audit.md)."""
_LARGEST_EPSILON = 60.0


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """What one run with canaries shows.

    Attributes:
        canaries: how many coins were tossed.
        included: how many of them came up.
        guesses: for how many the attacker said "in" or "out"; the rest she abstains.
        correct: how many of the guesses were right.
        delta: of the claim that is tested.
        confidence: of the lower bound.
        epsilon_lower: with this confidence the run is not (epsilon, delta)-private for any smaller epsilon.
        epsilon_reach: what `epsilon_lower` would be, had every guess been right: no claim above it can be refuted.
    """

    canaries: int
    included: int
    guesses: int
    correct: int
    delta: float
    confidence: float
    epsilon_lower: float
    epsilon_reach: float


def one_run_p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Chance, at most, of so many right guesses against an (epsilon, delta)-private run.

    beta + 2 m delta alpha with beta = P[B >= v], alpha = max over i >= 1 of P[v > B >= v - i] / i and
    B binomial with r trials of probability e^epsilon / (1 + e^epsilon).

    Args:
        canaries: m, each included by its own fair coin.
        guesses: r, fixed before the run.
        correct: v.
        epsilon: of the hypothesis, >= 0.
        delta: of the hypothesis, in [0, 1]; 2 m delta <= 1, beyond which the bound says nothing useful.

    Raises:
        ValueError: an argument is out of range.
    Source: Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", thm. 5.2 and app. D.
    """
    if not 0 <= correct <= guesses <= canaries or canaries < 1:
        raise ValueError(f"{correct} right of {guesses} guesses about {canaries} canaries cannot be")
    if not 0 <= epsilon < math.inf or not 0 <= delta <= 1:
        raise ValueError(f"epsilon must be at least 0 and delta a probability, got {epsilon} and {delta}")
    if 2 * canaries * delta > 1:
        raise ValueError(f"at delta {delta:g} at most {int(1 / (2 * delta))} canaries say anything, got {canaries}")
    chance = 1 / (1 + math.exp(-epsilon))
    beta = float(stats.binom.sf(correct - 1, guesses, chance))
    if correct == 0 or delta == 0:
        return min(beta, 1.0)
    below = np.cumsum(stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, chance))
    alpha = float(np.max(below / np.arange(1, correct + 1)))
    return min(beta + 2 * canaries * delta * alpha, 1.0)


def one_run_lower_bound(
    canaries: int, guesses: int, correct: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """Largest epsilon (rounded down, at most 60) that so many right guesses refute; 0 if none.

    Guarantees: against an (epsilon, delta)-private run the result exceeds epsilon with probability at most
    1 - confidence. For 2 m delta <= 1 the p-value grows with epsilon, so bisection finds the largest.

    Raises:
        ValueError: as `one_run_p_value`, or confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1 (exclusive), got {confidence}")
    low, high = 0.0, _LARGEST_EPSILON
    if one_run_p_value(canaries, guesses, correct, low, delta) >= 1 - confidence:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if one_run_p_value(canaries, guesses, correct, middle, delta) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def canary_audit(
    scores: FloatArray, included: BoolArray, delta: float, *, guesses: int | None = None, confidence: float = CONFIDENCE
) -> CanaryAudit:
    """Guess the highest scores "in" and the lowest "out", and say what the right ones show.

    Args:
        scores: shape (canaries,), finite; higher means more likely included.
        included: shape (canaries,), the fair coins.
        delta: of the claim.
        guesses: an even number fixed beforehand; a quarter of the canaries if not given.

    Raises:
        ValueError: shapes differ, a score is not finite, or `one_run_lower_bound` refuses.
    """
    if scores.ndim != 1 or scores.shape != included.shape or not np.all(np.isfinite(scores)):
        raise ValueError(f"scores and coins must be finite and one per canary, got {scores.shape} and {included.shape}")
    canaries = len(scores)
    half = (canaries // GUESSED_SHARE if guesses is None else guesses) // 2
    if not 1 <= half <= canaries // 2:
        raise ValueError(f"{2 * half} guesses about {canaries} canaries: guess at least two and at most all")
    # Ties are broken by position, which the coins do not know.
    order = np.argsort(scores, kind="stable")
    correct = int(np.sum(included[order[-half:]])) + int(np.sum(~included[order[:half]]))
    return CanaryAudit(
        canaries=canaries,
        included=int(np.sum(included)),
        guesses=2 * half,
        correct=correct,
        delta=delta,
        confidence=confidence,
        epsilon_lower=one_run_lower_bound(canaries, 2 * half, correct, delta, confidence),
        epsilon_reach=one_run_lower_bound(canaries, 2 * half, 2 * half, delta, confidence),
    )


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under a membership attack's curve, with a two-sided confidence interval.

    Attributes:
        value: chance that a member scores higher than a non-member, ties counting half; .5 is guessing.
        low, high: the interval.
        members, non_members: how many were scored.
    """

    value: float
    low: float
    high: float
    members: int
    non_members: int
    confidence: float


def auc(members: FloatArray, non_members: FloatArray, confidence: float = CONFIDENCE) -> Auc:
    """Area under the curve with DeLong's variance, on the logit scale so that the interval stays in 0..1.

    Perfect separation has no variance to go by: the interval then reaches down to the area at which it
    would still happen with probability (1 - confidence) / 2, one member in so many never scoring low.

    Args:
        members, non_members: finite scores, at least two of each.

    Raises:
        ValueError: too few scores, one not finite, or confidence outside (0, 1).
    Source: DeLong, DeLong, Clarke-Pearson 1988; midranks as Sun and Xu 2014.
    """
    if min(len(members), len(non_members)) < 2:
        raise ValueError(f"at least two members and two others are needed, got {len(members)} and {len(non_members)}")
    if not (np.all(np.isfinite(members)) and np.all(np.isfinite(non_members))) or not 0 < confidence < 1:
        raise ValueError("scores must be finite and confidence between 0 and 1 (exclusive)")
    count, others = len(members), len(non_members)
    ranks = stats.rankdata(np.concatenate([members, non_members]))
    over = (ranks[:count] - stats.rankdata(members)) / others
    under = 1 - (ranks[count:] - stats.rankdata(non_members)) / count
    value = float(np.mean(over))
    variance = float(np.var(over, ddof=1) / count + np.var(under, ddof=1) / others)
    tail = (1 - confidence) / 2
    if value in (0.0, 1.0):
        reach = tail ** (1 / min(count, others))
        low, high = (reach, 1.0) if value == 1.0 else (0.0, 1 - reach)
    else:
        half = float(stats.norm.isf(tail)) * math.sqrt(variance) / (value * (1 - value))
        logit = math.log(value / (1 - value))
        low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    return Auc(value, low, high, count, others, confidence)


def largest_auc(mu: float) -> float:
    """Largest area that mu-Gaussian privacy allows any membership attack: Phi(mu / sqrt 2).

    Holds for scores pooled over many members too: trade-off functions are convex.

    Raises:
        ValueError: mu is negative or not a number.
    Source: Dong, Roth, Su 2022, "Gaussian differential privacy".
    """
    if not mu >= 0:
        raise ValueError(f"mu must be at least 0, got {mu}")
    return float(stats.norm.cdf(mu / math.sqrt(2)))


def largest_auc_of(epsilon: float, delta: float) -> float:
    """Largest area that (epsilon, delta) alone allows: one minus the integral of its trade-off function.

    Raises:
        ValueError: epsilon < 0 or delta outside 0..1.
    Source: Wasserman, Zhou 2010; Kairouz, Oh, Viswanath 2015.
    """
    if not epsilon >= 0 or not 0 <= delta <= 1:
        raise ValueError(f"epsilon must be at least 0 and delta a probability, got {epsilon} and {delta}")
    # f(a) = max(0, 1 - delta - e^epsilon a, e^-epsilon (1 - delta - a)); the two lines cross at `kink`.
    shrink = math.exp(-epsilon)
    room = 1 - delta
    kink = room * shrink / (1 + shrink)
    steep = room * kink - (kink * kink / (2 * shrink) if shrink > 0 else 0.0)
    flat = shrink * (room - kink) ** 2 / 2
    return 1 - steep - flat
