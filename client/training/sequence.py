"""Trainer `sequence`: which titles follow which contexts. Runs on the device.

For every title i that the owner watched, row i of the answer is its weight times the context it was watched in
(client/sequence.py). A title is one row and is watched once, so the rows of an answer do not overlap, and the squared
norm of the whole is the sum over titles of (weight times length of the context)^2. Every device with two titles is
scaled to the clip norm exactly: the long histories count as much as the short ones.
"""

import numpy as np

from backrow.client.history import HistoryBlock
from backrow.client.sequence import Memory, contexts
from backrow.client.training.base import TrainingCall
from backrow.privacy.clipping import RowsBlock, clip_rows
from backrow.privacy.randomness import RandomSource


class SequenceTrainer:
    """Answers the titles watched, each with the context it was watched in."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> RowsBlock:
        """Tensors: `embedding` (titles, columns). Settings: those of `Memory`.

        Raises:
            ValueError: the embedding has another shape than the answer.
        """
        query, embedding, memory = call.plan.query, call.tensors["embedding"], Memory.of(call.settings)
        if embedding.shape != (query.rows, query.columns) or memory.columns != query.columns:
            raise ValueError("an embedding of as many rows and columns as the answer is needed, in one part")
        starts, ids, rows = [0], [np.zeros(0, dtype=np.int32)], [np.zeros((0, query.columns))]
        for history in block:
            made = contexts(embedding, history, memory)[:-1]
            if history.order is not None:
                watched = np.empty_like(made)
                watched[history.order] = made
                made = watched
            made *= history.weights[:, None]
            length = np.sqrt(np.einsum("tc,tc->", made, made))
            if length > 0:
                made *= query.clip_norm / length
            ids.append(history.titles)
            rows.append(made)
            starts.append(starts[-1] + len(history))
        return clip_rows(np.array(starts), np.concatenate(ids), np.concatenate(rows), query.rows, query.clip_norm)
