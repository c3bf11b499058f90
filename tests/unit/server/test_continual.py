"""The schedule of all weeks costs the budget, and a week's model is made of everything before it, or of nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.accounting.claim import claim
from backrow.privacy.correlated import noise_at
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.plan import Aggregation, Noise, Schedule
from backrow.privacy.queries import Query
from backrow.privacy.randomness import SeededRandom
from backrow.server.programs.base import Answer
from backrow.server.programs.continual import ContinualProgram, ContinualSettings, Pool, continual_schedule
from backrow.server.programs.weekly import spread_of

TITLES, WEEKS = 12, 5
SETTINGS = ContinualSettings(
    "run", "sequence", 3.0, 1e-5, TITLES, 10, 2, WEEKS, 0.0, recent_share=0.0, evaluation_share=0.0, sentinels=0,
    weeks=WEEKS, forgetting=0.9,
)  # fmt: skip
FEATURES = np.random.default_rng(2).normal(size=(TITLES, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"growth": 1.3},
        {"trainer": "popularity"},
        {"answers": 1, "forgetting": 1.0},
        {"answers": 2, "apart": 2},
        {"answers": 2, "trainer": "popularity"},
        {"answers": 3, "forgetting": 0.0},
    ],
)
def test_all_weeks_together_spend_the_budget_and_no_more(changes: dict[str, object]) -> None:
    schedule = continual_schedule(replace(SETTINGS, **changes))  # type: ignore[arg-type]
    assert 2.999 < (claim(schedule).epsilon or 0) <= 3
    asked = [Query.POPULARITY] if "trainer" in changes else [Query.POPULARITY, Query.SEQUENCE]
    assert [plan.query.query for plan in schedule.rounds] == asked * WEEKS


def test_a_device_that_answers_once_pays_for_once() -> None:
    every, once = (continual_schedule(replace(SETTINGS, answers=answers, forgetting=0.0)) for answers in (None, 1))
    ratios = [one.noise_multiplier / many.noise_multiplier for one, many in zip(once.rounds, every.rounds, strict=True)]
    assert ratios == pytest.approx([1 / math.sqrt(WEEKS)] * len(ratios), rel=1e-6)


@pytest.mark.parametrize(
    "changes", [{"epsilon": None}, {"shares": True}, {"aggregation": Aggregation.SECURE}, {"answers": WEEKS + 1}]
)
def test_a_bound_on_answers_that_nothing_stands_on_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnsafePlanError):
        continual_schedule(replace(SETTINGS, **{"answers": 2, **changes}))  # type: ignore[arg-type]


def test_without_a_budget_nothing_is_noised() -> None:
    schedule = continual_schedule(replace(SETTINGS, epsilon=None))
    assert {plan.noise_multiplier for plan in schedule.rounds} == {0.0}
    assert claim(schedule).epsilon is None


def noises(schedule: Schedule, place: int, seed: int) -> list[np.ndarray]:
    """Noise of every release of one question, in the answer's own unit, as the coordinator draws it."""
    made = []
    for plan in schedule.rounds[place::2]:
        size = plan.query.rows * plan.query.columns
        if plan.correlation is None:
            drawn = plan.sampler().sample(SeededRandom(seed, "noise", plan.round), size)
        else:
            correlation = plan.correlation

            def random(each: int, at: int = seed, correlation=correlation) -> SeededRandom:  # type: ignore[no-untyped-def]
                return SeededRandom(at, "noise", correlation.round_at(each))

            drawn = noise_at(correlation, correlation.place(plan.round), plan.integer_sensitivity, random, size)
        made.append(drawn.reshape(plan.query.rows, -1) / plan.scale)
    return made


