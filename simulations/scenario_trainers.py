"""The sections of a scenario that one trainer reads."""

from typing import Self

from pydantic import Field, model_validator

from backrow.client.training.sgd import MOST_DRAWN
from backrow.simulations.section import Section


class EventSection(Section):
    """Local DP-SGD over single watch events; read by the trainer `opacus-event` only.

    Attributes:
        noise_multiplier: noise sd / clip norm of every step; 0 claims no event-level privacy.
        clip_norm: L2 bound of one event's gradient, > 0.
        epochs: expected passes over the local history.
        batch: expected events per step from a history of length `history`.
        learning_rate: step, in units of 1 / the loss' largest curvature; stable below 2.
        history: public length that turns `batch` into a sampling rate, >= batch.
    """

    noise_multiplier: float = Field(default=4.0, ge=0)
    clip_norm: float = Field(default=0.5, gt=0)
    epochs: int = Field(default=4, ge=1, le=1_000)
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    history: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _rate_at_most_one(self) -> Self:
        if self.batch > self.history:
            raise ValueError(f"batch {self.batch} cannot exceed history {self.history}: lower it")
        return self


class SgdSection(Section):
    """Local epochs; read by the trainer `sgd` only.

    Attributes:
        learning_rate: step of a device, on the summed gradient of a mini-batch, > 0.
        batch: watched titles of a mini-batch.
        negatives: titles drawn for each of them from the whole catalogue.
        epochs: passes over the local history, each with fresh negatives.
    """

    learning_rate: float = Field(default=0.02, gt=0)
    batch: int = Field(default=32, ge=1, le=65_536)
    negatives: int = Field(default=4, ge=1, le=1_024)
    epochs: int = Field(default=1, ge=1, le=1_000)

    @model_validator(mode="after")
    def _within_reason(self) -> Self:
        if self.epochs * (1 + self.negatives) > MOST_DRAWN:
            raise ValueError(f"epochs times (1 + negatives) must be at most {MOST_DRAWN:,}: lower one of them")
        return self
