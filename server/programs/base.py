"""The protocol of a program: schemas committed beforehand, questions that may depend on releases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.queries import QuerySchema

FloatArray = NDArray[np.float64]
PUBLISHED = np.float32
"""Precision of a bundle's tensors."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the devices are sent besides the plan: public tensors and numbers."""

    trainer: str = ""
    tensors: Mapping[str, FloatArray] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One noisy sum, as released.

    Attributes:
        values: shape (titles, columns), in the answer's own unit.
        noise_scale: standard deviation of the noise on each entry that is claimed (0: none).
        noise_multiplier: noise_scale / sensitivity.
        spread: standard deviation, at most, of all that is random in each entry, rounding and further shares of
            noise included; None: noise_scale.
    """

    values: FloatArray
    noise_scale: float
    noise_multiplier: float
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Contexts:
    """How a device makes a context of what it watched last (client/sequence.py).

    Attributes:
        embedding: shape (titles, factors), parts of `columns` side by side.
        decay, window, columns: of `client.sequence.Memory`.
    """

    embedding: FloatArray
    decay: float
    window: int
    columns: int

    @property
    def settings(self) -> dict[str, float]:
        """As devices read them."""
        return {"decay": self.decay, "window": float(self.window), "columns": float(self.columns)}


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """The public model: what the bundle holds.

    Attributes:
        item_factors: shape (titles, factors).
        popularity: shape (titles,), noisy counts, floored.
        recent: shape (titles,), noisy counts of the recent window, or None if it was not asked.
        alpha0, ridge: of the local solve.
        sequence: how contexts are made, if scores are popularity + item factors times context; None: the local solve.
    """

    item_factors: FloatArray
    popularity: FloatArray
    recent: FloatArray | None
    alpha0: float
    ridge: float
    sequence: "Contexts | None" = None


class FactorProgram(Protocol):
    """The rounds that come after the counts. Immutable: `absorb` returns the next state."""

    def schema(self) -> QuerySchema:
        """Shape and bound of every round's answer; public before the first round."""
        ...

    def ask(self) -> Question:
        """What the next round sends to devices."""
        ...

    def absorb(self, answer: Answer | None) -> "FactorProgram":
        """The state after a round; None if the round was void."""
        ...

    def item_factors(self) -> FloatArray:
        """The factors after the rounds so far, shape (titles, factors)."""
        ...
