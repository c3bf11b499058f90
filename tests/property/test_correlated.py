"""For all correlations: what one device changes is within the sensitivity, and sums shift the integer noise exactly."""

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.correlated import Correlation, next_noise


@st.composite
def correlations(draw: st.DrawFn, longest: int = 9) -> Correlation:
    bits = draw(st.integers(0, 12))
    horizon = draw(st.integers(1, longest))
    rest = draw(st.lists(st.integers(0, 2**bits), max_size=horizon - 1))
    coefficients = (2**bits, *sorted(rest, reverse=True))
    participations, separation = draw(st.integers(1, horizon)), draw(st.integers(1, horizon))
    return Correlation(coefficients, bits, horizon, participations, separation, 1.0)


def dense(correlation: Correlation) -> np.ndarray:
    matrix = np.zeros((correlation.horizon, correlation.horizon))
    for below, coefficient in enumerate(correlation.coefficients):
        matrix += np.diag(np.full(correlation.horizon - below, coefficient / 2**correlation.bits), -below)
    return matrix


def patterns(correlation: Correlation) -> list[tuple[int, ...]]:
    """Every set of releases that a device may answer."""
    return [
        chosen
        for count in range(correlation.participations + 1)
        for chosen in combinations(range(correlation.horizon), count)
        if all(later - earlier >= correlation.separation for earlier, later in pairwise(chosen))
    ]


@settings(max_examples=60, deadline=None)
@given(correlations())
def test_the_sensitivity_is_the_largest_over_all_patterns(correlation: Correlation) -> None:
    matrix = dense(correlation)
    for places in {1, correlation.horizon // 2 + 1, correlation.horizon}:
        part = matrix[:places, :places]
        product = np.abs(part.T @ part)
        largest = max(
            product[np.ix_(chosen, chosen)].sum()
            for chosen in ([each for each in pattern if each < places] for pattern in patterns(correlation))
        )
        assert np.isclose(correlation.sensitivity(places), np.sqrt(largest), rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(correlations(), st.data())
def test_no_vectors_change_more_than_the_sensitivity(correlation: Correlation, data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(patterns(correlation)))
    seed = data.draw(st.integers(0, 2**32))
    drawn = np.random.default_rng(seed).normal(size=(correlation.horizon, 3))
    drawn *= data.draw(st.sampled_from([[1, 1, 1], [1, 0, 0], [5, 0.1, 0.1]]))
    change = np.zeros_like(drawn)
    for release in pattern:
        change[release] = drawn[release] / np.linalg.norm(drawn[release])
    assert np.linalg.norm(dense(correlation) @ change) <= correlation.sensitivity() * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(correlations(), st.data())
def test_norms_that_add_up_to_the_participations_change_no_more(correlation: Correlation, data: st.DataObject) -> None:
    # docs/continual.md, theorem 3: more, smaller answers of one device, without separation.
    loose = Correlation(
        correlation.coefficients, correlation.bits, correlation.horizon, correlation.participations, 1, 1.0
    )
    norms = np.array(data.draw(st.lists(st.floats(0, 1), min_size=loose.horizon, max_size=loose.horizon)))
    if norms.sum() > loose.participations:
        norms *= loose.participations / norms.sum()
    assert np.linalg.norm(dense(loose) @ norms) <= loose.sensitivity() * (1 + 1e-12)


@settings(max_examples=100, deadline=None)
@given(correlations(longest=30), st.integers(0, 2**32), st.integers(0, 40))
def test_sums_shift_the_integer_noise_exactly(correlation: Correlation, seed: int, size: int) -> None:
    # x + w depends on x and r through 2^bits C x + r only: the claim is that of integer noise on an integer vector.
    random = np.random.default_rng(seed)
    fresh = random.integers(-(2**size), 2**size + 1, (correlation.horizon, 5))
    sums = random.integers(-(2**20), 2**20, (correlation.horizon, 5))
    rows = np.rint(dense(correlation) * 2**correlation.bits).astype(np.int64)
    released = all_noise(correlation, fresh) + sums
    assert np.array_equal(released, all_noise(correlation, fresh + rows @ sums))


@settings(max_examples=60, deadline=None)
@given(correlations(), st.data())
def test_where_everybody_always_answers_no_correlation_tells_one_figure_better(
    correlation: Correlation, data: st.DataObject
) -> None:
    # docs/continual.md, theorem 5: mu = 1, sensitivity 1.
    size = correlation.horizon
    everybody = Correlation(correlation.coefficients, correlation.bits, size, size, 1, 1.0)
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=size, max_size=size)))
    correlated = everybody.spread * np.linalg.norm(weights @ np.linalg.inv(dense(everybody)))
    least = weights.sum()
    assert correlated >= least * (1 - 1e-9)
    split = weights / least  # of mu squared
    assert np.isclose(np.sqrt(np.sum(weights**2 / split)), least, rtol=1e-12)


def all_noise(correlation: Correlation, fresh: np.ndarray) -> np.ndarray:
    past: list[np.ndarray] = []
    for row in fresh:
        past.append(next_noise(correlation, row, past))
    return np.array(past)
