"""A linear model from what was watched last to what came next, in closed form."""

from typing import Self

import numpy as np
import scipy.linalg as linalg
import scipy.sparse as sparse

from backrow.simulations.baselines.base import FloatArray, IntArray
from backrow.simulations.baselines.ordered import sequences

_ROWS_AT_ONCE = 100_000


class Transitions:
    """Regresses the next title on the titles before it, each less heavy by its age: B = (C'C + penalty I)^-1 C'T.

    C has a row for every title that was not watched first: exp(-age / memory) for the `window` titles before it,
    scaled to length 1. T has a 1 where that title is. A viewer's scores are the row of now, times B.

    Args:
        penalty: ridge, > 0.
        memory: titles after which the weight falls to 1/e, > 0.
        window: titles looked back at, >= 1.

    Penalty and memory were chosen on the tuning view of ml-1m, among 100, 300, 1000 and 2, 3, 5. Cost: two (titles,
    titles) matrices, float64.
    Source: Choi et al. 2021, "Session-aware linear item-item models for session-based recommendation" (SLIT), over
    whole histories and with decay in place of sessions.
    """

    name: str = "transitions"
    ordered: bool = True

    def __init__(self, penalty: float = 300.0, memory: float = 5.0, window: int = 20) -> None:
        if not penalty > 0 or not memory > 0 or window < 1:
            raise ValueError("transitions need a penalty and a memory above 0 and a window of at least 1")
        self._penalty, self._window = penalty, window
        self._heavy = np.exp(-np.arange(window) / memory)

    def fit(self, train: sparse.csr_array) -> Self:
        """Sum C'C and C'T over parts of the viewers, then solve; `train` as `Interactions.places`."""
        titles = train.shape[1]
        gram, right = np.zeros((titles, titles)), np.zeros((titles, titles))
        self._histories = [*sequences(train)]
        part: list[IntArray] = []
        for history in self._histories:
            part.append(history)
            if sum(map(len, part)) >= _ROWS_AT_ONCE:
                self._add(part, titles, gram, right)
                part = []
        self._add(part, titles, gram, right)
        gram[np.diag_indices_from(gram)] += self._penalty
        self._weights: FloatArray = linalg.solve(gram, right, overwrite_a=True, overwrite_b=True, assume_a="pos")
        return self

    def scores(self, viewers: IntArray) -> FloatArray:
        """The context of now times the weights, shape (len(viewers), titles); zeros without a history."""
        now = [self._histories[viewer][-self._window :] for viewer in viewers]
        starts = np.concatenate([[0], np.cumsum([len(last) for last in now])])
        values = [_unit(self._heavy[: len(last)][::-1]) for last in now]
        context = sparse.csr_array(
            (np.concatenate(values), np.concatenate(now), starts), shape=(len(now), len(self._weights))
        )
        return np.asarray(context @ self._weights)

    def _add(self, histories: list[IntArray], titles: int, gram: FloatArray, right: FloatArray) -> None:
        rows, columns, values, following = [], [], [], []
        first = 0
        for history in histories:
            lengths = len(history) - 1
            if lengths < 1:
                continue
            place = np.arange(1, lengths + 1)
            weight = _unit_prefixes(self._heavy)[np.minimum(place, self._window)]
            for back in range(min(self._window, lengths)):
                at = place[back:]
                rows.append(first + at - 1)
                columns.append(history[at - 1 - back])
                values.append(self._heavy[back] * weight[back:])
            following.append(history[1:])
            first += lengths
        if not first:
            return
        context = sparse.csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(first, titles)
        )
        after = np.concatenate(following)
        next_one = sparse.csr_array((np.ones(first), after, np.arange(first + 1)), shape=(first, titles))
        gram += (context.T @ context).toarray()
        right += (context.T @ next_one).toarray()


def _unit(values: FloatArray) -> FloatArray:
    return values / max(float(np.linalg.norm(values)), 1e-12)


def _unit_prefixes(values: FloatArray) -> FloatArray:
    """1 over the length of the first n values, at n; 1 at 0."""
    return np.concatenate([[1.0], 1 / np.sqrt(np.cumsum(values**2))])
