"""Histories in the order of watching, for baselines that use it."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sparse

from backrow.simulations.baselines.base import FloatArray, IntArray


def sequences(places: sparse.csr_array) -> Iterator[IntArray]:
    """Each viewer's titles, the one watched first in front.

    Args:
        places: shape (viewers, titles), as `Interactions.places`.
    """
    for start, stop in zip(places.indptr, places.indptr[1:], strict=False):
        yield np.asarray(places.indices[start:stop][np.argsort(places.data[start:stop])], dtype=np.int32)


def faded(places: sparse.csr_array, memory: float) -> sparse.csr_array:
    """exp(-age / memory) where watched, `age` the number of titles watched since; shape (viewers, titles)."""
    lengths = np.diff(places.indptr)
    age: FloatArray = np.repeat(lengths, lengths) - places.data
    return sparse.csr_array((np.exp(-age / memory), places.indices, places.indptr), shape=places.shape)
