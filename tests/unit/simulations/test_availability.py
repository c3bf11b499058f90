"""Reach by hour of the day, and answers that come too late."""

import numpy as np
import pytest

from backrow.simulations.availability import (
    LEAST,
    MOST,
    PEAK,
    hour_of,
    late,
    least_share,
    reachable,
    share_at,
)
from backrow.simulations.consents import Changes, Owners, fewest_present, in_reach, in_time
from backrow.simulations.pipeline import run_id
from backrow.simulations.scenario import Scenario
from tests.unit.simulations.small_data import two_tastes

DEVICES = 20_000


def test_four_times_as_many_are_there_at_the_best_hour_as_at_the_worst() -> None:
    shares = share_at(np.arange(0, 24, 0.25))
    assert (shares.max(), shares.min()) == pytest.approx((MOST, LEAST))
    assert np.arange(0, 24, 0.25)[shares.argmax()] == PEAK
    assert shares.max() == pytest.approx(4 * shares.min())


def test_rounds_begin_at_midnight_and_days_repeat() -> None:
    assert [hour_of(number, 6.0) for number in (1, 2, 5)] == [0.0, 6.0, 0.0]


@pytest.mark.parametrize("number", [1, 8, 13])
def test_as_many_are_within_reach_as_the_hour_says(number: int) -> None:
    # A share of 20,000 devices is within 4.5 standard deviations of its expectation but for 1e-5.
    expected = float(share_at(hour_of(number, 1.0) + np.arange(4)).mean())
    there = reachable(DEVICES, 3, number, 1.0).mean()
    assert abs(there - expected) < 4.5 * np.sqrt(0.25 / DEVICES)


def test_a_device_draws_for_itself_whoever_else_there_is() -> None:
    assert np.array_equal(reachable(500, 3, 4, 1.0), reachable(100, 3, 4, 1.0)[:100]) is False
    assert np.array_equal(reachable(500, 3, 4, 1.0)[:100], reachable(100, 3, 4, 1.0))
    assert np.array_equal(late(500, 3, 4, 0.2)[:100], late(100, 3, 4, 0.2))


def test_who_is_late_is_drawn_anew_in_every_round() -> None:
    one, two = late(DEVICES, 3, 1, 0.2), late(DEVICES, 3, 2, 0.2)
    assert one.mean() == pytest.approx(0.2, abs=0.015)
    assert (one & two).mean() == pytest.approx(0.04, abs=0.01)


def test_the_fewest_answers_of_a_day_are_counted_on_and_no_more() -> None:
    everybody = np.ones(DEVICES, dtype=bool)
    owners, changes = Owners(everybody, ~everybody, ~everybody), Changes(by_hour=True, stragglers=0.1)
    counts = [int((in_reach(DEVICES, 3, changes, n) & in_time(DEVICES, 3, changes, n)).sum()) for n in range(1, 25)]
    fewest = fewest_present(owners, changes, 24)
    assert 0.9 * min(counts) < fewest <= min(counts)
    assert least_share(24, 1.0) < least_share(1, 1.0)


def test_where_nobody_is_late_or_away_nothing_changes() -> None:
    assert in_time(9, 1, Changes(), 1).all()
    assert in_reach(9, 1, Changes(), 1).all()
    assert Changes(by_hour=True).any
    assert Changes(stragglers=0.1).any


def test_a_run_is_named_as_before_unless_its_devices_come_and_go_by_hour() -> None:
    def named(**cohort: object) -> str:
        return run_id(Scenario.model_validate({"data": {"name": "ml-100k"}, "cohort": cohort}), two_tastes())

    assert named() == named(round_hours=2.0)
    assert len({named(), named(availability="by-hour"), named(stragglers=0.1)}) == 3
