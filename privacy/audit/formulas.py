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
_ORDERS = 1 + np.logspace(-3, 5, 321)
_CHUNK = 4096


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
    """Upper bound of epsilon by Renyi DP, valid for adaptively chosen costs too.

    Source: Mironov 2017 (order a costs a mu^2 / 2); Canonne, Kamath, Steinke 2020, prop. 12 (conversion),
    minimised over a grid of orders.
    """
    offset = np.log1p(-1 / _ORDERS) - (math.log(delta) + np.log(_ORDERS)) / (_ORDERS - 1)
    result = np.empty(mu_squares.shape)
    with np.errstate(over="ignore"):
        for start in range(0, len(mu_squares), _CHUNK):
            part = mu_squares[start : start + _CHUNK, None] / 2
            result[start : start + _CHUNK] = np.min(part * _ORDERS + offset, axis=1)
    return np.where(mu_squares > 0, np.maximum(result, 0.0), 0.0)
