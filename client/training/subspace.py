"""Trainer `subspace`: one step of private subspace iteration (MATH 3a). Runs on the device.

Source: Hardt & Roth 2013, Hardt & Price 2014 (the noisy power method).
"""

from backrow.client.history import HistoryBlock, dense_weights, unit_rows
from backrow.client.training.base import TrainingCall
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.privacy.randomness import RandomSource


class SubspaceTrainer:
    """Answers r p' where r is the device's history off the public directions and p = Q' r."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> OuterBlock:
        """Tensors: `deflation` W (titles, k) orthonormal; `basis` Q (titles, columns), orthonormal, Q'W = 0."""
        deflation, basis = call.tensors["deflation"], call.tensors["basis"]
        history = unit_rows(dense_weights(block, call.plan.query.rows))
        residual = history - (history @ deflation) @ deflation.T
        return clip_outer(residual, residual @ basis, call.plan.query.clip_norm)
