"""What rounds cost together where the noise of some is correlated, written anew for the auditor. Pure.

Nothing here is shared with `privacy.correlated`: C is written out, and how large z is follows from the noise that a
single release claims.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from backrow.privacy.audit.formulas import FloatArray, mu_squared
from backrow.privacy.correlated import Correlation
from backrow.privacy.plan import RoundPlan


def increments(plans: Sequence[RoundPlan], groups: Sequence[Hashable] | None = None) -> FloatArray:
    """What each round adds to the squared Gaussian-DP parameter of those before it, shape (plans,).

    Args:
        plans: in the order of their reservations.
        groups: counted apart, one for each plan; None: all together.
    """
    squares = mu_squared(plan.noise_multiplier for plan in plans)
    counted: dict[Hashable, float] = {}
    for place, plan in enumerate(plans):
        if plan.correlation is None:
            continue
        key = (plan.run_id, plan.correlation, None if groups is None else groups[place])
        before = counted.get(key, 0.0)
        counted[key] = max(before, _upto(plan))
        squares[place] = counted[key] - before
    return squares


def alone(plans: Sequence[RoundPlan]) -> FloatArray:
    """Squared parameter of each round by itself, of a sequence: of all its releases up to there; shape (plans,)."""
    squares = mu_squared(plan.noise_multiplier for plan in plans)
    for place, plan in enumerate(plans):
        if plan.correlation is not None:
            squares[place] = _upto(plan)
    return squares


def multipliers(plans: Iterable[RoundPlan]) -> tuple[float, ...]:
    """Noise multipliers of independent Gaussian releases that cost as much as these rounds together."""
    single: list[float] = []
    sequences: dict[Hashable, float] = {}
    for plan in plans:
        if plan.correlation is None:
            single.append(plan.noise_multiplier)
        else:
            key = (plan.run_id, plan.correlation)
            sequences[key] = max(sequences.get(key, 0.0), _upto(plan))
    return (*single, *(1 / math.sqrt(square) for square in sequences.values()))


def squared(plans: Iterable[RoundPlan]) -> float:
    """Squared Gaussian-DP parameter of these rounds together."""
    return math.fsum(mu_squared(multipliers(plans)))


def whitened(sequence: Correlation, place: int, recent: Sequence[FloatArray], noise_scale: float) -> FloatArray:
    """The independent noise that a release is made of, in its own standard deviations.

    Args:
        place: of the last release.
        recent: noises of consecutive releases, the last one last: all so far, or as many as the band holds.
        noise_scale: standard deviation claimed for the noise of the last one.
    """
    total = np.zeros_like(recent[-1])
    for coefficient, noise in zip(sequence.coefficients, reversed(recent), strict=False):
        total += coefficient / 2**sequence.bits * noise
    return np.asarray(total * math.sqrt(_dense(sequence, place)[1]) / noise_scale)


def _upto(plan: RoundPlan) -> float:
    """Of all releases of a plan's sequence up to its own: sensitivity squared over the variance of z."""
    sequence = plan.correlation
    assert sequence is not None
    place = sequence.place(plan.round)
    sensitivity, variance = _dense(sequence, place)
    return sensitivity * variance / plan.noise_multiplier**2


@lru_cache(maxsize=4096)
def _dense(sequence: Correlation, places: int) -> tuple[float, float]:
    """Squared sensitivity of the first releases, and variance of the last one's noise in variances of z."""
    below = np.subtract.outer(np.arange(places), np.arange(places))
    padded = np.zeros(max(places, len(sequence.coefficients)))
    padded[: len(sequence.coefficients)] = np.array(sequence.coefficients) / 2**sequence.bits
    matrix = np.where(below >= 0, padded[np.maximum(below, 0)], 0.0)
    answered = np.arange(0, places, sequence.separation)[: sequence.participations]  # docs/continual.md, theorem 2
    products = matrix.T @ matrix
    last = np.linalg.solve(matrix, np.eye(places))[-1]
    return float(products[np.ix_(answered, answered)].sum()), float(last @ last)
