"""Trainer of `eval`: how well the public model ranks what the owner watched next. Runs on the device.

The device solves its own factors from the history before the public time of the call, scores every title and
ranks its fresh title among all titles that were unknown to it then. Rank r from 0, ties counting half; a hit is
r < 10, its gain 1 / log2(r + 2): the full-catalogue protocol of the simulator. A device without a history ranks
by popularity, as it would recommend. The answer is one number in 0..1 for each `Metric`, all 0 without a fresh
title; what is made of their noisy sum is `server/programs/metrics.py`.
"""

import math

import numpy as np

from backrow.client.history import HistoryBlock, RawHistory
from backrow.client.sequence import Memory, next_scores
from backrow.client.solve import FloatArray, gram, solve_block
from backrow.client.training.base import TrainingCall
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.privacy.queries import Metric
from backrow.privacy.randomness import RandomSource

LIST = 10
"""Length of the list that a hit is among the first of."""


class EvaluationTrainer:
    """Answers the metrics of the device's one fresh title."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> OuterBlock:
        """Tensors: `factors` V (titles, columns), `popularity` (titles, 1). Settings: `alpha0`, `ridge`.

        Of a model that scores by contexts also `embedding` (titles, columns), and the settings of `Memory`.

        Raises:
            ValueError: rows or columns are not those of an evaluation, or the tensors do not fit each other.
        """
        query = call.plan.query
        factors, popularity = call.tensors["factors"], call.tensors["popularity"]
        if (query.titles, query.columns) != (len(Metric), 1):
            raise ValueError(
                f"an evaluation has {len(Metric)} rows and one column, not {query.titles} x {query.columns}"
            )
        if factors.ndim != 2 or popularity.shape != (len(factors), 1):
            raise ValueError("an evaluation needs factors and popularity of the same titles")
        answers = np.zeros((len(block), query.rows))
        asked = [row for row, history in enumerate(block) if history.fresh is not None]
        histories = [block[row] for row in asked]
        if "embedding" in call.tensors:
            memory = Memory.of(call.settings)
            scores = next_scores(factors, popularity[:, 0], call.tensors["embedding"], histories, memory)
        else:
            alpha0, ridge = call.settings["alpha0"], call.settings["ridge"]
            scores = personal_scores(factors, popularity[:, 0], histories, alpha0, ridge)
        for row, history, own in zip(asked, histories, scores, strict=True):
            answers[row, : len(Metric)] = _metrics(own, popularity[:, 0], history)
        return clip_outer(answers, np.ones((len(block), 1)), query.clip_norm)


def personal_scores(
    factors: FloatArray,
    popularity: FloatArray,
    block: HistoryBlock,
    alpha0: float,
    ridge: float,
    *,
    item_gram: FloatArray | None = None,
) -> FloatArray:
    """How much each device wants each title, shape (devices, titles): popularity for one without a history.

    A device's row does not depend on which other devices share its block, to the last bit.

    Args:
        factors: item factors V, shape (titles, columns).
        popularity: shape (titles,).
        block: raw histories, in order.
        alpha0, ridge: of the local solve.
        item_gram: V'V where the caller has it already.

    Raises: as `solve_block`.
    """
    shared = gram(factors) if item_gram is None else item_gram
    users = solve_block(factors, block, alpha0, ridge, item_gram=shared)
    # One product each: the bits of a product of matrices depend on how many rows it has.
    pairs = zip(users, block, strict=True)
    rows = [factors @ user if len(history) else popularity for user, history in pairs]
    return np.array(rows).reshape(len(block), len(factors))


def _metrics(scores: FloatArray, popularity: FloatArray, history: RawHistory) -> list[float]:
    """One number for each `Metric`."""
    return [1.0, *_gains(_rank(scores, history)), *_gains(_rank(popularity, history))]


def _rank(scores: FloatArray, history: RawHistory) -> float:
    """Rank of the fresh title from 0 among titles that the owner did not know, ties counting half."""
    assert history.fresh is not None
    if not 0 <= history.fresh < len(scores):
        raise ValueError(f"the fresh title is not among the model's {len(scores)} titles")
    free = np.ones(len(scores), dtype=np.bool_)
    free[history.titles] = free[history.passed] = False
    target = scores[history.fresh]
    above, level = np.count_nonzero(scores[free] > target), np.count_nonzero(scores[free] == target) - 1
    return above + level / 2


def _gains(rank: float) -> tuple[float, float]:
    """Hit and discounted gain."""
    return (1.0, 1 / math.log2(rank + 2)) if rank < LIST else (0.0, 0.0)
