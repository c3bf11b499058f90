"""Noise that is correlated over releases which repeat: each week's noise takes back part of the weeks before.

A week's sum x_t is released as x_t + w_t with C w = z (up to rounding): C banded, lower triangular and Toeplitz, z
independent Gaussians. Everything released is then post-processing of C x + z, one Gaussian mechanism whose sensitivity
is a norm of C. No device is sampled. Derivation: docs/continual.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.randomness import RandomSource

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

LONGEST_HORIZON = 1024
"""Releases of one sequence, at most: twenty years of weeks."""
MOST_BITS = 12
"""Coefficients are multiples of 2^-12, or coarser."""

_REACH = 12
"""No draw of `IntegerGaussian` is further from 0 than so many standard deviations."""
_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Correlation:
    """One sequence of releases whose noises belong together, and what any device may add to it.

    Attributes:
        coefficients: of C times 2^bits, from the diagonal down: 2^bits first, then never rising, never negative.
        bits: 0..12.
        horizon: T, releases of the whole sequence.
        participations: in how many of them, at most, one device's answer is not zero.
        separation: fewest releases from one such answer to the next; 1: they may follow one another.
        noise_multiplier: of the whole sequence, 1 / mu: standard deviation of z / (sensitivity of C * that of one sum).
        first: number of the round with its first release.
        stride: rounds from one release to the next, 2 or more: others are asked in between; None: they follow one
            another.

    Raises:
        UnsafePlanError: a value is out of range.
    """

    coefficients: tuple[int, ...]
    bits: int
    horizon: int
    participations: int
    separation: int
    noise_multiplier: float
    first: int = 1
    stride: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= LONGEST_HORIZON or not 0 <= self.bits <= MOST_BITS:
            raise UnsafePlanError(
                f"correlated noise spans 1 to {LONGEST_HORIZON} releases in 0 to {MOST_BITS} bits, got {self.horizon} "
                f"and {self.bits}"
            )
        if not 1 <= len(self.coefficients) <= self.horizon or self.coefficients[0] != 2**self.bits:
            raise UnsafePlanError(f"1 to {self.horizon} coefficients are needed, the first of them {2**self.bits}")
        # What the sensitivity below is proven for.
        steps = zip(self.coefficients, (*self.coefficients[1:], 0), strict=True)
        if any(before < after for before, after in steps):
            raise UnsafePlanError("the coefficients of correlated noise may not rise from one to the next, nor be < 0")
        if not 1 <= self.participations <= self.horizon or not 1 <= self.separation <= self.horizon:
            raise UnsafePlanError(
                f"participations and separation must be 1 to {self.horizon}, got {self.participations} and "
                f"{self.separation}"
            )
        if not 0 < self.noise_multiplier < math.inf or self.first < 1 or (self.stride is not None and self.stride < 2):
            raise UnsafePlanError(
                "noise_multiplier must be positive, rounds count from 1 and a stride from 2, got "
                f"{self.noise_multiplier}, {self.first} and {self.stride}"
            )

    def place(self, round: int) -> int:
        """Which release of the sequence a round is, counted from 1.

        Raises:
            UnsafePlanError: none of them.
        """
        steps, between = divmod(round - self.first, self.stride or 1)
        if between or not 0 <= steps < self.horizon:
            every = "" if self.stride is None else f", every {self.stride} rounds"
            raise UnsafePlanError(f"round {round} is not one of the {self.horizon} from round {self.first} on{every}")
        return steps + 1

    def round_at(self, place: int) -> int:
        """Number of the round with a release; the reverse of `place`."""
        return self.first + (place - 1) * (self.stride or 1)

    def sensitivity(self, places: int | None = None) -> float:
        """Largest Frobenius norm of C g, where g is what one device adds: rows of norm <= 1, few and apart.

        Args:
            places: of the first so many releases only; None: of all.

        Guarantees: not below the exact value; above it by float64's rounding only.
        Source: Choquette-Choo et al. 2023, "Multi-epoch matrix factorization mechanisms", and Kalinin, Lampert 2024,
            "Banded square root matrix factorization", thm. 2; proofs for vectors in docs/continual.md.
        """
        return _sensitivity(
            self.coefficients, self.bits, self.horizon if places is None else places, self.participations,
            self.separation,
        )  # fmt: skip

    def mu(self, places: int | None = None) -> float:
        """Gaussian-DP parameter of the first `places` releases together (None: all), whatever is made of them."""
        return self.sensitivity(places) / (self.sensitivity() * self.noise_multiplier)

    @property
    def spread(self) -> float:
        """Standard deviation of z, in sensitivities of one sum."""
        return self.noise_multiplier * self.sensitivity()

    def release_spread(self, place: int) -> float:
        """Standard deviation of the noise of one release, in sensitivities of one sum: its noise multiplier alone."""
        return self.spread * float(np.linalg.norm(self.inverse()[:place]))

    def inverse(self) -> FloatArray:
        """First column of C^-1, shape (horizon,)."""
        return inverse_series(np.array(self.coefficients) / 2**self.bits, self.horizon)

    def sampler(self, integer_sensitivity: float) -> IntegerGaussian:
        """Integer noise on 2^bits C x, for integer sums x of which one device changes each by that much.

        Raises:
            UnsafePlanError: it cannot be sampled, or sums could wrap around.
        """
        noise_scale = self.spread * integer_sensitivity
        reach = (_REACH * noise_scale + 1) * float(np.abs(self.inverse()).sum())
        if (reach + _REACH * noise_scale) * sum(self.coefficients) >= _LIMIT:
            raise UnsafePlanError(
                "the noise of a sequence could wrap around in 64 bits: lower the scale of the answers"
            )
        return IntegerGaussian(noise_scale * 2**self.bits)


def next_noise(correlation: Correlation, fresh: Int64Array, past: Sequence[Int64Array]) -> Int64Array:
    """The noise of the next release: w_t = floor((r_t - n_1 w_(t-1) - n_2 w_(t-2) - ...) / 2^bits + 1/2).

    Whole numbers throughout. So if r grows by 2^bits C x for an integer x, then w grows by exactly x: x + w depends on
    x and r through 2^bits C x + r only, and that is the rounded Gaussian mechanism on an integer vector.

    Args:
        fresh: r_t, of `Correlation.sampler`.
        past: noises of the earlier releases, in order; at least the last `len(coefficients) - 1` of them.
    """
    total = fresh.astype(np.int64, copy=True)
    for coefficient, noise in zip(correlation.coefficients[1:], reversed(past), strict=False):
        total -= coefficient * noise
    half = 2**correlation.bits // 2
    return np.asarray((total + half) >> correlation.bits)


def noise_at(
    correlation: Correlation, place: int, integer_sensitivity: float, random: Callable[[int], RandomSource], size: int
) -> Int64Array:
    """The integer noise of one release, derived anew from the draws of all places up to it; shape (size,).

    Runs on the coordinator, which so keeps no noise. Whoever knows the noise of one release knows its sum.

    Args:
        place: counted from 1.
        integer_sensitivity: of one sum.
        random: place to the source of its draws: secret, and the same bits every time.
    """
    if not 1 <= place <= correlation.horizon:
        raise ValueError(f"place must be 1 to {correlation.horizon}, got {place}")
    sampler = correlation.sampler(integer_sensitivity)
    noises: list[Int64Array] = []
    for number in range(1, place + 1):
        noises.append(next_noise(correlation, sampler.sample(random(number), size), noises))
    return noises[-1]


def inverse_series(coefficients: FloatArray, length: int) -> FloatArray:
    """First column of the inverse of a lower triangular Toeplitz matrix; shape (length,).

    Args:
        coefficients: its first column, the rest of which is zero; the first entry is not 0.

    Guarantees: stable where the coefficients do not rise and are not negative: no zero of their polynomial lies inside
        the unit circle (Enestroem, Kakeya).
    """
    inverse = np.zeros(length)
    inverse[0] = 1 / coefficients[0]
    for row in range(1, length):
        band = coefficients[1 : row + 1]
        inverse[row] = -(band @ inverse[row - len(band) : row][::-1]) / coefficients[0]
    return inverse


@lru_cache(maxsize=4096)
def _sensitivity(coefficients: tuple[int, ...], bits: int, places: int, participations: int, separation: int) -> float:
    taken = np.zeros(places, dtype=np.int64)
    taken[: participations * separation : separation] = 1
    rows = np.convolve(taken, np.array(coefficients, dtype=np.int64))[:places]
    squared = int(rows @ rows)  # below 2^54
    return float(math.nextafter(math.sqrt(squared), math.inf) / 2**bits)
