"""Trainer `opacus-event`: local DP-SGD over single watched titles, by Opacus (MATH 3c). Runs on the device.

Every device trains its own copy of V and of its factors p, p from zero, by the loss of trainer `gradient`
with the same public weight 1 on every watched title:
    sum_watched [(alpha0 + 1)/2 (s_i - 1)^2 - alpha0/2 s_i^2]  +  alpha0/2 sum_all s_i^2 + ridge/2 ||p||^2
One sample is one term of the first sum. Its gradient by V and p together is clipped; every step adds noise
to every coordinate of both. The rest depends on V and p alone, which are noisy by then: its gradient is
added after the noise and costs nothing. So do the answer V_0 - V_T and its clipping. Rate and number of
steps are public; a batch is drawn by Poisson sampling, however long the history is.

The devices of a block are one Opacus model with a slice each; a sample touches its own device's slice only.
Items and users are `nn.Embedding` under ghost clipping, which needs the norms of per-sample gradients and
never builds them (batch x titles x columns).
"""

import numpy as np
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn

from backrow.client.history import HistoryBlock
from backrow.client.training.base import FloatArray, TrainingCall
from backrow.client.training.opacus_common import one_quiet_thread, torch_generator
from backrow.privacy.accounting.event_level import EventSettings
from backrow.privacy.clipping import DenseBlock, clip_dense
from backrow.privacy.randomness import RandomSource

_TOGETHER = 16
"""Devices per Opacus model: enough to share its overhead, few enough for memory (5 copies of V each)."""


class OpacusEventTrainer:
    """Answers the mean step of local event-level DP-SGD, clipped per device."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> DenseBlock:
        """Tensors: `factors` V (titles, columns). Settings: `alpha0`, `ridge`, `event_...`.

        An empty history trains too: its answer is noise and does not show that it is empty.

        Raises:
            ValueError: an event setting is missing or out of range, or a title is not a row of `factors`.
        """
        factors, settings = call.tensors["factors"], EventSettings.read(call.settings)
        if any(len(history) and history.titles[-1] >= len(factors) for history in block):
            raise ValueError(f"a watched title is not among the model's {len(factors)} titles: leave it out")
        alpha0, ridge = call.settings["alpha0"], call.settings["ridge"]
        answers = []
        with one_quiet_thread():
            generator = torch_generator(random)
            for start in range(0, len(block), _TOGETHER):
                training = _LocalTraining(factors, block[start : start + _TOGETHER], settings, alpha0, ridge, generator)
                answers.append(training.run())
        return clip_dense(np.concatenate(answers), call.plan.query.clip_norm)


class _LocalModels(nn.Module):
    """A copy of V and a p for each of a few devices."""

    def __init__(self, factors: FloatArray, devices: int) -> None:
        super().__init__()
        titles, columns = factors.shape
        copies = torch.tensor(factors).repeat(devices, 1)
        self.items = nn.Embedding(devices * titles, columns, _weight=copies)
        self.users = nn.Embedding(devices, columns, _weight=torch.zeros(devices, columns, dtype=torch.float64))

    def forward(self, rows: Tensor, owners: Tensor) -> Tensor:
        """Scores of the sampled events, shape (events,)."""
        scores: Tensor = (self.items(rows) * self.users(owners)).sum(dim=1)
        return scores


class _EventLoss:
    """The watched title's term of the loss; `real` is 0 for padding, 1 otherwise."""

    reduction = "sum"

    def __init__(self, alpha0: float) -> None:
        self._alpha0 = alpha0

    def __call__(self, scores: Tensor, real: Tensor) -> Tensor:
        return real * ((self._alpha0 + 1) / 2 * (scores - 1).square() - self._alpha0 / 2 * scores.square())


class _LocalTraining:
    """DP-SGD of a few devices, side by side."""

    def __init__(
        self,
        factors: FloatArray,
        block: HistoryBlock,
        settings: EventSettings,
        alpha0: float,
        ridge: float,
        generator: torch.Generator,
    ) -> None:
        titles, columns = factors.shape
        self._shape = (len(block), titles, columns)
        self._factors, self._settings, self._alpha0, self._ridge = factors, settings, alpha0, ridge
        self._generator = generator
        # The last event is padding: it weighs nothing and keeps a batch that sampled nobody a batch.
        lengths = [len(history) for history in block]
        self._owners = torch.repeat_interleave(torch.arange(len(block) + 1), torch.tensor([*lengths, 1]))
        self._owners[-1] = 0
        watched = np.concatenate([*(history.titles for history in block), [0]]).astype(np.int64)
        self._rows = torch.from_numpy(watched) + titles * self._owners
        self._real = torch.ones(len(self._rows), dtype=torch.float64)
        self._real[-1] = 0

        self._models = _LocalModels(factors, len(block))
        self._hooked = GradSampleModuleFastGradientClipping(
            self._models, loss_reduction="sum", max_grad_norm=settings.clip_norm
        )
        # A batch's sum / the sampling rate estimates the sum over the whole history.
        self._step_size = settings.learning_rate / _largest_curvature(factors, settings, alpha0, ridge) / settings.rate
        self._optimizer = DPOptimizerFastGradientClipping(
            torch.optim.SGD(self._models.parameters(), lr=self._step_size),
            noise_multiplier=settings.noise_multiplier,
            max_grad_norm=settings.clip_norm,
            expected_batch_size=None,
            loss_reduction="sum",
            generator=generator,
        )
        self._optimizer.attach_step_hook(self._add_public_gradient)
        self._loss = DPLossFastGradientClipping(self._hooked, self._optimizer, _EventLoss(alpha0), loss_reduction="sum")

    def run(self) -> FloatArray:
        """Mean step in the gradient's unit, shape (devices, titles, columns)."""
        for _ in range(self._settings.steps):
            sampled = torch.rand(len(self._rows), generator=self._generator) < self._settings.rate
            sampled[-1] = True
            scores = self._hooked(self._rows[sampled], self._owners[sampled])
            self._loss(scores, self._real[sampled]).backward()
            self._optimizer.step()
        trained = self._models.items.weight.detach().numpy().reshape(self._shape)
        return np.asarray((self._factors - trained) / (self._step_size * self._settings.rate * self._settings.steps))

    @torch.no_grad()
    def _add_public_gradient(self, optimizer: DPOptimizerFastGradientClipping) -> None:
        """What depends on no event but through V and p, scaled like a batch. Called after the noise."""
        items, users = self._models.items.weight, self._models.users.weight
        assert items.grad is not None and users.grad is not None
        rate, v = self._settings.rate, items.view(self._shape)
        scores = torch.bmm(v, users[:, :, None])
        items.grad.view(self._shape).baddbmm_(scores, users[:, None, :], alpha=rate * self._alpha0)
        users.grad += rate * (self._alpha0 * torch.bmm(scores.mT, v)[:, 0] + self._ridge * users)


def _largest_curvature(factors: FloatArray, settings: EventSettings, alpha0: float, ridge: float) -> float:
    """Bound, from public numbers, on the loss' curvature in p for a history of length `history`."""
    everything = float(np.linalg.eigvalsh(factors.T @ factors)[-1])
    return alpha0 * everything + ridge + settings.history * float(np.square(factors).sum(axis=1).max())
