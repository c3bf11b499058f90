"""Trainer `gradient`: item gradients after an exact local solve (MATH 3b). Runs on the device.

Loss of one device with weights x, item factors V and its own factors p, over all titles i:
    1/2 sum_i (alpha0 + x_i) (v_i p - [x_i > 0])^2 + ridge/2 ||p||^2
p is its exact minimiser; the gradient by V at that p is the outer product of the weighted residuals and p.
"""

import numpy as np

from backrow.client.history import HistoryBlock, dense_weights
from backrow.client.solve import solve_block
from backrow.client.training.base import FloatArray, TrainingCall
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.privacy.randomness import RandomSource


class GradientTrainer:
    """Answers the clipped gradient of the device's own loss."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> OuterBlock:
        """Tensors: `factors` V (titles, columns). Settings: `alpha0`, `ridge`."""
        residuals, user_factors = local_problem(call, block)
        return clip_outer(residuals, user_factors, call.plan.query.clip_norm)


def local_problem(call: TrainingCall, block: HistoryBlock) -> tuple[FloatArray, FloatArray]:
    """Weighted residuals (devices, titles) and user factors (devices, columns) at the local optimum."""
    factors, alpha0 = call.tensors["factors"], call.settings["alpha0"]
    user_factors = solve_block(factors, block, alpha0, call.settings["ridge"])
    x = dense_weights(block, call.plan.query.rows)
    residuals = (alpha0 + x) * (user_factors @ factors.T - (x > 0))
    return np.asarray(residuals), user_factors
