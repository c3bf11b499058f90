# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# numba reads the types of the arguments when a kernel is first called.
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
def _dots(rows, ids, count, row, values):
    """values[j] = rows[ids[j]]' row."""
    for j in range(count):
        place, value = ids[j], 0.0
        for k in range(len(row)):
            value += rows[place, k] * row[k]
        values[j] = value


@njit(nogil=True, cache=True, fastmath=_FAST)
def _combine(rows, ids, count, values, total):
    """total = sum_j values[j] rows[ids[j]], four rows at a time."""
    for k in range(len(total)):
        total[k] = 0.0
    whole = count - count % 4
    for j in range(0, whole, 4):
        one, two, three, four = ids[j], ids[j + 1], ids[j + 2], ids[j + 3]
        a, b, c, d = values[j], values[j + 1], values[j + 2], values[j + 3]
        for k in range(len(total)):
            total[k] += (a * rows[one, k] + b * rows[two, k]) + (c * rows[three, k] + d * rows[four, k])
    for j in range(whole, count):
        for k in range(len(total)):
            total[k] += values[j] * rows[ids[j], k]


@njit(nogil=True, cache=True)
def _sort_out(used, title_of, before, last, single, several):
    """Entries that are the last of their title: how many titles have one entry, and several. No branch to guess."""
    ones, more = 0, 0
    for entry in range(used):
        ends = last[title_of[entry]] == entry
        alone = before[entry] < 0
        single[ones] = entry
        several[more] = entry
        ones += ends & alone
        more += ends & (not alone)
    return ones, more


@njit(nogil=True, cache=True, fastmath=_FAST)
def _merge(single, several, before, batch_of, error_of, past, length, merged):
    """Squared length of the whole change; sum_b E_b p_b of the titles of several entries go to `merged`, in order."""
    columns, square = past.shape[1], 0.0
    for entry in single:
        square += error_of[entry] * error_of[entry] * length[batch_of[entry]]
    for row in range(len(several)):
        here = several[row]
        into = merged[row]
        weight, batch, here = error_of[here], batch_of[here], before[here]
        for k in range(columns):
            into[k] = weight * past[batch, k]
        while here >= 0:
            weight, batch, here = error_of[here], batch_of[here], before[here]
            for k in range(columns):
                into[k] += weight * past[batch, k]
        part = 0.0
        for k in range(columns):
            part += into[k] * into[k]
        square += part
    return square


@njit(nogil=True, cache=True)
def _scatter(single, several, title_of, batch_of, error_of, past, merged, factor, last, total):
    """Add the change, rounded title by title; and forget the titles."""
    columns = past.shape[1]
    for entry in single:
        title, weight, batch = title_of[entry], factor * error_of[entry], batch_of[entry]
        for k in range(columns):
            total[title, k] += (weight * past[batch, k] + _WHOLE) - _WHOLE
        last[title] = -1
    for row in range(len(several)):
        title = title_of[several[row]]
        for k in range(columns):
            total[title, k] += (factor * merged[row, k] + _WHOLE) - _WHOLE
        last[title] = -1


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
    single, several = np.empty(entries + 1, np.int32), np.empty(entries + 1, np.int32)
    order = np.empty(most, np.int64)
    past, inner, pull = np.empty((batches, columns)), np.empty(batches), np.empty(batches)
    length, every = np.empty(batches), np.arange(batches)
    step, user, merged = np.empty(columns), np.empty(columns), np.empty((min(rows, entries), columns))
    largest = size * (1 + negatives)
    drawn, errors, strength = np.empty(largest, np.int32), np.empty(largest), np.empty(size)
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
        seed = seeds[row]
        for k in range(columns):
            user[k] = users[row, k]
        used, batch, number = 0, 0, np.uint64(0)
        for _ in range(epochs):
            for place in range(watched - 1, 0, -1):
                draw = _mixed(seed, number + np.uint64(place)) >> _HALF
                other = np.int64((draw * np.uint64(place + 1)) >> _HALF)
                order[place], order[other] = order[other], order[place]
            number += np.uint64(watched)
            for first in range(0, watched, size):
                held = min(size, watched - first)
                count = 0
                for place in range(held):
                    own = low + order[first + place]
                    drawn[count], strength[place] = titles[own], weights[own]
                    count += 1
                    for pair in range(0, negatives, 2):
                        draw = _mixed(seed, number)
                        number += _ONE
                        drawn[count] = np.int32(((draw >> _HALF) * catalogue) >> _HALF)
                        count += 1
                        if pair + 1 < negatives:
                            drawn[count] = np.int32(((draw & _LOW) * catalogue) >> _HALF)
                            count += 1
                for k in range(columns):
                    past[batch, k] = user[k]
                _dots(past, every, batch + 1, user, inner)
                length[batch] = inner[batch]
                pull[:batch] = 0.0
                _dots(factors, drawn, count, user, errors)
                j = -1
                for place in range(held):
                    errors[j + 1] -= 1.0
                    for kind in range(1 + negatives):
                        j += 1
                        title, error = drawn[j], errors[j]
                        weight = strength[place] if kind == 0 else 1.0
                        link = last[title]
                        if link < 0:
                            error *= weight
                        else:
                            here = link
                            while here >= 0:
                                if batch_of[here] < batch:
                                    error -= rate * error_of[here] * inner[batch_of[here]]
                                here = before[here]
                            error *= weight
                            here = link
                            while here >= 0:
                                if batch_of[here] < batch:
                                    pull[batch_of[here]] += error * error_of[here]
                                here = before[here]
                        errors[j] = error
                        if link >= 0 and batch_of[link] == batch:
                            error_of[link] += error
                            continue
                        title_of[used], before[used] = title, link
                        batch_of[used], error_of[used] = batch, error
                        last[title] = used
                        used += 1
                _combine(factors, drawn, count, errors, step)
                for k in range(columns):
                    user[k] -= rate * step[k]
                if batch > 0:
                    _combine(past, every, batch, pull, step)
                    for k in range(columns):
                        user[k] += rate * rate * step[k]
                batch += 1
        for k in range(columns):
            users[row, k] = user[k]
        ones, more = _sort_out(used, title_of, before, last, single, several)
        square = _merge(single[:ones], several[:more], before, batch_of, error_of, past, length, merged)
        norm = rate * math.sqrt(square)
        norms[row] = norm
        factor = rate * scale
        if norm > bound:
            factor *= bound / norm
        _scatter(single[:ones], several[:more], title_of, batch_of, error_of, past, merged, factor, last, total)
