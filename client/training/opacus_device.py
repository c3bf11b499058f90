"""Trainer `opacus`: user-level DP-FedSGD by Opacus, one device = one sample (MATH 3b). Runs on the edge.

The model is a linear layer whose weight is V: fed a device's own factors p it yields the device's scores.
With the loss 1/2 sum_i (alpha0 + x_i) (s_i - [x_i > 0])^2 the gradient of one sample by V is what trainer
`gradient` answers. Opacus clips it, sums the block and adds the block's share of noise. Its ghost clipping
never builds the 64 gradients: the norm of an outer product is the product of norms.

Noise of a block of n devices: standard deviation z C sqrt(n / minimum), so a sum over at least `minimum`
devices carries z C or more.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn

from backrow.client.history import HistoryBlock, dense_weights
from backrow.client.solve import solve_block
from backrow.client.training.base import FloatArray, NoisedBlock, TrainingCall
from backrow.client.training.opacus_common import one_quiet_thread, torch_generator
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Noise
from backrow.privacy.randomness import RandomSource

_SLACK = 1 - 1e-12
"""As in privacy/clipping.py: what is stored stays at or below the bound."""


class OpacusTrainer:
    """Answers the clipped and noised sum of a block's gradients."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> NoisedBlock:
        """Tensors: `factors` V (titles, columns). Settings: `alpha0`, `ridge`.

        Raises:
            RefusedCallError: the coordinator would add noise to this sum a second time.
        """
        plan = call.plan
        if plan.noise is not Noise.BLOCK and plan.noise_multiplier > 0:
            raise RefusedCallError("trainer 'opacus' adds the noise itself: plan its rounds with noise 'block'")
        factors, alpha0 = call.tensors["factors"], call.settings["alpha0"]
        user_factors = solve_block(factors, block, alpha0, call.settings["ridge"])
        x = dense_weights(block, plan.query.rows)
        multiplier = plan.noise_multiplier * math.sqrt(len(block) / plan.minimum)
        # Opacus divides by norm + 1e-6; measured in units of about C / 2^16 that is a relative 1e-11.
        unit = 2.0 ** (16 - math.frexp(plan.query.clip_norm)[1])
        with one_quiet_thread():
            engine = _BlockEngine(factors, plan.query.clip_norm * unit, multiplier, torch_generator(random))
            total = engine.sum_gradients(user_factors, (x > 0).astype(np.float64), (x + alpha0) * unit)
        return NoisedBlock(total / unit, len(block))


class _BlockEngine:
    """Opacus' ghost clipping around the linear layer. Building one costs .3 ms, so none is kept."""

    def __init__(
        self, factors: FloatArray, clip_norm: float, noise_multiplier: float, generator: torch.Generator
    ) -> None:
        titles, columns = factors.shape
        layer = nn.Linear(columns, titles, bias=False, device="meta")
        layer.weight = nn.Parameter(torch.tensor(factors))
        self._layer = layer
        self._model = GradSampleModuleFastGradientClipping(
            layer, loss_reduction="sum", max_grad_norm=clip_norm * _SLACK
        )
        self._optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(layer.parameters(), lr=1.0),
            noise_multiplier=noise_multiplier / _SLACK,
            max_grad_norm=clip_norm * _SLACK,
            expected_batch_size=None,
            loss_reduction="sum",
            generator=generator,
        )
        self._loss = DPLossFastGradientClipping(self._model, self._optimizer, _SquareLoss(), loss_reduction="sum")

    def sum_gradients(self, user_factors: FloatArray, watched: FloatArray, weights: FloatArray) -> FloatArray:
        """Clipped, summed, noised; (devices, columns), (devices, titles) twice -> (titles, columns)."""
        # Copied: torch aligns its own memory, and the last bits of a product must not depend on numpy's.
        scores = self._model(torch.tensor(user_factors))
        self._loss(scores, torch.from_numpy(watched), torch.from_numpy(weights)).backward()
        # The first half of an optimiser step; the other half, the step itself, is the coordinator's.
        self._optimizer.pre_step()
        assert self._layer.weight.grad is not None
        return np.asarray(self._layer.weight.grad.numpy())


class _SquareLoss:
    """1/2 sum_i weight_i (score_i - target_i)^2, one number per device."""

    reduction = "sum"

    def __call__(self, scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        apply = cast("Callable[[Tensor, Tensor, Tensor], Tensor]", _HalfSquares.apply)
        return apply(scores, targets, weights)


class _HalfSquares(torch.autograd.Function):
    """The loss with its gradient, weight_i (score_i - target_i), kept: half the passes of autograd's."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        residuals = scores - targets
        gradient = weights * residuals
        ctx.save_for_backward(gradient)
        return 0.5 * torch.einsum("nt,nt->n", gradient, residuals)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream[:, None] * gradient, None, None
