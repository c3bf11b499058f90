"""The kernels of `compiled` with numpy and scipy alone: same arguments, same answers up to the last bits of float64."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from backrow.simulations.engine.plain_sequence import now, sequence
from backrow.simulations.engine.plain_sgd import sgd
from backrow.simulations.engine.shard import FloatArray, Slots

__all__ = ["counts", "gradient", "now", "ranks", "sequence", "sgd", "solve", "subspace"]

_UNIT = 2.0**-53
_VANISHING = 1e-100
_AT_A_TIME = 64


def counts(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    recent: NDArray[np.bool_],
    recent_only: bool,
    bound: float,
    scale: float,
    total: FloatArray,
    norms: FloatArray,
) -> None:
    """Unit-norm weights, each device rounded by itself; total: shape (titles,)."""
    x = _rows(slots, starts, titles, weights, len(total), norms)
    if x is None:
        return
    if recent_only:
        x.data *= recent[_places(slots, starts)]
    squares = _squares(x)
    norms[:] = squares > 0
    factors = np.divide(scale * min(1.0, bound), np.sqrt(squares), where=squares > 0, out=np.zeros(len(slots)))
    values = np.rint(x.data * np.repeat(factors, np.diff(x.indptr)))
    total += np.bincount(x.indices, weights=values, minlength=len(total))


def subspace(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    deflation: FloatArray,
    basis: FloatArray,
    gram: FloatArray,
    cross: FloatArray,
    bound: float,
    most: float,
    total: FloatArray,
    small: FloatArray,
    norms: FloatArray,
) -> None:
    """r p' as x p' in `total`, shape (titles, columns), and a p' in `small`, shape (k, columns): r = x - W a."""
    rows, columns = basis.shape
    x = _rows(slots, starts, titles, weights, rows, norms)
    if x is None:
        return
    lengths, squares = np.diff(x.indptr), _squares(x)
    x.data *= np.repeat(_inverse(np.sqrt(squares)), lengths)
    a = x @ deflation
    p = x @ basis - a @ cross.T
    rest = np.where(squares > 0, 1.0, 0.0) + np.einsum("nk,nk->n", a, a @ gram - 2 * a)
    sizes = 1.0 + np.abs(a) @ np.sqrt(np.diag(gram))
    lost = 4.0 * (lengths + rows + deflation.shape[1] + columns + 32) * _UNIT
    right = np.sqrt(np.einsum("nk,nk->n", p, p)) * (1 + lost)
    norms[:] = np.sqrt(np.maximum(rest, 0) + lost * sizes * sizes) * right
    scaled = p * _factors(norms, sizes * right, right, bound, most)[:, None]
    total += x.T @ scaled
    small += a.T @ scaled


def solve(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    factors: FloatArray,
    gram: FloatArray,
    alpha0: float,
    ridge: float,
    users: FloatArray,
) -> None:
    """Every device's own factors, shape (devices, columns); NaN for a title outside the catalogue."""
    columns = factors.shape[1]
    for first in range(0, len(slots), _AT_A_TIME):
        part = slots[first : first + _AT_A_TIME]
        matrices, targets = np.empty((len(part), columns, columns)), np.empty((len(part), columns))
        for row, slot in enumerate(part):
            own, weight = titles[starts[slot] : starts[slot + 1]], weights[starts[slot] : starts[slot + 1]]
            if len(own) and not (own.min() >= 0 and own.max() < len(factors)):
                matrices[row], targets[row] = np.eye(columns), np.nan
                continue
            watched = factors[own]
            matrices[row] = alpha0 * gram + (watched * weight[:, None]).T @ watched
            targets[row] = (alpha0 + weight) @ watched
        matrices[:, np.arange(columns), np.arange(columns)] += ridge
        users[first : first + len(part)] = np.linalg.solve(matrices, targets[:, :, None])[:, :, 0]


