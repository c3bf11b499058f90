"""From clipped answers to integers, and what that does to the sensitivity.

Derivation of every bound: docs/mechanisms.md, "Sensitivity after rounding".
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.clipping import ClippedBlock, ClippedUpdate
from backrow.privacy.errors import NonFiniteUpdateError, UnsafePlanError
from backrow.privacy.randomness import RandomSource

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

BLOCK_SIZE = 64
"""Most devices whose answers are added in floating point before they are rounded."""

BETA = 1e-3
"""Chance, at most, that one stochastic rounding exceeds its bound and is drawn again."""

LARGEST_INTEGER = 2**62
"""Integers reach less than this, so that adding two cannot wrap."""

_MOST_TRIES = 64


class Rounding(StrEnum):
    """How answers become integers; decides the sensitivity after rounding."""

    DEVICE_STOCHASTIC = "device-stochastic"
    """Every device, up or down at random, unbiased."""
    DEVICE_NEAREST = "device-nearest"
    """Every device, to the nearest integer."""
    BLOCK_NEAREST = "block-nearest"
    """The float64 sum of up to 64 devices, once, to the nearest integer."""


@dataclass(frozen=True, slots=True)
class QuantisedUpdate:
    """One device's answer as integers, L2 norm <= integer_sensitivity(...), checked exactly.

    Attributes:
        values: shape as the update, int64.
        clip_norm: of the update.
        scale: integers per unit.
        rounding: one of the two device roundings.
        tries: how often a stochastic rounding was drawn until its norm was within the bound.
    """

    values: Int64Array
    clip_norm: float
    scale: float
    rounding: Rounding
    tries: int = 1

    def __post_init__(self) -> None:
        bound = integer_sensitivity(self.clip_norm, self.values.size, self.scale, self.rounding)
        if not _within(self.values, bound):
            raise ValueError(f"integers passed off as an answer of norm <= {bound} exceed it: use quantise()")


@dataclass(frozen=True, slots=True)
class QuantisedSum:
    """Sum of the answers of `devices` devices as integers; values: int64, shape (titles, columns)."""

    values: Int64Array
    devices: int


@lru_cache(maxsize=4096)
def integer_sensitivity(clip_norm: float, dimension: int, scale: float, rounding: Rounding) -> float:
    """Largest L2 change of the integer sum when one device's answer becomes zero.

    Args:
        clip_norm: L2 bound C of one device's answer, > 0.
        dimension: number D of coordinates, >= 1.
        scale: integers s per unit of the answer, a power of two.
        rounding: with DEVICE_STOCHASTIC min(sC + sqrt D, sqrt(s^2 C^2 + D/4 + sqrt(2 ln(1/BETA))
            (sC + sqrt D / 2))), the bound that `quantise` enforces; with DEVICE_NEAREST
            sC + sqrt(D)/2; with BLOCK_NEAREST sC + sqrt D (both sums are rounded). All plus a slack
            for float64.

    Raises:
        ValueError: an argument is out of range.
    Source: Kairouz, Liu, Steinke 2021, "The distributed discrete Gaussian mechanism", sec. 4.
    """
    if not 0 < clip_norm < math.inf:
        raise ValueError(f"clip_norm must be a positive number, got {clip_norm}")
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}")
    _check_scale(scale)
    norm, root = scale * clip_norm, math.sqrt(dimension)
    match rounding:
        case Rounding.DEVICE_STOCHASTIC:
            likely = norm**2 + dimension / 4 + math.sqrt(2 * math.log(1 / BETA)) * (norm + root / 2)
            bound = min(norm + root, math.sqrt(likely))
        case Rounding.DEVICE_NEAREST:
            bound = norm + root / 2
        case Rounding.BLOCK_NEAREST:
            bound = norm + root
        case _:
            assert_never(rounding)
    # Norms and block sums computed in float64 may be off by this much (docs/mechanisms.md).
    return bound * (1 + (dimension + 2**14) * 2.0**-53)


def quantise(
    update: ClippedUpdate, scale: float, rounding: Rounding, random: RandomSource | None = None
) -> QuantisedUpdate:
    """One device's answer as integers. Runs on the device.

    Args:
        update: clipped answer.
        scale: integers per unit, a power of two.
        rounding: DEVICE_STOCHASTIC or DEVICE_NEAREST.
        random: needed by DEVICE_STOCHASTIC: 8 bytes per coordinate and try.

    Guarantees: the integer norm is at most `integer_sensitivity(...)`; zeros stay zero.

    Raises:
        UnsafePlanError: the integers would exceed 2^62.
        ValueError: block rounding, or stochastic rounding without a random source.
    """
    match rounding:
        case Rounding.BLOCK_NEAREST:
            raise ValueError("block-nearest rounds the sum of a block once: use quantise_block()")
        case Rounding.DEVICE_NEAREST:
            return QuantisedUpdate(round_sum(update.values, scale), update.clip_norm, scale, rounding)
        case Rounding.DEVICE_STOCHASTIC:
            pass
        case _:
            assert_never(rounding)
    if random is None:
        raise ValueError("stochastic rounding needs a random source")
    scaled = _scaled(update.values, scale)
    low = np.floor(scaled)
    part = scaled - low
    bound = integer_sensitivity(update.clip_norm, scaled.size, scale, rounding)
    for tries in range(1, _MOST_TRIES + 1):
        uniform = (random.uint64(scaled.size) >> np.uint64(11)).reshape(scaled.shape) * 2.0**-53
        values = (low + (uniform < part)).astype(np.int64)
        if _within(values, bound):
            return QuantisedUpdate(values, update.clip_norm, scale, rounding, tries)
    raise RuntimeError("stochastic rounding failed 64 times in a row: the random source is broken")


def quantise_block(block: ClippedBlock, scale: float) -> QuantisedSum:
    """The sum of a block, added in float64 and rounded once (BLOCK_NEAREST). Runs on a trusted edge.

    Args:
        block: clipped answers of 1..64 devices.
        scale: integers per unit, a power of two.

    Guarantees: one device's answer set to zero changes the integers by at most
        `integer_sensitivity(..., Rounding.BLOCK_NEAREST)` in L2 norm.

    Raises:
        NonFiniteUpdateError: the sum holds NaN or infinity.
        UnsafePlanError: the integers would exceed 2^62.
        ValueError: no device or more than 64.
    """
    if not 1 <= len(block) <= BLOCK_SIZE:
        raise ValueError(f"a block holds 1 to {BLOCK_SIZE} devices, got {len(block)}: split it by sorted id")
    return QuantisedSum(round_sum(block.total(), scale), len(block))


def round_sum(values: FloatArray, scale: float) -> Int64Array:
    """Scaled values as the nearest integers (ties to even), shape kept.

    Raises:
        NonFiniteUpdateError: NaN or infinity.
        UnsafePlanError: an integer would reach 2^62 and sums could wrap around.
        ValueError: scale is not a power of two.
    """
    return np.rint(_scaled(values, scale)).astype(np.int64)


def _scaled(values: FloatArray, scale: float) -> FloatArray:
    _check_scale(scale)
    if not np.all(np.isfinite(values)):
        raise NonFiniteUpdateError("an update holds NaN or infinity; check the watch history it was made from")
    largest = float(np.max(np.abs(values), initial=0.0)) * scale
    if largest >= LARGEST_INTEGER:
        raise UnsafePlanError(f"an answer of {largest:.3g} integers could wrap around: lower the scale")
    return values * scale


def _check_scale(scale: float) -> None:
    if not (0 < scale < math.inf and math.frexp(scale)[0] == 0.5):
        raise ValueError(f"scale must be a power of two, got {scale}")


def _within(values: Int64Array, bound: float) -> bool:
    """Whether the L2 norm is at most `bound`, in exact arithmetic."""
    flat = values.ravel()
    largest = int(np.max(np.abs(flat), initial=0))
    fits = largest**2 * flat.size < 2**63
    squares = int(flat @ flat) if fits else sum(value * value for value in flat.tolist())
    return squares <= Fraction(bound) ** 2
