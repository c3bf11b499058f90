"""Local epochs in machine code (client/training/sgd.py): a device's answer from the titles it touches, twice read.

A local row is v - h sum_b E_b p_b over the mini-batches b in which its title was seen, with E_b the summed errors and
p_b the own factors at the start of b. So rows are never copied: a score is v'p less h sum_b E_b p_b'p, and the answer
h sum_b E_b p_b is written once, scaled and rounded. An entry is one title in one mini-batch; entries of a title are
linked, the last one first.
"""

import math

import numpy as np
from numba import njit

from backrow.client.training.sgd import FIRST, GOLDEN, SECOND

_FAST = {"reassoc", "contract", "nsz"}
_WHOLE = 1.5 * 2.0**52
_GOLDEN, _FIRST, _SECOND, _ONE = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND), np.uint64(1)
_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)


@njit(nogil=True, cache=True)
def _mixed(seed, number):
    state = seed + (number + _ONE) * _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dot(one, other):
    value = 0.0
    for k in range(len(one)):
        value += one[k] * other[k]
    return value


@njit(nogil=True, cache=True, fastmath=_FAST)
def _add(total, weight, row):
    for k in range(len(total)):
        total[k] += weight * row[k]


@njit(nogil=True, cache=True)
def _add_rounded(total, weight, row):
    for k in range(len(total)):
        total[k] += (weight * row[k] + _WHOLE) - _WHOLE


@njit(nogil=True, cache=True)
def sgd(
    slots, seeds, starts, titles, weights, factors, users, rate, size, negatives, epochs, bound, scale, total, norms
):
    """Add the clipped changes of the item factors, each device's rounded by itself, to `total` (whole numbers).

    users: own factors, shape (devices, columns), changed in place; size: watched titles of a mini-batch.
    """
    rows, columns = factors.shape
    most = 0
    for row in range(len(slots)):
        most = max(most, starts[slots[row] + 1] - starts[slots[row]])
    batches = epochs * ((most + size - 1) // size)
    entries = epochs * most * (1 + negatives)
    title_of, before = np.empty(entries, np.int32), np.empty(entries, np.int32)
    batch_of, error_of = np.empty(entries, np.int32), np.empty(entries)
    last = np.full(rows, -1, np.int32)
    order = np.empty(most, np.int64)
    past, inner, pull = np.empty((batches, columns)), np.empty(batches), np.empty(batches)
    length = np.empty(batches)
    step, change = np.empty(columns), np.empty(columns)
    catalogue = np.uint64(rows)
    for row in range(len(slots)):
        low, watched = starts[slots[row]], starts[slots[row] + 1] - starts[slots[row]]
        norms[row] = 0.0
        inside = True
        for place in range(watched):
            order[place] = place
            inside = inside and 0 <= titles[low + place] < rows
        if not inside:
            norms[row] = np.nan
            continue
        seed, user = seeds[row], users[row]
        used, batch, number = 0, 0, np.uint64(0)
        for _ in range(epochs):
            for place in range(watched - 1, 0, -1):
                draw = _mixed(seed, number + np.uint64(place)) >> _HALF
                other = np.int64((draw * np.uint64(place + 1)) >> _HALF)
                order[place], order[other] = order[other], order[place]
            number += np.uint64(watched)
            for first in range(0, watched, size):
                for k in range(columns):
                    past[batch, k] = user[k]
                    step[k] = 0.0
                for earlier in range(batch):
                    inner[earlier] = rate * _dot(past[earlier], user)
                    pull[earlier] = 0.0
                length[batch] = _dot(user, user)
                for place in range(first, min(first + size, watched)):
                    draw = np.uint64(0)
                    for kind in range(negatives + 1):
                        if kind == 0:
                            title, goal = titles[low + order[place]], 1.0
                            weight = weights[low + order[place]]
                        else:
                            if kind % 2 == 1:
                                draw = _mixed(seed, number)
                                number += _ONE
                                half = draw >> _HALF
                            else:
                                half = draw & _LOW
                            title, goal, weight = np.int32((half * catalogue) >> _HALF), 0.0, 1.0
                        item = factors[title]
                        error = _dot(item, user) - goal
                        link = last[title]
                        here = link
                        while here >= 0:
                            if batch_of[here] < batch:
                                error -= error_of[here] * inner[batch_of[here]]
                            here = before[here]
                        error *= weight
                        _add(step, error, item)
                        here = link
                        while here >= 0:
                            if batch_of[here] < batch:
                                pull[batch_of[here]] += error * error_of[here]
                            here = before[here]
                        if link >= 0 and batch_of[link] == batch:
                            error_of[link] += error
                        else:
                            title_of[used], before[used] = title, link
                            batch_of[used], error_of[used] = batch, error
                            last[title] = used
                            used += 1
                for earlier in range(batch):
                    _add(step, -rate * pull[earlier], past[earlier])
                for k in range(columns):
                    user[k] -= rate * step[k]
                batch += 1
        square = 0.0
        for entry in range(used):
            if last[title_of[entry]] != entry:
                continue
            if before[entry] < 0:
                square += error_of[entry] * error_of[entry] * length[batch_of[entry]]
            else:
                change[:] = 0.0
                here = np.int32(entry)
                while here >= 0:
                    _add(change, error_of[here], past[batch_of[here]])
                    here = before[here]
                square += _dot(change, change)
        norm = rate * math.sqrt(square)
        norms[row] = norm
        factor = rate * scale
        if norm > bound:
            factor *= bound / norm
        for entry in range(used):
            title = title_of[entry]
            if last[title] != entry:
                continue
            if before[entry] < 0:
                _add_rounded(total[title], factor * error_of[entry], past[batch_of[entry]])
            else:
                change[:] = 0.0
                here = np.int32(entry)
                while here >= 0:
                    _add(change, error_of[here], past[batch_of[here]])
                    here = before[here]
                _add_rounded(total[title], factor, change)
        for entry in range(used):
            last[title_of[entry]] = -1