@pytest.mark.parametrize("changes", [{"growth": 1.5}, {"answers": 2, "apart": 2}, {"answers": 1, "forgetting": 1.0}])
@pytest.mark.parametrize("void", [None, 3])
def test_a_pool_knows_how_much_noise_is_in_it(changes: dict[str, object], void: int | None) -> None:
    settings = replace(SETTINGS, titles=1000, **changes)  # type: ignore[arg-type]
    schedule = continual_schedule(settings)
    pool = Pool(schedule.rounds[1::2], settings.forgetting)
    for week, noise in enumerate(noises(schedule, 1, seed=4), start=1):
        answer = Answer(noise, pool.plans[week - 1].noise_scale, pool.plans[week - 1].noise_multiplier)
        pool = pool.add(None if week == void else answer)
        # 32,000 draws, standard error .004: the ratio is further from 1 than this once in 10^9 times.
        assert pool.total is not None
        assert float(np.std(pool.total)) / pool.spread == pytest.approx(1, abs=0.025)
    if settings.answers is not None and void is None:
        weights = np.array([settings.forgetting**age for age in range(WEEKS)][::-1])
        assert pool.spread == pytest.approx(spread_of(pool.plans, weights))


def answered(values: np.ndarray, noise_scale: float = 0.0) -> Answer:
    return Answer(values, noise_scale, noise_scale)


def test_a_cold_start_keeps_nothing_and_a_warm_one_adds_up() -> None:
    schedule = continual_schedule(replace(SETTINGS, epsilon=None, forgetting=1.0))
    warm = ContinualProgram.start(replace(SETTINGS, epsilon=None, forgetting=1.0), FEATURES, schedule)
    cold, draw = warm.forgetful(), np.random.default_rng(8)
    weeks = [(draw.random((TITLES, 1)) * 9, draw.normal(size=(TITLES, 32))) for _ in range(3)]
    for counts, followers in weeks:
        warm, cold = (
            each.absorb(Query.POPULARITY, answered(counts)).absorb(Query.SEQUENCE, answered(followers))
            for each in (warm, cold)
        )
    assert warm.model().popularity == pytest.approx(sum(counts for counts, _ in weeks)[:, 0])
    assert cold.model().popularity == pytest.approx(weeks[-1][0][:, 0])
    alone = ContinualProgram.start(SETTINGS, FEATURES, schedule)
    alone = alone.absorb(Query.POPULARITY, answered(weeks[-1][0])).absorb(Query.SEQUENCE, answered(weeks[-1][1]))
    assert cold.model().item_factors == pytest.approx(alone.model().item_factors)
    assert np.abs(warm.model().item_factors - cold.model().item_factors).max() > 1e-3


def test_void_weeks_only_pass_and_nothing_at_all_is_known_before_the_first_release() -> None:
    program = ContinualProgram.start(SETTINGS, FEATURES, continual_schedule(SETTINGS))
    for _ in range(2):
        program = program.absorb(Query.POPULARITY, None).absorb(Query.SEQUENCE, None)
    model = program.model()
    assert np.ptp(model.popularity) == 0
    assert not model.item_factors.any()
    counts = np.arange(1.0, TITLES + 1)[:, None] * 1e4
    after = program.absorb(Query.POPULARITY, answered(counts)).absorb(Query.SEQUENCE, None).model()
    assert list(np.argsort(after.popularity)) == list(range(TITLES))
    assert not after.item_factors.any()


def test_a_model_is_popularity_alone_until_what_follows_stands_out_of_the_noise() -> None:
    program = ContinualProgram.start(SETTINGS, FEATURES, continual_schedule(SETTINGS))
    draw = np.random.default_rng(8)
    assert program.followers is not None
    spread = program.followers.plans[0].noise_scale
    for counted, known in ((0.2, False), (0.8, True)):
        counts = np.full((TITLES, 1), counted * spread) + draw.random((TITLES, 1))
        after = program.absorb(Query.POPULARITY, answered(counts))
        after = after.absorb(Query.SEQUENCE, answered(1e3 * spread * draw.normal(size=(TITLES, 32))))
        assert after.model().item_factors.any() == known


def test_devices_are_asked_the_same_every_week_whatever_was_released() -> None:
    program = ContinualProgram.start(SETTINGS, FEATURES, continual_schedule(SETTINGS))
    before = program.ask(Query.SEQUENCE)
    draw = np.random.default_rng(3)
    after = program.absorb(Query.POPULARITY, answered(draw.random((TITLES, 1)), 1.0))
    after = after.absorb(Query.SEQUENCE, answered(draw.normal(size=(TITLES, 32)), 1.0))
    assert np.array_equal(before.tensors["embedding"], after.ask(Query.SEQUENCE).tensors["embedding"])
    assert {plan.noise for plan in continual_schedule(SETTINGS).rounds} == {Noise.ONCE}
