"""Attacks tell honest noise from too little: lower bounds stay below claims, faults are found.

Counts are compared with the number that honest noise exceeds with probability FALSE_ALARM over seeds (with these
seeds the outcome is fixed); every check has a control that must fail it. benchmarks/empirical_audit.py has 200 runs.
"""

from functools import cache

import numpy as np
import pytest
from scipy import stats

from backrow.privacy.audit.empirical import auc, largest_auc, one_run_p_value
from backrow.privacy.audit.sentinels import FALSE_ALARM as SENTINEL_ALARM
from backrow.simulations.attack import CanaryAttack, attack_sums, total_mu
from backrow.simulations.attack_targets import with_empty_devices
from backrow.simulations.pipeline import Committed, Prepared, commit, people
from backrow.simulations.population import Population
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from tests.unit.simulations.small_data import two_tastes

pytestmark = pytest.mark.xdist_group("empirical-audit")  # its attacks are kept for all of its tests

FALSE_ALARM = 1e-6
CANARIES, RUNS = 1000, 12


def most_false_bounds(runs: int) -> int:
    """Lower bounds above the claim: at most 5 % of runs, and this many with probability 1 - FALSE_ALARM."""
    return int(stats.binom.ppf(1 - FALSE_ALARM, runs, 0.05))


@cache
def small_run(epsilon: float) -> tuple[Committed, Population]:
    """64 viewers, 1,000 titles, as many empty devices; four releases."""
    dataset = two_tastes(64, CANARIES)
    scenario = Scenario.model_validate(
        {"seed": 1, "trainer": "subspace", "data": {"name": "small", "split": "last"},
         "privacy": {"epsilon": epsilon, "delta": 1e-5}}
    )  # fmt: skip
    split = make_split(dataset, "last")
    population = with_empty_devices(people(scenario, dataset, split.train, split.test), CANARIES)
    return commit(scenario, Prepared(dataset, split, population)), population


@cache
def attacks(epsilon: float, noise_factor: float) -> tuple[CanaryAttack, ...]:
    committed, population = small_run(epsilon)
    return tuple(
        attack_sums(committed, population, CANARIES, seed=seed, noise_factor=noise_factor) for seed in range(RUNS)
    )


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5])
def test_a_mechanism_at_its_claim_is_refuted_in_at_most_one_run_of_twenty(epsilon: float, delta: float) -> None:
    # Randomised response leaks exactly its epsilon: nothing private comes nearer to the bound.
    runs, guesses = 1000, 250

    def refuted(actual: float) -> int:
        right = np.random.default_rng(3).binomial(guesses, 1 / (1 + np.exp(-actual)), runs)
        # The lower bound exceeds epsilon where its p-value is below 5 %.
        return sum(one_run_p_value(CANARIES, guesses, int(v), epsilon, delta) < 0.05 for v in right)

    assert refuted(epsilon) <= most_false_bounds(runs)
    assert refuted(epsilon + 1.5) > most_false_bounds(runs)  # control


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_honest_runs_are_not_refuted(epsilon: float) -> None:
    claim = small_run(epsilon)[0].claim
    assert sum(one.audit.epsilon_lower > epsilon for one in attacks(epsilon, 1.0)) <= most_false_bounds(RUNS)
    assert all(one.silent_p is not None and one.silent_p > SENTINEL_ALARM for one in attacks(epsilon, 1.0))
    assert sum(bool(one.findings(claim)) for one in attacks(epsilon, 0.25)) > most_false_bounds(RUNS)  # control


@pytest.mark.parametrize("noise_factor", [0.0, 0.25])
@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_noise_left_out_or_four_times_too_small_is_found_by_both_tests(epsilon: float, noise_factor: float) -> None:
    # At 1,000 canaries either test alone misses less than one run in a hundred (benchmark), so that fewer than
    # RUNS - 2 of RUNS has probability below 1e-3 for the bound and nil for the sentinels.
    found = attacks(epsilon, noise_factor)
    assert sum(one.audit.epsilon_lower > epsilon for one in found) >= RUNS - 2
    assert all(one.silent_p is not None and one.silent_p < SENTINEL_ALARM for one in found)
    assert sum(one.audit.epsilon_lower > epsilon for one in attacks(epsilon, 1.0)) < RUNS - 2  # control


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_canaries_show_all_that_the_claim_allows_and_no_more(epsilon: float) -> None:
    # The mean area is Phi(mu / sqrt 2): the strongest test there is. Within normal bounds, two-sided.
    bound = largest_auc(total_mu(small_run(epsilon)[0].schedule.rounds))
    areas = np.array([one.auc.value for one in attacks(epsilon, 1.0)])
    # An area of 500 against 500 scores spreads most where it is 1/2: sqrt((1/500 + 1/500) / 12), and a little for
    # coins that fall unevenly.
    spread = 0.019 / np.sqrt(RUNS)
    assert abs(areas.mean() - bound) < stats.norm.isf(FALSE_ALARM / 2) * spread
    weak = np.array([one.auc.value for one in attacks(epsilon, 0.25)])
    assert weak.mean() - bound > stats.norm.isf(FALSE_ALARM / 2) * spread  # control


def test_the_interval_of_the_area_covers_it_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    runs, truth = 600, float(stats.norm.cdf(0.7 / np.sqrt(2)))

    def misses(confidence: float) -> int:
        found = [auc(random.normal(0.7, 1, 60), random.normal(0, 1, 80), confidence) for _ in range(runs)]
        return sum(not one.low <= truth <= one.high for one in found)

    most = stats.binom.ppf(1 - FALSE_ALARM, runs, 0.06)  # DeLong's interval is good to a point in a hundred
    assert misses(0.95) <= most
    assert misses(0.6) > most  # control
