"""Clipping: after it, one device's answer has a bounded L2 norm, as stored.

Answers are kept as they arise: a rank-one answer (counts, factor rounds) as its two vectors, so that
a block of devices can be summed by one matrix product; anything else dense.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import NonFiniteUpdateError

FloatArray = NDArray[np.float64]

SMALLEST_CLIP_NORM, LARGEST_CLIP_NORM = 1e-50, 1e50
LARGEST_NORM = 1e75
"""Of an answer before clipping, or of either factor of a rank-one answer."""
_VANISHING = 1e-100
"""Within these ranges no square that matters vanishes or overflows in float64."""


@dataclass(frozen=True, slots=True)
class ClippedUpdate:
    """One device's answer, finite, L2 norm <= clip_norm. Shape (titles, columns)."""

    values: FloatArray
    clip_norm: float

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            norm = np.linalg.norm(self.values)
        _check_clipped(norm, self.clip_norm)


@dataclass(frozen=True, slots=True)
class OuterBlock:
    """A block of devices whose answers are outer products `left[i] x right[i]`, each clipped.

    Attributes:
        left: shape (devices, titles).
        right: shape (devices, columns), already scaled by the clip factor.
        clip_norm: bound on every device's norm.
    """

    left: FloatArray
    right: FloatArray
    clip_norm: float

    def __post_init__(self) -> None:
        _check_clipped(_outer_norms(self.left, self.right), self.clip_norm)

    def __len__(self) -> int:
        return len(self.left)

    def device(self, index: int) -> ClippedUpdate:
        """One device's answer, dense."""
        return ClippedUpdate(np.outer(self.left[index], self.right[index]), self.clip_norm)

    def total(self) -> FloatArray:
        """Sum over the block, shape (titles, columns)."""
        return np.asarray(self.left.T @ self.right)


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """A block of devices with dense answers, each clipped. `values`: (devices, titles, columns)."""

    values: FloatArray
    clip_norm: float

    def __post_init__(self) -> None:
        _check_clipped(_dense_norms(self.values), self.clip_norm)

    def __len__(self) -> int:
        return len(self.values)

    def device(self, index: int) -> ClippedUpdate:
        """One device's answer."""
        return ClippedUpdate(self.values[index], self.clip_norm)

    def total(self) -> FloatArray:
        """Sum over the block, shape (titles, columns)."""
        return np.asarray(self.values.sum(axis=0))


@dataclass(frozen=True, slots=True)
class RowsBlock:
    """A block of devices whose answers touch a few titles each, each clipped; every other row is zero.

    Attributes:
        starts: shape (devices + 1,), where each device's rows begin.
        ids: shape (touched,), titles, ascending and distinct within a device.
        rows: shape (touched, columns).
        titles: rows of a whole answer.
        clip_norm: bound on every device's norm.
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.integer]
    rows: FloatArray
    titles: int
    clip_norm: float

    def __post_init__(self) -> None:
        if self.starts[0] != 0 or self.starts[-1] != len(self.ids) or len(self.ids) != len(self.rows):
            raise ValueError("starts, ids and rows of an answer contradict each other")
        inside = np.ones(len(self.ids), dtype=np.bool_)
        inside[self.starts[:-1][self.starts[:-1] < len(inside)]] = False  # a device's first row follows nobody's
        if len(self.ids) and not (self.ids.min() >= 0 and self.ids.max() < self.titles):
            raise ValueError(f"an answer touches a title that is not among {self.titles}")
        if np.any(np.diff(self.ids)[inside[1:]] <= 0):
            raise ValueError("the titles of an answer must be distinct and ascending")
        _check_clipped(_row_norms(self.starts, self.rows), self.clip_norm)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def device(self, index: int) -> ClippedUpdate:
        """One device's answer, dense."""
        values = np.zeros((self.titles, self.rows.shape[1]))
        self._add(index, values)
        return ClippedUpdate(values, self.clip_norm)

    def total(self) -> FloatArray:
        """Sum over the block, shape (titles, columns)."""
        values = np.zeros((self.titles, self.rows.shape[1]))
        for index in range(len(self)):
            self._add(index, values)
        return values

    def _add(self, index: int, values: FloatArray) -> None:
        mine = slice(self.starts[index], self.starts[index + 1])
        values[self.ids[mine]] += self.rows[mine]


