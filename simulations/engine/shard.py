"""What the kernels read of a population, and the fixed blocks in which sums that are rounded together are made."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backrow.client.answers import BLOCK

if TYPE_CHECKING:
    from backrow.simulations.population import Population

FloatArray = NDArray[np.float64]
Slots = NDArray[np.int64]
Work = Callable[[Slots, slice, FloatArray, FloatArray], None]
"""(slots of one part, where they are among all, running total of whole numbers, norms to write down)."""

LARGEST_BLOCK = 2048
"""Most devices whose answers are added in floating point before they are rounded (docs/population-engine.md)."""
LINE = 64
"""Bytes of a cache line."""
_BLOCKS = 64
"""A population is cut into so many blocks, at least, as long as they hold 64 devices or more."""


def block_size(devices: int) -> int:
    """Devices per block: a power of two from 64 to 2,048, by the public number of enrolled devices alone."""
    size = BLOCK
    while size < LARGEST_BLOCK and devices >= 2 * size * _BLOCKS:
        size *= 2
    return size


def aligned(shape: tuple[int, ...]) -> FloatArray:
    """Zeros whose memory begins with a cache line: a row of eight numbers or a multiple lies in as few as it can."""
    size = 8 * math.prod(shape)
    raw = np.zeros(size + LINE, dtype=np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(np.float64).reshape(shape)


@dataclass(frozen=True, slots=True)
class Shard:
    """Arrays of a population as plain views: nothing is read before a kernel touches it.

    Attributes: as `Population`; `order` is empty where it is not known.
    """

    starts: NDArray[np.int64]
    titles: NDArray[np.int32]
    weights: FloatArray
    recent: NDArray[np.bool_]
    fresh: NDArray[np.int32]
    passed_starts: NDArray[np.int64]
    passed: NDArray[np.int32]
    order: NDArray[np.int32]

    @classmethod
    def of(cls, population: "Population") -> "Shard":
        """Read-only views, memory-mapped or not: of one kind, so that a kernel is compiled once."""
        order = np.zeros(0, dtype=np.int32) if population.order is None else population.order
        arrays = (*(getattr(population, name) for name in cls.__slots__[:-1]), order)
        views = [np.asarray(array).view() for array in arrays]
        for view in views:
            view.flags.writeable = False
        return cls(*views)


def split(slots: Slots, size: int) -> list[Slots]:
    """Ascending slots, by fixed blocks of `size`; blocks without any are left out."""
    if not len(slots):
        return []
    return np.split(slots, np.flatnonzero(np.diff(slots // size)) + 1)
