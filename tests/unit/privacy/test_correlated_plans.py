import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from backrow.client.policy import DevicePolicy
from backrow.privacy.accounting.claim import claim, claim_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.accounting.sequences import events_of
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.order import check_order
from backrow.privacy.audit.sequences import alone, increments, multipliers, squared
from backrow.privacy.audit.story import Story
from backrow.privacy.correlated import Correlation
from backrow.privacy.errors import RefusedCallError, UnsafePlanError
from backrow.privacy.ledger.entries import PolicyEntry, ReserveEntry, ScheduleEntry
from backrow.privacy.ledger.fields import from_json, to_json
from backrow.privacy.ledger.parts import Additions, Basis, Mechanism, Purpose, Spent, Stamp
from backrow.privacy.ledger.releases import mechanism_of
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule
from backrow.privacy.quantise import Rounding
from backrow.privacy.wire_plan import plan_in, plan_out
from tests.builders import plan

WEEKS = Correlation((16, 8, 6), bits=4, horizon=5, participations=3, separation=2, noise_multiplier=2.0, first=2)


def week(round: int, **changes: object) -> RoundPlan:
    made = replace(plan(number=round), noise=Noise.ONCE)
    given = {"noise": Noise.CORRELATED, "correlation": WEEKS, "noise_multiplier": WEEKS.release_spread(round - 1)}
    return replace(made, **{**given, **changes})  # type: ignore[arg-type]


ROUNDS = (plan(number=1, noise_multiplier=7.0), *(week(round) for round in range(2, 7)))
SCHEDULE = Schedule("run", ROUNDS, 4.0, 1e-5)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"noise_multiplier": 9.0}, "by its sequence"),
        ({"simulated": False}, "simulations"),
        ({"correlation": None}, "names the sequence"),
        ({"noise": Noise.ONCE}, "names the sequence"),
        (
            {"aggregation": Aggregation.SECURE, "rounding": Rounding.DEVICE_NEAREST, "scale": 2.0**10},
            "coordinator sees",
        ),
    ],
)
def test_a_plan_that_contradicts_its_sequence_is_refused(change: dict[str, object], because: str) -> None:
    with pytest.raises(UnsafePlanError, match=because):
        week(3, **change)


@pytest.mark.parametrize(
    "rounds",
    [
        ROUNDS[:-1],  # cut off
        (*ROUNDS[:3], replace(plan(number=4), noise_multiplier=2.0), *ROUNDS[4:]),  # one is independent
        (*ROUNDS[:3], week(4, scale=2.0**19), *ROUNDS[4:]),  # another grid, another sensitivity
    ],
)
def test_a_sequence_that_is_not_committed_whole_is_refused(rounds: tuple[RoundPlan, ...]) -> None:
    with pytest.raises(UnsafePlanError, match="whole"):
        Schedule("run", rounds, 4.0, 1e-5)


def test_a_round_beyond_its_sequence_is_refused() -> None:
    with pytest.raises(UnsafePlanError, match="not one of"):
        replace(week(6), round=7)


def test_two_sequences_over_the_same_rounds_are_refused() -> None:
    other = replace(WEEKS, participations=2)
    mixed = week(4, correlation=other, noise_multiplier=other.release_spread(3))
    with pytest.raises(UnsafePlanError, match="whole"):
        Schedule("run", (*ROUNDS[:3], mixed, *ROUNDS[4:]), 4.0, 1e-5)


def test_plans_survive_wire_and_ledger() -> None:
    for made in ROUNDS:
        assert plan_in(plan_out(made)) == made
        assert from_json(RoundPlan, to_json(made)) == made
    assert "correlation" not in plan_out(ROUNDS[0])
    assert "correlation" not in to_json(ROUNDS[0])
    entry = ScheduleEntry(SCHEDULE, (Purpose.TRAIN,) * 6)
    assert from_json(ScheduleEntry, to_json(entry)) == entry
    assert mechanism_of(ROUNDS[1]) is Mechanism.CORRELATED_GAUSSIAN


def interleaved(first: int, **changes: object) -> tuple[RoundPlan, ...]:
    made = replace(WEEKS, first=first, stride=2)
    rounds = [replace(week(2), round=made.round_at(place), correlation=made,
                      noise_multiplier=made.release_spread(place)) for place in range(1, 6)]  # fmt: skip
    return tuple(replace(each, **changes) for each in rounds)  # type: ignore[arg-type]


