"""The public prior: item factors from public metadata and noisy popularity alone (MATH 2)."""

import numpy as np

from backrow.server.programs.base import Answer, FloatArray

FEATURE_WEIGHT = 0.3
"""Scale of the metadata columns and value of the constant column."""
POPULARITY_FLOOR = 1.0
"""Counts below this public floor are raised to it (one device's whole answer has norm 1)."""
LEAST_FACTORS, START_SCALE, PUBLIC_SEED = 16, 0.1, 1
"""Columns to learn in, where metadata gives fewer: standard deviation and seed of the public random start."""


def metadata_factors(features: FloatArray) -> FloatArray:
    """Left singular vectors times singular values of the centred features, shape (titles, rank)."""
    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    keep = values > 1e-8 * max(values.max(initial=0.0), 1e-300)
    return np.asarray(left[:, keep] * values[keep] * FEATURE_WEIGHT)


def with_room(metadata: FloatArray) -> FloatArray:
    """At least `LEAST_FACTORS` columns: a catalogue with little metadata gets public random ones to learn in.

    Columns of zeros would not do: the gradient vanishes there, and a power step has nothing to start from.
    """
    titles, rank = metadata.shape
    missing = max(LEAST_FACTORS - rank, 0)
    columns = np.random.default_rng(PUBLIC_SEED).normal(size=(titles, missing))
    return np.hstack([metadata, columns * START_SCALE])


def floored(counts: FloatArray) -> FloatArray:
    """Noisy counts, raised to the public floor."""
    return np.maximum(counts, POPULARITY_FLOOR)


def starting_factors(metadata: FloatArray, popularity: FloatArray) -> FloatArray:
    """[metadata, constant] scaled row by row with sqrt(popularity share), shape (titles, rank + 1)."""
    constant = np.full((len(popularity), 1), FEATURE_WEIGHT)
    return np.asarray(np.hstack([metadata, constant]) * np.sqrt(popularity / popularity.max())[:, None])


def popular_direction(counts: Answer) -> FloatArray:
    """Unit vector of the popularity that stands out of its noise, shape (titles, 1)."""
    column = counts.values[:, 0]
    clear = np.where(column < 2 * counts.noise_scale, 0.0, column)
    if not np.any(clear):
        clear = np.ones_like(column)
    return np.asarray((clear / np.linalg.norm(clear))[:, None])
