"""What a study of opting out found: opt-out-cost.json. Ground truth of the simulator, never released."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backrow.privacy.errors import DataError
from backrow.simulations.results import Group, GroupRow, write_whole

Kind = Literal["random", "niche", "mainstream"]
"""Who opts out: anybody; rather whoever watches what few watch; rather whoever watches what most watch."""

CONFIDENCE = 0.95


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Point(_Frozen):
    """One run; a run without a model has its first four facts, and what is wrong.

    Attributes:
        rate, kind, seed: of the opt-outs; the seed also draws the noise.
        opted_out: devices on the coordinator's list.
        participants: devices in the smallest released sum.
        minimum: the smallest sum that would have been released.
        noise_scale: standard deviation of the noise on the counts, where each device adds a vector of norm 1 at most.
        epsilon_spent, delta, unit, adjacency, releases: of its claim; None where no privacy is claimed.
        groups: served by this run's model.
        all_in: the same people, served by the model of the run in which nobody opted out.
        wrong: why there is no model, or not the whole one; None: all is well.
    """

    rate: float
    kind: Kind
    seed: int
    opted_out: int
    participants: int = 0
    minimum: int = 0
    noise_scale: float = 0.0
    epsilon_spent: float | None = None
    delta: float | None = None
    unit: str | None = None
    adjacency: str | None = None
    releases: int = 0
    groups: tuple[GroupRow, ...] = ()
    all_in: tuple[GroupRow, ...] = ()
    wrong: str | None = None


class Mean(_Frozen):
    """Over seeds.

    Attributes:
        sd: standard deviation over seeds; None of one.
        low, high: 95 % interval of the mean by Student's t; None of one seed.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        mean = statistics.fmean(values)
        if len(values) < 2:
            return cls(mean=mean)
        from scipy.stats import t

        sd = statistics.stdev(values)
        half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
        return cls(mean=mean, sd=sd, low=mean - half, high=mean + half)


class Cost(_Frozen):
    """One row of the table: a group of owners at one rate, over the full catalogue.

    Attributes:
        seeds: runs behind it.
        devices: of the group with a held-out title, mean over seeds.
        participants, minimum: of the sums, least over seeds.
        hr_at_10, ndcg_at_10: of the model made without those who left.
        all_in_hr_at_10, all_in_ndcg_at_10: the same people, had nobody opted out.
        change_hr_at_10, change_ndcg_at_10: the first less the second, seed by seed.
        popular_hr_at_10, popular_ndcg_at_10: the same people served by exact counts of everybody.
    """

    rate: float
    kind: Kind
    group: Group
    seeds: int
    devices: float
    participants: int
    minimum: int
    hr_at_10: Mean
    ndcg_at_10: Mean
    all_in_hr_at_10: Mean
    all_in_ndcg_at_10: Mean
    change_hr_at_10: Mean
    change_ndcg_at_10: Mean
    popular_hr_at_10: Mean
    popular_ndcg_at_10: Mean


class OptOutCosts(_Frozen):
    """A study.

    Attributes:
        epsilon: budget of each run; None claims no privacy.
        devices: enrolled in every run; every denominator.
        taste: strength with which niche or mainstream tastes go with opting out, 0..1.
        rows: the table, by kind, rate and group; a rate without a model has none.
        points: the runs.
    """

    dataset: str
    split: str
    devices: int
    titles: int
    trainer: str
    epsilon: float | None
    aggregation: str
    noise: str
    simulated: bool
    taste: float
    rates: tuple[float, ...]
    kinds: tuple[Kind, ...]
    seeds: tuple[int, ...]
    rows: tuple[Cost, ...]
    points: tuple[Point, ...] = Field(min_length=1)

    def row(self, kind: Kind, rate: float, group: Group) -> Cost | None:
        """One row; None where there is none."""
        found = (row for row in self.rows if (row.kind, row.rate, row.group) == (kind, rate, group))
        return next(found, None)

    @property
    def wrongs(self) -> tuple[str, ...]:
        """What went wrong, each run once, in sentences."""
        return tuple(
            f"{point.kind}, {100 * point.rate:g} % opted out, seed {point.seed}: {point.wrong}"
            for point in self.points
            if point.wrong
        )

    def write(self, path: Path) -> None:
        """All of it or nothing."""
        write_whole(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read back what `write` wrote.

        Raises:
            DataError: it is not such a file.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as problem:
            first = problem.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise DataError(f"{path} is no study of this version ({place}: {first['msg']}): run it again") from None


def summarised(points: Sequence[Point], kinds: Sequence[Kind], rates: Sequence[float]) -> tuple[Cost, ...]:
    """The table over the runs of all seeds.

    Args:
        points: the run without opt-outs may stand for all kinds.
        kinds, rates: in the order of the table.
    """
    rows = []
    for kind in kinds:
        for rate in rates:
            mine = [one for one in points if one.rate == rate and (one.kind == kind or not rate) and one.groups]
            mine = [one for one in mine if one.kind == kind] or mine
            groups: tuple[Group, ...] = ("everyone", "stayed", "left")
            for group in groups:
                pairs = [
                    (now, before)
                    for one in mine
                    for now, before in zip(one.groups, one.all_in, strict=True)
                    if now.group == group
                ]
                if pairs:
                    least = (min(one.participants for one in mine), min(one.minimum for one in mine))
                    rows.append(_cost(kind, rate, group, pairs, least))
    return tuple(rows)


def _cost(
    kind: Kind, rate: float, group: Group, pairs: Sequence[tuple[GroupRow, GroupRow]], least: tuple[int, int]
) -> Cost:
    now, before = zip(*pairs, strict=True)
    return Cost(
        rate=rate,
        kind=kind,
        group=group,
        seeds=len(pairs),
        devices=statistics.fmean(row.devices for row in now),
        participants=least[0],
        minimum=least[1],
        hr_at_10=Mean.of([row.hr_at_10 for row in now]),
        ndcg_at_10=Mean.of([row.ndcg_at_10 for row in now]),
        all_in_hr_at_10=Mean.of([row.hr_at_10 for row in before]),
        all_in_ndcg_at_10=Mean.of([row.ndcg_at_10 for row in before]),
        change_hr_at_10=Mean.of([one.hr_at_10 - two.hr_at_10 for one, two in pairs]),
        change_ndcg_at_10=Mean.of([one.ndcg_at_10 - two.ndcg_at_10 for one, two in pairs]),
        popular_hr_at_10=Mean.of([row.popular_hr_at_10 for row in now]),
        popular_ndcg_at_10=Mean.of([row.popular_ndcg_at_10 for row in now]),
    )
