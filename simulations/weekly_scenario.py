"""What decides a weekly run, validated; read from a TOML file."""

from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import Field

from backrow.privacy.correlated import LONGEST_HORIZON
from backrow.privacy.correlated_design import Matrix, Workload, cumulative, decayed, window
from backrow.privacy.errors import ScenarioError
from backrow.simulations.section import Section
from backrow.simulations.weeks_file import read_weeks_file


class WeeksSection(Section):
    """How often is released, and how often a device may answer.

    Attributes:
        releases: weeks, one release each.
        answers: of one device in all of them, at most.
        apart: fewest weeks from one of its answers to the next.
    """

    releases: int = Field(default=52, ge=1, le=LONGEST_HORIZON)
    answers: int = Field(default=4, ge=1)
    apart: int = Field(default=4, ge=1)


class TellSection(Section):
    """What the noise is made to tell best: everything so far, the last weeks, or everything, the older the less.

    Attributes:
        what: "cumulative", "window" or "decayed".
        weeks: of the window.
        factor: by which a week counts less than the one after it.
    """

    what: Literal["cumulative", "window", "decayed"] = "cumulative"
    weeks: int = Field(default=4, ge=1)
    factor: float = Field(default=0.8, gt=0, lt=1)


class NoiseSection(Section):
    """How the noise of one week depends on those before it.

    Attributes:
        matrix: "optimised" for what is told, "square-root", or "independent".
        band: weeks that one draw reaches.
    """

    matrix: Literal["optimised", "square-root", "independent"] = "optimised"
    band: int = Field(default=16, ge=1)


class WeeklyPrivacySection(Section):
    """The budget of all weeks together. Secure sums are refused: they carry independent noise only."""

    epsilon: float = Field(default=3.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    aggregation: Literal["trusted", "secure"] = "trusted"


class WeeklyScenario(Section):
    """One weekly run.

    Attributes:
        data: name of a known data set, or path of a CSV or Parquet file.
        minimum: smallest cohort that is released; None: half of the devices.
    """

    data: str = Field(default="ml-1m", min_length=1)
    seed: int = 1
    nodes: int = Field(default=1, ge=1, le=1024)
    minimum: int | None = Field(default=None, ge=1)
    weeks: WeeksSection = WeeksSection()
    tell: TellSection = TellSection()
    noise: NoiseSection = NoiseSection()
    privacy: WeeklyPrivacySection = WeeklyPrivacySection()

    @property
    def workload(self) -> Workload:
        """What is told after every week."""
        match self.tell.what:
            case "cumulative":
                return cumulative(self.weeks.releases)
            case "window":
                return window(self.tell.weeks)
            case "decayed":
                return decayed(self.tell.factor, self.weeks.releases)

    @property
    def matrix(self) -> Matrix:
        """How C is chosen."""
        return Matrix(self.noise.matrix)

    def to_toml(self) -> str:
        """The file that gives this scenario."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def load_weekly(path: Path) -> WeeklyScenario:
    """Read a file. A data file that it names is looked for beside it first.

    Raises:
        ScenarioError: it cannot be read, is no TOML, or holds what a weekly run does not know.
    """
    scenario = read_weeks_file(path, WeeklyScenario)
    weeks = scenario.weeks
    if max(weeks.answers, weeks.apart) > weeks.releases:
        raise ScenarioError(
            f"{path}: weeks.answers and weeks.apart are at most weeks.releases, {weeks.releases}: lower them"
        )
    return scenario
