"""Epsilon of Gaussian releases, written anew for the auditor and for many prefixes at once. Pure.

Nothing here is shared with `privacy.accounting`: what the coordinator computed by quadrature is recomputed with
scipy's normal distribution, and bounded from above by Renyi differential privacy.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

FloatArray = NDArray[np.float64]

_BEYOND = 1e6
"""A mu beyond this has an epsilon of about 5e11: no privacy at all."""
_HALVINGS = 64
_GOLDEN = (math.sqrt(5) - 1) / 2
_SECTIONS = 32
"""Leave an interval of 1e-6 around the best order, on a logarithmic scale."""


def mu_squared(noise_multipliers: Iterable[float]) -> FloatArray:
    """Squared Gaussian-DP parameter of each release; infinity where there is no noise."""
    multipliers = np.array(list(noise_multipliers), dtype=np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray((1 / multipliers) ** 2)


def exact(mu: FloatArray, delta: float) -> FloatArray:
    """Smallest epsilon of each Gaussian release at this delta, to about ten digits, rounded up.

    Source: Balle, Wang 2018, thm. 8: delta = Phi(mu / 2 - e / mu) - e^e Phi(-mu / 2 - e / mu).
    """
    result = np.zeros(mu.shape)
    result[mu >= _BEYOND] = math.inf
    todo = np.flatnonzero((mu > 0) & (mu < _BEYOND))
    todo = todo[_log_delta(np.zeros(len(todo)), mu[todo]) > math.log(delta)]
    some = mu[todo]
    low, high = np.zeros(len(todo)), some * some / 2 + some * math.sqrt(-2 * math.log(delta))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _log_delta(middle, some) > math.log(delta)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    result[todo] = high
    return result


def _log_delta(epsilon: FloatArray, mu: FloatArray) -> FloatArray:
    upper = log_ndtr(mu / 2 - epsilon / mu)
    ratio = epsilon + log_ndtr(-mu / 2 - epsilon / mu) - upper
    with np.errstate(divide="ignore"):
        return np.asarray(upper + np.log(-np.expm1(np.minimum(ratio, 0.0))))


def renyi(mu_squares: FloatArray, delta: float) -> FloatArray:
    """Upper bound of epsilon by Renyi DP, valid for adaptively chosen costs too: for Gaussian releases, zCDP's.

    At the best order to about seven digits, so never above the coordinator's figure, which takes it from a grid.

    Source: Mironov 2017 (order a costs a mu^2 / 2); Canonne, Kamath, Steinke 2020, prop. 12 (conversion),
    minimised over the order by golden sections.
    """
    result = np.where(mu_squares > 0, math.inf, 0.0)
    todo = np.flatnonzero((mu_squares > 0) & (mu_squares < _BEYOND**2))
    rho, need = np.maximum(mu_squares[todo] / 2, 1e-300), -math.log(delta)

    def bound(place: FloatArray) -> FloatArray:
        excess = np.exp(place)  # order - 1
        return np.asarray(rho * (1 + excess) + place - np.log1p(excess) + (need - np.log1p(excess)) / excess)

    best = np.log(need / rho) / 2
    low, high = best - 6, best + 6
    for _ in range(_SECTIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        lower = bound(left) < bound(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    result[todo] = np.maximum(bound((low + high) / 2), 0.0)
    return result
