# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
# numba reads the types of the arguments when a kernel is first called.
"""Kernels in machine code (numba): one pass over the events of some devices, without the interpreter's lock.

Each kernel adds the clipped answers of devices `slots` to `total`, in the order given, and writes down the norm
every answer had before it was clipped. Norms are rounded up by what float64 may have lost, so that a clipped answer is
within the bound as a real number (docs/population-engine.md). A title outside the catalogue gives the norm NaN.
"""

import math

import numpy as np
from numba import njit

from backrow.simulations.engine.compiled_sequence import now, sequence
from backrow.simulations.engine.compiled_sgd import sgd

__all__ = ["counts", "gradient", "now", "ranks", "sequence", "sgd", "solve", "subspace"]

_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be vectorised; nothing else is relaxed."""
_UNIT = 2.0**-53
_VANISHING = 1e-100
_WHOLE = 1.5 * 2.0**52
"""Added and taken away again it rounds to the nearest integer, ties to even, below 2^51: never under `_FAST`."""


@njit(nogil=True, cache=True)
def _rounded(value):
    return (value + _WHOLE) - _WHOLE


@njit(nogil=True, cache=True)
def _factor(norm, size, bound, most):
    """Clip factor of an answer; `size`: what its parts could add up to."""
    factor = 1.0
    if norm > bound:
        factor = bound / norm
    if size * factor > most:
        factor = most / size
    return factor


@njit(nogil=True, cache=True)
def counts(slots, starts, titles, weights, recent, recent_only, bound, scale, total, norms):
    """Unit-norm weights, each device rounded by itself; total: shape (titles,)."""
    for row in range(len(slots)):
        low, high = starts[slots[row]], starts[slots[row] + 1]
        square = 0.0
        for place in range(low, high):
            if recent[place] or not recent_only:
                square += weights[place] * weights[place]
        norms[row] = 0.0
        if square == 0.0:
            continue
        # A unit vector, rounded up: a hair above 1, so that a bound of 1 - a hair always clips.
        norms[row] = 1.0
        factor = scale * min(1.0, bound) / math.sqrt(square)
        for place in range(low, high):
            title = titles[place]
            if title < 0 or title >= len(total):
                norms[row] = np.nan
                break
            if recent[place] or not recent_only:
                total[title] += _rounded(weights[place] * factor)


@njit(nogil=True, cache=True, fastmath=_FAST)
def subspace(slots, starts, titles, weights, deflation, basis, gram, cross, bound, most, total, small, norms):
    """r p' as x p' in `total`, shape (titles, columns), and a p' in `small`, shape (k, columns): r = x - W a.

    gram: W'W; cross: Q'W.
    """
    rows, columns, deflated = basis.shape[0], basis.shape[1], deflation.shape[1]
    a, p = np.empty(deflated), np.empty(columns)
    for row in range(len(slots)):
        low, high = starts[slots[row]], starts[slots[row] + 1]
        norms[row] = 0.0
        a[:] = 0.0
        p[:] = 0.0
        square, inside = 0.0, True
        for place in range(low, high):
            title, weight = titles[place], weights[place]
            if title < 0 or title >= rows:
                inside = False
                break
            square += weight * weight
            for k in range(deflated):
                a[k] += weight * deflation[title, k]
            for k in range(columns):
                p[k] += weight * basis[title, k]
        if not inside:
            norms[row] = np.nan
            continue
        if square == 0.0:
            continue
        unit = 1.0 / math.sqrt(square)
        size, rest = 1.0, 1.0
        for k in range(deflated):
            a[k] *= unit
            size += abs(a[k]) * math.sqrt(gram[k, k])
        for k in range(deflated):
            inner = -2.0 * a[k]
            for other in range(deflated):
                inner += gram[k, other] * a[other]
            rest += a[k] * inner
        square = 0.0
        for k in range(columns):
            off = p[k] * unit
            for other in range(deflated):
                off -= cross[k, other] * a[other]
            p[k] = off
            square += off * off
        lost = 4.0 * (high - low + rows + deflated + columns + 32) * _UNIT
        right = math.sqrt(square) * (1.0 + lost)
        left = math.sqrt(max(rest, 0.0) + lost * size * size)
        norm = left * right
        norms[row] = norm
        if right < _VANISHING:
            continue
        factor = _factor(norm, size * right, bound, most)
        for k in range(columns):
            p[k] *= factor
        for k in range(deflated):
            for column in range(columns):
                small[k, column] += a[k] * p[column]
        for place in range(low, high):
            title, weight = titles[place], weights[place] * unit
            for column in range(columns):
                total[title, column] += weight * p[column]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _solve(low, high, titles, weights, factors, gram, alpha0, ridge, matrix, p):
    """The device's own factors into `p` (client/solve.py), by Cholesky. False: a title outside the catalogue."""
    rows, columns = factors.shape
    for k in range(columns):
        p[k] = 0.0
        for other in range(k + 1):
            matrix[k, other] = alpha0 * gram[k, other]
        matrix[k, k] += ridge
    for place in range(low, high):
        title, weight = titles[place], weights[place]
        if title < 0 or title >= rows:
            return False
        for k in range(columns):
            value = factors[title, k]
            p[k] += (alpha0 + weight) * value
            value *= weight
            for other in range(k + 1):
                matrix[k, other] += value * factors[title, other]
    for k in range(columns):
        for other in range(k):
            value = matrix[k, other]
            for inner in range(other):
                value -= matrix[k, inner] * matrix[other, inner]
            matrix[k, other] = value / matrix[other, other]
        value = matrix[k, k]
        for inner in range(k):
            value -= matrix[k, inner] * matrix[k, inner]
        matrix[k, k] = math.sqrt(value)
    for k in range(columns):
        value = p[k]
        for inner in range(k):
            value -= matrix[k, inner] * p[inner]
        p[k] = value / matrix[k, k]
    for k in range(columns - 1, -1, -1):
        value = p[k]
        for inner in range(k + 1, columns):
            value -= matrix[inner, k] * p[inner]
        p[k] = value / matrix[k, k]
    return True


