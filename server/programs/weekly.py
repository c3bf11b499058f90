"""Popularity week by week, with noise that is correlated over the weeks: the schedule, and what its releases tell.

Every device may be asked every week. Its own bound, so many answers that are not zero and so far apart, is what the
sensitivity stands on (docs/continual.md, 2). Estimates are post-processing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.correlated import Correlation, FloatArray
from backrow.privacy.correlated_design import Matrix, Workload, design
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.queries import Query, QuerySchema
from backrow.server.settings import RunSettings, with_sentinels

_FINEST, _COARSEST = 24, 10
"""A clip norm of 2^24 integers, or less where the noise could not be sampled on so fine a grid."""


@dataclass(frozen=True, slots=True)
class WeeklyEstimate:
    """What is told after one week.

    Attributes:
        week: counted from 1.
        values: shape (titles,), of the workload over the weeks so far.
        spread: standard deviation of the noise in each value.
        missing: weeks that the workload asks for and that gave no release; they count as nothing here.
    """

    week: int
    values: FloatArray
    spread: float
    missing: tuple[int, ...]

    def interval(self, confidence: float) -> tuple[FloatArray, FloatArray]:
        """Least and largest value of each title, each at this confidence for itself; of the noise alone.

        Raises:
            ValueError: the confidence is not in (0, 1).
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1 (exclusive), got {confidence}")
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * self.spread
        return self.values - reach, self.values + reach


def weekly_schedule(
    settings: RunSettings,
    workload: Workload,
    weeks: int,
    participations: int,
    separation: int,
    matrix: Matrix = Matrix.OPTIMISED,
    band: int = 16,
) -> Schedule:
    """One popularity query a week; all of them together cost the budget. Runs on the coordinator.

    Args:
        settings: budget, population, catalogue size and sentinels; nothing of training is read.
        workload: what the noise is made to tell best.
        participations, separation: of any device.
        band: coefficients of the correlation, at most `weeks` are used.

    Raises:
        UnsafePlanError: no budget, a secure sum or noise in shares, or no grid on which the noise can be sampled.
        ValueError: a setting is out of range.
    """
    epsilon = budget_of(settings)
    query = with_sentinels(QuerySchema(Query.POPULARITY, settings.titles, 1, clip_norm=1.0), settings.sentinels)
    (multiplier,) = noise_multipliers(epsilon, settings.delta, [1.0], coordinates=weeks * query.dimension)
    made = design(matrix, workload, weeks, min(band, weeks), participations, separation, multiplier)
    return Schedule(settings.run_id, sequence_plans(settings, query, made), settings.epsilon, settings.delta)


def budget_of(settings: RunSettings) -> float:
    """Epsilon of a run with correlated noise.

    Raises:
        UnsafePlanError: no budget, a secure sum or noise in shares.
    """
    if settings.epsilon is None:
        raise UnsafePlanError("correlated noise needs a budget: without privacy there is nothing to correlate")
    if settings.shares or settings.aggregation is Aggregation.SECURE:
        raise UnsafePlanError(
            "correlated noise is added once, to a sum that the coordinator sees: secure sums and noise in shares carry "
            "independent noise only (docs/continual.md, 7)"
        )
    return settings.epsilon


def sequence_plans(settings: RunSettings, query: QuerySchema, made: Correlation) -> tuple[RoundPlan, ...]:
    """Every round of one sequence, in order.

    Args:
        query: sentinels included.

    Raises:
        UnsafePlanError: there is no grid on which the noise can be sampled.
    """
    rounding = Rounding.DEVICE_STOCHASTIC if settings.by_device else Rounding.BLOCK_NEAREST
    scale = _scale(made, query, rounding)
    return tuple(
        RoundPlan(
            run_id=settings.run_id,
            round=made.round_at(place),
            query=query,
            noise_multiplier=made.release_spread(place),
            scale=scale,
            rounding=rounding,
            noise=Noise.CORRELATED,
            aggregation=settings.aggregation,
            population=settings.population,
            minimum=settings.minimum,
            simulated=settings.simulated,
            correlation=made,
        )
        for place in range(1, made.horizon + 1)
    )


def estimates(schedule: Schedule, workload: Workload, released: Mapping[int, FloatArray]) -> list[WeeklyEstimate]:
    """What the releases so far tell, week by week. Run by the coordinator, or by anybody who has the releases.

    Args:
        schedule: made by `weekly_schedule`, for this workload or another.
        released: week to its noisy sum, shape (titles, 1), in the answer's own unit; void weeks are left out.

    Raises:
        ValueError: a week is not of the schedule.
    """
    if unknown := sorted(set(released) - set(range(1, len(schedule.rounds) + 1))):
        raise ValueError(f"week {unknown[0]} is not one of the {len(schedule.rounds)} of this schedule")
    told = []
    for week in range(1, max(released, default=0) + 1):
        weights = workload.padded(week)[::-1]
        asked = [number for number in range(1, week + 1) if weights[number - 1] != 0]
        there = [number for number in asked if number in released]
        sums = [weights[number - 1] * released[number][:, 0] for number in there]
        values = np.sum(sums, axis=0) if sums else np.zeros(schedule.rounds[0].query.titles)
        kept = np.zeros(week)
        kept[[number - 1 for number in there]] = weights[[number - 1 for number in there]]
        missing = tuple(number for number in asked if number not in released)
        told.append(WeeklyEstimate(week, values, spread_of(schedule.rounds, kept), missing))
    return told


def spread_of(plans: Sequence[RoundPlan], weights: FloatArray) -> float:
    """Standard deviation of weighted noises of a sequence's first releases, in the answer's own unit.

    Args:
        plans: of the sequence, from its first release on.
        weights: one for each of the first releases.
    """
    plan = plans[0]
    assert plan.correlation is not None, "made by sequence_plans"
    inverse = plan.correlation.inverse()[: len(weights)]
    # Noise z_s is in every later week: weights[s:] with the column of C^-1 that begins there.
    shares = [float(weights[start:] @ inverse[: len(weights) - start]) for start in range(len(weights))]
    return math.hypot(*shares) * plan.correlation.spread * plan.integer_sensitivity / plan.scale


def _scale(made: Correlation, query: QuerySchema, rounding: Rounding) -> float:
    """Integers per unit: the finest grid on which the noise can be sampled."""
    for bits in range(_FINEST, _COARSEST - 1, -1):
        scale = 2.0 ** math.ceil(bits - math.log2(query.clip_norm))
        try:
            made.sampler(integer_sensitivity(query.clip_norm, query.dimension, scale, rounding))
        except UnsafePlanError:
            continue
        return scale
    raise UnsafePlanError("the noise of this sequence is too large for any grid: raise epsilon, or ask for fewer weeks")
