"""Three accountants, their agreement, and the claim that follows."""

import math

import mpmath
import pytest
from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian

from backrow.privacy.accounting import gaussian
from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.accounting.claim import Accounted, account, check_agreement, claim, claim_of
from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.accounting.rdp import rdp_epsilon
from backrow.privacy.errors import AccountantDisagreementError, BudgetExhaustedError
from backrow.privacy.plan import RoundPlan, Schedule
from tests.builders import plan

DELTA = 1e-5
AT_THREE = 1 / gaussian.mu_for(3.0, DELTA)
"""Noise multiplier of one release that costs exactly epsilon 3."""


def exact_log_delta(epsilon: float, mu: float) -> float:
    with mpmath.workdps(300):
        e, m = mpmath.mpf(epsilon), mpmath.mpf(mu)
        return float(mpmath.log(mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)))


@pytest.mark.parametrize("mu", [1e-6, 1e-3, 0.1, 0.9, 1.0, 1.1, 3.0, 20.0, 300.0])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.49, 0.5, 0.51, 1.0, 3.0, 12.0])
def test_delta_is_right_to_twelve_digits_where_the_plain_formula_cancels_or_overflows(mu: float, part: float) -> None:
    epsilon = part * max(mu, mu * mu) if part <= 1 else mu * mu / 2 + part * mu
    assert gaussian.log_delta(epsilon, mu) == pytest.approx(exact_log_delta(epsilon, mu), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_calibration_of_one_release_is_that_of_the_analytic_gaussian_mechanism(epsilon: float, delta: float) -> None:
    assert 1 / gaussian.mu_for(epsilon, delta) == pytest.approx(get_sigma_gaussian(epsilon, delta), rel=1e-6)


@pytest.mark.parametrize("sd", [0.3, 1.0, 4.0, 40.0])
def test_the_epsilon_of_one_release_is_that_of_dp_accounting(sd: float) -> None:
    assert gaussian.epsilon(1 / sd, DELTA) == pytest.approx(get_epsilon_gaussian(sd, DELTA), rel=1e-6)


def test_known_values_of_the_analytic_gaussian_mechanism() -> None:
    # Balle and Wang 2018 with sensitivity 1 and delta 1e-5.
    assert 1 / gaussian.mu_for(1.0, DELTA) == pytest.approx(3.730632, abs=1e-6)
    assert 1 / gaussian.mu_for(3.0, DELTA) == pytest.approx(1.390593, abs=1e-6)


def test_delta_at_epsilon_zero_is_the_total_variation_distance() -> None:
    assert gaussian.delta(0.0, 1.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)), rel=1e-14)


def test_releases_compose_like_the_sides_of_a_right_angle() -> None:
    assert gaussian.compose([3.0, 4.0]) == 5.0
    assert gaussian.compose([]) == 0.0
    assert gaussian.epsilon(gaussian.compose([0.2] * 25), DELTA) == gaussian.epsilon(1.0, DELTA)


def test_epsilon_and_mu_are_each_others_inverse_and_err_on_the_safe_side() -> None:
    for epsilon in (1e-3, 0.5, 3.0, 30.0):
        mu = gaussian.mu_for(epsilon, DELTA)
        assert gaussian.delta(epsilon, mu) <= DELTA * (1 + 1e-12)
        assert gaussian.epsilon(mu, DELTA) == pytest.approx(epsilon, rel=1e-9)


def test_hardly_any_signal_costs_nothing_at_a_large_delta() -> None:
    assert gaussian.epsilon(1e-9, DELTA) == 0.0
    assert gaussian.epsilon(0.0, DELTA) == 0.0
    assert gaussian.log_delta(1.0, 0.0) == -math.inf


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_the_closed_form_refuses_what_is_no_parameter(bad: float) -> None:
    with pytest.raises(ValueError, match="finite and at least 0"):
        gaussian.log_delta(bad, 1.0)
    with pytest.raises(ValueError, match="finite and at least 0"):
        gaussian.log_delta(1.0, bad)


@pytest.mark.parametrize("multipliers", [[AT_THREE], [AT_THREE * 5] * 25, [6.0, *[8.0] * 16], [30.0, 2.0], [200.0] * 3])
@pytest.mark.parametrize("delta", [1e-4, 1e-5, 1e-9])
def test_closed_form_and_pld_agree_and_rdp_is_above_both(multipliers: list[float], delta: float) -> None:
    exact = gaussian.epsilon(gaussian.compose(1 / z for z in multipliers), delta)
    assert exact <= pld_epsilon(multipliers, delta) <= exact * 1.001
    assert rdp_epsilon(multipliers, delta) > exact


def test_a_run_calibrated_to_exactly_three_costs_3_25_in_rdp_terms() -> None:
    accounted = account([GaussianRelease(AT_THREE * math.sqrt(12))] * 12, DELTA)
    assert accounted.closed_form == pytest.approx(3.0, rel=1e-9)
    assert accounted.pld == pytest.approx(3.0, rel=1e-3)
    assert accounted.rdp == pytest.approx(3.25, abs=0.005)
    assert accounted.releases == 12


def test_order_does_not_matter() -> None:
    events = [GaussianRelease(5.0), GaussianRelease(2.0, dimension=7)]
    assert account(events, DELTA) == account(events[::-1], DELTA)


