"""The protocol of a baseline: fitted once to all interactions, then scores viewers."""

from typing import Protocol, Self

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


class Baseline(Protocol):
    """A recommender that sees everybody's history in the clear: no privacy is claimed for it."""

    @property
    def name(self) -> str:
        """As printed in tables."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether it uses the order of watching."""
        ...

    def fit(self, train: sparse.csr_array) -> Self:
        """Learn from the interactions, and return itself.

        Args:
            train: shape (viewers, titles), 1 where watched (`Interactions.matrix`); of one that is `ordered`, the
                place of each title in its viewer's history, 1 the first (`Interactions.places`).
        """
        ...

    def scores(self, viewers: IntArray) -> FloatArray:
        """Scores of all titles, shape (len(viewers), titles), higher is better. A `metrics.Scorer`."""
        ...
