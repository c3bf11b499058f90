"""The closed form: what any number of Gaussian releases costs together.

Standard library and numpy only, so that a device can check an epsilon for itself.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np

_STEPS = np.arange(-3.5, 4.25, 1 / 16)
_NODES = np.exp(_STEPS - np.exp(-_STEPS))
_WEIGHTS = _NODES * (1 + np.exp(-_STEPS)) / 16
_HALF_SQUARES = _NODES**2 / 2
"""Double-exponential quadrature over t > 0 (Takahasi and Mori 1974); relative error below 1e-13."""


def compose(mus: Iterable[float]) -> float:
    """Gaussian-DP parameter of several Gaussian releases: the root of the sum of squares.

    Holds for releases chosen adaptively, as long as their costs were fixed beforehand.
    Source: Dong, Roth, Su 2022, "Gaussian differential privacy", cor. 3.3.
    """
    return math.hypot(*mus)


def delta(epsilon: float, mu: float) -> float:
    """Smallest delta at which a Gaussian release of parameter `mu` is (epsilon, delta)-private."""
    return math.exp(log_delta(epsilon, mu))


def log_delta(epsilon: float, mu: float) -> float:
    """Logarithm of Phi(-a) - e^epsilon Phi(-a - mu) with a = epsilon / mu - mu / 2; -inf if mu is 0.

    Evaluated as the integral of phi(a + t) (1 - e^(-mu t)) over t > 0, where nothing cancels and
    nothing overflows; for a < -1/2, where nothing cancels either, as it stands.

    Args:
        epsilon: >= 0.
        mu: sensitivity / standard deviation, >= 0.

    Raises:
        ValueError: an argument is negative or not finite.
    Source: Balle, Wang 2018, "Improving the Gaussian mechanism for differential privacy", thm. 8.
    """
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"epsilon must be finite and at least 0, got {epsilon}")
    if not 0 <= mu < math.inf:
        raise ValueError(f"mu must be finite and at least 0, got {mu}")
    if mu == 0:
        return -math.inf
    a = epsilon / mu - mu / 2
    log_density = -a * a / 2 - math.log(2 * math.pi) / 2
    if a < -0.5:
        mills = float(np.exp(-(a + mu) * _NODES - _HALF_SQUARES) @ _WEIGHTS)
        return math.log(math.erfc(a / math.sqrt(2)) / 2 - math.exp(log_density) * mills)
    integral = float((np.exp(-a * _NODES - _HALF_SQUARES) * -np.expm1(-mu * _NODES)) @ _WEIGHTS)
    return log_density + math.log(integral) if integral > 0 else -math.inf


@lru_cache(maxsize=1024)  # a round asks what a run has spent again and again
def epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon at which a Gaussian release of parameter `mu` is (epsilon, delta)-private.

    Args:
        mu: sensitivity / standard deviation, >= 0; of several releases `compose`.
        delta: in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    check_delta(delta)
    target = math.log(delta)
    if log_delta(0, mu) <= target:
        return 0.0
    above = mu * mu / 2 + mu * math.sqrt(-2 * target)
    return _bisect(lambda value: log_delta(value, mu) > target, 0.0, above)[1]


def mu_for(epsilon: float, delta: float) -> float:
    """Largest `mu` at which Gaussian releases together are (epsilon, delta)-private.

    Raises:
        ValueError: epsilon <= 0 or delta outside (0, 1).
    """
    check_epsilon(epsilon)
    check_delta(delta)
    target = math.log(delta)
    above = 1.0
    while log_delta(epsilon, above) <= target:
        above *= 2
    return _bisect(lambda value: log_delta(epsilon, value) <= target, 0.0, above)[0]


def check_epsilon(epsilon: float) -> None:
    """Refuse an epsilon that is no budget, with a sentence that says what to do."""
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be a positive number, got {epsilon}: for a run without privacy leave it out")


def check_delta(delta: float) -> None:
    """Refuse a delta that is no probability, with a sentence that says what to do."""
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1 (exclusive), got {delta}: choose less than 1 / devices")


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Neighbouring floats (or nearly) around the point where `holds` turns from true to false."""
    while high - low > 4e-16 * high:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high
