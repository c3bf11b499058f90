"""The statistics of attacks: published values, brute force, edges, refusals."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from backrow.privacy.audit.empirical import (
    auc,
    canary_audit,
    largest_auc,
    largest_auc_of,
    one_run_lower_bound,
    one_run_p_value,
)


def test_the_example_of_the_paper_comes_out() -> None:
    # Steinke, Nasr, Jagielski 2023, appendix D: 1,000 canaries, 100 guesses, 75 right, delta 1e-4.
    assert one_run_lower_bound(1000, 100, 75, 1e-4) == pytest.approx(0.673, abs=5e-4)


def test_without_delta_the_bound_is_that_of_clopper_and_pearson() -> None:
    lowest = stats.beta.ppf(0.05, 75, 26)  # one-sided, 75 of 100
    assert one_run_lower_bound(1000, 100, 75, 0.0) == pytest.approx(math.log(lowest / (1 - lowest)), abs=1e-5)


@pytest.mark.parametrize(("canaries", "guesses", "correct"), [(50, 20, 20), (50, 20, 14), (50, 20, 1), (9, 9, 5)])
def test_the_p_value_is_the_formula_term_by_term(canaries: int, guesses: int, correct: int) -> None:
    epsilon, delta = 0.7, 1e-3
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    mass = [math.comb(guesses, k) * chance**k * (1 - chance) ** (guesses - k) for k in range(guesses + 1)]
    beta = sum(mass[correct:])
    alpha = max(sum(mass[max(correct - i, 0) : correct]) / i for i in range(1, canaries + 1))
    expected = min(1.0, beta + 2 * canaries * delta * alpha)
    assert one_run_p_value(canaries, guesses, correct, epsilon, delta) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1 / 2000])
def test_the_p_value_grows_with_epsilon_so_that_bisection_finds_the_largest(delta: float) -> None:
    for correct in (0, 60, 125, 200, 250):
        values = [one_run_p_value(1000, 250, correct, epsilon, delta) for epsilon in np.linspace(0, 8, 81)]
        assert np.all(np.diff(values) >= -1e-12)


def test_guessing_shows_nothing_and_delta_costs() -> None:
    assert one_run_lower_bound(1000, 250, 125, 1e-5) == 0
    assert one_run_lower_bound(1000, 250, 240, 1e-4) < one_run_lower_bound(1000, 250, 240, 0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 5, 6, 1.0, 0.0), "cannot be"),
        ((10, 11, 5, 1.0, 0.0), "cannot be"),
        ((0, 0, 0, 1.0, 0.0), "cannot be"),
        ((10, 5, 5, -1.0, 0.0), "epsilon"),
        ((10, 5, 5, math.nan, 0.0), "epsilon"),
        ((10, 5, 5, 1.0, 1.5), "probability"),
        ((1000, 5, 5, 1.0, 1e-2), "at most 50 canaries"),
    ],
)
def test_impossible_counts_are_refused(arguments: tuple[int, int, int, float, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        one_run_p_value(*arguments)


def test_the_highest_scores_are_guessed_in_and_the_lowest_out() -> None:
    included = np.arange(40) >= 20
    audit = canary_audit(np.arange(40.0), included, 1e-5, guesses=10)
    assert (audit.canaries, audit.included, audit.guesses, audit.correct) == (40, 20, 10, 10)
    assert audit.epsilon_lower == audit.epsilon_reach > 0
    assert canary_audit(-np.arange(40.0), included, 1e-5, guesses=10).correct == 0


def test_tied_scores_know_nothing_of_the_coins() -> None:
    included = np.random.default_rng(1).random(1000) < 0.5
    assert canary_audit(np.zeros(1000), included, 1e-5).epsilon_lower < 0.5


@pytest.mark.parametrize(
    ("scores", "coins", "guesses"),
    [
        (np.zeros(8), np.zeros(9, bool), 4),
        (np.full(8, np.nan), np.zeros(8, bool), 4),
        (np.zeros(8), np.zeros(8, bool), 0),
        (np.zeros(8), np.zeros(8, bool), 10),
        (np.zeros(3), np.zeros(3, bool), None),
    ],
)
def test_scores_that_do_not_fit_the_coins_are_refused(
    scores: np.ndarray, coins: np.ndarray, guesses: int | None
) -> None:
    with pytest.raises(ValueError, match=r"scores and coins|guess at least two"):
        canary_audit(scores, coins, 1e-5, guesses=guesses)


def test_the_area_counts_pairs_and_ties_half() -> None:
    random = np.random.default_rng(2)
    members, others = random.integers(0, 6, 30).astype(float), random.integers(0, 5, 40).astype(float)
    pairs = np.sign(members[:, None] - others[None, :]) / 2 + 0.5
    found = auc(members, others)
    assert found.value == pytest.approx(pairs.mean())
    # DeLong's variance from the placements themselves.
    spread = np.sqrt(pairs.mean(axis=1).var(ddof=1) / 30 + pairs.mean(axis=0).var(ddof=1) / 40)
    logit = math.log(found.value / (1 - found.value))
    half = 1.959964 * spread / (found.value * (1 - found.value))
    assert found.low == pytest.approx(1 / (1 + math.exp(half - logit)), rel=1e-6)
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - logit)), rel=1e-6)


def test_perfect_separation_is_not_taken_for_certainty() -> None:
    above = auc(np.arange(10.0) + 100, np.arange(20.0))
    assert (above.value, above.high) == (1.0, 1.0)
    assert above.low == pytest.approx(0.025 ** (1 / 10))
    below = auc(np.arange(10.0), np.arange(20.0) + 100)
    assert (below.low, below.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_too_few_or_endless_scores_have_no_area() -> None:
    for members in (np.zeros(1), np.array([0.0, np.inf])):
        with pytest.raises(ValueError, match=r"at least two|finite"):
            auc(members, np.zeros(5))


def test_the_areas_that_claims_allow_are_the_integrals_of_their_trade_off_functions() -> None:
    def gaussian(level: float) -> float:
        return float(stats.norm.cdf(stats.norm.isf(level) - 0.8))

    def general(level: float) -> float:
        return max(0.0, 1 - 0.01 - math.exp(1.3) * level, math.exp(-1.3) * (1 - 0.01 - level))

    assert largest_auc(0.8) == pytest.approx(1 - integrate.quad(gaussian, 0, 1)[0], abs=1e-8)
    points = [0.99 / (1 + math.exp(1.3)), 0.99]
    assert largest_auc_of(1.3, 0.01) == pytest.approx(1 - integrate.quad(general, 0, 1, points=points)[0], abs=1e-8)
    assert (largest_auc(0), largest_auc_of(0, 0)) == (0.5, 0.5)
    assert largest_auc_of(2000.0, 0) == 1


def test_areas_of_impossible_claims_are_refused() -> None:
    with pytest.raises(ValueError, match="mu"):
        largest_auc(math.nan)
    with pytest.raises(ValueError, match="epsilon"):
        largest_auc_of(-1, 0)
