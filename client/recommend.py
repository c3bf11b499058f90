"""What to watch next, computed on the device from the public model and the owner's own events.

With a history: scores V p, where p is the device's exact ridge solution (`solve.py`), so that every pick can
name the watched title that speaks most for it. Without one: what is popular, mixed with what is trending.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import RawHistory
from backrow.client.model import PublicModel
from backrow.client.sequence import context_of
from backrow.client.solve import FloatArray, normal_equations
from backrow.client.weights import Preferences

POPULAR = "popular"
TRENDING = "trending"
EVERY = 3
"""Without a history, every third pick is a trending one, as long as there are any."""
HEAD = 0.1
"""Share of the titles, the most popular ones, whose counts tell how large the recent window is."""
CLEAR = 5.0
"""Standard deviations above which a title is trending: noise calls one of 4,000 titles so once in 1,000 models."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One recommended title.

    Attributes:
        title: catalogue id.
        name: for people.
        score: larger is better; comparable between picks of the same kind of reason only.
        reason: `because you watched NAME`, `popular` or `trending`.
    """

    title: str
    name: str
    score: float
    reason: str


def recommend(model: PublicModel, preferences: Preferences, count: int) -> list[Pick]:
    """The best titles the owner has neither watched nor disliked, best first; ties go to the earlier row.

    Args:
        model: the public model.
        preferences: folded with `model.rows`; any number of events, also none.
        count: at most so many picks, >= 1; fewer if the catalogue has no more.

    Raises:
        ValueError: count < 1.
    """
    if count < 1:
        raise ValueError(f"ask for at least one pick, got {count}")
    hidden = [model.rows[name] for name in {*preferences.watched, *preferences.disliked} if name in model.rows]
    free = np.ones(len(model.ids), dtype=np.bool_)
    free[hidden] = False
    if len(preferences.history) == 0:
        return _for_anybody(model, free, count)
    return _for_owner(model, preferences, free, count)


def trending_lift(popularity: FloatArray, recent: FloatArray) -> FloatArray:
    """How much more a title is watched now than its popularity explains; 0 where noise may explain it.

    Args:
        popularity, recent: noisy counts, shape (titles,).

    Method: expected e = popularity times the recent share of the most popular tenth. A recent count has
    variance of about s^2 + e + 1: s the noise, taken as the 84th percentile of recent - e, because all but
    few titles deviate by noise alone; e, because a device adds at most 1; 1, because one device is not a
    trend. What exceeds e by less than `CLEAR` standard deviations counts as 0. The rest is
    (recent - e) / (e + sd): few counts and much noise shrink it.
    """
    head = _best(popularity, np.ones(len(popularity), dtype=np.bool_), max(1, round(HEAD * len(popularity))))
    share = max(float(recent[head].sum()), 0.0) / max(float(popularity[head].sum()), 1e-300)
    expected = np.maximum(popularity, 0) * share
    excess = recent - expected
    noise = max(float(np.quantile(excess, 0.84)), 0.0)
    deviation = np.sqrt(noise**2 + expected + 1)
    clear = excess > CLEAR * deviation
    return np.where(clear, excess / (expected + deviation), 0.0)


def _for_owner(model: PublicModel, preferences: Preferences, free: NDArray[np.bool_], count: int) -> list[Pick]:
    if model.embedding is not None:
        return _next(model, preferences, free, count)
    history = preferences.history
    matrix, target = normal_equations(
        model.item_factors, history.titles, history.weights, model.alpha0, model.ridge, model.item_gram
    )
    scores = model.item_factors @ np.linalg.solve(matrix, target)
    rows = _best(scores, free, count)
    # score_i = sum_j (alpha0 + w_j) v_i' A^-1 v_j: one term for each watched title j.
    pull = np.linalg.solve(matrix, model.item_factors[history.titles].T) * (model.alpha0 + history.weights)
    terms = model.item_factors[rows] @ pull
    picks = []
    for row, shares in zip(rows, terms, strict=True):
        nearest = int(shares.argmax())
        because = f"because you watched {model.names[history.titles[nearest]]}"
        picks.append(_pick(model, row, scores[row], because if shares[nearest] > 0 else POPULAR))
    return picks


def _next(model: PublicModel, preferences: Preferences, free: NDArray[np.bool_], count: int) -> list[Pick]:
    """By what was watched last; the reason is the watched title whose own context speaks most for the pick."""
    assert model.embedding is not None and model.memory is not None
    history = preferences.history
    personal = model.item_factors @ context_of(model.embedding, history, model.memory)
    scores = model.popularity + personal
    newest = np.arange(len(history)) if history.order is None else history.order[-model.memory.window :]
    alone = [RawHistory(history.titles[[at]], history.weights[[at]]) for at in newest]
    pulls = np.array([model.item_factors @ context_of(model.embedding, one, model.memory) for one in alone])
    pulls *= (model.memory.decay ** np.arange(len(newest))[::-1])[:, None]
    picks = []
    for row in _best(scores, free, count):
        nearest = int(pulls[:, row].argmax())
        because = f"because you watched {model.names[history.titles[newest[nearest]]]}"
        told = personal[row] > 0 and pulls[nearest, row] > 0
        picks.append(_pick(model, row, scores[row], because if told else POPULAR))
    return picks


def _for_anybody(model: PublicModel, free: NDArray[np.bool_], count: int) -> list[Pick]:
    popular = _best(model.popularity, free, len(free))
    share = model.popularity / max(float(np.abs(model.popularity).max()), 1e-300)
    lift = np.zeros(len(free)) if model.recent is None else trending_lift(model.popularity, model.recent)
    trending = _best(lift, free & (lift > 0), len(free))
    picks: list[Pick] = []
    taken: set[int] = set()
    queues = {POPULAR: iter(popular), TRENDING: iter(trending)}
    while len(picks) < min(count, int(free.sum())):
        wanted = TRENDING if len(picks) % EVERY == EVERY - 1 else POPULAR
        row = next((row for row in queues[wanted] if row not in taken), None)
        if row is None:  # no trending title is left
            wanted, row = POPULAR, next(row for row in queues[POPULAR] if row not in taken)
        taken.add(row)
        picks.append(_pick(model, row, lift[row] if wanted == TRENDING else share[row], wanted))
    return picks


def _best(scores: FloatArray, free: NDArray[np.bool_], count: int) -> list[int]:
    """Free rows by descending score, ties by row."""
    order = np.argsort(-scores, kind="stable")
    return [int(row) for row in order[free[order]][:count]]


def _pick(model: PublicModel, row: int, score: float, reason: str) -> Pick:
    return Pick(model.ids[row], model.names[row], float(score), reason)
