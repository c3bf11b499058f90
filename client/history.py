"""Raw histories: what training reads and what must never leave the device."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


_NONE = np.zeros(0, dtype=np.int32)


class RawHistory:
    """One device's confidence weights by catalogue row. Cannot be pickled, copied or printed.

    Args:
        titles: shape (watched,), distinct catalogue rows, ascending.
        weights: shape (watched,), > 0.
        recent: shape (watched,), True where watched within the public recency window.
        fresh: catalogue row of a title watched after all others, for evaluation only; None if there is none.
        passed: catalogue rows known to the owner that do not count, such as disliked ones: never recommended.
        order: shape (watched,), positions in `titles`, the title watched first in front; None: the order is unknown.
    """

    __slots__ = ("fresh", "order", "passed", "recent", "titles", "weights")

    def __init__(
        self,
        titles: IntArray,
        weights: FloatArray,
        recent: NDArray[np.bool_] | None = None,
        fresh: int | None = None,
        passed: IntArray | None = None,
        order: IntArray | None = None,
    ) -> None:
        if len(titles) != len(weights) or (recent is not None and len(recent) != len(titles)):
            raise ValueError("titles, weights and recent have one entry per watched title")
        if len(titles) and (np.any(np.diff(titles) <= 0) or titles[0] < 0):
            raise ValueError("titles must be distinct catalogue rows in ascending order")
        if not (np.all(np.isfinite(weights)) and np.all(weights > 0)):
            raise ValueError("confidence weights must be positive and finite")
        if fresh is not None and (fresh < 0 or fresh in titles or (passed is not None and fresh in passed)):
            raise ValueError("a fresh title is a catalogue row that nothing was known of before")
        if order is not None and not np.array_equal(np.sort(order), np.arange(len(titles))):
            raise ValueError("the order of a history names each of its titles once")
        self.titles = titles
        self.weights = weights
        self.order = order
        self.fresh = fresh
        self.passed = _NONE if passed is None else passed
        self.recent = np.zeros(len(titles), dtype=np.bool_) if recent is None else recent

    def __len__(self) -> int:
        return len(self.titles)

    def __repr__(self) -> str:
        return "<RawHistory: not printable>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a raw history stays where it is: it cannot be copied, pickled or sent")

    def __copy__(self) -> NoReturn:
        self.__reduce__()

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


HistoryBlock = Sequence[RawHistory]
"""The histories of up to 64 devices that one node hosts, in the order of their enrolment."""


def dense_weights(block: HistoryBlock, titles: int) -> FloatArray:
    """Weights x of a block as a matrix, shape (devices, titles); 0 where not watched."""
    x = np.zeros((len(block), titles))
    for row, history in enumerate(block):
        x[row, history.titles] = history.weights
    return x


def unit_rows(x: FloatArray) -> FloatArray:
    """Rows scaled to L2 norm 1; zero rows stay zero."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(norms > 0, norms, 1.0))
