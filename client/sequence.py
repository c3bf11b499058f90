"""What an owner is likely to watch next, from what was watched last. Runs on the device.

The context of a moment is a vector: the embeddings of the titles watched before it, each a `decay` as heavy as the one
after it, as far back as `window` titles, and scaled to length 1. Where the order of a history is unknown, the context
is all of the other titles alike. A model holds one or more embeddings of every title side by side, `columns` each; the
context has as many parts, each scaled to length 1 by itself. Scores are popularity + item factors times context.
Nothing here depends on other devices, to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import HistoryBlock, RawHistory

FloatArray = NDArray[np.float64]

LONGEST_WINDOW = 1024
NOTHING = 1e-12
"""Length below which a context says nothing and is zero."""


@dataclass(frozen=True, slots=True)
class Memory:
    """How a history becomes a context.

    Attributes:
        decay: weight of a title relative to the one watched after it, in (0, 1].
        window: titles looked back at, 1..`LONGEST_WINDOW`.
        columns: of one embedding.
    """

    decay: float
    window: int
    columns: int

    @classmethod
    def of(cls, settings: Mapping[str, float]) -> "Memory":
        """From the settings of a call or a model.

        Raises:
            KeyError: one is missing.
            ValueError: one is out of range.
        """
        decay, window, columns = settings["decay"], int(settings["window"]), int(settings["columns"])
        if not 0 < decay <= 1 or not 1 <= window <= LONGEST_WINDOW or columns < 1:
            raise ValueError(
                f"a context needs a decay in (0, 1], a window of 1 to {LONGEST_WINDOW} titles and columns, "
                f"got {decay}, {window} and {columns}"
            )
        return cls(decay, window, columns)


def contexts(embedding: FloatArray, history: RawHistory, memory: Memory) -> FloatArray:
    """The context before each title was watched, and the one of now, shape (watched + 1, embedding's columns).

    Args:
        embedding: shape (titles, a multiple of `memory.columns`).
        history: raw.
        memory: how to look back.

    Returns:
        Rows in the order of watching; of a history without an order, in that of its titles. The last is now's. Each
        part has length 1, or is zero where there is nothing before.

    Raises:
        ValueError: the columns do not fit, or a title is not a row of `embedding`.
    """
    columns = embedding.shape[1]
    if columns % memory.columns:
        raise ValueError(f"an embedding of {columns} columns is not made of parts of {memory.columns}")
    if len(history) and history.titles[-1] >= len(embedding):
        raise ValueError(f"a watched title is not among the model's {len(embedding)} titles")
    seen = history.weights[:, None] * embedding[history.titles]
    made = np.zeros((len(history) + 1, columns))
    if history.order is None:
        made[:] = seen.sum(axis=0)
        made[:-1] -= seen
    else:
        seen = seen[history.order]
        for back in range(min(memory.window, len(history)), 0, -1):  # the last is the heaviest
            made[back:] += memory.decay ** (back - 1) * seen[: len(history) + 1 - back]
    return _unit_parts(made, memory.columns)


def context_of(embedding: FloatArray, history: RawHistory, memory: Memory) -> FloatArray:
    """The context of now alone, shape (embedding's columns,); arguments and errors as `contexts`."""
    if history.order is None:
        return np.asarray(contexts(embedding, history, memory)[-1])
    last = history.order[-memory.window :]
    kept = np.sort(last)
    newest = RawHistory(history.titles[kept], history.weights[kept], order=np.searchsorted(kept, last).astype(np.int32))
    return np.asarray(contexts(embedding, newest, memory)[-1])


def next_scores(
    factors: FloatArray, popularity: FloatArray, embedding: FloatArray, block: HistoryBlock, memory: Memory
) -> FloatArray:
    """How much each device wants each title next, shape (devices, titles): popularity for one without a history.

    Args:
        factors: item factors, shape (titles, columns of `embedding`).
        popularity: shape (titles,).
        embedding, memory: as `contexts`.
        block: raw histories, in order.
    """
    # One product each: the bits of a product of matrices depend on how many rows it has.
    rows = [popularity + factors @ context_of(embedding, history, memory) for history in block]
    return np.array(rows).reshape(len(block), len(factors))


def _unit_parts(rows: FloatArray, columns: int) -> FloatArray:
    parts = rows.reshape(len(rows), -1, columns)
    length = np.sqrt(np.einsum("tpc,tpc->tp", parts, parts))[:, :, None]
    return np.where(length > NOTHING, parts / np.maximum(length, NOTHING), 0.0).reshape(rows.shape)
