"""Settings: the schedule they commit to costs exactly the budget, before anything is sent."""

from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.accounting.claim import claim
from backrow.privacy.plan import Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Metric, Query, QuerySchema
from backrow.privacy.shares import honest
from backrow.server.defaults import default_steps
from backrow.server.settings import RunSettings, commit_schedule, omitted_of, shares_of

SETTINGS = RunSettings("run", "gradient", 3.0, 1e-5, 30, 100, 10, 4, 1.0)
TRAINING = QuerySchema(Query.GRADIENT, 30, 5, 2.0)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0, 8.0])
def test_the_whole_schedule_costs_the_budget_and_never_more(epsilon: float) -> None:
    made = commit_schedule(replace(SETTINGS, epsilon=epsilon), TRAINING)
    spent = claim(made).epsilon
    assert spent is not None
    assert 0.999 * epsilon < spent <= epsilon
    asked = [plan.query.query for plan in made.rounds]
    assert asked == [Query.POPULARITY, Query.RECENT, *[Query.GRADIENT] * 4, Query.EVAL]


def test_shares_sum_to_one_and_recent_counts_and_evaluation_can_be_left_out() -> None:
    for rounds in (0, 4):
        shares = shares_of(replace(SETTINGS, rounds=rounds))
        assert sum(shares) == pytest.approx(1)
        assert shares[-1] == SETTINGS.evaluation_share
    assert shares_of(replace(SETTINGS, recent_share=0.0, rounds=0, evaluation_share=0.0)) == (1.0,)
    for rounds in (0, 4):
        with pytest.raises(ValueError, match="leave some budget"):
            shares_of(replace(SETTINGS, evaluation_share=1.0, rounds=rounds))
    with pytest.raises(ValueError, match="leave some budget"):
        shares_of(replace(SETTINGS, popularity_share=0.99, recent_share=0.05))


def test_the_evaluation_is_bounded_by_its_metrics_noised_once_and_the_last_to_be_asked() -> None:
    made = commit_schedule(replace(SETTINGS, trainer="opacus"), TRAINING).rounds[-1]
    assert (made.query.query, made.query.titles, made.query.columns) == (Query.EVAL, len(Metric), 1)
    assert made.query.clip_norm == pytest.approx(np.linalg.norm(np.ones(len(Metric))))
    assert made.query.sentinels == SETTINGS.sentinels
    assert made.noise is Noise.ONCE
    share = made.noise_multiplier**-2 / sum(
        plan.noise_multiplier**-2 for plan in commit_schedule(SETTINGS, TRAINING).rounds
    )
    assert share == pytest.approx(0.01)


def test_real_devices_are_evaluated_only_where_the_run_says_since_when() -> None:
    real = replace(SETTINGS, hosted=False, simulated=False)
    queries = [plan.query.query for plan in commit_schedule(real, TRAINING).rounds]
    assert Query.EVAL not in queries
    assert sum(shares_of(real)) == pytest.approx(1)
    told = commit_schedule(replace(real, since=1_700_000_000), TRAINING)
    assert [plan.query.query for plan in told.rounds] == [*queries, Query.EVAL]


def test_without_an_epsilon_no_noise_is_planned_and_none_is_claimed() -> None:
    made = commit_schedule(replace(SETTINGS, epsilon=None), TRAINING)
    assert all(plan.noise_multiplier == 0 for plan in made.rounds)
    assert claim(made).epsilon is None


def test_opacus_noise_is_per_block_and_stamped_simulated() -> None:
    made = commit_schedule(replace(SETTINGS, trainer="opacus"), TRAINING)
    assert {plan.noise for plan in made.rounds if plan.query.query is Query.GRADIENT} == {Noise.BLOCK}
    assert {plan.noise for plan in made.rounds if plan.query.query is not Query.GRADIENT} == {Noise.ONCE}
    assert made.simulated


def test_devices_outside_a_simulation_round_their_own_answers() -> None:
    made = commit_schedule(replace(SETTINGS, hosted=False, simulated=False), TRAINING)
    assert {plan.rounding for plan in made.rounds} == {Rounding.DEVICE_STOCHASTIC}


def test_rounding_adds_less_than_a_hundredth_of_a_percent_to_the_sensitivity() -> None:
    for plan in commit_schedule(replace(SETTINGS, titles=3706), QuerySchema(Query.GRADIENT, 3706, 28, 2.0)).rounds:
        exact = plan.query.clip_norm * plan.scale
        assert exact < plan.integer_sensitivity < 1.0001 * exact


def test_every_trainer_has_a_rule_and_an_unknown_one_is_named() -> None:
    assert default_steps("prior", 1.0).rounds == 0
    assert default_steps("subspace", None).rounds >= 1
    said = [(1.0, 943, 1682), (1.0, 6040, 3706), (4.0, 943, 1682), (3.0, 6040, 3706), (8.0, 6040, 3706)]
    rounds = [default_steps("sequence", epsilon, population=n, titles=m).rounds for epsilon, n, m in said]
    assert rounds == [1, 2, 2, 3, 3]
    assert default_steps("sequence", None, population=10, titles=10_000).rounds == 4
    rounds = [default_steps("gradient", epsilon).rounds for epsilon in (1.0, 3.0, 8.0, None)]
    assert rounds == sorted(rounds)
    with pytest.raises(ValueError, match="unknown trainer"):
        default_steps("magic", 1.0)


@pytest.mark.parametrize(("population", "minimum", "adversaries"), [(943, 896, 48), (943, 472, 48), (14, 11, 1)])
def test_shares_of_the_noise_are_sized_without_the_adversaries_of_all_not_only_of_the_fewest(
    population: int, minimum: int, adversaries: int
) -> None:
    settings = replace(SETTINGS, population=population, minimum=minimum, adversaries=0.05)
    assert minimum - honest(minimum, omitted_of(settings)) == adversaries
