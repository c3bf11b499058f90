"""Trainer `sgd`: local epochs of stochastic gradient descent on watched titles and drawn negatives. Runs on the device.

Loss of one watched title of weight w, item factors v and own factors p: w/2 (v'p - 1)^2; of a negative 1/2 (v'p)^2. An
epoch shuffles the history, draws fresh negatives for each title from the whole catalogue (so that no held-out title is
ever spared), and steps by the summed gradient of each mini-batch, v and p at once.
Own factors never leave: they are solved from the public model and the history (client/solve.py), or those kept from
the last round. The answer is by how much the item factors should shrink: public less local ones.

Source: McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data"; with the
server's step as in Reddi et al. 2021, "Adaptive federated optimization".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import HistoryBlock, IntArray
from backrow.client.solve import gram, solve_block
from backrow.client.training.base import FloatArray, TrainingCall
from backrow.privacy.clipping import RowsBlock, clip_rows
from backrow.privacy.errors import NonFiniteUpdateError
from backrow.privacy.randomness import RandomSource

Uint64Array = NDArray[np.uint64]

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Of splitmix64. What is drawn here carries no claim."""
MOST_DRAWN = 4096
"""Titles that a call may have a device visit for each one it watched: epochs times 1 + negatives."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """The public numbers of local training.

    Attributes:
        learning_rate: step, > 0.
        batch: watched titles of a mini-batch.
        negatives: titles drawn for each of them.
        epochs: passes over the history.
    """

    learning_rate: float
    batch: int
    negatives: int
    epochs: int

    @classmethod
    def of(cls, settings: Mapping[str, float]) -> "Epochs":
        """From a call's settings.

        Raises:
            KeyError: one is missing.
            ValueError: one is out of range.
        """
        rate = settings["sgd_learning_rate"]
        counts = [int(settings[f"sgd_{name}"]) for name in ("batch", "negatives", "epochs")]
        if not 0 < rate < np.inf or min(counts) < 1 or max(counts) > 2**16:
            raise ValueError(f"local training needs a positive step and counts of 1 to 65,536, got {rate} and {counts}")
        steps = cls(rate, *counts)
        if steps.epochs * (1 + steps.negatives) > MOST_DRAWN:
            raise ValueError(f"local training visits {MOST_DRAWN} titles for each one watched, at most: ask for less")
        return steps


class SgdTrainer:
    """Answers the clipped change of the item factors after local epochs."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> RowsBlock:
        """Tensors: `factors` V (titles, columns). Settings: `alpha0`, `ridge` and those of `Epochs`."""
        factors, steps = call.tensors["factors"], Epochs.of(call.settings)
        seeds = random.uint64(len(block)) if call.seeds is None else call.seeds
        users = start_users(call, block)
        ids, rows, starts = [], [], [0]
        for row, history in enumerate(block):
            touched, change = local_epochs(factors, history.titles, history.weights, int(seeds[row]), users[row], steps)
            ids.append(touched)
            rows.append(change)
            starts.append(starts[-1] + len(touched))
        return clip_rows(
            np.array(starts), np.concatenate(ids), np.concatenate(rows), call.plan.query.rows, call.plan.query.clip_norm
        )


def start_users(call: TrainingCall, block: HistoryBlock) -> FloatArray:
    """Own factors to start from, shape (devices, columns): those kept, and solved where none are (all zero).

    The same array as `call.users` if there is one: training changes it in place.
    """
    factors = call.tensors["factors"]
    users = np.zeros((len(block), factors.shape[1])) if call.users is None else call.users
    fresh = np.flatnonzero(~users.any(axis=1)).tolist()
    if fresh:
        histories = [block[row] for row in fresh]
        alpha0, ridge = call.settings["alpha0"], call.settings["ridge"]
        users[fresh] = solve_block(factors, histories, alpha0, ridge, item_gram=gram(factors))
    return users


