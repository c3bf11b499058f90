"""Masked sums as edges gave them, kept apart until who is in the whole is frozen: somebody may still have to leave."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Uint32Array = NDArray[np.uint32]

MOST = 64
"""Pieces kept apart, at most: who has to leave takes along about one device in so many."""
BYTES = 2**28
"""Of all pieces, at most, or one vector."""


class Pieces:
    """Vectors of one length, each of some devices. What is put together cannot be taken apart again.

    Args:
        length: of every vector.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._most = max(1, min(MOST, BYTES // (4 * max(1, length))))
        self._kept: list[tuple[frozenset[int], Uint32Array]] = []

    @property
    def devices(self) -> frozenset[int]:
        """Who is in any of them."""
        return frozenset[int]().union(*(devices for devices, _ in self._kept))

    def add(self, devices: Collection[int], vector: Uint32Array) -> None:
        """Keep a vector. With too many, the two of the fewest devices become one."""
        self._kept.append((frozenset(devices), vector))
        if len(self._kept) > self._most:
            self._kept.sort(key=lambda piece: len(piece[0]), reverse=True)
            (ones, one), (others, other) = self._kept.pop(), self._kept.pop()
            self._kept.append((ones | others, one + other))

    def leave_out(self, devices: Collection[int]) -> frozenset[int]:
        """Drop every piece that one of these is in; who was in them."""
        gone = [piece for piece in self._kept if not piece[0].isdisjoint(devices)]
        self._kept = [piece for piece in self._kept if piece[0].isdisjoint(devices)]
        return frozenset[int]().union(*(there for there, _ in gone))

    def total(self) -> Uint32Array:
        """All together, modulo 2^32, shape (length,); the pieces are let go."""
        total = np.zeros(self._length, dtype=np.uint32)
        while self._kept:
            np.add(total, self._kept.pop()[1], out=total)
        return total