def gradient(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    factors: FloatArray,
    gram: FloatArray,
    alpha0: float,
    ridge: float,
    bound: float,
    most: float,
    total: FloatArray,
    small: FloatArray,
    norms: FloatArray,
) -> None:
    """r p' with r = alpha0 V p + rest: rest p' in `total`, alpha0 p p' in `small`, shape (columns, columns)."""
    rows, columns = factors.shape
    x = _rows(slots, starts, titles, weights, rows, norms)
    if x is None:
        return
    p = np.empty((len(slots), columns))
    solve(slots, starts, titles, weights, factors, gram, alpha0, ridge, p)
    lengths = np.diff(x.indptr)
    owner = np.repeat(np.arange(len(slots)), lengths)
    scores = np.empty(len(owner))
    for first in range(0, len(slots), _AT_A_TIME):
        part = slice(x.indptr[first], x.indptr[min(first + _AT_A_TIME, len(slots))])
        scores[part] = np.einsum("ek,ek->e", factors[x.indices[part]], p[owner[part]])
    whole = (alpha0 + x.data) * (scores - 1)
    sparse = whole - alpha0 * scores
    spread = alpha0 * (np.abs(p) @ np.sqrt(np.diag(gram)))
    rest = alpha0**2 * np.einsum("nk,nk->n", p, p @ gram) + np.bincount(
        owner, whole**2 - (alpha0 * scores) ** 2, minlength=len(slots)
    )
    sizes = spread + np.sqrt(np.bincount(owner, sparse**2, minlength=len(slots)))
    lost = 4.0 * (lengths + rows + 2 * columns + 32) * _UNIT
    right = np.sqrt(np.einsum("nk,nk->n", p, p)) * (1 + lost)
    norms[:] = np.sqrt(np.maximum(rest, 0) + lost * sizes * sizes) * right
    scaled = p * _factors(norms, sizes * right, right, bound, most)[:, None]
    x.data = sparse
    total += x.T @ scaled
    small += alpha0 * p.T @ scaled


def ranks(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    fresh: NDArray[np.int32],
    passed_starts: NDArray[np.int64],
    passed: NDArray[np.int32],
    factors: FloatArray,
    users: FloatArray,
    popularity: FloatArray,
    found: FloatArray,
) -> None:
    """Ranks of every device's fresh title, by its own scores and by popularity; -1: none; NaN: outside, or known."""
    for row, slot in enumerate(slots):
        target = int(fresh[slot])
        if target < 0:
            found[row] = -1.0
            continue
        own, other = titles[starts[slot] : starts[slot + 1]], passed[passed_starts[slot] : passed_starts[slot + 1]]
        known = np.concatenate([own, other, [target]])
        if known.min() < 0 or known.max() >= len(factors) or np.any(known[:-1] == target):
            found[row] = np.nan
            continue
        free = np.ones(len(factors), dtype=np.bool_)
        free[known[:-1]] = False
        for column, scores in enumerate((factors @ users[row] if len(own) else popularity, popularity)):
            others, mine = scores[free], scores[target]
            found[row, column] = np.count_nonzero(others > mine) + (np.count_nonzero(others == mine) - 1) / 2


def _rows(
    slots: Slots,
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    columns: int,
    norms: FloatArray,
) -> csr_matrix | None:
    """Histories as a sparse matrix; None, and NaN in `norms`, if a title is outside the catalogue."""
    places = _places(slots, starts)
    own = titles[places]
    if len(own) and not (own.min() >= 0 and own.max() < columns):
        norms[:] = np.nan
        return None
    pointers = np.concatenate([[0], np.cumsum(starts[slots + 1] - starts[slots])])
    return csr_matrix((np.array(weights[places], dtype=np.float64), own, pointers), shape=(len(slots), columns))


def _places(slots: Slots, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the entries of these devices are, device after device."""
    lengths = starts[slots + 1] - starts[slots]
    ends = np.cumsum(lengths)
    return np.asarray(np.arange(int(lengths.sum())) + np.repeat(starts[slots] - ends + lengths, lengths))


def _squares(x: csr_matrix) -> FloatArray:
    owner = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    return np.asarray(np.bincount(owner, x.data * x.data, minlength=x.shape[0]), dtype=np.float64)


def _inverse(values: FloatArray) -> FloatArray:
    return np.divide(1.0, values, where=values > 0, out=np.zeros(len(values)))


def _factors(norms: FloatArray, sizes: FloatArray, right: FloatArray, bound: float, most: float) -> FloatArray:
    factors = np.where(norms > bound, bound / np.where(norms > bound, norms, 1.0), 1.0)
    factors = np.where(sizes * factors > most, most / np.where(sizes > 0, sizes, 1.0), factors)
    return np.where(right < _VANISHING, 0.0, factors)
