"""What decides a run over weeks, validated; read from a TOML file."""

from pathlib import Path
from typing import Annotated, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, field_validator, model_validator

from backrow.privacy.correlated import LONGEST_HORIZON
from backrow.simulations.scenario import Budget, as_tuple, without_none
from backrow.simulations.section import Section
from backrow.simulations.weeks_file import read_weeks_file

ModelName = Literal["cold", "once", "popularity", "no privacy"]


class WeeksSection(Section):
    """How often a model is trained, and what it keeps.

    Attributes:
        count: weeks, one model each.
        days: of a week.
        answers: of one device in all weeks, at most, each of everything watched so far; None: one in every week.
        apart: fewest weeks from one of its answers to the next; needs `answers`.
        forgetting: how much a week counts relative to the one after it; 1 forgets nothing, 0 starts cold every week.
        popularity_share: of the budget (mu squared) of a week; the rest says what follows what.
        growth: budget of a week relative to the one before; without `answers` only.
    """

    count: int = Field(default=26, ge=1, le=LONGEST_HORIZON)
    days: int = Field(default=7, ge=1, le=3_650)
    answers: int | None = Field(default=None, ge=1)
    apart: int | None = Field(default=None, ge=1)
    forgetting: float = Field(default=0.9, ge=0, le=1)
    popularity_share: float = Field(default=0.15, gt=0, lt=1)
    growth: float = Field(default=1.0, ge=0.5, le=2)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if max(self.answers or 1, self.apart or 1) > self.count:
            raise ValueError(f"answers and apart are at most count, {self.count}: lower them")
        if self.apart is not None and self.answers is None:
            raise ValueError("apart is a bound on answers: give answers too, or drop it")
        if self.answers is not None and self.growth != 1:
            raise ValueError("with a bound on answers every week costs the same: drop growth, or answers")
        return self


class ChurnSection(Section):
    """Who comes and goes.

    Attributes:
        histories: "timestamps": as the data says; "paced": every device plays its history out, in its own order.
        founders: of "paced", share of devices that are there in week 1; the others join one by one.
        pace: of "paced", titles that a device watches in a week, on average.
        uninstalls: probability, per week, that a device is gone for good.
        opt_outs: probability, per week, that an owner opts out for the account; her device goes on recommending.
        idle: weeks without watching after which a device is out of reach until it watches again; None: it stays.
    """

    histories: Literal["timestamps", "paced"] = "timestamps"
    founders: float = Field(default=0.3, ge=0, le=1)
    pace: float = Field(default=8.0, gt=0, le=1_000)
    uninstalls: float = Field(default=0.0, ge=0, lt=1)
    opt_outs: float = Field(default=0.0, ge=0, lt=1)
    idle: int | None = Field(default=None, ge=1)


class ContinualPrivacySection(Section):
    """The budget of all weeks together, and who adds.

    Attributes:
        epsilon: None claims no privacy.
        aggregation: "secure" (nobody but the device sees its answer, and devices add shares of the noise) goes
            without a bound on answers only: that needs correlated noise.
    """

    epsilon: Budget = Field(default=3.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    aggregation: Literal["trusted", "secure"] = "trusted"


class ContinualScenario(Section):
    """One run over weeks.

    Attributes:
        data: name of a known data set, or path of a CSV or Parquet file. Its test titles are never looked at.
        trainer: "sequence", or "popularity" alone.
        minimum: smallest cohort that is released; None: half of the devices of the emptiest week.
        compare: models beside it, each under the same cumulative budget: "cold" (from nothing every week), "once" (one
            week's, at all of the budget, and never again), "popularity", and "no privacy".
        once: the week of "once"; None: when a quarter of the weeks is over.
    """

    data: str = Field(default="ml-1m", min_length=1)
    seed: int = Field(default=1, ge=0, lt=2**63)
    nodes: int = Field(default=1, ge=1, le=1024)
    trainer: Literal["sequence", "popularity"] = "sequence"
    minimum: int | None = Field(default=None, ge=1)
    compare: Annotated[tuple[ModelName, ...], BeforeValidator(as_tuple)] = ("cold", "once", "popularity", "no privacy")
    once: int | None = Field(default=None, ge=1)
    weeks: WeeksSection = WeeksSection()
    churn: ChurnSection = ChurnSection()
    privacy: ContinualPrivacySection = ContinualPrivacySection()

    @field_validator("compare")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("name each of them once")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.once is not None and self.once > self.weeks.count:
            raise ValueError(f"once is a week of the run, at most {self.weeks.count}")
        if self.weeks.answers is not None and (self.privacy.epsilon is None or self.privacy.aggregation == "secure"):
            raise ValueError(
                "a bound on answers needs a budget, and trusted edges: its noise is correlated over the weeks and "
                "added once, to a sum that the coordinator sees. Drop weeks.answers"
            )
        return self

    @property
    def once_in(self) -> int:
        """The week of the model that is trained once."""
        return self.once or -(-self.weeks.count // 4)

    def to_toml(self) -> str:
        """The file that gives this scenario."""
        return tomli_w.dumps(without_none(self.model_dump(mode="json")))


def load_continual(path: Path) -> ContinualScenario:
    """Read a file. A data file that it names is looked for beside it first.

    Raises:
        ScenarioError: it cannot be read, is no TOML, or holds what a run over weeks does not know.
    """
    return read_weeks_file(path, ContinualScenario)
