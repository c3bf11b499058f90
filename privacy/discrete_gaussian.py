"""The discrete Gaussian N_Z(0, s^2): what one device adds as its share of a round's noise.

P(x) is proportional to exp(-x^2 / (2 s^2)). Sums of such shares are again discrete Gaussians but for an error
that docs/noise-shares.md derives. Sampled by a table of cumulative probabilities to 255 bits, of which a draw
reads 63, and the rest only where those do not decide.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.randomness import RandomSource

Int64Array = NDArray[np.int64]
Uint64Array = NDArray[np.uint64]

SMALLEST_SHARE = 2.0
LARGEST_SHARE = 2.0**14

_REACH = 14
"""The sampler covers this many standard deviations and never returns more."""
_BITS = 256
"""Fraction bits of the recurrences."""
_WORDS = 4
"""Words of a threshold (255 bits): 63 bits that every draw compares, and three words for ties."""
_CHUNK = 2**15
"""Words at a time. Fits the cache; does not change what is sampled."""

_RELATIVE_ERROR = 2.0**-96
_TAIL_MASS = math.erfc(_REACH / math.sqrt(2))


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
    """N_Z(0, noise_scale^2), a distribution on the integers.

    Attributes:
        noise_scale: the parameter s, in integers: 0 (always zero) or 2 .. 2^14. The standard deviation is s up
            to a factor 1 - 1e-32.

    Guarantees: up to `reach` every probability is that of the discrete Gaussian up to a factor
        exp(+-relative_error), whatever the noise scale; the rest is never returned.

    Raises:
        UnsafePlanError: the noise scale is out of range.
    """

    noise_scale: float

    def __post_init__(self) -> None:
        if self.noise_scale != 0 and not SMALLEST_SHARE <= self.noise_scale <= LARGEST_SHARE:
            raise UnsafePlanError(
                f"a device's share of the noise needs a standard deviation of 2 .. 2^14 integers (or "
                f"0 for none), got {self.noise_scale:.6g}: "
                + ("raise" if self.noise_scale < SMALLEST_SHARE else "lower")
                + " the scale of the answers"
            )

    @property
    def reach(self) -> int:
        """Largest size of a draw."""
        return math.ceil(_REACH * self.noise_scale)

    @property
    def relative_error(self) -> float:
        """Largest |ln(sampled probability / exact probability)| of one coordinate within reach."""
        return _RELATIVE_ERROR

    @property
    def tail_mass(self) -> float:
        """Exact probability, at most, that one coordinate lies beyond reach."""
        return _TAIL_MASS

    def sample(self, random: RandomSource, size: int) -> Int64Array:
        """Independent draws, shape (size,). Runs on the device.

        A draw reads one 64-bit word, and three more if the first does not decide (never, in practice): n draws
        and then m draws are the same as n + m draws. Zero noise reads nothing.
        """
        if size < 0:
            raise ValueError(f"size must be at least 0, got {size}")
        noise = np.zeros(size, dtype=np.int64)
        if self.noise_scale == 0:
            return noise
        table = _table(self.noise_scale)
        filled = 0
        while filled < size:
            words = random.uint64(min(size - filled, _CHUNK))
            while len(words):
                values, tied = table.look_up(words)
                noise[filled : filled + tied] = values[:tied]
                filled += tied
                words = words[tied:]
                if len(words):
                    if len(words) < _WORDS:
                        words = np.concatenate([words, random.uint64(_WORDS - len(words))])
                    noise[filled] = table.decide(words[:_WORDS])
                    filled += 1
                    words = words[_WORDS:]
        return noise


@dataclass(frozen=True, slots=True)
class _Table:
    """Cumulative probabilities of |X|, and an index into them.

    Attributes:
        thresholds: 2^255 P(|X| < k) for k = 1 .. reach, rounded down, as four words each, lowest first.
        high: their highest words (63 bits), by which most draws are decided.
        index: for every value of the leading bits of a word |X|, or -1 where they do not decide.
        shift: what leaves the leading bits.
    """

    thresholds: Uint64Array
    high: Uint64Array
    index: NDArray[np.int32]
    shift: np.uint64

    def look_up(self, words: Uint64Array) -> tuple[Int64Array, int]:
        """Draws of as many words, and how many of them stand before the first tie; words: shape (n,)."""
        sizes = self.index[words >> self.shift].astype(np.int64)
        unsure = np.flatnonzero(sizes < 0)
        tied = len(words)
        if len(unsure):
            part = words[unsure] >> np.uint64(1)
            below = np.searchsorted(self.high, part, side="left")
            sizes[unsure] = below
            ties = np.flatnonzero(self.high[np.minimum(below, len(self.high) - 1)] == part)
            if len(ties):
                tied = int(unsure[ties[0]])
        return _signed(sizes, (words & np.uint64(1)).view(np.int64)), tied

    def decide(self, words: Uint64Array) -> int:
        """One draw by all its bits: sign, 63 bits, and three words; words: shape (4,)."""
        first, *rest = (int(word) for word in words)
        uniform = first >> 1
        for word in rest:
            uniform = uniform << 64 | word
        low, high = 0, len(self.thresholds)
        while low < high:
            middle = (low + high) // 2
            if int.from_bytes(self.thresholds[middle].astype("<u8").tobytes(), "little") <= uniform:
                low = middle + 1
            else:
                high = middle
        return -low if first & 1 else low


def _signed(sizes: Int64Array, negative: Int64Array) -> Int64Array:
    return (sizes ^ -negative) + negative


@lru_cache(maxsize=8)
def _table(noise_scale: float) -> _Table:
    sums = _sums(noise_scale)
    # Twice the sum over x >= 0, less the zero counted twice. P(|X| < k) = (2 sum_{x < k} - 1) / total.
    one = 1 << _BITS
    total = 2 * sums[-1] - one
    per_total = (1 << (_BITS + 2 * 64 * _WORDS)) // total
    shift = _BITS + 64 * _WORDS + 1
    data = b"".join(((2 * value - one) * per_total >> shift).to_bytes(8 * _WORDS, "little") for value in sums[:-1])
    thresholds = np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False).reshape(-1, _WORDS)
    high = np.ascontiguousarray(thresholds[:, -1])

    leading = min(18, math.ceil(math.log2(noise_scale)) + 8)
    starts = np.arange(2**leading, dtype=np.uint64) << np.uint64(63 - leading)
    before = np.searchsorted(high, starts, side="left")
    upto = np.searchsorted(high, starts + np.uint64(2 ** (63 - leading) - 1), side="right")
    index = np.where(before == upto, before, -1).astype(np.int32)
    return _Table(thresholds, high, index, np.uint64(64 - leading))


def _sums(noise_scale: float) -> list[int]:
    """2^256 sum_{x < k} exp(-x^2 / (2 s^2)) for k = 1 .. reach + 1, by p(x + 1) = p(x) g(x), g(x + 1) = g(x) r."""
    one = 1 << _BITS
    square = Decimal(noise_scale)
    context = Context(prec=120)
    square = context.multiply(square, square)
    ratio = _fixed(context.exp(context.divide(Decimal(-1), square)), context)
    step = _fixed(context.exp(context.divide(Decimal(-1), context.multiply(Decimal(2), square))), context)
    mass, total = one, one
    sums = [total]
    for _ in range(math.ceil(_REACH * noise_scale)):
        mass = mass * step >> _BITS
        step = step * ratio >> _BITS
        total += mass
        sums.append(total)
    return sums


def _fixed(value: Decimal, context: Context) -> int:
    return int(context.multiply(value, Decimal(1 << _BITS)).to_integral_value(ROUND_FLOOR))
