import math
from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.correlated import Correlation, inverse_series, next_noise, noise_at
from backrow.privacy.correlated_design import (
    Matrix,
    Workload,
    cumulative,
    decayed,
    design,
    errors,
    square_root,
    window,
)
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.randomness import SeededRandom

WEEKS = Correlation((16, 8, 6), bits=4, horizon=9, participations=3, separation=2, noise_multiplier=2.0, first=4)


def dense(correlation: Correlation) -> np.ndarray:
    matrix = np.zeros((correlation.horizon, correlation.horizon))
    for below, coefficient in enumerate(correlation.coefficients):
        matrix += np.diag(np.full(correlation.horizon - below, coefficient / 2**correlation.bits), -below)
    return matrix


@pytest.mark.parametrize(
    "change",
    [
        {"coefficients": (16, 17)},  # rises
        {"coefficients": (16, -1)},  # negative
        {"coefficients": (8, 4)},  # not 1 on the diagonal
        {"coefficients": ()},
        {"coefficients": (16,) * 10},  # more than the horizon
        {"bits": 13},
        {"horizon": 0},
        {"horizon": 2000},
        {"participations": 0},
        {"participations": 10},
        {"separation": 0},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": math.nan},
        {"first": 0},
        {"stride": 1},  # written as None, in one way only
        {"stride": 0},
    ],
)
def test_what_the_proofs_do_not_cover_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UnsafePlanError):
        replace(WEEKS, **change)  # type: ignore[arg-type]


def test_a_round_outside_the_sequence_has_no_place() -> None:
    assert [WEEKS.place(round) for round in (4, 12)] == [1, 9]
    for round in (3, 13):
        with pytest.raises(UnsafePlanError):
            WEEKS.place(round)
    thirds = replace(WEEKS, stride=3)
    assert [thirds.place(thirds.round_at(place)) for place in range(1, 10)] == list(range(1, 10))
    assert [WEEKS.round_at(place) for place in (1, 9)] == [4, 12]
    assert [thirds.round_at(place) for place in (1, 2, 9)] == [4, 7, 28]
    for round in (1, 3, 5, 6, 8, 29, 31):
        with pytest.raises(UnsafePlanError, match="every 3 rounds"):
            thirds.place(round)


def test_sensitivity_of_independent_noise_is_the_root_of_the_participations() -> None:
    alone = Correlation((1,), 0, 9, 4, 1, 1.0)
    assert alone.sensitivity() == pytest.approx(2, rel=1e-15)
    assert alone.sensitivity(3) == pytest.approx(math.sqrt(3), rel=1e-15)
    assert replace(alone, separation=4).sensitivity() == pytest.approx(math.sqrt(3), rel=1e-15)


def test_sensitivity_of_prefix_sums_is_that_of_their_first_columns() -> None:
    # As jax_privacy's test_sensitivity_squared_tri states it.
    for horizon in (1, 2, 3, 5, 11):
        for participations in {min(k, horizon) for k in (1, 4, 11)}:
            ones = Correlation((1,) * horizon, 0, horizon, participations, 1, 1.0)
            columns = np.tri(horizon)[:, :participations].sum(axis=1)
            assert ones.sensitivity() == pytest.approx(np.linalg.norm(columns), rel=1e-14)


def test_square_root_coefficients_square_to_prefix_sums() -> None:
    root = square_root(100)
    assert np.convolve(root, root)[:100] == pytest.approx(np.ones(100), rel=1e-12)


def test_the_square_root_tells_prefix_sums_as_well_as_published() -> None:
    # Fichtenberger, Henzinger, Upadhyay 2022: the largest error, one answer each, is a Landau constant.
    for horizon, slack in ((8, 0.02), (52, 0.003), (512, 0.0003)):
        chosen = design(Matrix.SQUARE_ROOT, cumulative(horizon), horizon, horizon, 1, 1, 1.0)
        landau = (math.log(horizon) + np.euler_gamma + 4 * math.log(2)) / math.pi
        assert errors(cumulative(horizon), chosen).max() == pytest.approx(landau, rel=slack + 2e-4)


