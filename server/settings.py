"""What a run is: public numbers, fixed before its first round, and the schedule they commit to."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema, evaluation_schema
from backrow.privacy.shares import secure_scale

ROUNDED_CLIP_NORM = 2**24
"""Clip norm in integers (at least): rounding then adds less than .01 % to the sensitivity."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The public numbers of a run. Whoever knows them knows the schedule and its cost.

    Attributes:
        trainer: `sequence`, `subspace`, `gradient`, `sgd`, `opacus`, `opacus-event`, or `prior` (counts only).
        epsilon: budget of everything released; None claims no privacy.
        delta: failure probability, in (0, 1).
        titles: size of the public catalogue.
        population: N, enrolled devices; every denominator.
        minimum: smallest cohort that is summed.
        rounds: training rounds after the counts.
        learning_rate: of the gradient program.
        popularity_share, recent_share: of the budget (mu squared); recent 0 asks no recent counts.
        evaluation_share: of the budget, for one evaluation of the model after the last round; 0 asks none.
        since: Unix seconds; devices keep what happened later out of every answer, and are evaluated on it. Real
            devices without it have nothing to be evaluated on, and are not asked.
        recent_seconds: the public window of the recent counts, back from each device's now (or from `since`).
        alpha0, ridge: weight of titles not watched, and of the user factors' norm, in the local solve.
        simulated: noise is seeded or floating point.
        hosted: devices are hosted by a simulated edge, which may round sums of blocks if it is trusted.
        aggregation: `secure`: nobody but the device sees its contribution.
        shares: every device adds its share of the noise; else the coordinator adds it once.
        adversaries, dropouts: fractions of a cohort that a secure sum stands. Shares of the noise are sized for
            `minimum` devices among which all adversaries of the population stay and leave theirs out.
        sentinels: coordinates of every release that no device touches, at least; 0: none.
        catalogue: which titles the rows are (`privacy.bundle.catalogue_digest`).
        event: settings of the trainers `opacus-event` and `sgd`, passed on to devices.
    """

    run_id: str
    trainer: str
    epsilon: float | None
    delta: float
    titles: int
    population: int
    minimum: int
    rounds: int
    learning_rate: float
    popularity_share: float = 0.1
    recent_share: float = 0.02
    evaluation_share: float = 0.01
    since: int | None = None
    recent_seconds: int = 28 * 86_400
    alpha0: float = 0.4
    ridge: float = 0.1
    aggregation: Aggregation = Aggregation.TRUSTED
    shares: bool = False
    adversaries: float = 0.05
    dropouts: float = 0.05
    simulated: bool = True
    hosted: bool = True
    sentinels: int = 4096
    catalogue: str = ""
    event: tuple[tuple[str, float], ...] = ()

    @property
    def evaluates(self) -> bool:
        """Whether the schedule ends with an evaluation. Simulated devices are told what is fresh to them."""
        return self.evaluation_share > 0 and (self.hosted or self.since is not None)

    @property
    def noise(self) -> Noise:
        """Opacus adds its noise per block; everything else as integers, once or in shares."""
        if self.trainer == "opacus" and self.epsilon is not None:
            return Noise.BLOCK
        return self.integer_noise

    @property
    def integer_noise(self) -> Noise:
        """Of every round that Opacus does not noise."""
        return Noise.SHARES if self.shares else Noise.ONCE

    @property
    def by_device(self) -> bool:
        """Whether each device rounds its own answer, which masks and shares of the noise need."""
        return not self.hosted or self.shares or self.aggregation is Aggregation.SECURE


def shares_of(settings: RunSettings) -> tuple[float, ...]:
    """Share of the budget (mu squared) of every round, in order; they sum to 1."""
    counts = [settings.popularity_share] + ([settings.recent_share] if settings.recent_share > 0 else [])
    last = [settings.evaluation_share] if settings.evaluates else []
    if settings.rounds == 0:
        counts = [share / math.fsum(counts) * (1 - math.fsum(last)) for share in counts]
    rest = 1 - math.fsum([*counts, *last])
    if min(counts) <= 0 or (settings.rounds > 0 and rest <= 0):
        raise ValueError(
            "popularity_share, recent_share and evaluation_share must leave some budget for training: lower them"
        )
    if settings.rounds == 0:
        return (*counts, *last)
    return (*counts, *[rest / settings.rounds] * settings.rounds, *last)


def with_sentinels(schema: QuerySchema, coordinates: int) -> QuerySchema:
    """The schema with as many sentinel rows as make up `coordinates`."""
    rows = math.ceil(coordinates / schema.columns)
    return replace(schema, rows=schema.rows + rows, sentinels=rows)


def commit_schedule(settings: RunSettings, training: QuerySchema | None) -> Schedule:
    """The committed schedule: counts first, then the training rounds, then the evaluation.

    Args:
        settings: the public numbers.
        training: schema of every training round; None if `settings.rounds` is 0.

    Raises:
        ValueError: a setting is out of range.
        UnsafePlanError: a plan could wrap around.
    """
    shares = shares_of(settings)
    counts = QuerySchema(Query.POPULARITY, settings.titles, 1, clip_norm=1.0)
    schemas = [counts] + ([replace(counts, query=Query.RECENT)] if settings.recent_share > 0 else [])
    schemas += [training] * settings.rounds if training is not None else []
    schemas += [evaluation_schema()] if settings.evaluates else []
    schemas = [with_sentinels(schema, settings.sentinels) for schema in schemas]
    if settings.epsilon is None:
        multipliers: tuple[float, ...] = (0.0,) * len(schemas)
    else:
        multipliers = noise_multipliers(
            settings.epsilon, settings.delta, shares, coordinates=sum(schema.dimension for schema in schemas)
        )
    plans = tuple(
        round_plan(settings, number, schema, multiplier)
        for number, (schema, multiplier) in enumerate(zip(schemas, multipliers, strict=True), start=1)
    )
    return Schedule(settings.run_id, plans, settings.epsilon, settings.delta)


def omitted_of(settings: RunSettings) -> float:
    """Which fraction of the fewest survivors the adversaries of the whole population are, if none of them drops out.

    Rounded up to six digits, so that as many of `minimum` devices are counted out.
    """
    adversaries = math.ceil(Fraction(str(settings.adversaries)) * settings.population)
    return math.ceil(Fraction(adversaries, settings.minimum) * 10**6) / 10**6


def round_plan(settings: RunSettings, number: int, schema: QuerySchema, multiplier: float) -> RoundPlan:
    """One round with noise of its own. Args: schema: sentinels included; multiplier: 0 claims no privacy."""
    noise = settings.noise if schema.query is Query.GRADIENT else settings.integer_noise
    omitted = omitted_of(settings) if noise is Noise.SHARES else 0.0
    if noise is Noise.SHARES or settings.aggregation is Aggregation.SECURE:
        # The same for trusted edges: with shares of the noise, who adds must not change what is released.
        scale = secure_scale(
            schema.clip_norm, schema.dimension, multiplier, settings.population, settings.minimum, omitted
        )
    else:
        scale = 2.0 ** math.ceil(math.log2(ROUNDED_CLIP_NORM / schema.clip_norm))
    return RoundPlan(
        run_id=settings.run_id,
        round=number,
        query=schema,
        noise_multiplier=multiplier,
        scale=scale,
        rounding=Rounding.DEVICE_STOCHASTIC if settings.by_device else Rounding.BLOCK_NEAREST,
        noise=noise,
        aggregation=settings.aggregation,
        population=settings.population,
        minimum=settings.minimum,
        simulated=settings.simulated,
        omitted=omitted,
    )
