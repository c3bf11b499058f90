"""Draws the histories of a generated population, block by block, into memory-mapped files. Deterministic.

A block's bytes depend on the recipe and its number alone: one worker or eight write the same files.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backrow.simulations.datasets.recipe import Recipe

BLOCK = 4096
"""Devices drawn at a time, and from one stream."""
MAINSTREAM = 0.1
"""Share of what a device watches that everybody's popularity decides."""
TASTE_SHARES = (0.6, 0.2, 0.1)
"""Of a device's three tastes."""
RECENT = 0.08
"""Share of a history, its last, that lies in the public recency window."""
_TRIES = (1.4, 3.0, 8.0)
"""How many titles are drawn for each one wanted, until enough of them are distinct."""

IntArray = NDArray[np.int32]
ARRAYS = ("starts", "titles", "weights", "recent", "fresh", "passed_starts", "passed")
"""The files, as `Population` knows them."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """Draws titles of any taste in two look-ups each. Source: Walker 1977, Vose 1991 (the alias method).

    Attributes:
        keep: shape (tastes * titles,), probability to stay with the title that was hit.
        other: shape (tastes * titles,), the title instead.
        titles: of each taste.
    """

    keep: NDArray[np.float32]
    other: IntArray
    titles: int

    @classmethod
    def of(cls, shares: NDArray[np.float64]) -> "Aliases":
        """Args: shares: shape (tastes, titles), rows sum to 1."""
        keep, other = zip(*(_alias(row) for row in shares), strict=True)
        return cls(np.concatenate(keep).astype(np.float32), np.concatenate(other), shares.shape[1])

    def draw(self, taste: NDArray[np.int64], random: np.random.Generator) -> IntArray:
        """One title for each of these tastes."""
        hit = random.integers(0, self.titles, len(taste), dtype=np.int32)
        at = taste * self.titles + hit
        return np.where(random.random(len(taste), dtype=np.float32) < self.keep[at], hit, self.other[at])


def generate(recipe: Recipe, folder: Path, workers: int, told: Callable[[float], None]) -> None:
    """Write the arrays of a population; the folder must exist and be empty.

    Args:
        workers: threads.
        told: how much is done, 0..1.
    """
    blocks = range(-(-recipe.devices // BLOCK))
    sizes = [min(BLOCK, recipe.devices - block * BLOCK) for block in blocks]
    lengths = np.concatenate([recipe.lengths(block, size) for block, size in zip(blocks, sizes, strict=True)])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(folder / "starts.npy", starts)
    np.save(folder / "weights.npy", np.ones(1))  # each counts the same: read as if it stood there for every title
    np.save(folder / "passed_starts.npy", np.zeros(recipe.devices + 1, dtype=np.int64))
    np.save(folder / "passed.npy", np.zeros(0, dtype=np.int32))
    titles = _new(folder / "titles.npy", np.dtype(np.int32), int(starts[-1]))
    recent = _new(folder / "recent.npy", np.dtype(np.bool_), int(starts[-1]))
    fresh = _new(folder / "fresh.npy", np.dtype(np.int32), recipe.devices)
    aliases = Aliases.of(recipe.taste_popularity)

    def fill(block: int) -> None:
        first = block * BLOCK
        wanted = lengths[first : first + BLOCK]
        part = slice(starts[first], starts[first + len(wanted)])
        of_block = draw_block(recipe, aliases, block, wanted)
        titles[part], recent[part], fresh[first : first + len(wanted)] = of_block

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(fill, blocks), start=1):
            told(done / len(blocks))
    for array in (titles, recent, fresh):
        array.flush()


def draw_block(
    recipe: Recipe, aliases: Aliases, block: int, wanted: NDArray[np.int64]
) -> tuple[IntArray, NDArray[np.bool_], IntArray]:
    """What the devices of a block watched.

    Returns:
        Titles, ascending within a device; which of them recently; and each device's held-out title, its last.
    """
    random = recipe.random(block)
    devices = len(wanted)
    tastes = random.integers(0, recipe.tastes, (devices, len(TASTE_SHARES)))
    everybody = np.full((devices, 1), recipe.tastes)
    mixed = np.hstack([everybody, tastes])
    edges = np.cumsum([MAINSTREAM, *TASTE_SHARES[:-1]])
    found = np.zeros(0, dtype=np.uint64)
    short = np.arange(devices)
    for tries in _TRIES:
        drawn = np.ceil((wanted[short] + 1) * tries).astype(np.int64) + 8
        who = np.repeat(short, drawn)
        which = np.searchsorted(edges, random.random(len(who)), side="right")
        found = np.concatenate([found, _ordered(who, aliases.draw(mixed[who, which], random), wanted)])
        short = _short(found, wanted)
        if not len(short):
            break
        found = found[~np.isin((found >> np.uint64(40)).astype(np.int64), short)]
    else:
        who = np.repeat(short, recipe.titles)  # hardly ever: who wants more than her tastes hold gets anything
        found = np.concatenate(
            [found, _ordered(who, random.permuted(_all_titles(recipe, len(short)), axis=1).ravel(), wanted)]
        )
    found.sort()
    return _history(found, wanted, recipe.new)


def _ordered(who: NDArray[np.int64], title: IntArray, wanted: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The first `wanted + 1` distinct titles of each device, packed as device, place in time, title; ascending."""
    place = _places(who)
    packed = _pack(who, title, place)
    packed.sort()
    first = np.ones(len(packed), dtype=np.bool_)
    first[1:] = (packed[1:] >> np.uint64(20)) != (packed[:-1] >> np.uint64(20))
    packed = packed[first]
    device, mask = packed >> np.uint64(40), np.uint64(2**20 - 1)
    in_time = (device << np.uint64(40)) | ((packed & mask) << np.uint64(20)) | ((packed >> np.uint64(20)) & mask)
    in_time.sort()
    device = (in_time >> np.uint64(40)).astype(np.int64)
    return np.asarray(in_time[_places(device) <= wanted[device]])


