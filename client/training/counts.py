"""Count queries: what this device watched, as one bounded vector. Runs on the device."""

import numpy as np

from backrow.client.history import HistoryBlock, dense_weights, unit_rows
from backrow.client.training.base import TrainingCall
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.privacy.randomness import RandomSource


class PopularityCounts:
    """x̂ = x / ||x||: L2 norm 1, so that every device counts equally (MATH 1)."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> OuterBlock:
        """Unit-norm confidence weights; columns: 1."""
        counts = unit_rows(dense_weights(block, call.plan.query.rows))
        return clip_outer(counts, np.ones((len(block), 1)), call.plan.query.clip_norm)


class RecentCounts:
    """As popularity, over the titles watched within the public recency window only."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> OuterBlock:
        """Unit-norm weights of recent titles; a device without any answers zero; columns: 1."""
        x = dense_weights(block, call.plan.query.rows)
        for row, history in enumerate(block):
            x[row, history.titles[~history.recent]] = 0
        return clip_outer(unit_rows(x), np.ones((len(block), 1)), call.plan.query.clip_norm)
