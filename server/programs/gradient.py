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
        rounds_left: rounds still to come.
        averaged: how many of the last rounds' factors the model is the mean of (Polyak & Juditsky 1992):
            free post-processing that takes noise out of the last steps.
        total: sum of the factors of the averaged rounds so far, and how many they are.
        trainer: who answers: `gradient`, `sgd` or an Opacus trainer.
        settings: public numbers the trainer needs (alpha0, ridge, ...).
        clip_norm: of an answer.
    """

    factors: FloatArray
    velocity: FloatArray
    population: int
    learning_rate: float
    rounds_left: int
    averaged: int
    total: tuple[FloatArray, int]
    trainer: str
    settings: dict[str, float]
    clip_norm: float = CLIP_NORM

    @classmethod
    def start(
        cls,
        prior: FloatArray,
        population: int,
        rounds: int,
        learning_rate: float,
        trainer: str,
        settings: dict[str, float],
    ) -> "GradientProgram":
        """Start at the prior, at rest; the factors of the second half of the rounds are averaged."""
        rest = np.zeros_like(prior)
        return cls(prior, rest, population, learning_rate, rounds, (rounds + 1) // 2, (rest, 0), trainer, settings)

    def schema(self) -> QuerySchema:
        return QuerySchema(Query.GRADIENT, self.factors.shape[0], self.factors.shape[1], self.clip_norm)

    def ask(self) -> Question:
        return Question(self.trainer, {"factors": self.factors}, self.settings)

    def absorb(self, answer: Answer | None) -> FactorProgram:
        """One step by the sum over the public N, never over how many answered. A void round only passes."""
        state = replace(self, rounds_left=self.rounds_left - 1)
        if answer is not None:
            velocity = MOMENTUM * self.velocity + answer.values / (self.population * self.clip_norm)
            state = replace(state, velocity=velocity, factors=self.factors - self.learning_rate * velocity)
        if state.rounds_left < self.averaged:
            total, count = self.total
            state = replace(state, total=(total + state.factors, count + 1))
        return state

    def item_factors(self) -> FloatArray:
        """The mean over the averaged rounds so far; before them, the factors as they stand."""
        total, count = self.total
        return total / count if count else self.factors
