# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# numba reads the types of the arguments when a kernel is first called.
"""Contexts in machine code (client/sequence.py, client/training/sequence.py): device by device, nothing kept but one's.

`order` has an entry for each of `titles`, or none at all: then nothing is known of it. `heavy`: weight of the title
watched so many before, shape (window,). A title outside the catalogue, an order that is none, or a context that is not
finite gives NaN.
"""

import math

import numpy as np
from numba import njit

from backrow.client.sequence import NOTHING

_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be vectorised; nothing else is relaxed."""
_UNIT = 2.0**-53
_WHOLE = 1.5 * 2.0**52
"""Added and taken away again it rounds to the nearest integer, ties to even, below 2^51: never under `_FAST`."""
_LARGEST = 1e150
"""Of a length: its square is a number."""
_VANISHING = 1e-100
"""Norm below which an answer is zero: squares that matter do not underflow above it."""


@njit(nogil=True, cache=True, fastmath=_FAST)
def _look_back(seen, end, heavy, row):
    """row = sum over back of heavy[back - 1] seen[end - back], four titles at a time."""
    held = min(end, len(heavy))
    for k in range(len(row)):
        row[k] = 0.0
    back = held
    while back >= 4:
        one, a, b, c, d = end - back, heavy[back - 1], heavy[back - 2], heavy[back - 3], heavy[back - 4]
        for k in range(len(row)):
            row[k] += (a * seen[one, k] + b * seen[one + 1, k]) + (c * seen[one + 2, k] + d * seen[one + 3, k])
        back -= 4
    while back > 0:
        for k in range(len(row)):
            row[k] += heavy[back - 1] * seen[end - back, k]
        back -= 1


@njit(nogil=True, cache=True, fastmath=_FAST)
def _length(row):
    square = 0.0
    for k in range(len(row)):
        square += row[k] * row[k]
    return math.sqrt(square)


@njit(nogil=True, cache=True, fastmath=_FAST)
def _weighted(title, weight, embedding, row):
    for k in range(len(row)):
        row[k] = weight * embedding[title, k]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _others(every, own, row):
    for k in range(len(row)):
        row[k] = every[k] - own[k]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add(row, total):
    for k in range(len(row)):
        total[k] += row[k]


@njit(nogil=True, cache=True)
def _in_order(low, watched, order, mark, places):
    """Places of a history in the order of watching, else as they are. False: an order that is none."""
    for place in range(watched):
        places[place] = place
        mark[place] = False
    if len(order):
        for place in range(watched):
            here = order[low + place]
            if here < 0 or here >= watched or mark[here]:
                return False
            mark[here] = True
            places[place] = here
    return True


@njit(nogil=True, cache=True)
def sequence(slots, starts, titles, weights, order, embedding, heavy, bound, scale, total, norms):
    """Add the answers, each scaled to `bound` and rounded by itself, to `total`, shape (titles, columns).

    norms: before an answer is scaled.
    """
    rows, columns = embedding.shape
    most = 0
    for row in range(len(slots)):
        most = max(most, starts[slots[row] + 1] - starts[slots[row]])
    seen, made, every = np.empty((most, columns)), np.empty((most, columns)), np.empty(columns)
    places, mark = np.empty(most, np.int64), np.empty(most, np.bool_)
    for row in range(len(slots)):
        low, watched = starts[slots[row]], starts[slots[row] + 1] - starts[slots[row]]
        norms[row] = 0.0
        fine = _in_order(low, watched, order, mark, places)
        every[:] = 0.0
        for place in range(watched):
            own = low + places[place]
            if not fine or titles[own] < 0 or titles[own] >= rows:
                fine = False
                break
            _weighted(titles[own], weights[own], embedding, seen[place])
            if not len(order):
                _add(seen[place], every)
        square = 0.0
        for place in range(watched if fine else 0):
            if len(order):
                _look_back(seen, place, heavy, made[place])
            else:
                _others(every, seen[place], made[place])
            length, factor = _length(made[place]), 0.0
            if not length < _LARGEST:
                fine = False
                break
            if length > NOTHING:
                factor = weights[low + places[place]] / length
            for k in range(columns):
                made[place, k] *= factor
            length = _length(made[place])
            square += length * length
        if not fine:
            norms[row] = np.nan
            continue
        # Rounded up by what float64 may have lost in it and in the scaling.
        norm = math.sqrt(square) * (1.0 + 4.0 * (watched + columns + 16) * _UNIT)
        norms[row] = norm
        if norm < _VANISHING:
            continue
        factor = scale * bound / norm
        for place in range(watched):
            title = titles[low + places[place]]
            for k in range(columns):
                total[title, k] += (factor * made[place, k] + _WHOLE) - _WHOLE


@njit(nogil=True, cache=True)
def now(slots, starts, titles, weights, order, embedding, heavy, columns, users):
    """Every device's context of now, shape (devices, embedding's columns), each part of `columns` of length 1."""
    own = np.empty(embedding.shape[1])
    for row in range(len(slots)):
        low, high = starts[slots[row]], starts[slots[row] + 1]
        users[row] = 0.0
        first = max(low, high - len(heavy)) if len(order) else low
        for entry in range(first, high):
            place, weight = entry, 1.0
            if len(order):
                place, weight = low + order[entry], heavy[high - 1 - entry]
            if place < low or place >= high or titles[place] < 0 or titles[place] >= len(embedding):
                users[row] = np.nan
                break
            _weighted(titles[place], weight * weights[place], embedding, own)
            _add(own, users[row])
        for part in range(0, embedding.shape[1], columns):
            length = _length(users[row, part : part + columns])
            if not length < _LARGEST:
                users[row] = np.nan
            elif length > NOTHING:
                for k in range(part, part + columns):
                    users[row, k] /= length
            else:
                users[row, part : part + columns] = 0.0
