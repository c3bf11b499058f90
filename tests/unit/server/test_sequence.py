"""Program `sequence`: what it makes of its releases, and how it treats noise."""

from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.queries import Query
from backrow.server.programs.base import Answer
from backrow.server.programs.model import ModelProgram
from backrow.server.programs.sequence import COLUMNS, SequenceProgram, crossed_factors
from backrow.server.programs.shrinkage import Guess, expected_counts, shrunk
from tests.unit.server.test_programs import settings

TITLES = 120
RNG = np.random.default_rng(8)
FEATURES = (RNG.random((TITLES, 40)) < 0.3).astype(float)
COUNTS = Answer(RNG.gamma(2, 20, (TITLES, 1)), 1.0, 0.5)


def program(features: np.ndarray = FEATURES) -> SequenceProgram:
    return SequenceProgram.start(crossed_factors(features), COUNTS)


def clean(state: SequenceProgram, followers: np.ndarray) -> np.ndarray:
    """The release of a world in which a context z is followed by title i with probability p_i + z'r_i."""
    embedding, share = state.ask().tensors["embedding"], state.counts / state.counts.sum()
    moments = embedding.T @ (share[:, None] * embedding)
    return followers @ moments * (state.counts.sum() / np.trace(moments))


def test_without_noise_a_round_finds_what_follows_what() -> None:
    state = program()
    followers = RNG.normal(size=(TITLES, COLUMNS)) * state.counts[:, None] / state.counts.sum()
    learned = state.absorb(Answer(clean(state, followers), 0.0, 0.0)).item_factors()
    close = np.corrcoef(learned.ravel(), followers.ravel())[0, 1]
    assert close > 0.99


def test_a_release_of_noise_alone_leaves_popularity() -> None:
    state = program()
    noise = RNG.normal(scale=50.0, size=(TITLES, COLUMNS))
    drowned = state.absorb(Answer(noise, 50.0, 1.0)).item_factors()
    believed = state.absorb(Answer(noise, 0.0, 0.0)).item_factors()
    assert np.linalg.norm(drowned) < 0.2 * np.linalg.norm(believed)


def test_the_next_embedding_is_off_the_ones_before() -> None:
    state = program()
    for _ in range(2):
        state = state.absorb(Answer(RNG.normal(size=(TITLES, COLUMNS)) * 5, 1.0, 1.0))
    first, second = state.embeddings
    share = state.counts / state.counts.sum()
    third = state.ask().tensors["embedding"]
    for one, other in [(first, second), (first, third), (second, third)]:
        inner = one.T @ (share[:, None] * other)
        assert np.abs(inner).max() < 1e-6 * np.sqrt(np.abs(one.T @ one).max() * np.abs(other.T @ other).max())
    np.testing.assert_allclose(share @ third, 0, atol=1e-9)
    assert state.item_factors().shape == state.contexts().embedding.shape == (TITLES, 2 * COLUMNS)


def test_a_void_round_changes_nothing_and_before_any_round_there_is_popularity_only() -> None:
    state = program()
    assert state.absorb(None) == state
    assert not np.any(state.item_factors())
    assert state.contexts().embedding.shape == state.item_factors().shape


@pytest.mark.parametrize("features", [0, 1, 3, 200])
def test_any_catalogue_gives_an_embedding_of_all_columns(features: int) -> None:
    made = crossed_factors(RNG.random((TITLES, features)))
    assert made.shape == (TITLES, COLUMNS)
    assert np.linalg.matrix_rank(made) == COLUMNS


def test_the_schema_is_known_before_the_counts() -> None:
    model = ModelProgram.start(replace(settings("sequence"), titles=TITLES), FEATURES)
    schema = model.training_schema()
    assert schema is not None
    assert (schema.query, schema.rows, schema.columns, schema.clip_norm) == (Query.SEQUENCE, TITLES, COLUMNS, 1.0)


def test_without_any_release_there_is_still_a_model() -> None:
    model = ModelProgram.start(replace(settings("sequence"), titles=TITLES), FEATURES).absorb(Query.POPULARITY, None)
    for _ in range(2):
        model = model.absorb(Query.SEQUENCE, None)
    made = model.model()
    assert np.all(np.isfinite(made.item_factors))
    assert np.all(made.popularity > 0)


def test_expected_counts_are_closer_to_the_truth_than_the_noisy_ones() -> None:
    true = RNG.exponential(10, 4000)
    noisy = true + RNG.normal(scale=15, size=4000)
    expected = expected_counts(noisy, 15.0)
    assert np.all(expected > 0)
    assert np.mean((expected - true) ** 2) < 0.6 * np.mean((np.maximum(noisy, 1) - true) ** 2)
    assert np.all(np.diff(expected_counts(np.linspace(-500, 500, 101), 15.0)) > 0)
    np.testing.assert_array_equal(expected_counts(np.array([0.0, 7.0]), 0.0), [0.5, 7.0])


