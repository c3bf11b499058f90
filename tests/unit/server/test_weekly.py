import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.accounting.claim import claim
from backrow.privacy.correlated import noise_at
from backrow.privacy.correlated_design import Matrix, cumulative, decayed, window
from backrow.privacy.errors import BookError, UnsafePlanError
from backrow.privacy.ledger.parts import Additions, Basis, Stamp
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire import BlindSum
from backrow.server.book import Book
from backrow.server.cohort import Cohort
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.weekly import estimates, weekly_schedule
from backrow.server.receipts import Reservation
from backrow.server.round import OpenRound, RoundSum
from backrow.server.settings import RunSettings

SETTINGS = RunSettings("run", "prior", 3.0, 1e-5, 20, 10, 2, 0, 0.0, sentinels=0)


def draws(round: int) -> RandomSource:
    return SeededRandom(3, "weeks", round)


def test_all_weeks_together_spend_the_budget_and_no_more() -> None:
    for weeks, answers, apart in ((1, 1, 1), (6, 2, 3)):
        for matrix in Matrix:
            schedule = weekly_schedule(SETTINGS, cumulative(weeks), weeks, answers, apart, matrix)
            assert 2.999 < (claim(schedule).epsilon or 0) <= 3
            assert {plan.noise for plan in schedule.rounds} == {Noise.CORRELATED}


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"epsilon": None}, "needs a budget"),
        ({"shares": True}, "coordinator sees"),
        ({"aggregation": Aggregation.SECURE}, "coordinator sees"),
        ({"simulated": False, "hosted": False}, "for simulations"),
    ],
)
def test_what_is_not_built_is_refused(change: dict[str, object], because: str) -> None:
    with pytest.raises(UnsafePlanError, match=because):
        weekly_schedule(replace(SETTINGS, **change), cumulative(4), 4, 1, 1)  # type: ignore[arg-type]


def test_the_grid_is_made_coarser_until_the_noise_can_be_sampled() -> None:
    fine = weekly_schedule(SETTINGS, cumulative(4), 4, 1, 1, Matrix.SQUARE_ROOT).rounds[0]
    coarse = weekly_schedule(replace(SETTINGS, epsilon=0.01), cumulative(4), 4, 1, 1, Matrix.SQUARE_ROOT).rounds[0]
    assert fine.scale > coarse.scale >= 2.0**10
    with pytest.raises(UnsafePlanError, match="too large for any grid"):
        weekly_schedule(replace(SETTINGS, epsilon=1e-5, delta=1e-10), cumulative(4), 4, 1, 1, Matrix.SQUARE_ROOT)


def test_no_round_of_a_sequence_is_added_outside_its_schedule(tmp_path: Path) -> None:
    schedule = weekly_schedule(SETTINGS, cumulative(4), 4, 1, 1, Matrix.SQUARE_ROOT)
    rules = LedgerPolicy(30.0, 1e-5, 2, Stamp.SIMULATED, additions=Additions.ZCDP)
    book = Book.begin(tmp_path, SigningKey(b"k" * 32), rules, schedule, 10, b"e" * 32, lambda: 1_700_000_000)
    with pytest.raises(BookError, match="used once"):
        book.reserve(schedule.rounds[2], basis=Basis.ADDITION)
    assert book.spent == 0
    book.reserve(schedule.rounds[0])
    book.close()


def test_a_closed_round_carries_the_noise_of_its_place() -> None:
    plan = weekly_schedule(SETTINGS, cumulative(4), 4, 1, 1, Matrix.SQUARE_ROOT).rounds[2]
    assert plan.correlation is not None
    opened = OpenRound.open(plan, Cohort({2: ("a", "b")}, {}), Reservation(3, 8))
    answer = np.arange(20, dtype=np.int64)[:, None]
    closed = opened.add(2, BlindSum("run", 3, plan.query.query, 2, answer)).close(draws(3), draws)
    assert isinstance(closed, RoundSum)
    noise = noise_at(plan.correlation, 3, plan.integer_sensitivity, draws, 20)
    assert np.array_equal(closed.noisy, answer + noise[:, None])
    assert closed.spread == pytest.approx(plan.noise_scale)
    with pytest.raises(ValueError, match="earlier"):
        opened.add(2, BlindSum("run", 3, plan.query.query, 2, answer)).close(draws(3))


def test_estimates_of_noiseless_sums_are_the_workload() -> None:
    sums = {week: np.full((20, 1), float(week)) for week in range(1, 7)}
    for workload, last in ((cumulative(6), 21.0), (window(2), 11.0), (decayed(0.5, 6), 10.03125)):
        schedule = weekly_schedule(SETTINGS, workload, 6, 2, 3, Matrix.SQUARE_ROOT)
        told = estimates(schedule, workload, sums)
        assert [each.week for each in told] == [1, 2, 3, 4, 5, 6]
        assert told[-1].values == pytest.approx(np.full(20, last))
        assert all(each.missing == () for each in told)


@pytest.mark.parametrize("missing", [(), (2,), (1, 4)])
def test_error_bars_are_those_of_the_noise(missing: tuple[int, ...]) -> None:
    # By linearity: the noise of an estimate is the same sum of the draws' own noises. 4,000 titles; the tails at 1e-6.
    many = replace(SETTINGS, titles=4000)
    for workload in (cumulative(6), window(3)):
        schedule = weekly_schedule(many, workload, 6, 2, 3, Matrix.SQUARE_ROOT)
        noises = {}
        for plan in schedule.rounds:
            assert plan.correlation is not None
            noise = noise_at(plan.correlation, plan.round, plan.integer_sensitivity, draws, 4000)
            noises[plan.round] = noise[:, None] / plan.scale
        told = estimates(schedule, workload, {week: sums for week, sums in noises.items() if week not in missing})
        for each in told:
            if each.spread == 0:
                assert not each.values.any()
                continue
            ratio = float(np.mean(each.values**2)) / each.spread**2
            assert abs(ratio - 1) < 4.9 * math.sqrt(2 / 4000)
            low, high = each.interval(0.95)
            assert abs(np.mean((low < 0) & (high > 0)) - 0.95) < 4.9 * math.sqrt(0.95 * 0.05 / 4000)
        asked = 6 if workload.name == "cumulative" else 3
        assert told[-1].missing == tuple(week for week in missing if week > 6 - asked)


def test_independent_error_bars_would_be_noticed() -> None:
    schedule = weekly_schedule(replace(SETTINGS, titles=4000), cumulative(6), 6, 2, 3)
    naive = math.hypot(*(plan.noise_scale for plan in schedule.rounds))
    told = estimates(schedule, cumulative(6), {week: np.zeros((4000, 1)) for week in range(1, 7)})
    assert abs(naive**2 / told[-1].spread ** 2 - 1) > 4.9 * math.sqrt(2 / 4000)


def test_weeks_that_are_not_scheduled_and_odd_confidences_are_refused() -> None:
    schedule = weekly_schedule(SETTINGS, cumulative(2), 2, 1, 1)
    with pytest.raises(ValueError, match="week 3"):
        estimates(schedule, cumulative(2), {3: np.zeros((20, 1))})
    (told,) = estimates(schedule, cumulative(2), {1: np.zeros((20, 1))})
    with pytest.raises(ValueError, match="confidence"):
        told.interval(1.0)
