"""What the noisy sum of an evaluation says, with intervals that include the noise. Pure post-processing.

A rate is a ratio of two noisy sums a / b: for the devices with a fresh title, the share that hit. How many they
are is known from the same release only, so b carries noise too. Fieller's interval holds every t for which
a - t b, which is normal with variance v_a + t^2 v_b around 0 at the true ratio, is within z of its standard
deviations:
    (b^2 - z^2 v_b) t^2 - 2 a b t + (a^2 - z^2 v_a) <= 0
Its coverage is exact however large the noise. Where b does not stand out of its noise (b <= z sd_b) the interval is
everything that a ratio can be. No realised count is ever divided by: mean rates over all enrolled devices have the
public N below them.

Intervals are about the devices that were asked. How far others would differ (sampling) is not in them, and each
holds at its confidence for itself, not all of them together.
Source: Fieller 1954, "Some problems in interval estimation".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from backrow.privacy.queries import Metric
from backrow.server.programs.base import Answer

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A released figure and its interval.

    Attributes:
        value: None where the noise leaves nothing to say.
        low, high: within what the figure can be.
    """

    value: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReleasedMetrics:
    """One evaluation.

    Attributes:
        confidence: of every interval.
        rates: mean over the devices with a fresh title, of every metric but `EVALUATED`.
        gain: hit rate of the model less that of popularity, in -1..1.
        per_device: mean over all enrolled devices, of every metric.
        noise_scale: standard deviation of noise and rounding on each sum, at most.
    """

    confidence: float
    rates: Mapping[Metric, Estimate]
    gain: Estimate
    per_device: Mapping[Metric, Estimate]
    noise_scale: float


def released_metrics(answer: Answer, population: int, confidence: float = CONFIDENCE) -> ReleasedMetrics:
    """The figures in one released evaluation. Run by the coordinator, or by anybody who has the release.

    Args:
        answer: its values are shape (metrics, 1).
        population: N, the public number of enrolled devices.
        confidence: of each interval, in (0, 1).

    Raises:
        ValueError: not an evaluation's shape, or an argument is out of range.
    """
    if answer.values.shape != (len(Metric), 1):
        raise ValueError(f"an evaluation holds {len(Metric)} sums, not {answer.values.shape}")
    if population < 1 or not 0 < confidence < 1:
        raise ValueError(f"population {population} must be >= 1 and confidence {confidence} in (0, 1)")
    sums = {metric: float(value) for metric, value in zip(Metric, answer.values[:, 0], strict=True)}
    noise_scale = answer.noise_scale if answer.spread is None else answer.spread
    spread = NormalDist().inv_cdf((1 + confidence) / 2) * noise_scale
    devices = sums[Metric.EVALUATED]
    gained = sums[Metric.HIT] - sums[Metric.POPULAR_HIT]
    return ReleasedMetrics(
        confidence=confidence,
        rates={
            metric: _ratio(value, spread, devices, spread, 0.0)
            for metric, value in sums.items()
            if metric is not Metric.EVALUATED
        },
        gain=_ratio(gained, math.sqrt(2) * spread, devices, spread, -1.0),
        per_device={metric: _mean(value, spread, population) for metric, value in sums.items()},
        noise_scale=noise_scale,
    )


def _ratio(above: float, above_spread: float, below: float, below_spread: float, least: float) -> Estimate:
    """Fieller's interval within least..1; spreads: z standard deviations of two independent sums."""
    if below <= below_spread or below <= 0:
        return Estimate(None, least, 1.0)
    a, b = below**2 - below_spread**2, above * below
    root = math.sqrt(a * above_spread**2 + (below_spread * above) ** 2)  # b^2 - a c, written without a difference
    return Estimate(_within(above / below, least), _within((b - root) / a, least), _within((b + root) / a, least))


def _mean(value: float, spread: float, population: int) -> Estimate:
    low, high = (value - spread) / population, (value + spread) / population
    return Estimate(_within(value / population, 0.0), _within(low, 0.0), _within(high, 0.0))


def _within(value: float, least: float) -> float:
    """A metric is never outside; clamping an interval to what is possible loses no coverage."""
    return min(max(value, least), 1.0)
