"""Which correlation for which question: what is to be known of a stream, and how well each choice tells it.

Everything here is public and chosen before the first release. A workload is a Toeplitz matrix A, named by its first
column a: ones (everything so far), ones and zeros (the last weeks), powers (decayed), 1 (each week by itself). The
release x + C^-1 z tells A x with error A C^-1 z, whose standard deviations are norms of the series a * c^-1.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from backrow.privacy.correlated import MOST_BITS, Correlation, FloatArray


class Matrix(StrEnum):
    """How C is chosen."""

    INDEPENDENT = "independent"
    """C = I."""
    SQUARE_ROOT = "square-root"
    """The square root of the matrix of prefix sums, cut off at the band."""
    OPTIMISED = "optimised"
    """Least error for the workload, found numerically; needs scipy."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be told after every release.

    Attributes:
        name: for people.
        weights: a: how much this week, the last, the one before ... count; shape (at most horizon,).
    """

    name: str
    weights: tuple[float, ...]

    def padded(self, horizon: int) -> FloatArray:
        """The weights, shape (horizon,)."""
        padded = np.zeros(horizon)
        padded[: len(self.weights)] = self.weights[:horizon]
        return padded


def cumulative(horizon: int) -> Workload:
    """Everything so far."""
    return Workload("cumulative", (1.0,) * horizon)


def window(weeks: int) -> Workload:
    """The sum of the last `weeks` releases; 1: each by itself."""
    return Workload("each by itself" if weeks == 1 else f"last {weeks}", (1.0,) * weeks)


def decayed(factor: float, horizon: int) -> Workload:
    """Everything so far, each release counting `factor` times the one after it."""
    return Workload(f"decayed {factor:g}", tuple(factor**age for age in range(horizon)))


def square_root(band: int) -> FloatArray:
    """The first coefficients of (1 - q)^(-1/2): 1, 1/2, 3/8, ...; shape (band,).

    Source: Fichtenberger, Henzinger, Upadhyay 2022, "Constant matters"; banded: Kalinin, Lampert 2024.
    """
    ratios = [1.0, *((2 * j - 1) / (2 * j) for j in range(1, band))]
    return np.asarray(np.cumprod(ratios), dtype=np.float64)


def errors(workload: Workload, correlation: Correlation) -> FloatArray:
    """Standard deviation of what is told after each release, in sensitivities of one sum; shape (horizon,)."""
    return correlation.spread * np.sqrt(np.cumsum(_series(workload, correlation.inverse()) ** 2))


def design(
    matrix: Matrix,
    workload: Workload,
    horizon: int,
    band: int,
    participations: int,
    separation: int,
    noise_multiplier: float,
    *,
    first: int = 1,
    stride: int | None = None,
    bits: int = MOST_BITS,
) -> Correlation:
    """A correlation for a workload; its coefficients are rounded to the grid before their sensitivity is taken.

    Args:
        band: coefficients, 1..horizon.
        noise_multiplier: 1 / mu of the whole sequence.
        first, stride: as `Correlation`.

    Raises:
        UnsafePlanError: as `Correlation`.
        ValueError: the band is out of range.
    """
    if not 1 <= band <= horizon:
        raise ValueError(f"the band must be 1 to {horizon}, got {band}")
    match matrix:
        case Matrix.INDEPENDENT:
            chosen = np.ones(1)
        case Matrix.SQUARE_ROOT:
            chosen = square_root(band)
        case Matrix.OPTIMISED:
            chosen = _optimised(workload, horizon, band, participations, separation)
    grid = tuple(int(value) for value in np.rint(chosen * 2**bits))
    return Correlation(grid, bits, horizon, participations, separation, noise_multiplier, first, stride)


def _series(workload: Workload, inverse: FloatArray) -> FloatArray:
    horizon = len(inverse)
    return np.convolve(workload.padded(horizon), inverse)[:horizon]


def _optimised(workload: Workload, horizon: int, band: int, participations: int, separation: int) -> FloatArray:
    """Least mean squared error times squared sensitivity, over coefficients that never rise.

    Each coefficient is a fraction, the logistic of a free number, of the one before, so that every point that is tried
    is one that the sensitivity holds for. Whether the minimum is global does not matter for privacy.
    """
    from scipy.optimize import minimize
    from scipy.signal import lfilter

    if band == 1:
        return np.ones(1)
    left = np.arange(horizon, 0, -1) / horizon
    wanted, taken = workload.padded(horizon), np.zeros(horizon)
    taken[: participations * separation : separation] = 1

    def loss(free: FloatArray) -> float:
        chosen = _falling(free)
        rows = np.convolve(taken, chosen)[:horizon]
        series = lfilter([1.0], chosen, wanted)
        return math.log(float(rows @ rows) * float(left @ series**2))

    ages = np.arange(band, dtype=np.float64)
    starts: list[FloatArray] = [square_root(band), 0.5**ages, 0.05 ** np.minimum(ages, 4)]
    found = [minimize(loss, _free(start), method="L-BFGS-B", options={"maxiter": 200}) for start in starts]
    return _falling(min(found, key=lambda each: float(each.fun)).x)


def _falling(free: FloatArray) -> FloatArray:
    return np.concatenate([[1.0], np.cumprod(1 / (1 + np.exp(-free)))])


def _free(coefficients: FloatArray) -> FloatArray:
    ratios = np.clip(coefficients[1:] / coefficients[:-1], 1e-3, 1 - 1e-3)
    return np.asarray(np.log(ratios / (1 - ratios)))
