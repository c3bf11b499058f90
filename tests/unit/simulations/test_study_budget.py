"""Epsilon, delta, rounds and noise: one from the others, by four accountants."""

import math

import pytest

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.gaussian import compose, delta
from backrow.privacy.plan import Noise
from backrow.simulations.study.budget import opinions, solve
from backrow.simulations.study.explain import Before, explain
from backrow.simulations.study.pages_pair import claimed, explain_content, solve_content
from tests.builders import plan


def test_each_of_the_four_numbers_gives_the_others_back() -> None:
    noise = solve(epsilon=3, delta=1e-5, rounds=12)
    assert noise.solved == "noise multiplier"
    multiplier = noise.noise_multiplier
    assert solve(delta=1e-5, rounds=12, noise_multiplier=multiplier).epsilon == pytest.approx(3, rel=1e-6)
    assert solve(epsilon=3, delta=1e-5, noise_multiplier=multiplier).rounds == 12
    assert solve(epsilon=3, rounds=12, noise_multiplier=multiplier).delta == pytest.approx(1e-5, rel=1e-3)


def test_nothing_solved_claims_less_than_it_costs() -> None:
    for given in (
        {"epsilon": 0.5, "delta": 1e-7, "rounds": 40},
        {"epsilon": 8.0, "delta": 1e-5, "noise_multiplier": 4.0},
        {"epsilon": 2.0, "rounds": 9, "noise_multiplier": 5.0},
    ):
        found = solve(**given)  # type: ignore[arg-type]
        releases = [found.noise_multiplier] * found.participation
        assert epsilon_of(releases, found.delta) <= found.epsilon
        assert delta(found.epsilon, compose(1 / z for z in releases)) <= found.delta


def test_one_more_round_than_is_affordable_costs_too_much() -> None:
    found = solve(epsilon=3, delta=1e-5, noise_multiplier=8)
    assert epsilon_of([8.0] * found.rounds, 1e-5, 10**7) <= 3 < epsilon_of([8.0] * (found.rounds + 1), 1e-5)


def test_a_device_pays_for_the_rounds_it_takes_part_in() -> None:
    all_, some = solve(epsilon=3, delta=1e-5, rounds=100), solve(epsilon=3, delta=1e-5, rounds=100, participation=25)
    assert all_.noise_multiplier == pytest.approx(2 * some.noise_multiplier, rel=1e-6)
    assert some.opinions.releases == 25
    assert solve(epsilon=3, delta=1e-5, rounds=5, participation=25).participation == 5


def test_the_noise_scale_is_in_the_unit_of_an_answer() -> None:
    found = solve(epsilon=3, delta=1e-5, rounds=12, clip_norm=2.0)
    assert found.noise_scale == 2 * found.noise_multiplier


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epsilon": 3.0}, "delta, rounds, noise multiplier is left out"),
        ({"epsilon": 3.0, "delta": 1e-5, "rounds": 1, "noise_multiplier": 1.0}, "none is left out"),
        ({"epsilon": -1.0, "delta": 1e-5, "rounds": 1}, "epsilon must be"),
        ({"epsilon": 1.0, "delta": 2.0, "rounds": 1}, "delta must be"),
        ({"epsilon": 1.0, "delta": 1e-5, "rounds": 0}, "rounds must be at least 1"),
        ({"epsilon": 1.0, "delta": 1e-5, "rounds": 3, "participation": 0}, "participation must be at least 1"),
        ({"epsilon": 1.0, "delta": 1e-5, "noise_multiplier": math.inf}, "noise multiplier must be positive and finite"),
        ({"epsilon": 0.1, "delta": 1e-5, "noise_multiplier": 1.0}, "no round with noise multiplier 1 fits"),
        (
            {"epsilon": 1.0, "delta": 1e-5, "noise_multiplier": 9.0, "participation": 3},
            "leave it out to solve for rounds",
        ),
        ({"epsilon": 1.0, "delta": 1e-5, "rounds": 10**7}, "takes part in at most"),
    ],
)
def test_what_cannot_be_solved_is_refused_with_a_sentence(given: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        solve(**given)  # type: ignore[arg-type]


def test_the_accountants_stand_in_their_order() -> None:
    told = opinions((4.0,) * 10, 1e-5)
    assert told.pld is not None
    assert told.pld == pytest.approx(told.closed_form, rel=0.005)
    assert told.closed_form < told.rdp
    assert told.closed_form < told.zcdp
    assert (told.unit, told.adjacency, told.releases, told.delta) == ("device", "zero-out", 10, 1e-5)


def test_beyond_meaning_the_numerical_accountant_is_not_asked() -> None:
    assert opinions((0.05,), 1e-5).pld is None


def plans(multipliers: list[float]) -> list[object]:
    return [plan(number=n, noise_multiplier=z) for n, z in enumerate(multipliers, start=1)]


def test_what_each_release_costs_ends_at_what_all_of_them_cost() -> None:
    found = explain("a run", plans([3.0, 5.0, 5.0]), [False] * 3, 3.0, 1e-5)  # type: ignore[arg-type]
    assert found.opinions is not None
    assert found.costs[-1].together == pytest.approx(found.opinions.closed_form)
    assert claimed(found) == found.opinions.closed_form
    assert math.fsum(cost.share for cost in found.costs) == pytest.approx(1)
    assert [cost.together for cost in found.costs] == sorted(cost.together or 0 for cost in found.costs)
    assert found.costs[0].alone == pytest.approx(found.costs[0].together)
    assert found.costs[2].alone is not None
    assert math.fsum(cost.alone or 0 for cost in found.costs) > found.opinions.closed_form


def test_a_release_without_noise_leaves_no_epsilon() -> None:
    noiseless = [plan(number=1, noise_multiplier=0.0), plan(number=2, noise_multiplier=4.0)]
    found = explain("a run", noiseless, [False, False], None, 1e-5)
    assert found.opinions is None
    assert [cost.together for cost in found.costs] == [None, None]
    assert "No privacy is claimed" in explain_content(found).headline


def test_costs_chosen_on_the_way_are_counted_by_zcdp() -> None:
    found = explain("a run", plans([3.0, 5.0]), [False, True], 3.0, 1e-5)  # type: ignore[arg-type]
    assert found.adaptive
    assert found.opinions is not None
    assert claimed(found) == found.opinions.zcdp == found.costs[-1].together


def test_an_earlier_run_on_the_same_devices_counts_too() -> None:
    alone = explain("a run", plans([5.0]), [False], 3.0, 1e-5)  # type: ignore[arg-type]
    both = explain("a run", plans([5.0]), [False], 3.0, 1e-5, Before(0.5, 7, 100))  # type: ignore[arg-type]
    assert alone.opinions is not None
    assert both.opinions is not None
    assert both.opinions.closed_form > alone.opinions.closed_form
    assert both.opinions.releases == 8
    assert both.opinions.closed_form == pytest.approx(epsilon_of([2.0, 5.0], 1e-5), rel=1e-6)


def test_the_pages_say_delta_unit_adjacency_and_releases_beside_epsilon() -> None:
    solved = solve_content(solve(epsilon=3, delta=1e-5, rounds=4))
    explained = explain_content(explain("a run", plans([3.0]), [False], 3.0, 1e-5))  # type: ignore[arg-type]
    for content, releases in ((solved, 4), (explained, 1)):
        assert content.terms == f"delta 1e-05 · unit device · adjacency zero-out · {releases} releases"


def test_no_release_is_nothing_to_explain() -> None:
    with pytest.raises(ValueError, match="nothing to explain"):
        explain("a run", [], [], 3.0, 1e-5)
    assert plan(number=1).noise in Noise
