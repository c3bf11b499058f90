"""Program `gradient`: momentum on noisy item gradients, from the public prior (MATH 3b)."""

from dataclasses import dataclass, replace

import numpy as np

from backrow.privacy.queries import Query, QuerySchema
from backrow.server.programs.base import Answer, FactorProgram, FloatArray, Question

CLIP_NORM = 2.0
"""Gradient norms are about 10 to 140 on MovieLens: every device counts equally."""
MOMENTUM = 0.5


@dataclass(frozen=True, slots=True)
class GradientProgram:
    """Immutable state between rounds.

    Attributes:
        factors: V, shape (titles, columns).
        velocity: same shape.
        population: N, the public denominator.
        learning_rate: step per mean clipped gradient of norm 1.
        trainer: who answers: `gradient` or an Opacus trainer.
        settings: public numbers the trainer needs (alpha0, ridge, ...).
    """

    factors: FloatArray
    velocity: FloatArray
    population: int
    learning_rate: float
    trainer: str
    settings: dict[str, float]

    @classmethod
    def start(
        cls, prior: FloatArray, population: int, learning_rate: float, trainer: str, settings: dict[str, float]
    ) -> "GradientProgram":
        """Start at the prior, at rest."""
        return cls(prior, np.zeros_like(prior), population, learning_rate, trainer, settings)

    def schema(self) -> QuerySchema:
        return QuerySchema(Query.GRADIENT, *self.factors.shape, clip_norm=CLIP_NORM)

    def ask(self) -> Question:
        return Question(self.trainer, {"factors": self.factors}, self.settings)

    def absorb(self, answer: Answer | None) -> FactorProgram:
        """One step by the sum over the public N, never over how many answered."""
        if answer is None:
            return self
        velocity = MOMENTUM * self.velocity + answer.values / (self.population * CLIP_NORM)
        return replace(self, velocity=velocity, factors=self.factors - self.learning_rate * velocity)

    def item_factors(self) -> FloatArray:
        return self.factors
