"""Intervals over seeds, and the paired bootstrap."""

import math

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from backrow.simulations.study.intervals import mean_over_seeds, paired_bootstrap


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.081, 0.083, 0.086, 0.080, 0.084]
    mean = mean_over_seeds(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean.low, mean.high) == pytest.approx((expected.low, expected.high))
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.count == 5


def test_one_seed_has_no_interval() -> None:
    mean = mean_over_seeds([0.08])
    assert (mean.value, mean.deviation, mean.low, mean.high, mean.count) == (0.08, None, None, None, 1)


def test_no_value_and_a_confidence_of_one_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        mean_over_seeds([])
    with pytest.raises(ValueError, match="confidence"):
        mean_over_seeds([1.0, 2.0], confidence=1.0)


def test_the_bootstrap_agrees_with_the_normal_interval_on_many_pairs() -> None:
    differences = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], p=[0.05, 0.88, 0.07], size=4_000)
    found = paired_bootstrap(differences, seed=1)
    error = differences.std() / math.sqrt(len(differences))
    assert found.value == differences.mean()
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.value) / error), rel=0.25)


def test_the_bootstrap_is_paired() -> None:
    # Two runs that each vary widely over viewers, and differ by the same little for everybody.
    noise = np.random.default_rng(4).normal(size=500)
    found = paired_bootstrap(noise + 0.01 - noise, seed=1)
    assert found.low == pytest.approx(0.01)
    assert found.high == pytest.approx(0.01)
    assert found.p_value < 0.001


def test_runs_that_do_not_differ_have_a_p_value_of_one() -> None:
    found = paired_bootstrap(np.zeros(50), seed=1)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_under_the_null_p_values_below_five_percent_are_as_rare_as_they_say() -> None:
    # 400 fair pairs of runs: more than 36 below .05 has probability below 1e-3 (binomial).
    random = np.random.default_rng(5)
    below = sum(
        paired_bootstrap(random.choice([-1.0, 0.0, 1.0], size=300), seed=number, resamples=400).p_value < 0.05
        for number in range(400)
    )
    assert 6 <= below <= 36


def test_the_same_seed_gives_the_same_interval() -> None:
    differences = np.random.default_rng(6).normal(size=200)
    assert paired_bootstrap(differences, seed=2) == paired_bootstrap(differences, seed=2)
    assert paired_bootstrap(differences, seed=2) != paired_bootstrap(differences, seed=3)


def test_one_pair_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="two pairs"):
        paired_bootstrap(np.ones(1), seed=1)
