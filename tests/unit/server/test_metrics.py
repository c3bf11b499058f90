"""What is said of a released evaluation: rates with intervals that include the noise, never too sure."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.queries import Metric
from backrow.server.programs.base import Answer
from backrow.server.programs.metrics import ReleasedMetrics, released_metrics

Z = NormalDist().inv_cdf(0.975)


def released(*sums: float, noise_scale: float = 0.0, population: int = 1000) -> ReleasedMetrics:
    return released_metrics(Answer(np.array(sums)[:, None], noise_scale, 1.0), population)


def test_without_noise_rates_are_exact_and_intervals_are_points() -> None:
    made = released(800, 80, 40, 40, 20)
    rates = {metric: (estimate.low, estimate.value, estimate.high) for metric, estimate in made.rates.items()}
    assert rates == {
        Metric.HIT: (0.1, 0.1, 0.1), Metric.NDCG: (0.05, 0.05, 0.05),
        Metric.POPULAR_HIT: (0.05, 0.05, 0.05), Metric.POPULAR_NDCG: (0.025, 0.025, 0.025),
    }  # fmt: skip
    assert made.gain.value == made.gain.low == made.gain.high == 0.05
    assert made.per_device[Metric.EVALUATED].value == 0.8
    assert made.per_device[Metric.HIT].value == 0.08


def test_the_mean_over_enrolled_devices_divides_by_the_public_number_only() -> None:
    one, other = released(800, 80, 40, 40, 20, noise_scale=10), released(100, 80, 40, 40, 20, noise_scale=10)
    assert one.per_device[Metric.HIT] == other.per_device[Metric.HIT]
    interval = one.per_device[Metric.HIT]
    assert (interval.low, interval.high) == pytest.approx(((80 - 10 * Z) / 1000, (80 + 10 * Z) / 1000))


@given(
    st.floats(1, 1e5), st.floats(0, 1), st.floats(1e-3, 1e4), st.sampled_from([Metric.HIT, Metric.POPULAR_NDCG])
)  # fmt: skip
def test_the_interval_holds_exactly_the_ratios_that_the_noise_does_not_rule_out(
    below: float, rate: float, noise: float, metric: Metric
) -> None:
    above = rate * below
    sums = [below if each is Metric.EVALUATED else above if each is metric else 0.0 for each in Metric]
    estimate = released(*sums, noise_scale=noise).rates[metric]
    if below <= Z * noise:
        assert (estimate.value, estimate.low, estimate.high) == (None, 0.0, 1.0)
        return
    assert estimate.value == pytest.approx(rate)
    for end, inward in ((estimate.low, 1e-6), (estimate.high, -1e-6)):
        if 0 < end < 1:  # a bound that was not cut off is where the ratio becomes implausible
            assert abs(above - end * below) == pytest.approx(Z * noise * math.hypot(1, end), rel=1e-6)
            within = end + inward * max(estimate.high - estimate.low, 1e-9)
            assert abs(above - within * below) <= Z * noise * math.hypot(1, within) * (1 + 1e-9)


def test_for_little_noise_it_is_the_delta_method() -> None:
    estimate = released(5000, 400, 0, 0, 0, noise_scale=3).rates[Metric.HIT]
    half = Z * 3 * math.hypot(1, 0.08) / 5000
    assert (estimate.low, estimate.high) == pytest.approx((0.08 - half, 0.08 + half), rel=1e-3)


def test_a_gain_may_be_negative_and_its_noise_is_that_of_a_difference() -> None:
    gain = released(5000, 200, 0, 400, 0, noise_scale=3).gain
    assert gain.value == pytest.approx(-0.04)
    half = Z * 3 * math.sqrt(2 + 0.04**2) / 5000
    assert (gain.low, gain.high) == pytest.approx((-0.04 - half, -0.04 + half), rel=1e-3)
    drowned = released(5, 1, 1, 1, 1, noise_scale=100).gain
    assert (drowned.value, drowned.low, drowned.high) == (None, -1.0, 1.0)


@pytest.mark.parametrize("devices", [0.0, -40.0])
def test_where_nobody_can_be_told_to_be_evaluated_there_is_no_rate(devices: float) -> None:
    for noise in (0.0, 10.0):
        made = released(devices, 5, 2, 1, 1, noise_scale=noise)
        assert {(each.value, each.low, each.high) for each in made.rates.values()} == {(None, 0.0, 1.0)}


def test_figures_stay_within_what_they_can_be() -> None:
    made = released(900, -50, 1200, 0, 0, noise_scale=20)
    assert made.rates[Metric.HIT].value == made.rates[Metric.HIT].low == 0
    assert made.rates[Metric.NDCG].value == made.rates[Metric.NDCG].high == 1


def test_what_is_no_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="holds 5 sums"):
        released(1, 2, 3)
    with pytest.raises(ValueError, match="population 0"):
        released(1, 1, 1, 1, 1, population=0)
    with pytest.raises(ValueError, match="confidence 1"):
        released_metrics(Answer(np.ones((5, 1)), 1.0, 1.0), 10, confidence=1.0)
