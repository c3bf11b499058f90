"""From budgets to noise multipliers: never above the budget, hardly below."""

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.accounting.calibration import (
    RESERVED_COORDINATES,
    epsilon_of,
    noise_multipliers,
    rounds_affordable,
)

DELTA = 1e-5


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.2, 20),
    st.floats(-10, -1),
    st.lists(st.floats(0.01, 1), min_size=1, max_size=30),
)
def test_the_budget_is_spent_to_a_millionth_and_never_exceeded(
    epsilon: float, power: float, parts: list[float]
) -> None:
    delta, shares = 10**power, [part / math.fsum(parts) for part in parts]
    spent = epsilon_of(noise_multipliers(epsilon, delta, shares), delta, RESERVED_COORDINATES)
    assert epsilon * (1 - 1e-6) < spent <= epsilon


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 20), st.floats(-10, -1), st.integers(1, 10**9))
def test_the_budget_is_never_exceeded_whatever_the_number_of_coordinates(
    epsilon: float, power: float, coordinates: int
) -> None:
    multipliers = noise_multipliers(epsilon, 10**power, (0.3, 0.7), coordinates)
    assert epsilon / 2 < epsilon_of(multipliers, 10**power, coordinates) <= epsilon


@pytest.mark.parametrize("epsilon", [0.001, 0.01, 0.1, 1.0, 8.0])
def test_the_exact_mechanism_costs_hardly_less_than_the_budget(epsilon: float) -> None:
    exact = epsilon_of(noise_multipliers(epsilon, DELTA, (0.1, 0.9), coordinates=3706 * 65), DELTA)
    assert epsilon - 1e-8 - 1e-6 * epsilon < exact <= epsilon


def test_a_share_is_a_share_of_mu_squared() -> None:
    first, second = noise_multipliers(3.0, DELTA, (0.1, 0.9))
    assert (1 / first**2) / (1 / first**2 + 1 / second**2) == pytest.approx(0.1, rel=1e-12)


def test_more_rounds_need_more_noise_each() -> None:
    one, many = noise_multipliers(3.0, DELTA, (1.0,)), noise_multipliers(3.0, DELTA, (1 / 16,) * 16)
    assert many[0] == pytest.approx(4 * one[0], rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_that_is_no_budget_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="without privacy leave it out"):
        noise_multipliers(epsilon, DELTA, (1.0,))
    with pytest.raises(ValueError, match="without privacy leave it out"):
        rounds_affordable(epsilon, DELTA, 5.0)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="choose less than 1 / devices"):
        noise_multipliers(3.0, delta, (1.0,))
    with pytest.raises(ValueError, match="choose less than 1 / devices"):
        epsilon_of([5.0], delta)


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (0.5, 0.6), (1.0, 0.0), (1.5, -0.5), (math.nan,)])
def test_shares_that_do_not_divide_the_budget_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        noise_multipliers(3.0, DELTA, shares)


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-9, 1e-5), (60.0, 1e-5), (40.0, 1e-12)])
def test_a_budget_that_the_sampler_cannot_support_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match="choose another epsilon"):
        noise_multipliers(epsilon, delta, (1.0,))


@pytest.mark.parametrize("multiplier", [0.0, -2.0, math.nan, math.inf])
def test_a_release_without_noise_has_no_epsilon(multiplier: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        epsilon_of([5.0, multiplier], DELTA)


def test_nothing_released_costs_nothing() -> None:
    assert epsilon_of([], DELTA) == 0.0
    assert epsilon_of([], DELTA, coordinates=5) == 0.0


def test_the_samplers_error_is_added_per_coordinate() -> None:
    exact = epsilon_of([2.0], DELTA)
    few, many = (epsilon_of([2.0], DELTA, coordinates) for coordinates in (10**6, 10**9))
    assert exact < few < many
    assert many - exact == pytest.approx(2e9 * 2.0**-47, rel=0.1)
    with pytest.raises(ValueError, match="coordinates must be"):
        epsilon_of([2.0], DELTA, -1)


def test_an_epsilon_beyond_the_samplers_reach_is_infinite() -> None:
    assert epsilon_of([0.02], DELTA) < math.inf
    assert epsilon_of([0.02], DELTA, coordinates=1) == math.inf


@pytest.mark.parametrize("multiplier", [2.0, 5.0, 10.0, 47.3])
@pytest.mark.parametrize("spent", [(), (6.0,), (6.0, 9.0)])
def test_one_round_more_than_affordable_would_exceed_the_budget(multiplier: float, spent: tuple[float, ...]) -> None:
    rounds = rounds_affordable(3.0, DELTA, multiplier, spent)
    assert rounds > 0
    assert epsilon_of([*spent, *[multiplier] * rounds], DELTA, RESERVED_COORDINATES) <= 3.0
    assert epsilon_of([*spent, *[multiplier] * (rounds + 1)], DELTA, RESERVED_COORDINATES) > 3.0


def test_no_round_is_affordable_when_the_budget_is_spent() -> None:
    spent = noise_multipliers(3.0, DELTA, (1.0,))
    assert rounds_affordable(3.0, DELTA, 20.0, spent) == 0
    assert rounds_affordable(3.0, DELTA, 0.5) == 0


def test_a_calibrated_round_is_affordable_exactly_as_often_as_it_was_calibrated_for() -> None:
    multiplier = noise_multipliers(3.0, DELTA, (1 / 12,) * 12)[0]
    assert rounds_affordable(3.0, DELTA, multiplier) == 12


def test_a_device_computes_an_epsilon_without_scipy_or_an_accounting_library() -> None:
    code = (
        "import sys; import backrow.privacy.plan; "
        "from backrow.privacy.accounting.calibration import epsilon_of; "
        "assert 4.3 < epsilon_of([1.0], 1e-5, 1000) < 4.4; "
        "heavy = {'scipy', 'dp_accounting', 'mpmath', 'pandas', 'torch'}; "
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
