"""Clipping: after it, one device's answer has a bounded L2 norm, as stored.

Answers are kept as they arise: a rank-one answer (counts, factor rounds) as its two vectors, so that
a block of devices can be summed by one matrix product; anything else dense.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import NonFiniteUpdateError

FloatArray = NDArray[np.float64]

_SLACK = 1 - 1e-12
"""Scaling down by this much more than needed keeps the stored norm at or below the bound."""


@dataclass(frozen=True, slots=True)
class ClippedUpdate:
    """One device's answer, finite, L2 norm <= clip_norm. Shape (titles, columns)."""

    values: FloatArray
    clip_norm: float

    def __post_init__(self) -> None:
        norm = float(np.linalg.norm(self.values))
        if not np.isfinite(norm):
            raise NonFiniteUpdateError("an update holds NaN or infinity; check the watch history it was made from")
        if norm > self.clip_norm:
            raise ValueError(f"an update of norm {norm} was passed off as clipped to {self.clip_norm}: use clip()")


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

    def __len__(self) -> int:
        return len(self.values)

    def device(self, index: int) -> ClippedUpdate:
        """One device's answer."""
        return ClippedUpdate(self.values[index], self.clip_norm)

    def total(self) -> FloatArray:
        """Sum over the block, shape (titles, columns)."""
        return np.asarray(self.values.sum(axis=0))


ClippedBlock = OuterBlock | DenseBlock


def clip(update: FloatArray, clip_norm: float) -> ClippedUpdate:
    """Scale an update so that its L2 norm is at most `clip_norm`. Runs on the device.

    Args:
        update: shape (titles, columns), float64; must be finite.
        clip_norm: L2 bound in the update's own unit, > 0.

    Guarantees: norm <= clip_norm exactly as stored; direction kept; a zero update stays zero.
    Raises:
        NonFiniteUpdateError: any entry is NaN or infinite.
        ValueError: clip_norm <= 0.
    Source: McMahan et al. 2018, "Learning differentially private recurrent language models", alg. 1.
    """
    return clip_dense(np.asarray(update, dtype=np.float64)[None], clip_norm).device(0)


def clip_dense(updates: FloatArray, clip_norm: float) -> DenseBlock:
    """`clip` for a block of devices; updates: shape (devices, titles, columns)."""
    _check_bound(clip_norm)
    norms = np.sqrt(np.einsum("ntc,ntc->n", updates, updates))
    return DenseBlock(updates * _factors(norms, clip_norm)[:, None, None], clip_norm)


def clip_outer(left: FloatArray, right: FloatArray, clip_norm: float) -> OuterBlock:
    """`clip` for a block of rank-one answers; the norm of an outer product is the product of norms.

    Args:
        left: shape (devices, titles).
        right: shape (devices, columns).
        clip_norm: L2 bound, > 0.

    Raises: as `clip`.
    """
    _check_bound(clip_norm)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return OuterBlock(left, right * _factors(norms, clip_norm)[:, None], clip_norm)


def _factors(norms: FloatArray, clip_norm: float) -> FloatArray:
    if not np.all(np.isfinite(norms)):
        raise NonFiniteUpdateError("an update holds NaN or infinity; check the watch history it was made from")
    over = norms > clip_norm * _SLACK
    return np.where(over, clip_norm * _SLACK / np.where(over, norms, 1.0), 1.0)


def _check_bound(clip_norm: float) -> None:
    if not 0 < clip_norm < np.inf:
        raise ValueError(f"clip_norm must be a positive number, got {clip_norm}")
