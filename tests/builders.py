"""Small honest objects for tests: plans, histories, calls. No data files, no mocks."""

import numpy as np

from backrow.client.history import RawHistory
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema
from backrow.privacy.wire import RoundCall

BEGINNING = 4
"""Entries of a ledger before its first round: policy, schedule, enrolment, suppression list."""


def plan(
    query: Query = Query.POPULARITY,
    rows: int = 6,
    columns: int = 1,
    *,
    number: int = 1,
    clip_norm: float = 1.0,
    noise_multiplier: float = 2.0,
    noise: Noise = Noise.ONCE,
    rounding: Rounding = Rounding.BLOCK_NEAREST,
    aggregation: Aggregation = Aggregation.TRUSTED,
    population: int = 100,
    minimum: int = 2,
    scale: float = 2.0**20,
    simulated: bool = True,
    omitted: float = 0.0,
    run_id: str = "run",
) -> RoundPlan:
    """A valid plan; override what the test is about."""
    return RoundPlan(
        run_id=run_id,
        round=number,
        query=QuerySchema(query, rows, columns, clip_norm),
        noise_multiplier=noise_multiplier,
        scale=scale,
        rounding=rounding,
        noise=noise,
        aggregation=aggregation,
        population=population,
        minimum=minimum,
        simulated=simulated,
        omitted=omitted,
    )


def histories(devices: int, titles: int, seed: int = 7, most: int = 12) -> list[RawHistory]:
    """Random histories; the first device has watched nothing."""
    rng = np.random.default_rng(seed)
    made = [RawHistory(np.zeros(0, np.int32), np.zeros(0))]
    for _ in range(devices - 1):
        watched = np.sort(rng.choice(titles, size=rng.integers(1, min(most, titles)), replace=False)).astype(np.int32)
        made.append(RawHistory(watched, rng.uniform(0.5, 2.0, len(watched)), rng.random(len(watched)) < 0.3))
    return made


def gradient_call(titles: int = 40, columns: int = 5, seed: int = 3, **changes: object) -> RoundCall:
    """A gradient round over random public factors."""
    factors = np.random.default_rng(seed).normal(size=(titles, columns))
    made = plan(Query.GRADIENT, titles, columns, **{"clip_norm": 2.0, **changes})  # type: ignore[arg-type]
    return RoundCall(made, "gradient", 10, (), {"factors": factors}, {"alpha0": 0.4, "ridge": 0.1})
