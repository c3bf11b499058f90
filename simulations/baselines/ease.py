"""A linear model from titles to titles, in closed form."""

from typing import Self

import numpy as np
import scipy.linalg as linalg
import scipy.sparse as sparse

from backrow.simulations.baselines.base import FloatArray, IntArray
from backrow.simulations.baselines.ordered import faded


class Ease:
    """Regresses each title on all others: B = -P / diag(P) off the diagonal, P = (X'X + penalty I)^-1.

    Args:
        penalty: ridge, > 0 (the default was chosen on the tuning view of ml-1m among 100, 250, 500, 1000).

    Cost: one inverse of a (titles, titles) matrix, float64; 110 MB and seconds at 3,700 titles.
    Source: Steck 2019, "Embarrassingly shallow autoencoders for sparse data".
    """

    name: str = "EASE"
    ordered: bool = False

    def __init__(self, penalty: float = 500.0) -> None:
        if not penalty > 0:
            raise ValueError(f"EASE needs a penalty above 0, got {penalty}")
        self._penalty = penalty

    def fit(self, train: sparse.csr_array) -> Self:
        """Invert the Gram matrix through its Cholesky factor."""
        gram = (train.T @ train).toarray()
        gram[np.diag_indices_from(gram)] += self._penalty
        factor, failed = linalg.lapack.dpotrf(gram, lower=True, overwrite_a=True)
        assert not failed, "a Gram matrix plus a ridge is positive definite"
        inverse, failed = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
        assert not failed, "a Cholesky factor has a positive diagonal"
        lower = np.tril(inverse, -1)
        weights = -(lower + lower.T) / np.diag(inverse)
        self._train, self._weights = train, weights
        return self

    def scores(self, viewers: IntArray) -> FloatArray:
        """Weighted sums of what each has watched, shape (len(viewers), titles)."""
        return np.asarray(self._train[viewers] @ self._weights)


class RecentEase(Ease):
    """EASE, asked about a history whose titles weigh exp(-age / memory), `age` the number watched since.

    Args:
        penalty: as `Ease`.
        memory: > 0 (5 was chosen on the tuning view of ml-1m among 3, 5, 10).

    The weights between titles are those of EASE, of whole histories: order counts only where a viewer is scored.
    """

    name: str = "EASE, recent"
    ordered: bool = True

    def __init__(self, penalty: float = 500.0, memory: float = 5.0) -> None:
        super().__init__(penalty)
        if not memory > 0:
            raise ValueError(f"EASE of recent titles needs a memory above 0, got {memory}")
        self._memory = memory

    def fit(self, train: sparse.csr_array) -> Self:
        """As `Ease`; `train` as `Interactions.places`."""
        watched = sparse.csr_array((np.ones(train.nnz), train.indices, train.indptr), shape=train.shape)
        super().fit(watched)
        self._train = faded(train, self._memory)
        return self
