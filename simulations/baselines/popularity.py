"""Everybody gets what most people watched."""

from typing import Self

import numpy as np
import scipy.sparse as sparse

from backrow.simulations.baselines.base import FloatArray, IntArray


class Popularity:
    """Counts of viewers per title."""

    name: str = "popularity"
    ordered: bool = False

    def fit(self, train: sparse.csr_array) -> Self:
        """Count."""
        self._counts: FloatArray = np.asarray(train.sum(axis=0), dtype=np.float64).ravel()
        return self

    def scores(self, viewers: IntArray) -> FloatArray:
        """The same row for each, shape (len(viewers), titles)."""
        return np.tile(self._counts, (len(viewers), 1))
