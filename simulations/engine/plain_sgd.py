"""Local epochs with numpy alone, by the algebra of `compiled_sgd`: rows are not copied, and the answer is one product.

A local row is v - h sum_b E_b p_b over the mini-batches b in which its title was seen: scores are corrected by
h sum_b E_b p_b'p, with the summed errors E_b of every touched title side by side.
"""

import numpy as np
from numpy.typing import NDArray

from backrow.client.training.sgd import Epochs, epoch_draws, local_epochs
from backrow.simulations.engine.shard import FloatArray, Slots

_VANISHING = 1e-100
_LARGEST = 2**24
"""Numbers that are kept side by side, at most; a device that needs more copies its rows."""


def sgd(
    slots: Slots,
    seeds: NDArray[np.uint64],
    starts: NDArray[np.int64],
    titles: NDArray[np.int32],
    weights: FloatArray,
    factors: FloatArray,
    users: FloatArray,
    rate: float,
    size: int,
    negatives: int,
    epochs: int,
    bound: float,
    scale: float,
    total: FloatArray,
    norms: FloatArray,
) -> None:
    """Clipped changes of the item factors, each device's rounded by itself; `users` is changed in place."""
    steps = Epochs(rate, size, negatives, epochs)
    for row, slot in enumerate(slots):
        own, weight = titles[starts[slot] : starts[slot + 1]], weights[starts[slot] : starts[slot + 1]]
        norms[row] = 0.0
        if not len(own):
            continue
        if not (own.min() >= 0 and own.max() < len(factors)):
            norms[row] = np.nan
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            ids, change = _epochs(factors, own, weight, int(seeds[row]), users[row], steps)
            flat = change.ravel()
            norms[row] = np.sqrt(flat @ flat)
            change *= scale * min(1.0, bound / max(norms[row], _VANISHING))
            np.rint(change, out=change)
            change += total[ids]
            total[ids] = change


def _epochs(
    factors: FloatArray, titles: NDArray[np.int32], weights: FloatArray, seed: int, user: FloatArray, steps: Epochs
) -> tuple[NDArray[np.integer], FloatArray]:
    """As `local_epochs`; what diverges is not finite."""
    watched, rate = len(titles), steps.learning_rate
    batches = steps.epochs * -(-watched // steps.batch)
    visits = steps.epochs * watched * (1 + steps.negatives)
    if max(batches * min(len(factors), visits), visits * len(user)) > _LARGEST:
        return local_epochs(factors, titles, weights, seed, user, steps)
    order = np.arange(watched)
    drawn = [epoch_draws(order, epoch, len(factors), seed, steps) for epoch in range(steps.epochs)]
    lists = np.concatenate([np.column_stack([titles[own], negatives]) for own, negatives in drawn])
    place_of = np.zeros(len(factors), dtype=np.int64)
    place_of[lists] = 1
    ids = place_of.nonzero()[0]
    place_of[ids] = np.arange(len(ids))
    wide = lists.shape[1]
    inverse, seen = place_of[lists.ravel()], factors.take(lists.ravel(), axis=0)
    confidence = np.ones(lists.shape)
    confidence[:, 0] = weights[np.concatenate([places for places, _ in drawn])]
    target = np.zeros(lists.shape)
    target[:, 0] = confidence[:, 0]
    flat_confidence, flat_target = confidence.ravel(), target.ravel()
    summed, past = np.zeros((batches, len(ids))), np.empty((batches, len(user)))
    batch = 0
    for epoch in range(steps.epochs):
        end = (epoch + 1) * watched
        for first in range(end - watched, end, steps.batch):
            part = slice(first * wide, min(first + steps.batch, end) * wide)
            places, rows = inverse[part], seen[part]
            past[batch] = user
            errors = rows @ user
            if batch:
                before = summed[:batch].take(places, axis=1)
                errors -= (rate * (past[:batch] @ user)) @ before
            errors *= flat_confidence[part]
            errors -= flat_target[part]
            step = errors @ rows
            if batch:
                step -= rate * ((before @ errors) @ past[:batch])
            summed[batch] = np.bincount(places, errors, len(ids))
            user -= rate * step
            batch += 1
    change = summed.T @ past
    change *= rate
    return ids, change
