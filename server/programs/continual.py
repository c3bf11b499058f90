"""A model that is trained anew every week, from everything that the weeks before have released.

Every week asks the same: what is popular, and which titles follow which contexts, of an embedding that never changes.
So the releases of all weeks add up, the older the less, and a week's model is the estimate of `sequence` from these
weighted sums: a prior of all that was learned, and what is new, combined by precision. Everything here is
post-processing; a cold start is the same with nothing kept. Derivation: docs/churn.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.correlated_design import Matrix, decayed, design
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.queries import Query, QuerySchema
from backrow.server.programs.base import Answer, Contexts, FloatArray, ModelTensors, Question
from backrow.server.programs.metrics import ReleasedMetrics
from backrow.server.programs.sequence import (
    CLIP_NORM,
    COLUMNS,
    DECAY,
    STRENGTH,
    WINDOW,
    crossed_factors,
    followers_of,
)
from backrow.server.programs.shrinkage import expected_counts
from backrow.server.programs.weekly import budget_of, sequence_plans, spread_of
from backrow.server.settings import RunSettings, round_plan, with_sentinels

ENOUGH = 0.4
"""What is counted of an average title, in standard deviations of the noise on what follows: with less, a model is
popularity alone, as noise would drown the rest. Chosen on validation titles of ML-1M and ML-100K (docs/churn.md, 2)."""
BAND = 16
"""Weeks that one draw of correlated noise reaches, at most."""


@dataclass(frozen=True, slots=True)
class ContinualSettings(RunSettings):
    """The public numbers of a run over weeks; `trainer` is `sequence`, or `popularity` (counts only).

    Attributes:
        weeks: how many, >= 1.
        answers: in how many of them a device answers, at most; None: in all, and all are counted.
        apart: fewest weeks from one of its answers to the next; read with `answers` only.
        forgetting: how much a week counts relative to the one after it, in [0, 1]; 0: a cold start every week.
        growth: budget (mu squared) of a week relative to the one before; read without `answers` only.
    """

    weeks: int = 1
    answers: int | None = None
    apart: int = 1
    forgetting: float = 1.0
    growth: float = 1.0

    @property
    def queries(self) -> tuple[Query, ...]:
        """Of every week, in order."""
        return (Query.POPULARITY,) if self.trainer == "popularity" else (Query.POPULARITY, Query.SEQUENCE)


def continual_schedule(settings: ContinualSettings) -> Schedule:
    """Every round of every week, committed at once: together they cost the budget, whoever is there when.

    Raises:
        UnsafePlanError: a bound on answers together with no budget, a secure sum or noise in shares; or the noise
            cannot be sampled.
        ValueError: a setting is out of range.
    """
    counts = settings.popularity_share
    parts = [1.0] if len(settings.queries) == 1 else [counts, 1 - counts]
    schemas = [with_sentinels(_schema(query, settings.titles), settings.sentinels) for query in settings.queries]
    coordinates = settings.weeks * sum(schema.dimension for schema in schemas)
    plans: list[RoundPlan] = []
    if settings.answers is not None:
        epsilon = budget_of(settings)
        multipliers = noise_multipliers(epsilon, settings.delta, parts, coordinates=coordinates)
        for first, (schema, multiplier) in enumerate(zip(schemas, multipliers, strict=True), start=1):
            made = design(
                Matrix.OPTIMISED if settings.forgetting else Matrix.INDEPENDENT,
                decayed(settings.forgetting, settings.weeks),
                settings.weeks, min(BAND, settings.weeks), settings.answers, settings.apart, multiplier,
                first=first, stride=len(schemas) if len(schemas) > 1 else None,
            )  # fmt: skip
            plans += sequence_plans(settings, schema, made)
        plans.sort(key=lambda plan: plan.round)
    else:
        shares = [part * week for week in week_shares(settings) for part in parts]
        asked = schemas * settings.weeks
        if settings.epsilon is None:
            multipliers = (0.0,) * len(asked)
        else:
            multipliers = noise_multipliers(settings.epsilon, settings.delta, shares, coordinates=coordinates)
        plans = [
            round_plan(settings, number, schema, multiplier)
            for number, (schema, multiplier) in enumerate(zip(asked, multipliers, strict=True), start=1)
        ]
    return Schedule(settings.run_id, tuple(plans), settings.epsilon, settings.delta)


def week_shares(settings: ContinualSettings) -> tuple[float, ...]:
    """Share of the budget (mu squared) of every week; they sum to 1."""
    rising = [settings.growth**week for week in range(settings.weeks)]
    return tuple(each / math.fsum(rising) for each in rising)


@dataclass(frozen=True, slots=True)
class Pool:
    """Weighted sum of the releases of one question.

    Attributes:
        plans: of all its rounds, in order.
        forgetting: as `ContinualSettings`.
        weights: of the weeks so far; 0 for a void one.
        total: shape (titles, columns); None before the first release.
    """

    plans: tuple[RoundPlan, ...]
    forgetting: float
    weights: tuple[float, ...] = ()
    total: FloatArray | None = None

    def add(self, answer: Answer | None) -> "Pool":
        """With one more week; None: it was void, and only passes."""
        weights = tuple(weight * self.forgetting for weight in self.weights)
        kept = None if self.total is None else self.total * self.forgetting
        if answer is None:
            return replace(self, weights=(*weights, 0.0), total=kept)
        weight = self._precision(len(weights))
        new = weight * answer.values
        return replace(self, weights=(*weights, weight), total=new if kept is None else kept + new)

    @property
    def spread(self) -> float:
        """Standard deviation of the noise in each entry of the total."""
        weights = np.array(self.weights)
        if self.plans[0].correlation is not None:
            return spread_of(self.plans, weights)
        scales = [plan.noise_scale for plan in self.plans[: len(weights)]]
        return math.hypot(*(weights * scales))

    def _precision(self, week: int) -> float:
        """Of one week's sum, relative to the first week's. Correlated noises are weighed by their design."""
        first, plan = self.plans[0], self.plans[week]
        if plan.correlation is not None or not plan.noise_multiplier:
            return 1.0
        return (first.noise_multiplier / plan.noise_multiplier) ** 2


@dataclass(frozen=True, slots=True)
class ContinualProgram:
    """Immutable state of the post-processing of all weeks.

    Attributes:
        settings: the public numbers.
        metadata: public embedding, shape (titles, `COLUMNS`).
        counts, followers: everything released of either question.
    """

    settings: ContinualSettings
    metadata: FloatArray
    counts: Pool
    followers: Pool | None

    @classmethod
    def start(cls, settings: ContinualSettings, features: FloatArray, schedule: Schedule) -> "ContinualProgram":
        """Args: features: public metadata, shape (titles, features), not centred; schedule: made of the settings."""
        if len(features) != settings.titles:
            raise ValueError(f"{len(features)} rows of features for {settings.titles} titles")
        pools = [Pool(schedule.rounds[place :: len(settings.queries)], settings.forgetting) for place in range(2)]
        followers = pools[1] if Query.SEQUENCE in settings.queries else None
        return cls(settings, crossed_factors(features), pools[0], followers)

    def forgetful(self) -> "ContinualProgram":
        """The same before the first round, for a model that starts cold every week."""
        followers = None if self.followers is None else replace(self.followers, forgetting=0.0)
        return replace(self, counts=replace(self.counts, forgetting=0.0), followers=followers)

    def ask(self, query: Query) -> Question:
        """What the devices are sent in the next round: the same every week."""
        if query is Query.POPULARITY:
            return Question()
        return Question("sequence", {"embedding": self.metadata}, self._contexts.settings)

    def public_tensors(self, query: Query) -> Mapping[str, FloatArray]:
        """The tensors of the questions."""
        return self.ask(query).tensors

    def absorb(self, query: Query, answer: Answer | None) -> "ContinualProgram":
        """The state after a round; `answer` None: the round was void."""
        if query is Query.POPULARITY:
            return replace(self, counts=self.counts.add(answer))
        assert self.followers is not None, "asked in a schedule of `sequence` only"
        return replace(self, followers=self.followers.add(answer))

    def model(self) -> ModelTensors:
        """The public model after the rounds so far: popularity alone where too little is known of what follows what."""
        titles = self.settings.titles
        seen = np.zeros(titles) if self.counts.total is None else self.counts.total[:, 0]
        counts = expected_counts(seen, self.counts.spread if self.counts.total is not None else 0.0)
        factors = np.zeros((titles, COLUMNS))
        pool = self.followers
        if pool is not None and pool.total is not None and any(pool.weights) and self._enough(counts, pool):
            share = counts / counts.sum()
            # The embedding is not centred by what is popular, which nobody knows in week 1: what titles have in common
            # with the mean context only because they are watched at all is taken off here.
            sums = pool.total - np.outer(share, share @ pool.total / (share @ share))
            found = followers_of(sums, pool.spread, counts, self.metadata, self.metadata)
            factors = np.asarray(found * (STRENGTH * counts.sum()))
        return ModelTensors(factors, counts, None, self.settings.alpha0, self.settings.ridge, self._contexts)

    def metrics(self) -> ReleasedMetrics | None:
        """No evaluation is asked."""
        return None

    def _enough(self, counts: FloatArray, pool: Pool) -> bool:
        """Whether the sum of what follows stands out of its noise: its rows are as long in all as the counts."""
        return bool(counts.mean() >= ENOUGH * pool.spread)

    @property
    def _contexts(self) -> Contexts:
        return Contexts(self.metadata, DECAY, WINDOW, COLUMNS)


def _schema(query: Query, titles: int) -> QuerySchema:
    if query is Query.POPULARITY:
        return QuerySchema(query, titles, 1, clip_norm=1.0)
    return QuerySchema(query, titles, COLUMNS, CLIP_NORM)