def test_two_sequences_may_take_turns_and_are_two_events() -> None:
    rounds = sorted((*interleaved(1), *interleaved(2, scale=2.0**19)), key=lambda plan: plan.round)
    schedule = Schedule("run", tuple(rounds), 4.0, 1e-5)
    assert events_of(rounds) == [GaussianRelease(1 / WEEKS.mu(), 5 * 6)] * 2
    assert squared(rounds) == pytest.approx(2 * WEEKS.mu() ** 2, rel=1e-12)
    for count in range(1, 11):
        upto = math.fsum(event.mu**2 for event in events_of(rounds[:count]) if isinstance(event, GaussianRelease))
        assert np.sum(increments(rounds)[:count]) == pytest.approx(upto, rel=1e-12)
    for made in rounds:
        assert plan_in(plan_out(made)) == made
        assert from_json(RoundPlan, to_json(made)) == made
    assert claim(schedule).releases == 10
    with pytest.raises(UnsafePlanError, match="whole"):
        Schedule("run", tuple(rounds[:-1]), 4.0, 1e-5)
    with pytest.raises(UnsafePlanError, match="whole"):
        Schedule("run", (*rounds[:4], replace(rounds[4], scale=2.0**18), *rounds[5:]), 4.0, 1e-5)


def test_ledgers_of_sequences_without_gaps_are_written_as_before() -> None:
    written = to_json(ROUNDS[1])["correlation"]
    assert isinstance(written, dict)
    assert "stride" not in written
    assert plan_out(ROUNDS[1])["correlation"] == [[16, 8, 6], 4, 5, 3, 2, 2.0, 2]


def test_a_sequence_is_one_event_and_no_release_of_it_is_counted_by_itself() -> None:
    events = events_of(ROUNDS)
    assert events == [GaussianRelease(7.0, 6), GaussianRelease(1 / WEEKS.mu(), 5 * 6)]
    assert WEEKS.mu() == 0.5
    with pytest.raises(UnsafePlanError, match="sequence"):
        ROUNDS[1].event()


def test_any_part_of_a_sequence_costs_what_all_of_it_costs_up_to_its_last_release() -> None:
    for count in range(1, 6):
        for chosen in combinations(ROUNDS[1:], count):
            (event,) = events_of(chosen)
            assert isinstance(event, GaussianRelease)
            assert event.mu == pytest.approx(WEEKS.mu(chosen[-1].round - 1), rel=1e-15)


def test_the_auditor_counts_the_same_from_other_formulas() -> None:
    total = math.fsum(event.mu**2 for event in events_of(ROUNDS) if isinstance(event, GaussianRelease))
    assert squared(ROUNDS) == pytest.approx(total, rel=1e-12)
    assert multipliers(ROUNDS) == pytest.approx((7.0, 2.0), rel=1e-12)
    for count in range(1, 7):
        upto = math.fsum(event.mu**2 for event in events_of(ROUNDS[:count]) if isinstance(event, GaussianRelease))
        assert np.sum(increments(ROUNDS)[:count]) == pytest.approx(upto, rel=1e-12)
        assert alone(ROUNDS)[count - 1] == pytest.approx(squared(ROUNDS[count - 1 : count]), rel=1e-12)
    # Counted apart, a sequence that is split among purposes is counted in full in each.
    split = increments(ROUNDS, ["a", "a", "b", "a", "b", "a"])
    assert split[[0, 1, 3, 5]].sum() == pytest.approx(squared([ROUNDS[0], *ROUNDS[1:]]), rel=1e-12)
    assert split[[2, 4]].sum() == pytest.approx(squared([ROUNDS[4]]), rel=1e-12)


def test_the_claim_covers_the_sequence_once() -> None:
    whole = claim(SCHEDULE)
    assert whole.releases == 6
    independent = Schedule("run", (ROUNDS[0], replace(plan(number=2), noise_multiplier=2.0)), 4.0, 1e-5)
    assert whole.epsilon == pytest.approx(claim(independent).epsilon, rel=1e-6)
    parts = [claim_of(ROUNDS[:count], SCHEDULE).epsilon for count in range(1, 7)]
    assert parts == sorted(parts)  # type: ignore[type-var]


def test_a_device_refuses_a_bound_that_it_does_not_keep() -> None:
    lenient = DevicePolicy(largest_mu=10, smallest_cohort=1, accept_trusted=True, accept_simulated=True)
    lenient.check(ROUNDS[0], 100)
    with pytest.raises(RefusedCallError, match="keeps no count"):
        lenient.check(ROUNDS[1], 100)


def test_the_auditor_names_a_round_of_a_sequence_that_was_added() -> None:
    policy = PolicyEntry(
        bytes(32), bytes(32), Stamp.SIMULATED, SCHEDULE.unit, SCHEDULE.adjacency, 9.0, 1e-5, (), Additions.ZCDP, 2
    )
    for round, named in ((ROUNDS[0], False), (ROUNDS[1], True)):
        found, story = Findings(), Story(policy=policy)
        entry = ReserveEntry(Purpose.TRENDS, round, Basis.ADDITION, Spent(1.0, 1e-5, 1))
        check_order(SignedEntry("backrow/run", 4, 1_700_000_000, entry, bytes(64)), 4, story, found)
        assert (Fault.ADDITION in found) is named
