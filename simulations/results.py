"""What a run found: results.json, one row per model, epsilon, seed and protocol."""

import os
import tempfile
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backrow.privacy.errors import DataError
from backrow.simulations.retrained import Retrained


class Row(BaseModel):
    """One model under one protocol. Rates are ground truth of the simulator and are never released.

    Attributes:
        model: "backrow", "prior" or a baseline's name.
        trainer: how devices answered; None for baselines.
        protocol: "full": the whole catalogue is ranked; "ncf": the test title among 99 sampled ones.
        epsilon: the target; None claims no privacy.
        epsilon_spent: of everything reserved; None where no privacy is claimed.
        delta, unit, adjacency: of the claim; None where no privacy is claimed.
        releases: how many releases the epsilon covers.
        bytes_up_per_device: what one device uploads in the whole run.
        hr_at_10, ndcg_at_10, recall_at_20: mean over viewers, 0..1.
        coverage_at_10: share of the catalogue that some viewer's first ten show.
        seconds: wall time of training.
        seed: of the run.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    model: str
    trainer: str | None
    protocol: Literal["full", "ncf"]
    epsilon: float | None
    epsilon_spent: float | None
    delta: float | None
    unit: str | None
    adjacency: str | None
    releases: int
    bytes_up_per_device: int
    hr_at_10: float = Field(alias="hr@10", ge=0, le=1)
    ndcg_at_10: float = Field(alias="ndcg@10", ge=0, le=1)
    recall_at_20: float = Field(alias="recall@20", ge=0, le=1)
    coverage_at_10: float = Field(alias="coverage@10", ge=0, le=1)
    seconds: float
    seed: int

    @property
    def private(self) -> bool:
        """Whether a device-level epsilon is claimed."""
        return self.epsilon is not None


class Interval(BaseModel):
    """A released figure, with the interval that its noise leaves.

    Attributes:
        value: None where the noise leaves nothing to say.
        low, high: of the interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float
    high: float


class ReleasedFigure(BaseModel):
    """One figure that devices reported under differential privacy, and what is true.

    Attributes:
        name: as `privacy.queries.Metric`.
        rate: mean over the devices with a fresh title.
        per_device: mean over all enrolled devices.
        truth: the rate without noise: ground truth of the simulator, never released; None if nobody was evaluated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    rate: Interval
    per_device: Interval
    truth: float | None


class Released(BaseModel):
    """The evaluation that the run asked of its devices, in its own budget: what the coordinator learned.

    Attributes:
        round: of the run, the last.
        epsilon: of this release alone; the run's epsilon covers it too. None where no privacy is claimed.
        delta, unit, adjacency: of that claim.
        noise_scale: standard deviation of noise and rounding on each sum, at most.
        confidence: of every interval. Noise is in it, sampling of devices is not.
        figures: full catalogue, lists of ten.
        gain: HR@10 of the model less that of popularity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    round: int
    epsilon: float | None
    delta: float | None
    unit: str | None
    adjacency: str | None
    noise_scale: float
    confidence: float
    figures: tuple[ReleasedFigure, ...]
    gain: Interval


Computed = Literal["cohorts", "devices", "both"]

Group = Literal["everyone", "stayed", "left"]


class GroupRow(BaseModel):
    """How well the model serves one group of owners, over the full catalogue. Ground truth, never released.

    Attributes:
        group: "stayed": granted in some round of the run; "left": in none.
        devices: of the group that have a test title, > 0.
        hr_at_10, ndcg_at_10: of the model, which each device applies to its own history; mean over the group.
        popular_hr_at_10, popular_ndcg_at_10: the same people served by exact counts of everybody.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    group: Group
    devices: int = Field(gt=0)
    hr_at_10: float = Field(alias="hr@10", ge=0, le=1)
    ndcg_at_10: float = Field(alias="ndcg@10", ge=0, le=1)
    popular_hr_at_10: float = Field(alias="popular hr@10", ge=0, le=1)
    popular_ndcg_at_10: float = Field(alias="popular ndcg@10", ge=0, le=1)


class Results(BaseModel):
    """One run.

    Attributes:
        engine: "inprocess" or "flower".
        nodes: Flower nodes; each hosts its part of the devices.
        aggregation: "trusted": the edge that adds sees single contributions; "secure": nobody but the device does.
        noise: "once": drawn on the sum; "shares": by devices.
        computed: edges answered for whole "cohorts" at once, for "devices" one by one, or "both", by round; None in
            files that do not say.
        masked_messages: masked vectors that arrived; 0 where edges are trusted.
        dataset: its name.
        split: "ncf" or "last".
        devices: enrolled.
        titles: in the catalogue that is ranked.
        rows: ours first, then the baselines.
        warnings: what a reader must know before believing the figures.
        simulated: noise came from a seed or from floating point: no production claim.
        notes: what else should be said.
        extras: figures in other units than the rows', such as an event-level epsilon.
        released: what the coordinator learned of the model's quality; None if it did not ask.
        retrained: what this run is on top of; None: of nothing.
        groups: the model by who contributes and who does not; empty where everybody does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    engine: str
    nodes: int
    aggregation: str
    noise: str
    dataset: str
    split: str
    devices: int
    titles: int
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    simulated: bool = True
    computed: Computed | None = None
    masked_messages: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
    extras: dict[str, float] = Field(default_factory=dict)
    released: Released | None = None
    retrained: Retrained | None = None
    groups: tuple[GroupRow, ...] = ()

    def under(self, protocol: Literal["full", "ncf"]) -> tuple[Row, ...]:
        """The rows of one protocol."""
        return tuple(row for row in self.rows if row.protocol == protocol)

    def to_json(self) -> str:
        """The text of results.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read back what `to_json` wrote.

        Raises:
            DataError: the text is not such a file.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as problem:
            first = problem.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise DataError(
                f"this is no results.json of this version ({place}: {first['msg']}): run it again"
            ) from None

    def write(self, path: Path) -> None:
        """Write results.json; a reader sees all of it or nothing."""
        write_whole(path, self.to_json())


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old content, or none, but never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
