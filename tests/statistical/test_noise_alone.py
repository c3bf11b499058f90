"""What noise alone makes of the trainer `sequence`: findings at the stated level, and no oftener.

Each check fails with probability FALSE_ALARM at most if all is well (over seeds; with these seeds the outcome is
fixed).
"""

import math

import numpy as np
import pytest
from scipy import stats

from backrow.server.programs import shrinkage
from backrow.server.programs.shrinkage import LEVEL, chance, shrunk

FALSE_ALARM = 1e-6
TITLES, COLUMNS, RELEASES = 60, 8, 150
RNG = np.random.default_rng(20)
SHARE = np.sort(RNG.pareto(1.0, TITLES) + 0.1)
SHARE /= SHARE.sum()
DESCRIBED = RNG.normal(size=(TITLES, 5))


def findings(devices: float = 0.0) -> int:
    """Releases of nothing but noise, and of people who differ by chance, in which anything was found."""
    rng, found, scale = np.random.default_rng(21), 0, np.linspace(1, 9, COLUMNS) * 1e3
    spread = np.sqrt(1 + devices * SHARE[:, None] * scale / scale.sum())
    for _ in range(RELEASES):
        sums = rng.normal(size=(TITLES, COLUMNS)) * spread
        found += bool(np.any(shrunk(sums, scale, SHARE, DESCRIBED, 1.0, devices=devices)))
    return found


@pytest.mark.parametrize("devices", [0.0, 2_000.0])
def test_noise_alone_is_taken_for_a_finding_in_one_release_of_twenty_at_most(devices: float) -> None:
    assert stats.binom.sf(findings(devices) - 1, RELEASES, LEVEL) > FALSE_ALARM


def test_a_margin_for_normal_variables_would_find_something_far_oftener(monkeypatch: pytest.MonkeyPatch) -> None:
    def normal(parts: np.ndarray, level: float) -> float:
        return float(stats.norm.isf(level) * math.sqrt(2 * np.sum(parts**2)))

    monkeypatch.setattr(shrinkage, "chance", normal)
    assert stats.binom.sf(findings() - 1, RELEASES, LEVEL) < FALSE_ALARM


@pytest.mark.parametrize("level", [0.05, LEVEL / 64])
@pytest.mark.parametrize("parts", [1, 2, 30, 4_000])
def test_equal_parts_have_the_tail_of_a_chi_square(parts: int, level: float) -> None:
    exact = stats.chi2.isf(level, parts) - parts
    assert chance(np.full(parts, 3.0), level) == pytest.approx(3 * exact, rel=0.02)


@pytest.mark.parametrize("heavy", [0, 1, 3])
def test_few_heavy_parts_among_many_light_ones_are_not_taken_for_a_normal(heavy: int) -> None:
    draws, level = 400_000, LEVEL / 8
    rng = np.random.default_rng(22)
    sums = 20 * (rng.chisquare(heavy, draws) - heavy if heavy else 0) + rng.chisquare(2_000, draws) - 2_000
    beyond = int(np.sum(sums > chance(np.append(np.full(heavy, 20.0), np.ones(2_000)), level)))
    low, high = stats.binom.interval(1 - FALSE_ALARM, draws, level)
    assert 0.9 * low <= beyond <= 1.1 * high
