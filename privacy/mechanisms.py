"""Integer noise that carries a claim: the rounded Gaussian, sampled from uniform bits.

For an integer x, x + round(Z) = round(x + Z): the rounded Gaussian is post-processing of the exact
Gaussian mechanism, so Gaussian accounting holds exactly. How far the sampler is from it is derived
in docs/mechanisms.md, bounded here and added to every claim.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.randomness import RandomSource

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]
Uint64Array = NDArray[np.uint64]

SMALLEST_NOISE_SCALE = 2.0
LARGEST_NOISE_SCALE = 2.0**40

_REACH = 12
"""The sampler covers this many standard deviations and never returns more."""
_CELLS_PER_SD = 1024
_WORDS = 4
"""Words of a candidate: cell, acceptance (high, low), offset inside the cell."""
_CHUNK = 2**14
"""Candidates at a time. Fits the cache; does not change what is sampled."""
_LEADING = 17
_TRAILING = np.uint64(64 - _LEADING)
"""Leading bits of a word, by which most cells are found; and the others."""
_SEVERAL = -1
"""In the place of a cell: the leading bits leave more than two."""

_RELATIVE_ERROR = 2.0**-47
_TAIL_MASS = math.erfc(_REACH / math.sqrt(2))


@dataclass(frozen=True, slots=True)
class IntegerGaussian:
    """round(N(0, noise_scale^2)), a distribution on the integers.

    Attributes:
        noise_scale: standard deviation before rounding, in integers: 0 (always zero) or 2 .. 2^40.

    Guarantees: within `noise_scale` * 12 every probability is that of the rounded Gaussian up to a
    factor exp(+-relative_error), whatever the noise scale; the rest is never returned.

    Raises:
        UnsafePlanError: the noise scale is out of range.
    """

    noise_scale: float

    def __post_init__(self) -> None:
        if self.noise_scale != 0 and not SMALLEST_NOISE_SCALE <= self.noise_scale <= LARGEST_NOISE_SCALE:
            raise UnsafePlanError(
                f"integer noise needs a standard deviation of 2 .. 2^40 (or 0 for none), got {self.noise_scale}: "
                "change the scale of the answers"
            )

    @property
    def relative_error(self) -> float:
        """Largest |ln(sampled probability / exact probability)| of one coordinate within reach."""
        return _RELATIVE_ERROR

    @property
    def tail_mass(self) -> float:
        """Exact probability that one coordinate lies beyond reach."""
        return _TAIL_MASS

    def sample(self, random: RandomSource, size: int) -> Int64Array:
        """Independent draws, shape (size,). Runs on the coordinator (or an edge that adds shares).

        Reads candidates of four 64-bit words and keeps the accepted ones in order, stopping at the
        size-th: n draws and then m draws are the same as n + m draws. Zero noise reads nothing.
        """
        if size < 0:
            raise ValueError(f"size must be at least 0, got {size}")
        noise = np.zeros(size, dtype=np.int64)
        if self.noise_scale == 0:
            return noise
        table = _table(self.noise_scale)
        filled = 0
        while filled < size:
            words = random.uint64(_WORDS * min(size - filled, _CHUNK)).reshape(-1, _WORDS)
            accepted = table.accepted(words)
            noise[filled : filled + len(accepted)] = accepted
            filled += len(accepted)
        return noise


def claim_inflation(dimension: int, epsilon: float, delta: float) -> tuple[float, float]:
    """What the sampler's error costs releases of `dimension` coordinates in all.

    Covers noise in shares too, whose error per coordinate, with all its parts, is below this sampler's
    (`shares.law_error`, docs/noise-shares.md).

    Args:
        dimension: coordinates, added over the releases of the claim.
        epsilon: of the exact mechanism, >= 0.
        delta: of the exact mechanism.

    Returns:
        (extra epsilon, extra delta): if the exact mechanism is (epsilon, delta)-private, the
        sampled one is (epsilon + extra epsilon, delta + extra delta)-private. With eta the relative
        error and tau the tail mass: 2 D eta, and (e^(D eta) - 1) delta + (1 + e^(epsilon + D eta)) D tau.
    """
    drift = dimension * _RELATIVE_ERROR
    odds = math.exp(min(epsilon + drift, 700.0))  # beyond 700 the extra delta is above 1 anyway
    return 2 * drift, math.expm1(drift) * delta + (1 + odds) * dimension * _TAIL_MASS


@dataclass(frozen=True, slots=True)
class _Table:
    """Integer envelope over cells of 2^bits neighbouring integers, for rejection sampling.

    Attributes:
        noise_scale: of the target.
        bits: log2 of the cell width.
        half: cells run from -half to half; cell c holds the integers c 2^bits .. (c + 1) 2^bits - 1.
        ends: cumulative weights without the last (which is 2^64), shape (cells - 1,).
        per_weight: 1 / weight, times the constant that keeps every acceptance probability below 1.
        surely: acceptance probability that holds for the whole cell, in 2^-64.
        index: for every value of the leading bits of a word its cell; where one of `ends` still decides between cell c
            and the next, -2 - c; where several do, -1.
    """

    noise_scale: float
    bits: int
    half: int
    ends: Uint64Array
    per_weight: FloatArray
    surely: Uint64Array
    index: NDArray[np.int16]

    def cells(self, words: Uint64Array) -> NDArray[np.intp]:
        """How many of `ends` are at most each word, shape (n,): by its leading bits, one comparison, or search."""
        cell: NDArray[np.intp] = self.index.take((words >> _TRAILING).view(np.int64)).astype(np.intp)
        unsure = np.flatnonzero(cell < 0)
        low, word = _SEVERAL - 1 - cell[unsure], words[unsure]
        found = low + (self.ends[low] <= word)
        several = np.flatnonzero(low < 0)
        found[several] = np.searchsorted(self.ends, word[several], side="right")
        cell[unsure] = found
        return cell

    def accepted(self, words: Uint64Array) -> Int64Array:
        """The accepted candidates, in order; words: shape (candidates, 4)."""
        cell = self.cells(words[:, 0])
        offset = (words[:, 3] & np.uint64(2**self.bits - 1)).view(np.int64)
        value = ((cell - self.half) << self.bits) + offset
        unsure = np.flatnonzero(words[:, 1] >= self.surely[cell])
        if not len(unsure):
            return value
        chance = self.chance(cell[unsure], value[unsure])
        # Compares a 128-bit uniform number with chance * 2^128; both parts of chance are exact.
        high = np.floor(chance * 2.0**64)
        low = (chance * 2.0**64 - high) * 2.0**64
        first, second = words[unsure, 1], words[unsure, 2]
        top = high.astype(np.uint64)
        kept = (first < top) | ((first == top) & (second < low.astype(np.uint64)))
        return _without(value, unsure[~kept])

    def chance(self, cell: NDArray[np.intp], value: Int64Array) -> FloatArray:
        """Acceptance probability of `value`, drawn uniformly from `cell`."""
        return np.asarray(_mass(value, self.noise_scale) * self.per_weight[cell])


def _without(value: Int64Array, places: NDArray[np.intp]) -> Int64Array:
    """All but those at these places, ascending; `value` is overwritten. Few are left out: the others move in bulk."""
    if not len(places):
        return value
    end, starts = int(places[0]), places.tolist()
    for start, stop in zip(starts, [*starts[1:], len(value)], strict=True):
        value[end : end + stop - start - 1] = value[start + 1 : stop]
        end += stop - start - 1
    return value[:end]


@lru_cache(maxsize=16)
def _table(noise_scale: float) -> _Table:
    bits = max(0, math.ceil(math.log2(noise_scale / _CELLS_PER_SD)))
    half = math.ceil(_REACH * noise_scale / 2**bits)
    first = np.arange(-half, half + 1, dtype=np.int64) << bits
    last = first + (2**bits - 1)
    at_ends = np.stack([_mass(first, noise_scale), _mass(last, noise_scale)])
    # A hair more than the largest (smallest) mass of the cell, whatever the last bits say.
    peak, least = at_ends.max(axis=0) * (1 + 2.0**-40), at_ends.min(axis=0) * (1 - 2.0**-40)

    # Rounding up keeps a far cell's weight from falling below its share; its acceptance makes up for it.
    room = 2.0**64 * (1 - 2.0**-40)
    weights = np.ceil(peak / peak.sum() * room).astype(np.uint64)
    weights[half] += np.uint64(2**64 - sum(weights.tolist()))
    ends = np.cumsum(weights[:-1], dtype=np.uint64)

    inverse = 1 / weights.astype(np.float64)
    per_weight = inverse * ((1 - 2.0**-40) / np.max(peak * inverse))
    surely = (least * per_weight * 2.0**64).astype(np.uint64)

    lowest = np.arange(2**_LEADING, dtype=np.uint64) << _TRAILING
    before = np.searchsorted(ends, lowest, side="right")
    upto = np.searchsorted(ends, lowest + np.uint64((1 << int(_TRAILING)) - 1), side="right")
    index = np.where(before == upto, before, np.where(before + 1 == upto, _SEVERAL - 1 - before, _SEVERAL))
    # There are fewer than 2^15 - 2 cells.
    return _Table(noise_scale, bits, half, ends, per_weight, surely, index.astype(np.int16))


def _mass(value: Int64Array, noise_scale: float) -> FloatArray:
    """Mass of the cell value +- 1/2, up to one common factor, relative error < 40 * 2^-53.

    exp(-x^2/2) times the integral of exp(-t x - t^2/2) over |t| <= 1/(2 sd), by Gauss and Legendre:
    no difference of two nearly equal numbers is ever taken. x = value / sd is kept to twice the
    usual precision, or the exponent's rounding would grow with its size.
    """
    whole = value.astype(np.float64)
    x = whole / noise_scale
    product, error = _product(x, np.float64(noise_scale))
    x_rest = ((whole - product) - error) / noise_scale
    square, square_error = _product(x, x)
    rest = square_error / 2 + x * x_rest
    total = np.zeros(x.shape)
    nodes, weights = _quadrature()
    steps = (nodes / (2 * noise_scale))[:, np.newaxis]
    for part in weights[:, np.newaxis] * np.exp(-steps * (x + steps / 2)):
        total += part
    return np.asarray(np.exp(-square / 2) * (1 - rest) * total)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights; made when first used, so that importing the device SDK stays light."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    return nodes, weights


def _product(a: FloatArray, b: FloatArray | np.float64) -> tuple[FloatArray, FloatArray]:
    """Product of a and b and its rounding error, exactly (Dekker 1971)."""
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(np.asarray(b))
    return product, a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)


def _split(a: FloatArray) -> tuple[FloatArray, FloatArray]:
    scaled = a * (2.0**27 + 1)
    high = scaled - (scaled - a)
    return high, a - high