def test_shrinking_comes_closer_to_effects_that_features_partly_explain() -> None:
    share = RNG.gamma(0.5, 1, 2000)
    share /= share.sum()
    described = RNG.normal(size=(2000, 5))
    true = share * (described @ RNG.normal(size=5)) + share**0.75 * RNG.normal(size=2000) * 0.05
    for scale, noise in [(1e5, 3.0), (1e5, 60.0), (1e5, 1000.0)]:
        sums = scale * true + RNG.normal(scale=noise, size=2000)
        found = shrunk(sums[:, None], np.array([scale]), share, described, noise)[:, 0]
        assert np.sum((found - true) ** 2) < 0.8 * np.sum((sums / scale - true) ** 2)
        assert np.sum((found - true) ** 2) < 1.1 * np.sum(true**2)


def test_counts_of_titles_described_alike_help_each_other() -> None:
    described = RNG.normal(size=(4000, 6))
    true = RNG.exponential(np.exp(2 + described @ np.array([0.6, -0.5, 0.3, 0, 0, 0])))
    noisy = true + RNG.normal(scale=15, size=4000)
    alone, told = expected_counts(noisy, 15.0), expected_counts(noisy, 15.0, described)
    assert np.mean((told - true) ** 2) < 0.9 * np.mean((alone - true) ** 2)


def test_features_that_say_nothing_of_counts_do_next_to_nothing() -> None:
    true = RNG.exponential(10, 4000)
    noisy = true + RNG.normal(scale=15, size=4000)
    alone, told = expected_counts(noisy, 15.0), expected_counts(noisy, 15.0, RNG.normal(size=(4000, 32)))
    assert np.mean((told - alone) ** 2) < 0.02 * np.mean((alone - true) ** 2)
    constant = expected_counts(noisy, 15.0, np.ones((4000, 3)))
    np.testing.assert_allclose(constant, alone)


def test_what_few_people_happened_to_do_is_not_taken_for_what_follows_what() -> None:
    share = np.full(100, 0.01)
    sums, scale = RNG.normal(size=(100, 4)) * np.sqrt(2_000 * 0.01 / 4), np.full(4, 2_500.0)
    described = np.zeros((100, 0))
    assert np.any(shrunk(sums, scale, share, described, 0.1))
    assert not np.any(shrunk(sums, scale, share, described, 0.1, devices=2_000))


@pytest.mark.parametrize("noise", [3.0, 300.0, 3e6])
def test_a_guess_is_believed_as_far_as_the_sums_do_not_contradict_it(noise: float) -> None:
    share = RNG.gamma(0.5, 1, 2000)
    share /= share.sum()
    effects = share[:, None] * RNG.normal(size=(2000, 4))
    sums = 1e5 * 2 * effects + RNG.normal(scale=noise, size=(2000, 4))
    made = shrunk(sums, np.full(4, 1e5), share, np.zeros((2000, 0)), noise, Guess(effects, 5.0, 1.0))
    factor = float(np.sum(made * effects) / np.sum(effects**2))
    assert factor == pytest.approx(2 if noise < 1000 else 5, rel=0.1)


def test_noise_alone_leaves_what_metadata_says() -> None:
    left = 0
    for seed in range(40):
        state, noise = program(), np.random.default_rng(seed).normal(scale=1e4, size=(TITLES, COLUMNS))
        learned = state.absorb(Answer(noise, 1e4, 1.0)).item_factors()
        embedding = state.ask().tensors["embedding"] * state.counts[:, None]
        left += bool(np.corrcoef(learned.ravel(), embedding.ravel())[0, 1] > 0.99)
    assert left >= 36  # of 40; in one of twenty something is found (tests/statistical/test_noise_alone.py)


@pytest.mark.parametrize("features", [FEATURES, np.zeros((TITLES, 0))])
def test_after_a_round_that_found_nothing_the_next_one_looks_elsewhere(features: np.ndarray) -> None:
    for seed in (8, 262, 284, 299):  # in the last three noise looks like one or two findings
        state, rng = program(features), np.random.default_rng(seed)
        for _ in range(3):
            before = [*state.embeddings]
            state = state.absorb(Answer(rng.normal(scale=1e4, size=(TITLES, COLUMNS)), 1e4, 1.0))
            asked = np.hstack([*before, state.embeddings[-1]])
            directions = asked / np.linalg.norm(asked, axis=0)
            assert np.all(np.isfinite(state.item_factors()))
            assert np.linalg.matrix_rank(directions) == min(COLUMNS * (len(before) + 1), TITLES - 1)