@njit(nogil=True, cache=True)
def solve(slots, starts, titles, weights, factors, gram, alpha0, ridge, users):
    """Every device's own factors, shape (devices, columns); NaN for a title outside the catalogue."""
    matrix = np.empty(gram.shape)
    for row in range(len(slots)):
        low, high = starts[slots[row]], starts[slots[row] + 1]
        if not _solve(low, high, titles, weights, factors, gram, alpha0, ridge, matrix, users[row]):
            users[row] = np.nan


@njit(nogil=True, cache=True, fastmath=_FAST)
def gradient(slots, starts, titles, weights, factors, gram, alpha0, ridge, bound, most, total, small, norms):
    """r p' with r = alpha0 V p + rest: rest p' in `total`, alpha0 p p' in `small`, shape (columns, columns)."""
    rows, columns = factors.shape
    matrix, p, scaled = np.empty((columns, columns)), np.empty(columns), np.empty(columns)
    for row in range(len(slots)):
        low, high = starts[slots[row]], starts[slots[row] + 1]
        if not _solve(low, high, titles, weights, factors, gram, alpha0, ridge, matrix, p):
            norms[row] = np.nan
            continue
        dense, spread, square = 0.0, 0.0, 0.0
        for k in range(columns):
            inner = 0.0
            for other in range(columns):
                inner += gram[k, other] * p[other]
            dense += p[k] * inner
            spread += abs(p[k]) * math.sqrt(gram[k, k])
            square += p[k] * p[k]
        dense *= alpha0 * alpha0
        spread *= alpha0
        rest, sparse = 0.0, 0.0
        for place in range(low, high):
            title, weight, score = titles[place], weights[place], 0.0
            for k in range(columns):
                score += factors[title, k] * p[k]
            here = (alpha0 + weight) * (score - 1.0)
            rest += here * here - alpha0 * alpha0 * score * score
            here -= alpha0 * score
            sparse += here * here
        lost = 4.0 * (high - low + rows + 2 * columns + 32) * _UNIT
        size = spread + math.sqrt(sparse)
        left = math.sqrt(max(dense + rest, 0.0) + lost * size * size)
        right = math.sqrt(square) * (1.0 + lost)
        norm = left * right
        norms[row] = norm
        if right < _VANISHING:
            continue
        factor = _factor(norm, size * right, bound, most)
        for k in range(columns):
            scaled[k] = p[k] * factor
        for k in range(columns):
            for other in range(columns):
                small[k, other] += alpha0 * p[k] * scaled[other]
        for place in range(low, high):
            title, weight, score = titles[place], weights[place], 0.0
            for k in range(columns):
                score += factors[title, k] * p[k]
            here = weight * score - (alpha0 + weight)
            for k in range(columns):
                total[title, k] += here * scaled[k]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _scores(factors, user, scores):
    for title in range(len(factors)):
        value = 0.0
        for k in range(len(user)):
            value += factors[title, k] * user[k]
        scores[title] = value


@njit(nogil=True, cache=True)
def _rank(scores, target, free):
    """From 0 among free titles, ties counting half."""
    above, level = 0, 0
    for title in range(len(scores)):
        above += (scores[title] > target) & free[title]
        level += (scores[title] == target) & free[title]
    return above + (level - 1) / 2


@njit(nogil=True, cache=True)
def ranks(slots, starts, titles, fresh, passed_starts, passed, factors, users, popularity, found):
    """Ranks of every device's fresh title, by its own scores and by popularity: `found`, shape (devices, 2).

    -1: it has none; NaN: it, or a known title, is outside the catalogue, or it was known.
    """
    scores, free = np.empty(len(factors)), np.ones(len(factors), np.bool_)
    for row in range(len(slots)):
        slot = slots[row]
        target = fresh[slot]
        if target < 0:
            found[row] = -1.0
            continue
        inside = target < len(factors)
        for own in range(2):
            begins, known = (starts, titles) if own == 0 else (passed_starts, passed)
            for place in range(begins[slot], begins[slot + 1]):
                if 0 <= known[place] < len(factors):
                    free[known[place]] = False
                else:
                    inside = False
        if inside and free[target]:
            found[row, 1] = _rank(popularity, popularity[target], free)
            if starts[slot] == starts[slot + 1]:
                found[row, 0] = found[row, 1]  # a device without a history recommends what is popular
            else:
                _scores(factors, users[row], scores)
                found[row, 0] = _rank(scores, scores[target], free)
        else:
            found[row] = np.nan
        for own in range(2):
            begins, known = (starts, titles) if own == 0 else (passed_starts, passed)
            for place in range(begins[slot], begins[slot + 1]):
                if 0 <= known[place] < len(factors):
                    free[known[place]] = True
