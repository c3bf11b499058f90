"""From a round's question to the integer sum over some devices of a shard: clip, add, scale, round.

Answers that are sparse (counts, local epochs) are rounded device by device, as whole numbers in float64: their sum is
exact, whoever adds which. Answers with a dense part (subspace, gradient) are added in fixed blocks and rounded once a
block. Either is within the sensitivity of a plan with block-nearest rounding: docs/population-engine.md.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from backrow.client.training.evaluation import LIST
from backrow.client.training.sgd import Epochs
from backrow.privacy.clipping import LARGEST_CLIP_NORM, LARGEST_NORM, SMALLEST_CLIP_NORM, clip_outer
from backrow.privacy.errors import NonFiniteUpdateError
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Metric, Query, QuerySchema
from backrow.privacy.wire import IntArray, RoundCall
from backrow.simulations.engine.sequence import contexts_solve, contexts_work
from backrow.simulations.engine.shard import FloatArray, Shard, Slots, Work, aligned, split

WHOLE_NUMBERS = 2.0**52
"""Sums of whole numbers in float64 are exact below twice this."""
LARGEST_PART = 64.0
"""Parts of an answer that cancel out are at most so many clip norms large, so that little is lost in their sum."""

PART = 4096
"""Devices that a worker takes at a time where each is rounded by itself."""


@dataclass(frozen=True, slots=True)
class Draws:
    """What a trainer that draws, and may remember, has of each device.

    Attributes:
        seeds: shape (devices,).
        users: own factors kept, shape (devices, columns), zero where there are none; changed in place. None: nothing
            is kept.
    """

    seeds: NDArray[np.uint64]
    users: FloatArray | None = None


def kernels() -> ModuleType:
    """Compiled ones where numba is installed, plain ones else."""
    try:
        from backrow.simulations.engine import compiled
    except ImportError:
        from backrow.simulations.engine import plain

        return plain
    return compiled


def whole_cohorts(plan: RoundPlan, trainer: str) -> bool:
    """Whether the engine answers such a call; if not, devices answer one by one."""
    if plan.rounding is not Rounding.BLOCK_NEAREST or plan.noise is not Noise.ONCE:
        return False
    if plan.population * (plan.scale * plan.query.clip_norm + 1) >= WHOLE_NUMBERS:
        return False
    match plan.query.query:
        case Query.POPULARITY | Query.RECENT:
            return plan.query.columns == 1
        case Query.SUBSPACE:
            return trainer == "subspace"
        case Query.GRADIENT:
            return trainer in ("gradient", "sgd")
        case Query.SEQUENCE:
            return trainer == "sequence"
        case Query.EVAL:
            return True
    return False


def add_answers(
    call: RoundCall,
    shard: Shard,
    slots: Slots,
    draws: Draws,
    size: int,
    workers: int,
    using: ModuleType | None = None,
) -> tuple[IntArray, FloatArray]:
    """Integer sum over devices, shape (rows, columns), and the norm of each answer before clipping, shape (devices,).

    Args:
        call: one that `whole_cohorts` is true of.
        slots: devices to add, ascending.
        draws: theirs, in that order.
        size: of a block, `block_size`.
        workers: threads; the sum does not depend on them.
        using: module of kernels; None: the best there is.

    Raises:
        NonFiniteUpdateError: an answer is NaN or infinite.
        ValueError: the clip norm is out of range, a title is none of the catalogue's, or tensors do not fit.
    """
    clip_norm = call.plan.query.clip_norm
    if not SMALLEST_CLIP_NORM <= clip_norm <= LARGEST_CLIP_NORM:
        raise ValueError(f"clip_norm must be a positive number (1e-50 .. 1e50), got {clip_norm}")
    slots = np.ascontiguousarray(slots, dtype=np.int64)
    work, blocks = _work(call, shard, slots, draws, size, workers, kernels() if using is None else using)
    shape = (call.plan.query.rows, call.plan.query.columns)
    norms = np.zeros(len(slots))
    ends = np.cumsum([len(block) for block in blocks])
    parts = [(block, slice(end - len(block), end)) for block, end in zip(blocks, ends.tolist(), strict=True)]

    def run(mine: Sequence[tuple[Slots, slice]]) -> FloatArray:
        total = aligned(shape)
        for block, place in mine:
            work(block, place, total, norms[place])
        return total

    if workers > 1 and len(parts) > 1:
        with ThreadPoolExecutor(workers) as pool:
            totals = list(pool.map(run, [parts[worker::workers] for worker in range(workers)]))
    else:
        totals = [run(parts)]
    if not np.all(norms <= LARGEST_NORM**2):
        raise NonFiniteUpdateError(
            "an answer holds NaN, infinity or absurdly large numbers, or a history names a title that the model does "
            "not have; check the watch histories"
        )
    added = totals[0].astype(np.int64)
    for total in totals[1:]:
        added += total.astype(np.int64)
    return added, norms


def _work(
    call: RoundCall, shard: Shard, slots: Slots, draws: Draws, size: int, workers: int, using: ModuleType
) -> tuple[Work, list[Slots]]:
    """The kernel of a call, and the parts in which it adds the devices."""
    query = call.plan.query
    one_by_one = (Query.POPULARITY, Query.RECENT, Query.EVAL, Query.SEQUENCE)
    if query.query in one_by_one or call.trainer == "sgd":
        parts = max(1, -(-len(slots) // PART), min(4 * workers, len(slots)) if workers > 1 else 1)
        return _by_device(call, shard, draws, using), np.array_split(slots, parts)
    return _by_block(call, shard, size, using), split(slots, size)


def _by_device(call: RoundCall, shard: Shard, draws: Draws, using: ModuleType) -> Work:
    """Answers that are rounded one by one."""
    if call.plan.query.query is Query.EVAL:
        return _evaluation(call, shard, using)
    query, scale = call.plan.query, call.plan.scale
    history, bound = (shard.starts, shard.titles, shard.weights), _bound(query)
    if query.query is Query.SEQUENCE:
        return contexts_work(call, shard, bound, using)
    if query.query is not Query.GRADIENT:
        recent_only = query.query is Query.RECENT

        def count(slots: Slots, place: slice, total: FloatArray, norms: FloatArray) -> None:
            using.counts(slots, *history, shard.recent, recent_only, bound, scale, total[:, 0], norms)

        return count
    factors = _matrix(call.tensors["factors"], query.rows)
    _check_columns(factors, query)
    steps = Epochs.of(call.settings)
    numbers = (steps.learning_rate, steps.batch, steps.negatives, steps.epochs)
    _check_solve(call)
    solve = cache(lambda: _solve_numbers(factors, call))

    def train(slots: Slots, place: slice, total: FloatArray, norms: FloatArray) -> None:
        users = np.zeros((len(slots), query.columns)) if draws.users is None else draws.users[place]
        fresh = np.flatnonzero(~users.any(axis=1))
        if len(fresh):
            started = np.empty((len(fresh), query.columns))
            using.solve(slots[fresh], *history, *solve(), started)
            users[fresh] = started
        using.sgd(slots, draws.seeds[place], *history, factors, users, *numbers, bound, scale, total, norms)

    return train


def _evaluation(call: RoundCall, shard: Shard, using: ModuleType) -> Work:
    """As client/training/evaluation.py."""
    query, popularity = call.plan.query, call.tensors["popularity"]
    factors = _matrix(call.tensors["factors"], len(popularity))
    if (query.titles, query.columns) != (len(Metric), 1) or popularity.shape != (len(factors), 1):
        raise ValueError("an evaluation has one row for each metric, one column, and popularity of the same titles")
    popular = _matrix(popularity, len(factors))[:, 0]
    history = (shard.starts, shard.titles, shard.weights)
    if "embedding" in call.tensors:
        wide, solve = contexts_solve(call, shard, factors, popular, using)
    else:
        numbers = _solve_numbers(factors, call)
        wide, solve = factors, lambda asked, users: using.solve(asked, *history, *numbers, users)

    def evaluate(slots: Slots, place: slice, total: FloatArray, norms: FloatArray) -> None:
        asked = slots[shard.fresh[slots] >= 0]
        users, ranks = np.empty((len(asked), wide.shape[1])), np.empty((len(asked), 2))
        solve(asked, users)
        known = (shard.starts, shard.titles, shard.fresh, shard.passed_starts, shard.passed)
        using.ranks(asked, *known, wide, users, popular, ranks)
        if not np.all(np.isfinite(ranks)) or not np.all(np.isfinite(users)):
            norms[:] = np.nan
            return
        gains = np.where(ranks < LIST, 1 / np.log2(ranks + 2), 0.0)
        answers = np.zeros((len(asked), query.rows))
        answers[:, : len(Metric)] = np.column_stack(
            [np.ones(len(asked)), ranks[:, 0] < LIST, gains[:, 0], ranks[:, 1] < LIST, gains[:, 1]]
        )
        norms[shard.fresh[slots] >= 0] = np.linalg.norm(answers, axis=1)
        block = clip_outer(answers, np.ones((len(asked), 1)), query.clip_norm)
        total[:, 0] += np.rint(block.left * block.right * call.plan.scale).sum(axis=0)

    return evaluate


def _by_block(call: RoundCall, shard: Shard, size: int, using: ModuleType) -> Work:
    """Answers with a dense part, added in blocks."""
    query, tensors, scale = call.plan.query, call.tensors, call.plan.scale
    history, bound = (shard.starts, shard.titles, shard.weights), _bound(query)
    # What float64 loses in the sum of a block, twice.
    added = min(size, call.plan.population)
    bound -= query.clip_norm * 2 * added * (added + query.columns + 64) * LARGEST_PART * 2.0**-53
    most = LARGEST_PART * query.clip_norm
    shared: tuple[FloatArray | float, ...]
    if query.query is Query.SUBSPACE:
        outer, basis = _matrix(tensors["deflation"], query.rows), _matrix(tensors["basis"], query.rows)
        sign, kernel = -1.0, using.subspace
        shared = (outer, basis, outer.T @ outer, np.ascontiguousarray(basis.T @ outer))
    else:
        outer = basis = _matrix(tensors["factors"], query.rows)
        sign, kernel = 1.0, using.gradient
        shared = _solve_numbers(outer, call)
    _check_columns(basis, query)

    def outer_products(slots: Slots, place: slice, total: FloatArray, norms: FloatArray) -> None:
        block, small = np.zeros((query.rows, query.columns)), np.zeros((outer.shape[1], query.columns))
        kernel(slots, *history, *shared, bound, most, block, small, norms)
        block += outer @ (sign * small)
        block *= scale
        total += np.rint(block, out=block)

    return outer_products


def _bound(query: QuerySchema) -> float:
    """As in `privacy.clipping`: the clip norm less what float64 may lose in a norm."""
    return query.clip_norm * (1 - (query.dimension + 32) * 2.0**-53)


def _check_columns(tensor: FloatArray, query: QuerySchema) -> None:
    if tensor.shape[1] != query.columns:
        raise ValueError(f"the question's tensors have {tensor.shape[1]} columns, its answers {query.columns}")


def _matrix(tensor: FloatArray, rows: int) -> FloatArray:
    if tensor.ndim != 2 or len(tensor) != rows:
        raise ValueError(f"a tensor of shape {tensor.shape} does not fit {rows} rows")
    matrix = aligned(tensor.shape)  # in a message it begins anywhere
    matrix[:] = tensor
    matrix.flags.writeable = False
    return matrix


def _solve_numbers(factors: FloatArray, call: RoundCall) -> tuple[FloatArray, FloatArray, float, float]:
    """What the local solve needs: V, V'V, alpha0 and ridge."""
    alpha0, ridge = _check_solve(call)
    return factors, np.asarray(factors.T @ factors), alpha0, ridge


def _check_solve(call: RoundCall) -> tuple[float, float]:
    """alpha0 and ridge of a call, in range."""
    alpha0, ridge = call.settings["alpha0"], call.settings["ridge"]
    if not (0 <= alpha0 < np.inf and 0 < ridge < np.inf):
        raise ValueError(f"alpha0 {alpha0} must be finite and >= 0, ridge {ridge} finite and > 0")
    return alpha0, ridge
