"""From what an attacker holds to one score per target. Higher: more likely included."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import RawHistory, dense_weights, unit_rows
from backrow.client.solve import solve_block
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.server.programs.base import ModelTensors
from backrow.server.programs.prior import POPULARITY_FLOOR

FloatArray = NDArray[np.float64]

_COIN_VARIANCE = 0.25
_LEAST_NOISE = 1e-3
"""Standard deviation, in clip norms, that a release without noise is taken to have."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What released sums show about fair coins, as a linear model with Gaussian noise.

    A release is known + sum_i coin_i g_i + noise; with coins taken as N(1/2, 1/4), their posterior mean is the
    best linear score, and for orthogonal g_i it orders targets as the exact likelihood ratio does.

    Attributes:
        precision: shape (targets, targets), without the coins' own.
        evidence: shape (targets,).
    """

    precision: FloatArray
    evidence: FloatArray

    @classmethod
    def empty(cls, targets: int) -> "Evidence":
        """Before the first release."""
        return cls(np.zeros((targets, targets)), np.zeros(targets))

    def add(self, answers: OuterBlock, residual: FloatArray, noise_scale: float) -> "Evidence":
        """With one more release.

        Args:
            answers: g, what each target answers if it is included.
            residual: release minus what everybody else answered, shape (titles, columns).
            noise_scale: claimed standard deviation per coordinate, in the answer's unit.
        """
        variance = max(noise_scale, _LEAST_NOISE * answers.clip_norm) ** 2
        touched = np.flatnonzero(np.any(answers.left, axis=0))
        left = answers.left[:, touched]
        inner = (left @ left.T) * (answers.right @ answers.right.T)
        seen = np.einsum("nc,nc->n", left @ residual[touched], answers.right)
        half = inner.sum(axis=1) / 2
        return replace(
            self,
            precision=self.precision + inner / variance,
            evidence=self.evidence + (seen - half) / variance,
        )

    def scores(self) -> FloatArray:
        """Posterior mean of every coin, less one half."""
        own = np.eye(len(self.evidence)) / _COIN_VARIANCE
        return np.asarray(np.linalg.solve(self.precision + own, self.evidence))


def factor_scores(model: ModelTensors, reference: ModelTensors, histories: Sequence[RawHistory]) -> FloatArray:
    """How much better the released item factors explain a history than factors made without it, relative.

    Source: Watson, Guo, Cormode, Sablayrolles 2022, "On the importance of difficulty calibration".
    """
    return 1 - _losses(model, histories) / _losses(reference, histories)


def popularity_scores(
    model: ModelTensors, reference: ModelTensors, histories: Sequence[RawHistory], noise_scale: float
) -> FloatArray:
    """What the released popularity shows, where it is above the public floor; noise_scale: of its release."""
    clear = model.popularity > POPULARITY_FLOOR
    counts = unit_rows(dense_weights(histories, len(clear))) * clear
    moved = np.where(clear, model.popularity - reference.popularity, 0.0)
    answers = clip_outer(counts, np.ones((len(histories), 1)), 1.0)
    return Evidence.empty(len(histories)).add(answers, moved[:, None], noise_scale).scores()


def _losses(model: ModelTensors, histories: Sequence[RawHistory]) -> FloatArray:
    """Each device's own loss at its own best factors (client/training/gradient.py)."""
    factors = model.item_factors
    user = solve_block(factors, histories, model.alpha0, model.ridge)
    x = dense_weights(histories, len(factors))
    squares = (model.alpha0 + x) * (user @ factors.T - (x > 0)) ** 2
    return np.asarray((squares.sum(axis=1) + model.ridge * np.einsum("nc,nc->n", user, user)) / 2)
