"""Devices that leave their share of the noise out: the plan stands the stated fraction, the auditor finds more.

False alarm of the auditor's test: one in a million (`sentinels.FALSE_ALARM`).
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from backrow.client.policy import DevicePolicy
from backrow.privacy.audit.sentinels import FALSE_ALARM, lower_tail_p, power
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from tests.builders import plan

SENTINELS = 4096
PLAN: RoundPlan = plan(
    rows=8, noise=Noise.SHARES, rounding=Rounding.DEVICE_STOCHASTIC, aggregation=Aggregation.SECURE, simulated=False,
    population=120, minimum=100, scale=2.0**12, omitted=0.1,
)  # fmt: skip
SURVIVORS = 120


def sentinels(added: int) -> list[int]:
    """What the rows that no device touches show of a sum in which so many shares are."""
    shares = PLAN.share_sampler().sample(SeededRandom(4, "left out"), SENTINELS * added)
    return list(map(int, shares.reshape(added, SENTINELS).sum(axis=0)))


def test_up_to_the_stated_fraction_the_noise_is_what_is_claimed() -> None:
    raw = sentinels(90)  # of the fewest, 100
    assert PLAN.share_sampler().noise_scale * math.sqrt(90) >= PLAN.integer_noise_scale
    assert lower_tail_p(raw, PLAN.integer_noise_scale) > FALSE_ALARM
    assert lower_tail_p(sentinels(SURVIVORS - 12), PLAN.integer_noise_scale_at(SURVIVORS)) > FALSE_ALARM


@pytest.mark.parametrize("added", [54, 80])
def test_more_than_the_stated_fraction_is_found_with_the_stated_power(added: int) -> None:
    claimed = PLAN.integer_noise_scale_at(SURVIVORS)
    assert power(SENTINELS, math.sqrt(added / 108)) > 0.999999
    assert lower_tail_p(sentinels(added), claimed) < FALSE_ALARM


def test_it_would_not_be_found_if_the_auditor_held_it_against_the_fewest() -> None:
    # 91 shares carry the claim. But of 120 survivors 29 have left theirs out, more than the 12 that were stated.
    raw = sentinels(91)
    assert lower_tail_p(raw, PLAN.integer_noise_scale) > FALSE_ALARM
    assert lower_tail_p(raw, PLAN.integer_noise_scale_at(SURVIVORS)) < FALSE_ALARM


def test_accomplices_that_all_stay_while_others_are_dropped_leave_less_noise_than_the_claim() -> None:
    # 5 % of 400 that are asked are 20; of the fewest survivors, 100, all 20 may be among them, not 5.
    stated = replace(PLAN, population=400, omitted=0.05)
    assert stated.share_sampler().noise_scale * math.sqrt(80) < 0.92 * stated.integer_noise_scale
    policy = DevicePolicy(adversaries=0.05)
    with pytest.raises(RefusedCallError, match=r"5\.00% of the fewest 100 devices leave theirs out"):
        policy.check(stated, 400)
    enough = replace(PLAN, population=400, omitted=0.2)
    policy.check(enough, 400)
    assert enough.share_sampler().noise_scale * math.sqrt(80) >= enough.integer_noise_scale
    assert np.isclose(enough.share_sampler().noise_scale / stated.share_sampler().noise_scale, math.sqrt(95 / 80))
