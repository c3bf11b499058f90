"""Answers: integers whose norm the plan's sensitivity bounds; blocks that do not depend on who hosts them."""

import numpy as np
import pytest

from backrow.client.answers import answer_block, answer_device, split_blocks
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from tests.builders import gradient_call, histories

BLOCK = histories(12, 40)


@pytest.mark.parametrize("rounding", [Rounding.DEVICE_STOCHASTIC, Rounding.DEVICE_NEAREST])
def test_a_devices_answer_stays_within_the_integer_sensitivity(rounding: Rounding) -> None:
    call = gradient_call(rounding=rounding, scale=64.0)
    for history in BLOCK:
        values = answer_device(call, history, SeededRandom(1))
        assert np.linalg.norm(values.astype(float)) <= call.plan.integer_sensitivity


@pytest.mark.parametrize("changes", [{"rounding": Rounding.BLOCK_NEAREST}, {"noise": Noise.BLOCK}])
def test_a_device_refuses_plans_that_only_a_simulation_may_use(changes: dict) -> None:
    with pytest.raises(RefusedCallError, match="outside a simulation"):
        answer_device(gradient_call(**changes), BLOCK[1], SeededRandom(1))


def test_a_block_is_the_sum_of_its_devices_up_to_rounding() -> None:
    call = gradient_call()
    total = answer_block(call, BLOCK, SeededRandom(1))
    alone = [answer_block(call, [history], SeededRandom(1)) for history in BLOCK]
    assert total.dtype == np.int64
    assert np.abs(total - np.sum(alone, axis=0)).max() <= len(BLOCK)


def test_leaving_one_device_out_changes_the_block_by_at_most_the_sensitivity() -> None:
    call = gradient_call(scale=16.0)
    empty = histories(1, 40)[0]
    total = answer_block(call, BLOCK, SeededRandom(1))
    for position in range(len(BLOCK)):
        neighbour = [empty if p == position else history for p, history in enumerate(BLOCK)]
        change = total - answer_block(call, neighbour, SeededRandom(1))
        assert np.linalg.norm(change.astype(float)) <= call.plan.integer_sensitivity


def test_blocks_are_fixed_by_enrolment_slot() -> None:
    assert split_blocks([0, 5, 63, 64, 200]) == [(0, [0, 1, 2]), (1, [3]), (3, [4])]


def test_a_device_adds_its_share_of_the_noise_to_the_very_same_answer() -> None:
    changes = {"rounding": Rounding.DEVICE_NEAREST, "scale": 2.0**10, "noise_multiplier": 5.0}
    plain = answer_device(gradient_call(**changes), BLOCK[1], SeededRandom(1))
    call = gradient_call(**changes, noise=Noise.SHARES)
    shares = [answer_device(call, BLOCK[1], SeededRandom(seed)) - plain for seed in range(60)]
    expected = call.plan.share_sampler().noise_scale
    # 12,000 draws: the ratio lies within 1 +- .04 but for one time in a billion.
    assert abs(np.std(shares) / expected - 1) < 0.04