def test_nothing_released_costs_nothing() -> None:
    assert account([], DELTA) == Accounted(DELTA, 0.0, 0.0, 0.0, 0)


def test_one_release_without_noise_makes_every_accountant_answer_infinity() -> None:
    accounted = account([GaussianRelease(5.0), NoPrivacy()], DELTA)
    assert (accounted.closed_form, accounted.pld, accounted.rdp) == (math.inf,) * 3


def test_the_central_limit_epsilon_of_opacus_is_refused() -> None:
    # q = .01, z = 1, 1,000 steps: Opacus' `gdp` accountant says 1.618 where PLD says 1.829 and RDP 2.101.
    limit = gaussian.epsilon(0.01 * math.sqrt(1000 * (math.e - 1)), DELTA)
    assert limit == pytest.approx(1.618, abs=1e-3)
    with pytest.raises(AccountantDisagreementError, match="do not run this schedule"):
        check_agreement(Accounted(DELTA, limit, 1.829, 2.101, 1000))


@pytest.mark.parametrize(("pld", "rdp"), [(3.016, 3.25), (2.984, 3.25), (3.0, 2.99), (math.nan, 3.25), (3.0, math.nan)])
def test_figures_that_cannot_all_be_right_are_refused(pld: float, rdp: float) -> None:
    with pytest.raises(AccountantDisagreementError):
        check_agreement(Accounted(DELTA, 3.0, pld, rdp, 1))


def test_figures_within_half_a_per_cent_are_accepted() -> None:
    check_agreement(Accounted(DELTA, 3.0, 3.014, 3.25, 1))
    check_agreement(Accounted(DELTA, 3.0, 2.986, 3.25, 1))


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="choose less than 1 / devices"):
        account([GaussianRelease(1.0)], delta)
    with pytest.raises(ValueError, match="choose less than 1 / devices"):
        gaussian.epsilon(1.0, delta)


@pytest.mark.parametrize("multiplier", [0.0, -1.0, math.nan, math.inf])
def test_an_event_without_noise_is_not_a_gaussian_release(multiplier: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        GaussianRelease(multiplier)


def test_a_release_has_coordinates() -> None:
    with pytest.raises(ValueError, match="at least one coordinate"):
        GaussianRelease(1.0, dimension=0)


def rounds(multipliers: tuple[float, ...]) -> tuple[RoundPlan, ...]:
    return tuple(plan(number=n, noise_multiplier=z) for n, z in enumerate(multipliers, start=1))


def test_a_calibrated_schedule_claims_its_budget_and_not_more() -> None:
    schedule = Schedule("run", rounds(noise_multipliers(3.0, DELTA, (0.1, 0.45, 0.45))), 3.0, DELTA)
    made = claim(schedule)
    assert made.epsilon is not None
    assert 3 * (1 - 1e-6) < made.epsilon <= 3.0
    assert (made.delta, made.releases, made.simulated) == (DELTA, 3, True)


def test_a_claim_includes_what_the_sampler_costs() -> None:
    plans = tuple(plan(rows=100_000, columns=64, number=n, noise_multiplier=4.0) for n in (1, 2))
    schedule = Schedule("run", plans, 5.0, DELTA)
    made = claim(schedule)
    exact = account([made.event() for made in plans], DELTA).closed_form
    assert made.epsilon is not None
    assert exact + 1e-7 < made.epsilon < exact * (1 + 1e-6)


def test_after_some_rounds_only_those_are_claimed() -> None:
    schedule = Schedule("run", rounds(noise_multipliers(3.0, DELTA, (0.25, 0.75))), 3.0, DELTA)
    first = claim_of(schedule.rounds[:1], schedule)
    assert first.epsilon == pytest.approx(gaussian.epsilon(gaussian.mu_for(3.0, DELTA) / 2, DELTA), rel=1e-6)
    assert first.releases == 1
    assert claim_of([], schedule).epsilon == 0.0


def test_a_round_of_another_schedule_is_not_claimed() -> None:
    schedule = Schedule("run", rounds((4.0,)), 3.0, DELTA)
    with pytest.raises(ValueError, match="its own schedule"):
        claim_of([plan(noise_multiplier=5.0)], schedule)


def test_a_schedule_that_costs_more_than_its_budget_has_no_claim() -> None:
    for multiplier in (AT_THREE * (1 - 1e-9), 0.0):
        with pytest.raises(BudgetExhaustedError, match="more than its budget"):
            claim(Schedule("run", rounds((multiplier,)), 3.0, DELTA))


def test_without_a_budget_no_privacy_is_claimed() -> None:
    assert claim(Schedule("run", rounds((4.0, 0.0)), None, DELTA)).epsilon is None
    assert claim(Schedule("run", rounds((4.0, 4.0)), None, DELTA)).epsilon is None


def test_a_claim_is_stamped_simulated_if_any_of_its_rounds_is() -> None:
    production = plan(simulated=False, noise_multiplier=4.0)
    schedule = Schedule("run", (production, plan(number=2, noise_multiplier=4.0)), 3.0, DELTA)
    assert not claim_of(schedule.rounds[:1], schedule).simulated
    assert claim_of(schedule.rounds, schedule).simulated
