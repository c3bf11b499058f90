"""No device answers more often than the schedule counts on, and none after it has left or opted out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import DataError
from backrow.simulations.churn import DAY, NEVER, Lives, draw_lives
from backrow.simulations.continual_scenario import ChurnSection
from backrow.simulations.datasets.dataset import Interactions

WEEKS, DEVICES, TITLES = 8, 12, 30


def rows(seed: int) -> Interactions:
    draw = np.random.default_rng(seed)
    user = np.repeat(np.arange(DEVICES), 9).astype(np.int32)
    title = np.concatenate([draw.permutation(TITLES)[:9] for _ in range(DEVICES)]).astype(np.int32)
    when = draw.integers(0, (WEEKS + 2) * 7 * DAY, len(user))
    when[0], when[1] = 0, (WEEKS + 2) * 7 * DAY - 1
    return Interactions(user, title, when.astype(np.int64), None)


churns = st.builds(
    ChurnSection,
    histories=st.sampled_from(["timestamps", "paced"]),
    founders=st.just(0.9),
    pace=st.floats(0.5, 4),
    uninstalls=st.floats(0, 0.3),
    opt_outs=st.floats(0, 0.3),
    idle=st.none() | st.integers(1, 3),
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), churns, st.none() | st.integers(1, WEEKS), st.integers(1, WEEKS))
def test_no_device_answers_more_often_than_it_may_nor_when_it_is_gone(
    seed: int, churn: ChurnSection, answers: int | None, apart: int
) -> None:
    try:
        lives = draw_lives(rows(seed), DEVICES, WEEKS, 7, churn, seed)
    except DataError:
        return  # so much churn that in some week nobody is there: refused
    spoken = lives.answering(WEEKS, answers, apart)
    for slot in range(DEVICES):
        weeks = np.flatnonzero(spoken[:, slot]) + 1
        assert answers is None or len(weeks) <= answers
        assert answers is None or not len(weeks) or np.diff(weeks).min(initial=WEEKS) >= apart
        assert all(lives.joined[slot] <= week < min(lives.left[slot], lives.opted_out[slot]) for week in weeks)
    for week in range(1, WEEKS + 1):
        population = lives.population(week, spoken[week - 1])
        held = np.diff(population.starts)
        assert np.array_equal(held > 0, spoken[week - 1])
        assert np.array_equal(held[held > 0], lives.watched(week)[held > 0])
        assert np.array_equal(population.granted, lives.contributing(week))


def test_a_population_holds_what_was_watched_by_then_in_the_order_of_watching() -> None:
    seen = rows(3)
    lives = draw_lives(seen, DEVICES, WEEKS, 7, ChurnSection(), 1)
    population = lives.population(4, lives.answering(WEEKS, None, 1)[3])
    for slot in range(DEVICES):
        mine = np.flatnonzero((seen.user == slot) & (seen.timestamp < 4 * 7 * DAY))
        wanted = seen.title[mine[np.argsort(seen.timestamp[mine])]]
        history = population.history(slot)
        assert history.order is not None
        assert history.titles[history.order].tolist() == wanted.tolist()


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**6), st.integers(0, DEVICES - 1))
def test_what_one_device_watches_changes_nobody_elses_life(seed: int, slot: int) -> None:
    churn = ChurnSection(histories="paced", founders=0.9, uninstalls=0.03, opt_outs=0.03)
    seen = rows(seed)
    others = seen.take(seen.user != slot)
    with_her, without = (draw_lives(each, DEVICES, WEEKS, 7, churn, seed) for each in (seen, others))
    for name in ("joined", "left", "opted_out"):
        assert np.array_equal(np.delete(getattr(with_her, name), slot), np.delete(getattr(without, name), slot))


def test_lives_can_be_counted_from_a_later_week() -> None:
    lives = draw_lives(rows(5), DEVICES, WEEKS, 7, ChurnSection(uninstalls=0.1, opt_outs=0.1), 2)
    later = lives.from_week(4)
    for week in range(1, 4):
        for name in ("watched", "there", "contributing"):
            assert np.array_equal(getattr(later, name)(week), getattr(lives, name)(week + 3))
    assert np.array_equal(later.left == NEVER, lives.left == NEVER)


def test_a_device_out_of_reach_is_back_when_it_watches_again() -> None:
    lives = Lives(
        np.array([0, 2]), np.array([1, 2], dtype=np.int32), np.array([1, 5]), np.array([1]), np.array([NEVER]),
        np.array([NEVER]), idle=2,
    )  # fmt: skip
    assert [bool(lives.contributing(week)[0]) for week in range(1, 8)] == [True, True, False, False, True, True, False]
    assert all(lives.there(week)[0] for week in range(1, 8))


def test_nobody_to_ask_is_refused_before_anything_runs() -> None:
    with pytest.raises(DataError, match="nobody contributes in week"):
        draw_lives(rows(1), DEVICES, WEEKS, 7, ChurnSection(uninstalls=0.99), 1)
    with pytest.raises(DataError, match="spans 10 weeks"):
        draw_lives(rows(1), DEVICES, 20, 7, ChurnSection(), 1)
