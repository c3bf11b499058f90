"""How well a model ranks held-out titles. Ground truth of the simulator: measured, never released.

**Rank.** With scores s, test title t and candidates C (t included), the rank of t counted from 0 is
`#{c in C: s_c > s_t} + 0.5 * #{c in C, c != t: s_c = s_t}`: ties count half, so a constant score ranks every title in
the middle and nothing can be won by scoring alike. Then

* HR@k = mean of [rank < k]; recall@k is the same, as there is one test title per viewer;
* NDCG@k = mean of [rank < k] / log2(rank + 2), a half rank used as it is;
* coverage@k = share of the catalogue in the top k of at least one viewer, those without a test title included; ties
  at the edge of a top k go to the lowest catalogue rows.

**Protocols.** "full": candidates are the catalogue without the viewer's training titles. "ncf": the split's 99
negatives and the test title; where that title is among its own negatives (156 viewers of the published split) it ties
with itself and loses half a rank. Sampled negatives flatter every model and can reorder them (Krichene and Rendle
2020, "On sampled metrics for item recommendation"): the full protocol is the headline.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backrow.simulations.splits import Split

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]
Protocol = Literal["full", "ncf"]
Scorer = Callable[[IntArray], FloatArray]
"""Viewers, shape (n,) -> scores, shape (n, titles), finite, higher is better. The array given back is not changed."""

LIST = 10
"""Length of the list that HR, NDCG and coverage are about, unless said otherwise."""
BLOCK = 256
"""Viewers scored at a time: a block of scores stays in the processor's cache."""


@dataclass(frozen=True)
class Metrics:
    """One model under one protocol.

    Attributes:
        protocol: "full" or "ncf".
        k: of HR, NDCG and coverage.
        recall_k: of recall.
        hr, ndcg, recall, coverage: 0..1, as this module defines them; NaN if no viewer has a test title.
        ranks: shape (viewers with a test title,), from 0, in order of viewer.
    """

    protocol: Protocol
    k: int
    recall_k: int
    hr: float
    ndcg: float
    recall: float
    coverage: float
    ranks: FloatArray

    def row(self) -> dict[str, float]:
        """The columns of `results.json`, such as "hr@10"."""
        return {
            f"hr@{self.k}": self.hr,
            f"ndcg@{self.k}": self.ndcg,
            f"recall@{self.recall_k}": self.recall,
            f"coverage@{self.k}": self.coverage,
        }


def evaluate(
    scorer: Scorer, split: Split, protocol: Protocol = "full", *, k: int = LIST, recall_k: int = 20
) -> Metrics:
    """Rank every viewer's test title, a block of viewers at a time.

    Args:
        scorer: the model.
        split: whose test titles are asked about and whose training titles are excluded.
        protocol: the candidates, see above.
        k: list length of HR, NDCG and coverage, >= 1.
        recall_k: list length of recall, >= 1.

    Raises:
        ValueError: scores of another shape or not finite; "ncf" for a split without negatives; k or recall_k < 1.
    """
    if k < 1 or recall_k < 1:
        raise ValueError(f"a list holds at least one title, got k={k} and recall_k={recall_k}")
    if protocol == "ncf" and split.negatives is None:
        raise ValueError(f"the split {split.name!r} has no negatives: use protocol 'full'")
    watched = split.train.matrix(split.viewers, split.titles)
    ranks = np.full(split.viewers, np.nan)
    shown = np.zeros(split.titles, dtype=np.bool_)
    for start in range(0, split.viewers, BLOCK):
        viewers = np.arange(start, min(start + BLOCK, split.viewers), dtype=np.int32)
        scores = _checked(scorer(viewers), (len(viewers), split.titles))
        test = split.test[viewers]
        if protocol == "full":
            part = watched[viewers].tocoo()
            scores[part.row, part.col] = -np.inf
            candidates = np.broadcast_to(np.arange(split.titles), scores.shape)
        else:
            assert split.negatives is not None
            candidates = np.concatenate([test[:, None], split.negatives[viewers]], axis=1)
            scores = np.where(candidates >= 0, np.take_along_axis(scores, candidates, axis=1), -np.inf)
            # A title that is both test and negative may be shown twice: coverage does not mind.
        asked = np.flatnonzero(test >= 0)
        at = test[asked] if protocol == "full" else np.zeros(len(asked), dtype=np.intp)
        ranks[viewers[asked]] = half_ranks(scores[asked], at)
        shown[candidates[_top(scores, k)]] = True
    ranked = ranks[~np.isnan(ranks)]
    if not len(ranked):
        nan = float("nan")
        return Metrics(protocol, k, recall_k, nan, nan, nan, float(shown.mean()), ranked)
    hr, ndcg = rates(ranked, k)
    return Metrics(
        protocol,
        k,
        recall_k,
        hr=hr,
        ndcg=ndcg,
        recall=float(np.mean(ranked < recall_k)),
        coverage=float(shown.mean()),
        ranks=ranked,
    )


def rates(ranks: FloatArray, k: int) -> tuple[float, float]:
    """HR@k and NDCG@k of ranks counted from 0; there must be one."""
    gain = np.where(ranks < k, 1.0 / np.log2(ranks + 2.0), 0.0)
    return float(np.mean(ranks < k)), float(np.mean(gain))


def half_ranks(scores: FloatArray, at: NDArray[np.integer]) -> FloatArray:
    """Rank from 0 of the column `at` in each row, ties counting half.

    Args:
        scores: shape (rows, columns); -inf excludes a column.
        at: shape (rows,), columns that are not excluded.
    """
    target = np.take_along_axis(scores, np.asarray(at)[:, None], axis=1)
    greater = np.sum(scores > target, axis=1)
    equal = np.sum(scores == target, axis=1) - 1
    return np.asarray(greater + 0.5 * equal, dtype=np.float64)


def _checked(scores: FloatArray, shape: tuple[int, int]) -> FloatArray:
    if scores.shape != shape:
        raise ValueError(f"a scorer must return shape {shape}, got {scores.shape}")
    if not np.all(np.isfinite(scores)):
        raise ValueError("a scorer returned NaN or infinite scores; a comparison with them ranks nothing")
    return np.array(scores, dtype=np.float64)


def _top(scores: FloatArray, k: int) -> NDArray[np.bool_]:
    """The k best of each row that are not excluded; ties at the edge go to the lowest columns."""
    allowed = scores > -np.inf
    if k >= scores.shape[1]:
        return np.asarray(allowed)
    edge = np.partition(scores, -k, axis=1)[:, -k, None]
    above = scores > edge
    level = scores == edge
    left = k - np.sum(above, axis=1, keepdims=True)
    return np.asarray((above | (level & (np.cumsum(level, axis=1) <= left))) & allowed)