def _history(
    found: NDArray[np.uint64], wanted: NDArray[np.int64], new: NDArray[np.bool_]
) -> tuple[IntArray, NDArray[np.bool_], IntArray]:
    """From device, place in time, title: by title, without the last, which is held out."""
    device = (found >> np.uint64(40)).astype(np.int64)
    title = (found & np.uint64(2**20 - 1)).astype(np.int32)
    place = _places(device)
    last = place == wanted[device]
    fresh, device, title, place = title[last], device[~last], title[~last], place[~last]
    late = place >= wanted[device] * (1 - RECENT)
    packed = _pack(device, title, (late | new[title]).astype(np.int64))
    packed.sort()
    return (
        ((packed >> np.uint64(20)) & np.uint64(2**20 - 1)).astype(np.int32),
        (packed & np.uint64(1)).astype(np.bool_),
        fresh,
    )


def _short(found: NDArray[np.uint64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Devices with fewer titles than they want, the held-out one included."""
    have = np.bincount((found >> np.uint64(40)).astype(np.int64), minlength=len(wanted))
    return np.flatnonzero(have <= wanted)


def _places(who: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many entries of the same device come before each; `who` ascends."""
    starts = np.searchsorted(who, np.arange(int(who[-1]) + 1 if len(who) else 0))
    return np.arange(len(who)) - starts[who]


def _pack(high: NDArray[np.int64], middle: NDArray[np.int32], low: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Three numbers below 2^24, 2^20 and 2^20 in one that sorts as they do."""
    shifted = np.left_shift(high.astype(np.uint64), 40), np.left_shift(middle.astype(np.uint64), 20)
    return np.asarray(shifted[0] | shifted[1] | low.astype(np.uint64), dtype=np.uint64)


def _all_titles(recipe: Recipe, devices: int) -> IntArray:
    return np.tile(np.arange(recipe.titles, dtype=np.int32), (devices, 1))


def _alias(share: NDArray[np.float64]) -> tuple[NDArray[np.float64], IntArray]:
    """Vose's tables of one distribution: scaled shares above 1 give to those below until all hold 1."""
    scaled = share * len(share)
    keep, other = np.ones(len(share)), np.arange(len(share), dtype=np.int32)
    below, above = list(np.flatnonzero(scaled < 1)), list(np.flatnonzero(scaled >= 1))
    left = scaled.tolist()
    while below and above:
        small, large = below.pop(), above[-1]
        keep[small], other[small] = left[small], large
        left[large] -= 1 - left[small]
        if left[large] < 1:
            below.append(above.pop())
    return keep, other


def _new(path: Path, dtype: np.dtype[np.generic], size: int) -> np.memmap[tuple[int], np.dtype[np.generic]]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
