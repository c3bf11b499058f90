"""Plans, schedules, queries and claims: what contradicts itself is refused, the rest is derived."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.queries import Query, QuerySchema
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.shares import secure_scale
from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit, round_up
from tests.builders import plan


@pytest.mark.parametrize("rounding", list(Rounding))
def test_sampler_noise_scale_and_event_agree(rounding: Rounding) -> None:
    made = plan(Query.SUBSPACE, 40, 3, clip_norm=0.05, noise_multiplier=7.0, rounding=rounding)
    event = made.event()
    assert isinstance(event, GaussianRelease)
    assert event.dimension == 120
    assert made.integer_sensitivity == integer_sensitivity(0.05, 120, 2.0**20, rounding)
    assert made.sampler().noise_scale / made.integer_sensitivity == pytest.approx(event.noise_multiplier, rel=1e-15)
    assert made.noise_scale == made.sampler().noise_scale / 2.0**20


def test_the_noise_that_is_sampled_has_the_planned_scale_in_the_answers_unit() -> None:
    made = plan(clip_norm=3.0, noise_multiplier=5.0)
    drawn = made.sampler().sample(SeededRandom(1), 100_000) / made.scale
    assert np.std(drawn) == pytest.approx(15.0, rel=0.02)


def test_noise_of_opacus_is_scaled_by_the_clip_norm_alone() -> None:
    assert plan(clip_norm=3.0, noise_multiplier=5.0, noise=Noise.BLOCK).noise_scale == 15.0


def in_shares(**changes: Any) -> RoundPlan:
    """A secure plan with noise in shares."""
    usual: dict[str, Any] = {
        "noise": Noise.SHARES,
        "rounding": Rounding.DEVICE_STOCHASTIC,
        "aggregation": Aggregation.SECURE,
        "scale": 2.0**11,
        "minimum": 80,
        "omitted": 0.1,
    }
    return plan(**{**usual, **changes})


@pytest.mark.parametrize("rounding", [Rounding.DEVICE_STOCHASTIC, Rounding.DEVICE_NEAREST])
@pytest.mark.parametrize("aggregation", list(Aggregation))
def test_the_fewest_honest_survivors_shares_carry_the_claimed_noise(
    rounding: Rounding, aggregation: Aggregation
) -> None:
    made = in_shares(rounding=rounding, aggregation=aggregation)
    share = made.share_sampler().noise_scale
    assert made.event() == GaussianRelease(2.0, dimension=6)
    assert made.noise_scale == made.integer_noise_scale / made.scale
    assert 72 * share**2 - 4 == pytest.approx(made.integer_noise_scale**2, rel=1e-9)
    assert 72 * share**2 - 4 > made.integer_noise_scale**2


def test_the_noise_grows_with_the_survivors_and_never_counts_the_omitted() -> None:
    made = in_shares()
    share = made.share_sampler().noise_scale
    assert [made.integer_noise_scale_at(n) / share for n in (0, 1, 10, 80, 100)] == pytest.approx(
        [0, 1, 3, math.sqrt(72), math.sqrt(90)]
    )
    assert made.integer_noise_scale_at(80) > made.integer_noise_scale
    with pytest.raises(ValueError, match="survivors"):
        made.integer_noise_scale_at(-1)


@pytest.mark.parametrize("noise", [Noise.ONCE, Noise.BLOCK])
def test_other_noise_does_not_depend_on_the_survivors(noise: Noise) -> None:
    made = plan(noise=noise, clip_norm=3.0)
    assert made.integer_noise_scale_at(7) == made.noise_scale * made.scale == made.integer_noise_scale_at(100)


def test_shares_without_noise_are_zero_and_claim_no_privacy() -> None:
    made = in_shares(noise_multiplier=0.0)
    assert made.event() == NoPrivacy()
    assert not made.share_sampler().sample(SeededRandom(1), 9).any()


def test_a_secure_scale_makes_a_plan_that_fits_the_ring_and_twice_the_answers_do_not() -> None:
    numbers = {"population": 100_000, "minimum": 80_000, "noise_multiplier": 5.0}
    scale = secure_scale(1.0, 6, 5.0, 100_000, 80_000, 0.1)
    assert in_shares(**numbers, scale=scale).scale == scale
    with pytest.raises(UnsafePlanError, match="wrap around"):
        in_shares(**numbers, scale=scale, clip_norm=4.0)
    assert in_shares(**numbers, scale=scale, clip_norm=4.0, aggregation=Aggregation.TRUSTED).population == 100_000


def test_a_plan_without_noise_claims_no_privacy() -> None:
    made = plan(noise_multiplier=0.0)
    assert made.event() == NoPrivacy()
    assert not made.sampler().sample(SeededRandom(1), 9).any()


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan().noise_multiplier = 0.1  # type: ignore[misc]


SECURE: dict[str, Any] = {"aggregation": Aggregation.SECURE, "rounding": Rounding.DEVICE_STOCHASTIC}
SHARES: dict[str, Any] = {"noise": Noise.SHARES, "rounding": Rounding.DEVICE_STOCHASTIC, "scale": 2.0**10}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"number": 0}, "counted from 1"),
        ({"noise_multiplier": -1.0}, "finite and >= 0"),
        ({"noise_multiplier": math.nan}, "finite and >= 0"),
        ({"noise_multiplier": math.inf}, "finite and >= 0"),
        ({"minimum": 0}, "between 1 and the population"),
        ({"minimum": 101}, "between 1 and the population"),
        ({"scale": 3.0}, "power of two"),
        ({"scale": 0.0}, "power of two"),
        ({"scale": math.nan}, "power of two"),
        ({"noise": Noise.BLOCK, "simulated": False}, "mark the plan simulated"),
        ({"scale": 2.0**60}, "lower the scale"),
        ({"population": 2**45, "scale": 2.0**20}, "lower the scale"),
        ({"scale": 2.0**-6, "noise_multiplier": 0.1}, "change the scale"),
        ({"noise_multiplier": 1e10}, "change the scale"),
        ({"omitted": 0.1}, "devices add no shares"),
        ({"aggregation": Aggregation.SECURE}, "each device has rounded itself"),
        ({**SECURE, "noise": Noise.BLOCK}, "no block may be added before"),
        ({**SECURE, "scale": 2.0**25}, "wrap around at 2.15e"),
        ({**SECURE, "population": 2**22, "scale": 2.0**9}, "wrap around at 2.15e"),
        ({**SECURE, "scale": 2.0**23, "noise_multiplier": 5.0}, "wrap around at 2.15e"),
        ({"noise": Noise.SHARES}, "each device has rounded itself"),
        ({**SHARES, "omitted": 1.0}, "fraction in"),
        ({**SHARES, "omitted": -0.1}, "fraction in"),
        ({**SHARES, "omitted": math.nan}, "fraction in"),
        ({**SHARES, "noise_multiplier": 1e-4}, "raise the scale"),
        ({**SHARES, "noise_multiplier": 100.0}, "lower the scale"),
        ({**SHARES, "population": 2**33, "minimum": 2**32}, "bounded for up to"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UnsafePlanError, match=reason):
        plan(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "columns", "clip_norm"), [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, math.nan)])
def test_a_query_without_shape_or_bound_is_refused(rows: int, columns: int, clip_norm: float) -> None:
    with pytest.raises(ValueError, match=r"at least one row|positive number"):
        QuerySchema(Query.POPULARITY, rows, columns, clip_norm)


def test_a_schedule_is_simulated_if_any_round_is() -> None:
    production, simulated = plan(simulated=False), plan(number=2, simulated=True)
    assert not Schedule("run", (production,), 3.0, 1e-5).simulated
    assert Schedule("run", (production, simulated), 3.0, 1e-5).simulated


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, 2.0, math.nan])
def test_a_schedule_needs_a_delta_between_0_and_1(delta: float) -> None:
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        Schedule("run", (plan(),), 3.0, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_a_schedule_needs_a_positive_epsilon(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon must be a positive number"):
        Schedule("run", (plan(),), epsilon, 1e-5)


def test_a_schedule_numbers_its_rounds_in_order() -> None:
    for numbers in ((2,), (1, 1), (1, 3), (2, 1)):
        with pytest.raises(UnsafePlanError, match="numbered 1, 2, 3"):
            Schedule("run", tuple(plan(number=number) for number in numbers), 3.0, 1e-5)


def test_a_schedule_holds_rounds_of_its_own_run_only() -> None:
    with pytest.raises(UnsafePlanError, match="belongs to its run"):
        Schedule("run", (plan(run_id="another"),), 3.0, 1e-5)


def claim(epsilon: float | None, simulated: bool = False) -> str:
    return str(PrivacyClaim(epsilon, 1e-5, PrivacyUnit.DEVICE, Adjacency.ZERO_OUT, 13, simulated))


def test_an_epsilon_is_never_printed_alone() -> None:
    assert claim(3.0) == "epsilon 3 (delta 1e-05, unit device, adjacency zero-out, 13 releases)"
    assert claim(3.0, simulated=True).endswith("13 releases, simulated)")


def test_no_privacy_is_called_no_privacy() -> None:
    assert claim(None) == "no privacy claimed (13 releases)"


@pytest.mark.parametrize(
    ("epsilon", "printed"),
    [
        (3.0, "3"),
        (2.99999997, "3"),
        (3.0001, "3.01"),
        (8.041, "8.05"),
        (0.012341, "0.0124"),
        (0.0, "0"),
        (12345.0, "12400"),
    ],
)
def test_an_epsilon_is_printed_rounded_up(epsilon: float, printed: str) -> None:
    assert float(round_up(epsilon)) == float(printed)
    assert float(round_up(epsilon)) >= epsilon
