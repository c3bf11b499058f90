"""What a device refuses, whatever the coordinator signs."""

import dataclasses
import math
from typing import Any

import pytest

from backrow.client.policy import DevicePolicy
from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.accounting.gaussian import epsilon as epsilon_of_mu
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from tests.builders import plan

OPEN = DevicePolicy(accept_trusted=True)
MASKED = {"aggregation": Aggregation.SECURE, "noise": Noise.SHARES, "omitted": 0.1, "scale": 2.0**11}


def sound(**changes: object) -> RoundPlan:
    """A plan that a device accepts if its owner trusts the edge."""
    settings = {"minimum": 500, "population": 1000, "simulated": False, "rounding": Rounding.DEVICE_STOCHASTIC}
    made: RoundPlan = plan(**{**settings, **changes})  # type: ignore[arg-type]
    return made


def test_a_sound_plan_is_accepted() -> None:
    OPEN.check(sound(), 1000)


def test_an_answer_in_the_clear_is_refused_by_default() -> None:
    with pytest.raises(RefusedCallError, match="accept_trusted"):
        DevicePolicy().check(sound(), 1000)
    with pytest.raises(RefusedCallError, match="before its noise"):
        DevicePolicy().check(sound(aggregation=Aggregation.SECURE), 1000)
    DevicePolicy().check(sound(**MASKED), 1000)


def test_shares_of_the_noise_for_fewer_adversaries_than_assumed_are_refused() -> None:
    # 50 of 500 may leave theirs out. Of 1,000 that are asked 5 % are 50, and all of them may be among the 500.
    DevicePolicy(adversaries=0.05).check(sound(**MASKED), 1000)
    for policy, asked in ((DevicePolicy(adversaries=0.051), 1000), (DevicePolicy(adversaries=0.05), 1001)):
        with pytest.raises(RefusedCallError, match="leave theirs out"):
            policy.check(sound(**MASKED), asked)
    DevicePolicy(adversaries=0.1).check(sound(**MASKED), 500)
    with pytest.raises(ValueError, match="adversaries"):
        DevicePolicy(adversaries=1.0)


def test_simulated_noise_is_refused_by_default() -> None:
    with pytest.raises(RefusedCallError, match="simulated"):
        OPEN.check(sound(simulated=True), 1000)
    dataclasses.replace(OPEN, accept_simulated=True).check(sound(simulated=True), 1000)


def test_too_little_noise_is_refused() -> None:
    policy = dataclasses.replace(OPEN, largest_mu=0.5)
    assert policy.smallest_noise_multiplier == 2.0
    policy.check(sound(noise_multiplier=2.0), 1000)
    with pytest.raises(RefusedCallError, match="too little noise"):
        policy.check(sound(noise_multiplier=1.99), 1000)


def test_no_noise_at_all_is_refused_unless_the_host_says_infinity() -> None:
    with pytest.raises(RefusedCallError, match="too little noise"):
        dataclasses.replace(OPEN, largest_mu=1e300).check(sound(noise_multiplier=0.0), 1000)
    dataclasses.replace(OPEN, largest_mu=math.inf).check(sound(noise_multiplier=0.0), 1000)


def test_a_small_crowd_is_refused_whether_invited_or_released() -> None:
    policy = dataclasses.replace(OPEN, smallest_cohort=500)
    policy.check(sound(minimum=500), 500)
    for minimum, participants in ((499, 1000), (500, 499)):
        with pytest.raises(RefusedCallError, match="crowd of 500"):
            policy.check(sound(minimum=minimum), participants)


def test_unknown_queries_and_versions_are_refused() -> None:
    newer = sound()
    newer = dataclasses.replace(newer, query=dataclasses.replace(newer.query, version=2))
    with pytest.raises(RefusedCallError, match="version 2"):
        OPEN.check(newer, 1000)
    counts_only = dataclasses.replace(OPEN, known=frozenset({(Query.POPULARITY, 1)}))
    counts_only.check(sound(), 1000)
    with pytest.raises(RefusedCallError, match="gradient"):
        counts_only.check(sound(query=Query.GRADIENT), 1000)


def test_every_query_of_this_version_is_known() -> None:
    for query in Query:
        OPEN.check(sound(query=query), 1000)


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 2.0), (1.0, 4.4), (1.5, 7.1)])
def test_the_documented_epsilons_are_right(mu: float, epsilon: float) -> None:
    assert round(epsilon_of_mu(mu, 1e-5), 1) == epsilon


@pytest.mark.parametrize(("closed_form", "by_zcdp"), [(1, 1.1), (3, 3.3), (8, 8.6), (20, 21.4)])
def test_the_documented_limits_are_the_least_that_admit_a_run(closed_form: float, by_zcdp: float) -> None:
    for shares in ([1.0], [0.1, 0.9], [0.1, *[0.9 / 16] * 16]):
        needed = zcdp_epsilon(noise_multipliers(closed_form, 1e-5, shares), 1e-5)
        assert by_zcdp - 0.1 < needed <= by_zcdp
    assert zcdp_epsilon(noise_multipliers(8, 1e-5, [1.0]), 1e-5) < DevicePolicy().largest_epsilon


@pytest.mark.parametrize(
    "changes",
    [
        {"largest_mu": 0.0},
        {"largest_mu": math.nan},
        {"smallest_cohort": 0},
        {"largest_epsilon": 0.0},
        {"largest_epsilon": math.nan},
        {"query_epsilons": {Query.RECENT: 0.0}},
        {"delta": 0.0},
        {"delta": 1.0},
        {"period": 0},
        {"period": math.nan},
    ],
)
def test_a_policy_without_meaning_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DevicePolicy(**changes)


def test_a_policy_cannot_be_changed_once_made() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        OPEN.accept_trusted = False  # type: ignore[misc]
    limits = {Query.RECENT: 1.0}
    policy = DevicePolicy(query_epsilons=limits)
    limits[Query.RECENT] = 100.0
    assert policy.query_epsilons == {Query.RECENT: 1.0}
    with pytest.raises(TypeError):
        policy.query_epsilons[Query.RECENT] = 100.0  # type: ignore[index]
    assert dataclasses.replace(policy, delta=1e-6).query_epsilons == policy.query_epsilons
    assert len({policy, DevicePolicy()}) == 2, "a policy can be a key"
