"""Noise sentinels: rows that no device touches, whose raw integer sum is pure noise.

Held against the claimed standard deviation, they catch a mistake in the noise. They do not catch a
coordinator that noises the sentinels only.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

FALSE_ALARM = 1e-6
"""A p-value below this is a finding: honest noise gives one in a million audits."""

_CAP = float(2**62)
"""Larger than any raw sum of an accepted plan; keeps squares finite whatever a file holds."""


def lower_tail_p(raw: Sequence[int], integer_noise_scale: float) -> float:
    """How likely honest noise is as small as this, or smaller. Runs at the auditor.

    The sum of squares over the claimed variance is chi-square with one degree of freedom per
    coordinate; only its lower tail counts, because too much noise harms nobody's privacy.

    Args:
        raw: sentinel coordinates of the noisy integer sum, before any post-processing.
        integer_noise_scale: claimed standard deviation, in integers, >= 2 (the smallest that is sampled).

    Returns:
        p-value. Honest noise falls below any level at most that often: rounding to integers only
        adds variance (1/12). 4,096 coordinates at 90 % of the claim fall below
        `FALSE_ALARM` with probability 1.00 (`power`).

    Raises:
        ValueError: there are no coordinates, or the claim is not a finite number >= 2.
    """
    return pooled_lower_tail_p([(raw, integer_noise_scale)])


def pooled_lower_tail_p(releases: Iterable[tuple[Sequence[int], float]]) -> float:
    """`lower_tail_p` over the sentinels of several releases, each with its own claim.

    Raises:
        ValueError: there are no coordinates in all, or a claim is not a finite number >= 2.
    """
    squares, coordinates = 0.0, 0
    for raw, noise_scale in releases:
        some, count = sum_of_squares(raw, noise_scale)
        squares, coordinates = squares + some, coordinates + count
    return p_value(squares, coordinates)


def sum_of_squares(raw: Sequence[int], integer_noise_scale: float) -> tuple[float, int]:
    """What one release adds to the test: its sum of squares over the claimed variance, and its coordinates.

    Raises:
        ValueError: the claim is not a finite number >= 2.
    """
    if not 2 <= integer_noise_scale < math.inf:
        raise ValueError(f"sentinels need a claimed standard deviation of at least 2, got {integer_noise_scale}")
    ratios = np.array([min(abs(value), _CAP) for value in raw], dtype=np.float64) / integer_noise_scale
    return float(ratios @ ratios), len(ratios)


def p_value(squares: float, coordinates: int) -> float:
    """How likely honest noise gives a sum of squares as small as this, or smaller.

    Raises:
        ValueError: there are no coordinates.
    """
    if coordinates == 0:
        raise ValueError("there are no sentinel coordinates to test: the release names none")
    return float(stats.chi2.cdf(squares, coordinates))


def power(coordinates: int, ratio: float, false_alarm: float = FALSE_ALARM) -> float:
    """Probability that noise at `ratio` times the claimed standard deviation is found.

    Args:
        coordinates: sentinel coordinates, pooled, >= 1.
        ratio: actual over claimed standard deviation, > 0.
        false_alarm: level of the test, in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    if coordinates < 1 or not 0 < ratio < math.inf or not 0 < false_alarm < 1:
        raise ValueError(f"no power for {coordinates} coordinates, ratio {ratio}, false alarm {false_alarm}")
    return float(stats.chi2.cdf(stats.chi2.ppf(false_alarm, coordinates) / ratio**2, coordinates))
