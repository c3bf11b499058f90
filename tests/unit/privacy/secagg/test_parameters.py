"""The rule of docs/secure-sum.md, "How many neighbours", against searches and definitions that share no code."""

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from scipy.stats import hypergeom

from backrow.privacy.errors import UnsafeCohortError
from backrow.privacy.secagg import parameters
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance, largest_gap, neighbourhood
from tests.vectors import second_secagg
from tests.vectors.second_secagg import tails

PINNED = [
    (100, 0.05, 0.05, 16, 11),
    (1_000, 0.05, 0.05, 52, 37),
    (10_000, 0.05, 0.05, 62, 44),
    (1_000, 0.1, 0.1, 96, 67),
]


@pytest.mark.parametrize(("devices", "adversaries", "dropouts", "neighbours", "threshold"), PINNED)
def test_the_policy_gives_the_published_parameters(
    devices: int, adversaries: float, dropouts: float, neighbours: int, threshold: int
) -> None:
    assert neighbourhood(devices, Tolerance(adversaries, dropouts)) == Neighbourhood(neighbours, threshold)


@pytest.mark.parametrize(("devices", "adversaries", "dropouts", "neighbours", "threshold"), PINNED)
def test_scipy_agrees_that_the_published_parameters_keep_the_rule_and_fewer_neighbours_do_not(
    devices: int, adversaries: float, dropouts: float, neighbours: int, threshold: int
) -> None:
    others, marked, vanished = devices - 1, round(adversaries * devices), round(dropouts * devices)

    def kept(k: int, t: int) -> bool:
        exposed = devices * hypergeom.sf(2 * t - k - 1, others, marked, k)
        void = devices * hypergeom.sf(k - t, others, vanished, k)
        return bool(exposed <= 2.0**-40 and void <= 2.0**-20)

    assert kept(neighbours, threshold)
    assert not kept(neighbours, threshold - 1)
    assert not any(kept(neighbours - 2, t) for t in range(1, neighbours - 1))


@pytest.mark.parametrize("devices", [*range(3, 24), 40, 41, 150, 300])
@pytest.mark.parametrize(
    "rates", [(0.05, 0.05), (0.1, 0.1), (0.2, 0.0), (0.0, 0.2), (0.02, 0.3), (0.25, 0.1), (0.0, 0.0)]
)
def test_no_smaller_neighbourhood_keeps_the_rule(devices: int, rates: tuple[float, float]) -> None:
    tolerance = Tolerance(*rates)
    try:
        expected = Neighbourhood(*second_secagg.parameters(devices, *tolerance.counts(devices)))
    except second_secagg.RefusedError:
        with pytest.raises(UnsafeCohortError):
            neighbourhood(devices, tolerance)
    else:
        assert neighbourhood(devices, tolerance) == expected


def test_the_exact_tail_is_that_of_all_possible_neighbourhoods() -> None:
    # Every set of neighbours is counted, one by one; the rule is tested at chances that so few can show.
    others, marked = 11, 4
    for drawn in range(1, others + 1):
        hits = [len({x for x in chosen if x < marked}) for chosen in combinations(range(others), drawn)]
        for bits in range(8):
            rare = [
                a
                for a in range(marked + 2)
                if 3 * Fraction(sum(hit >= a for hit in hits), len(hits)) <= Fraction(1, 2**bits)
            ]
            assert parameters._least_unlikely(others + 1, marked, drawn, 3, bits) == rare[0]


def test_a_small_cohort_becomes_a_complete_graph_whatever_the_parity() -> None:
    assert neighbourhood(4, Tolerance(0.0, 0.1)) == Neighbourhood(3, 2)
    assert neighbourhood(5, Tolerance(0.1, 0.1)) == Neighbourhood(4, 3)
    assert neighbourhood(3, Tolerance(0.0, 0.0)) == Neighbourhood(2, 2)


def test_adversaries_alone_could_cut_a_sparse_ring_so_it_gets_two_neighbours_more() -> None:
    # With no drop-outs to stand, the other two conditions would be content with fewer.
    found = neighbourhood(1_000, Tolerance(0.2, 0.0))
    assert 1_000 * tails(999, 200, 22)[22] <= Fraction(1, 2**40)
    assert comb(1_000, 2) * tails(999, 200, 22)[22] > Fraction(1, 2**40)
    assert found.neighbours == 26


@pytest.mark.parametrize("devices", [10, 100, 1_000, 10_000])
def test_a_third_adversaries_and_nearly_a_third_dropouts_are_refused_in_words(devices: int) -> None:
    with pytest.raises(UnsafeCohortError, match=r"33% adversaries and 30% drop-outs.*tolerate less"):
        neighbourhood(devices, Tolerance(0.33, 0.30))


def test_a_neighbourhood_that_costs_more_than_the_vector_is_refused() -> None:
    with pytest.raises(UnsafeCohortError, match="at most 512 neighbours"):
        neighbourhood(10_000, Tolerance(0.25, 0.25))


@pytest.mark.parametrize("devices", [-1, 0, 1, 2])
def test_a_sum_of_two_is_no_secret_between_them(devices: int) -> None:
    with pytest.raises(UnsafeCohortError, match="hides nobody"):
        neighbourhood(devices, Tolerance())


@pytest.mark.parametrize("rates", [(-0.01, 0.1), (0.1, -0.01), (0.5, 0.5), (float("nan"), 0.0), (0.0, float("inf"))])
def test_a_tolerance_is_two_fractions_that_leave_somebody(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        Tolerance(*rates)


def test_fractions_are_the_decimals_they_are_written_as_and_devices_are_rounded_up() -> None:
    assert 0.07 * 100 > 7
    assert Tolerance(0.07, 0.0).counts(100) == (7, 0)
    assert Tolerance(0.05, 0.051).counts(30) == (2, 2)


def test_the_largest_gap_is_exceeded_by_chance_once_in_a_million_rounds() -> None:
    tolerance = Tolerance()
    gap = largest_gap(1_000, tolerance, 52)
    assert gap == 11
    assert 1_000 * tails(999, 50, 26)[gap + 1] <= Fraction(1, 2**20) < 1_000 * tails(999, 50, 26)[gap]


def test_a_complete_graph_has_no_gaps_to_mind() -> None:
    assert largest_gap(7, Tolerance(0.1, 0.1), 6) == 7
