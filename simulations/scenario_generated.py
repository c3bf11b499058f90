"""The section of a scenario that describes a generated population."""

from typing import Self

from pydantic import Field, model_validator

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.recipe import Recipe
from backrow.simulations.section import Section


class GeneratedSection(Section):
    """People who do not exist; read where data.name is "generated".

    Attributes:
        devices: how many.
        titles: size of the catalogue, at least 8 times `events`.
        events: mean length of a history; lengths are log-normal.
        factors: columns that the public prior has; metadata is drawn to fit.
        tastes: groups of viewers; every device mixes three of them.
        tail: standard deviation of the logarithm of a title's popularity.
        seed: of the population; the run has its own.
    """

    devices: int = Field(default=10_000, ge=2, le=10**8 - 1)
    titles: int = Field(default=2_000, ge=48)
    events: int = Field(default=100, ge=6)
    factors: int = Field(default=32, ge=10, le=200)
    tastes: int = Field(default=40, ge=1, le=1_000)
    tail: float = Field(default=1.5, ge=0, le=4)
    seed: int = Field(default=1, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            self.recipe()
        except DataError as problem:
            raise ValueError(str(problem)) from None
        return self

    def recipe(self) -> Recipe:
        """What the population is drawn from."""
        return Recipe(**self.model_dump())
