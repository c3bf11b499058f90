"""The kernels of `compiled_sequence` with numpy alone: same arguments, same answers up to the last bits of float64."""

import numpy as np
from numpy.typing import NDArray

from backrow.client.sequence import NOTHING
from backrow.simulations.engine.shard import FloatArray, Slots

_UNIT = 2.0**-53
_LARGEST, _VANISHING = 1e150, 1e-100
_AT_A_TIME = 32
"""Devices; no bit depends on it."""


def sequence(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    order: NDArray[np.int32],
    embedding: FloatArray,
    heavy: FloatArray,
    bound: float,
    scale: float,
    total: FloatArray,
    norms: FloatArray,
) -> None:
    """Add the answers, each scaled to `bound` and rounded by itself, to `total`, shape (titles, columns).

    norms: before an answer is scaled.
    """
    for first in range(0, len(slots), _AT_A_TIME):
        part = slots[first : first + _AT_A_TIME]
        found = norms[first : first + _AT_A_TIME]
        lengths = starts[part + 1] - starts[part]
        places = _in_order(part, starts, order)
        own = titles[places]
        if len(own) and not (places[0] >= 0 and own.min() >= 0 and own.max() < len(embedding)):
            found[:] = np.nan
            continue
        weight, ends = weights[places], np.cumsum(lengths)
        seen = embedding[own] * weight[:, None]
        made = _look_back(seen, lengths, heavy) if len(order) else _others(seen, lengths)
        length = np.sqrt(np.einsum("ec,ec->e", made, made))
        owner = np.repeat(np.arange(len(part)), lengths)
        told = length > NOTHING
        made *= np.divide(weight, length, where=told, out=np.zeros(len(own)))[:, None]
        squares = np.bincount(owner, np.einsum("ec,ec->e", made, made), minlength=len(part))
        found[:] = np.sqrt(squares) * (1 + 4.0 * (lengths + embedding.shape[1] + 16) * _UNIT)
        found[np.bincount(owner, ~(length < _LARGEST), minlength=len(part)) > 0] = np.nan
        kept = found >= _VANISHING
        made *= np.divide(scale * bound, found, where=kept, out=np.zeros(len(part)))[owner][:, None]
        np.rint(made, out=made)
        for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            total[own[begin:end]] += made[begin:end]


def now(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    order: NDArray[np.int32],
    embedding: FloatArray,
    heavy: FloatArray,
    columns: int,
    users: FloatArray,
) -> None:
    """Every device's context of now, shape (devices, embedding's columns), each part of `columns` of length 1."""
    for row, slot in enumerate(slots):
        own = slice(starts[slot], starts[slot + 1])
        last = slice(max(own.start, own.stop - len(heavy)), own.stop)
        places = own.start + order[last] if len(order) else np.arange(own.start, own.stop)
        inside = not len(places) or (places.min() >= own.start and places.max() < own.stop)
        watched = titles[places] if inside else np.full(1, -1)
        if len(watched) and not (watched.min() >= 0 and watched.max() < len(embedding)):
            users[row] = np.nan
            continue
        strength = weights[places] * heavy[: len(places)][::-1] if len(order) else weights[places]
        users[row] = (embedding[watched] * strength[:, None]).sum(axis=0)
    parts = users.reshape(len(slots), -1, columns)
    length = np.sqrt(np.einsum("npc,npc->np", parts, parts))[:, :, None]
    parts[:] = np.where(length > NOTHING, parts / np.maximum(length, NOTHING), 0.0)
    parts[~(length < _LARGEST)[:, :, 0]] = np.nan


def _in_order(slots: Slots, starts: NDArray[np.int64], order: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where the entries of these devices are, device after device; -1 in front of all if an order is none."""
    places = [np.arange(starts[slot], starts[slot + 1]) for slot in slots]
    if len(order):
        for row, own in enumerate(places):
            watched = order[own]
            if not np.array_equal(np.sort(watched), np.arange(len(own))):
                return np.full(1, -1)
            places[row] = starts[slots[row]] + watched
    return np.concatenate(places)


def _look_back(seen: FloatArray, lengths: NDArray[np.int64], heavy: FloatArray) -> FloatArray:
    """Contexts of histories one after another: zeros between them, so that nobody looks into another's."""
    window = min(len(heavy), int(lengths.max(initial=0)))
    rows = np.arange(len(seen)) + window * np.repeat(np.arange(1, len(lengths) + 1), lengths)
    apart = np.zeros((len(seen) + window * (len(lengths) + 1), seen.shape[1]))
    apart[rows] = seen
    made, term = np.zeros_like(apart), np.empty_like(apart)
    for back in range(window, 0, -1):
        made[back:] += np.multiply(apart[:-back], heavy[back - 1], out=term[back:])
    return np.asarray(made[rows])


def _others(seen: FloatArray, lengths: NDArray[np.int64]) -> FloatArray:
    """Contexts of histories without an order: all of the other titles."""
    made = -seen
    ends = np.cumsum(lengths)
    for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        made[begin:end] += seen[begin:end].sum(axis=0)
    return made