ClippedBlock = OuterBlock | DenseBlock | RowsBlock


def clip(update: FloatArray, clip_norm: float) -> ClippedUpdate:
    """Scale an update so that its L2 norm is at most `clip_norm`. Runs on the device.

    Args:
        update: shape (titles, columns), float64; must be finite.
        clip_norm: L2 bound in the update's own unit, > 0.

    Guarantees: norm <= clip_norm exactly as stored; direction kept; a zero update stays zero.

    Raises:
        NonFiniteUpdateError: any entry is NaN or infinite, or astronomically large (norm beyond 1e75).
        ValueError: clip_norm is not in 1e-50 .. 1e50.
    Source: McMahan et al. 2018, "Learning differentially private recurrent language models", alg. 1.
    """
    return clip_dense(np.asarray(update, dtype=np.float64)[None], clip_norm).device(0)


def clip_dense(updates: FloatArray, clip_norm: float) -> DenseBlock:
    """`clip` for a block of devices; updates: shape (devices, titles, columns)."""
    _check_bound(clip_norm)
    factors = _factors(_dense_norms(updates), clip_norm, updates[:1].size)
    return DenseBlock(updates * factors[:, None, None], clip_norm)


def clip_outer(left: FloatArray, right: FloatArray, clip_norm: float) -> OuterBlock:
    """`clip` for a block of rank-one answers; the norm of an outer product is the product of norms.

    Args:
        left: shape (devices, titles).
        right: shape (devices, columns).
        clip_norm: L2 bound, > 0.

    Guarantees and errors: as `clip`; an answer with a factor of norm below 1e-100 becomes zero.
    """
    _check_bound(clip_norm)
    factors = _factors(_outer_norms(left, right), clip_norm, left[:1].size * right[:1].size)
    vanishing = np.minimum(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)) < _VANISHING
    factors[vanishing] = 0.0
    return OuterBlock(left, right * factors[:, None], clip_norm)


def clip_rows(
    starts: NDArray[np.int64], ids: NDArray[np.integer], rows: FloatArray, titles: int, clip_norm: float
) -> RowsBlock:
    """`clip` for a block of answers given by the rows they touch; arguments as `RowsBlock`."""
    _check_bound(clip_norm)
    factors = _factors(_row_norms(starts, rows), clip_norm, titles * rows.shape[1])
    return RowsBlock(starts, ids, rows * np.repeat(factors, np.diff(starts))[:, None], titles, clip_norm)


def _row_norms(starts: NDArray[np.int64], rows: FloatArray) -> FloatArray:
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("rc,rc->r", rows, rows)
    return np.sqrt(np.bincount(owner, weights=squares, minlength=len(starts) - 1))


def _dense_norms(values: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("ntc,ntc->n", values, values)))


def _outer_norms(left: FloatArray, right: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        one, other = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
        return np.where(np.maximum(one, other) > LARGEST_NORM, np.inf, one * other)


def _factors(norms: FloatArray, clip_norm: float, dimension: int) -> FloatArray:
    _check_finite(norms)
    # A float64 norm of n numbers is off by at most n 2^-54 and a little: scaling down by twice that
    # more than needed keeps the norm at or below the bound, as it is and as it is computed again.
    bound = clip_norm * (1 - (dimension + 32) * 2.0**-53)
    over = norms > bound
    return np.where(over, bound / np.where(over, norms, 1.0), 1.0)


def _check_clipped(norms: FloatArray | np.floating, clip_norm: float) -> None:
    _check_finite(norms)
    largest = float(np.max(norms, initial=0.0))
    if largest > clip_norm:
        raise ValueError(f"an update of norm {largest} was passed off as clipped to {clip_norm}: use clip()")


def _check_finite(norms: FloatArray | np.floating) -> None:
    if not np.all(norms <= LARGEST_NORM**2):  # of two factors
        raise NonFiniteUpdateError(
            "an update holds NaN, infinity or absurdly large numbers; check the watch history it was made from"
        )


def _check_bound(clip_norm: float) -> None:
    if not SMALLEST_CLIP_NORM <= clip_norm <= LARGEST_CLIP_NORM:
        raise ValueError(f"clip_norm must be a positive number (1e-50 .. 1e50), got {clip_norm}")
