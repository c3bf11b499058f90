"""The parameter rule against graphs that are really drawn, at chances that a test can see.

Each check fails with probability FALSE_ALARM at most if all is well (over seeds; with these seeds the outcome is
fixed). Adversaries and drop-outs are fixed positions: only the graph is random, as in the derivation.
"""

from math import comb

import numpy as np
import pytest
from scipy import stats

from backrow.privacy.secagg import parameters
from backrow.privacy.secagg.graph import all_neighbours, ring
from backrow.privacy.secagg.parameters import Tolerance, largest_gap, neighbourhood

FALSE_ALARM = 1e-6
DEVICES, TOLERANCE, GRAPHS = 150, Tolerance(0.1, 0.1), 1_500


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rule, promising 2^-5 and 2^-4."""
    monkeypatch.setattr(parameters, "SECURITY_BITS", 5)
    monkeypatch.setattr(parameters, "CORRECTNESS_BITS", 4)


def seed(number: int) -> bytes:
    return number.to_bytes(32, "big")


def marked_neighbours(neighbours: int, marked: int) -> np.ndarray:
    """Most marked neighbours that any device has, in each graph."""
    positions = np.arange(marked)
    return np.array(
        [np.isin(all_neighbours(seed(n), DEVICES, neighbours), positions).sum(axis=1).max() for n in range(GRAPHS)]
    )


def more_often_than(events: np.ndarray, chance: float) -> float:
    """p-value of so many events if each has this chance or less."""
    return float(stats.binom.sf(int(events.sum()) - 1, len(events), chance))


@pytest.mark.usefixtures("visible")
def test_somebody_is_exposed_no_more_often_than_promised() -> None:
    found = neighbourhood(DEVICES, TOLERANCE)
    k, t = found.neighbours, found.threshold
    worst = marked_neighbours(k, 15)
    assert more_often_than(worst >= 2 * t - k, 2.0**-5) > FALSE_ALARM
    assert more_often_than(worst >= 2 * (t - 2) - k, 2.0**-5) < FALSE_ALARM  # control: a threshold two lower


@pytest.mark.usefixtures("visible")
def test_a_round_is_void_no_more_often_than_promised() -> None:
    found = neighbourhood(DEVICES, TOLERANCE)
    k, t = found.neighbours, found.threshold
    worst = marked_neighbours(k, 15)
    assert more_often_than(worst > k - t, 2.0**-4) > FALSE_ALARM
    assert more_often_than(worst > k - t - 2, 2.0**-4) < FALSE_ALARM  # control: a threshold two higher


@pytest.mark.usefixtures("visible")
def test_a_gap_is_too_large_no_more_often_than_promised() -> None:
    k = neighbourhood(DEVICES, TOLERANCE).neighbours
    half, gap = k // 2, largest_gap(DEVICES, TOLERANCE, k)

    def worst(number: int) -> int:
        missing = ring(seed(number), DEVICES) < 15
        return int(np.convolve(np.concatenate([missing, missing[: half - 1]]), np.ones(half, int), "valid").max())

    found = np.array([worst(number) for number in range(GRAPHS)])
    assert more_often_than(found > gap, 2.0**-4) > FALSE_ALARM
    assert more_often_than(found > gap - 2, 2.0**-4) < FALSE_ALARM  # control


def test_neighbours_are_hypergeometric() -> None:
    # 16 of 150 are marked; a device that is not has so many marked among 20 neighbours. One device per graph.
    counts = np.array([(all_neighbours(seed(n), DEVICES, 20)[149] < 16).sum() for n in range(4 * GRAPHS)])
    ways = np.array([comb(16, x) * comb(133, 20 - x) for x in range(17)], float)
    expected = 4 * GRAPHS * ways / ways.sum()
    observed = np.bincount(counts, minlength=17)
    cells = [0, 1, 2, 3, 4, 5]  # and all beyond

    def pooled(values: np.ndarray) -> np.ndarray:
        return np.append(values[cells], values[6:].sum())

    assert stats.chisquare(pooled(observed), pooled(expected)).pvalue > FALSE_ALARM
    roster_order = np.bincount((np.arange(4 * GRAPHS) % 17), minlength=17)  # control: neighbours by position
    assert stats.chisquare(pooled(roster_order), pooled(expected)).pvalue < FALSE_ALARM