def local_epochs(
    factors: FloatArray, titles: IntArray, weights: FloatArray, seed: int, user: FloatArray, steps: Epochs
) -> tuple[IntArray, FloatArray]:
    """One device's training.

    Args:
        factors: item factors V, shape (titles of the catalogue, columns).
        titles, weights: its history.
        seed: of everything it draws, in [0, 2^64).
        user: own factors, shape (columns,); changed in place.
        steps: the public numbers.

    Returns: titles it touched, ascending, and by how much their factors shrank, shape (touched, columns).

    Raises:
        NonFiniteUpdateError: training diverged.
    """
    if not len(titles):
        return np.zeros(0, dtype=np.int32), np.zeros((0, factors.shape[1]))
    order = np.arange(len(titles))
    drawn = [epoch_draws(order, epoch, len(factors), seed, steps) for epoch in range(steps.epochs)]
    places = np.concatenate([places for places, _ in drawn])
    lists = np.concatenate([np.column_stack([titles[own], negatives]) for own, negatives in drawn])
    place_of = np.zeros(len(factors), dtype=np.int64)
    place_of[lists] = 1
    ids = np.flatnonzero(place_of)
    place_of[ids] = np.arange(len(ids))
    inverse = place_of[lists]
    start = np.asarray(factors[ids], dtype=np.float64)
    local = start.copy()
    confidence = np.ones(lists.shape)
    confidence[:, 0] = weights[places]
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch in range(steps.epochs):
            end = (epoch + 1) * len(titles)
            for first in range(end - len(titles), end, steps.batch):
                batch = slice(first, min(first + steps.batch, end))
                rows = inverse[batch].ravel()
                seen = local[rows]
                off = (seen @ user).reshape(-1, lists.shape[1])
                off[:, 0] -= 1
                errors = (off * confidence[batch]).ravel()
                summed = np.bincount(rows, weights=errors, minlength=len(ids))
                moved = np.flatnonzero(summed)
                local[moved] -= (steps.learning_rate * summed[moved])[:, None] * user
                user -= steps.learning_rate * (errors @ seen)
    if not np.all(np.isfinite(user)):
        raise NonFiniteUpdateError("local training diverged: lower sgd.learning_rate")
    return ids.astype(np.int32), start - local


def epoch_draws(
    order: NDArray[np.int64], epoch: int, titles: int, seed: int, steps: Epochs
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What one epoch draws.

    Args:
        order: places of the history as the epoch before left them; shuffled in place (Fisher & Yates).
        titles: of the catalogue.

    Returns: the places in their new order, shape (watched,), and negatives, shape (watched, negatives).
    """
    watched = len(order)
    words = -(-steps.negatives // 2)
    first = epoch * watched * (1 + words)
    draws = mixed(seed, np.arange(first, first + watched * (1 + words), dtype=np.uint64))
    high = (draws[:watched] >> np.uint64(32)).tolist()
    shuffled = order.tolist()
    for place in range(watched - 1, 0, -1):
        other = high[place] * (place + 1) >> 32
        shuffled[place], shuffled[other] = shuffled[other], shuffled[place]
    order[:] = shuffled
    own = draws[watched:].reshape(watched, words)
    halves = np.stack([own >> np.uint64(32), own & np.uint64(2**32 - 1)], axis=2).reshape(watched, 2 * words)
    negatives = (halves[:, : steps.negatives] * np.uint64(titles)) >> np.uint64(32)
    return order.copy(), negatives.astype(np.int64)


def device_seeds(random: RandomSource, slots: Sequence[int] | NDArray[np.int64]) -> Uint64Array:
    """A seed of its own for each device, by its slot alone, shape (devices,).

    Args:
        random: of the round.
    """
    return mixed(int(random.uint64(1)[0]), np.asarray(slots, dtype=np.uint64))


def mixed(seed: int, numbers: Uint64Array) -> Uint64Array:
    """Outputs of splitmix64, in any order: number i of the stream `seed`; numbers >= 0.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".
    """
    state = np.uint64(seed) + (numbers + np.uint64(1)) * np.uint64(GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(SECOND)
    return np.asarray(state ^ (state >> np.uint64(31)))