@pytest.mark.parametrize(
    ("horizon", "participations", "separation", "typical", "largest"),
    [
        (8, 1, 1, 1.5858574981812488, 1.718379259109497),
        (8, 4, 2, 4.321235518239756, 4.682338417409183),
        (8, 8, 1, 7.970571499140696, 8.636630190972737),
        (16, 4, 1, 5.963652854031502, 6.451761727896357),
        (52, 4, 13, 5.575481186756749, 5.983018777916119),
        (52, 52, 1, 59.20824485008612, 63.536048079032966),
    ],
)
def test_errors_of_the_square_root_are_those_of_jax_privacy(
    horizon: int, participations: int, separation: int, typical: float, largest: float
) -> None:
    # toeplitz.per_query_error and minsep_sensitivity_squared of jax_privacy 2.0.0; ours are on a grid of 2^-12.
    chosen = design(Matrix.SQUARE_ROOT, cumulative(horizon), horizon, horizon, participations, separation, 1.0)
    found = errors(cumulative(horizon), chosen)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(typical, rel=3e-4)
    assert found.max() == pytest.approx(largest, rel=3e-4)


@pytest.mark.parametrize(
    ("horizon", "band", "typical"),
    [(8, 4, 1.583914100964194), (16, 4, 1.9375302749535372), (52, 4, 2.9770963758566964)],
)
def test_optimised_bands_are_as_good_as_those_of_jax_privacy(horizon: int, band: int, typical: float) -> None:
    # toeplitz.optimize_banded_toeplitz of jax_privacy 2.0.0, one answer each.
    chosen = design(Matrix.OPTIMISED, cumulative(horizon), horizon, band, 1, 1, 1.0)
    assert np.sqrt(np.mean(errors(cumulative(horizon), chosen) ** 2)) <= typical * (1 + 1e-4)


def test_inverse_series_is_the_first_column_of_the_inverse() -> None:
    expected = np.linalg.inv(dense(WEEKS))[:, 0]
    assert WEEKS.inverse() == pytest.approx(expected, abs=1e-12)
    assert inverse_series(np.array([2.0]), 3) == pytest.approx([0.5, 0, 0])


def test_errors_are_the_row_norms_of_workload_times_inverse() -> None:
    workload = Workload("any", (1.0, 0.5, 0.25, 3.0))
    matrix = sum(np.diag(np.full(9 - below, value), -below) for below, value in enumerate(workload.weights))
    expected = WEEKS.spread * np.linalg.norm(matrix @ np.linalg.inv(dense(WEEKS)), axis=1)
    assert errors(workload, WEEKS) == pytest.approx(expected, rel=1e-10)
    own = errors(window(1), WEEKS)
    assert own == pytest.approx([WEEKS.release_spread(place) for place in range(1, 10)], rel=1e-12)


def test_mu_grows_to_that_of_the_whole_sequence() -> None:
    mus = [WEEKS.mu(places) for places in range(1, 10)]
    assert mus == sorted(mus)
    assert mus[-1] == WEEKS.mu() == 0.5
    assert mus[0] == pytest.approx(1 / WEEKS.spread)
    # One release costs what its own noise says, and never more than the sequence up to it.
    assert all(1 / WEEKS.release_spread(place) <= mus[place - 1] * (1 + 1e-12) for place in range(1, 10))


def test_noise_is_the_same_however_often_it_is_derived() -> None:
    def draws(place: int) -> SeededRandom:
        return SeededRandom(7, "weeks", place)

    sampler, past = WEEKS.sampler(1000.0), []
    for place in range(1, 10):
        past.append(next_noise(WEEKS, sampler.sample(draws(place), 50), past))
        assert np.array_equal(noise_at(WEEKS, place, 1000.0, draws, 50), past[-1])
        # The band is all that is needed of the past.
        assert np.array_equal(next_noise(WEEKS, sampler.sample(draws(place), 50), past[:-1][-2:]), past[-1])
    with pytest.raises(ValueError, match="place"):
        noise_at(WEEKS, 10, 1000.0, draws, 1)


def test_noise_that_could_wrap_around_or_cannot_be_sampled_is_refused() -> None:
    flat = Correlation((4096,) * 1024, 12, 1024, 1, 1, 2.0)
    with pytest.raises(UnsafePlanError, match="wrap around"):
        flat.sampler(2.0**38)
    with pytest.raises(UnsafePlanError, match="integer noise needs"):
        WEEKS.sampler(2.0**40)


def test_designs_are_no_worse_than_independent_noise() -> None:
    for workload in (cumulative(12), window(4), decayed(0.8, 12), window(1)):
        for participations, separation in ((3, 4), (12, 1)):
            least = {
                matrix: np.mean(errors(workload, design(matrix, workload, 12, 3, participations, separation, 1.0)) ** 2)
                for matrix in (Matrix.INDEPENDENT, Matrix.OPTIMISED)
            }
            assert least[Matrix.OPTIMISED] <= least[Matrix.INDEPENDENT] * 1.001
    with pytest.raises(ValueError, match="band"):
        design(Matrix.SQUARE_ROOT, window(1), 12, 13, 1, 1, 1.0)
