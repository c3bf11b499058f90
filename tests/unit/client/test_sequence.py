"""Trainer `sequence`, and what devices make of its model: contexts, bounded answers, scores, picks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.client.history import RawHistory
from backrow.client.model import PublicModel
from backrow.client.recommend import recommend
from backrow.client.sequence import Memory, context_of, contexts, next_scores
from backrow.client.training.base import TrainingCall
from backrow.client.training.evaluation import EvaluationTrainer
from backrow.client.training.sequence import SequenceTrainer
from backrow.client.weights import confidence
from backrow.privacy.bundle import Bundle
from backrow.privacy.clipping import RowsBlock
from backrow.privacy.errors import BundleError
from backrow.privacy.queries import Metric, Query
from backrow.privacy.randomness import SeededRandom
from tests.builders import plan
from tests.unit.client.bundles import bundle, tensors
from tests.unit.client.test_recommend import NOW, owner

TITLES, COLUMNS = 30, 4
RNG = np.random.default_rng(2)
EMBEDDING = RNG.normal(size=(TITLES, COLUMNS))
MEMORY = Memory(0.5, 3, COLUMNS)
SETTINGS = {"decay": 0.5, "window": 3.0, "columns": float(COLUMNS)}


def watched(*titles: int, weights: list[float] | None = None, ordered: bool = True) -> RawHistory:
    """Titles in the order of watching."""
    rows, place = np.unique(np.array(titles, dtype=np.int32), return_inverse=True)
    own = np.ones(len(rows))
    own[place] = weights if weights is not None else 1.0
    return RawHistory(rows, own, order=place.astype(np.int32) if ordered else None)


def answer(*block: RawHistory, clip_norm: float = 1.0, embedding: np.ndarray = EMBEDDING) -> RowsBlock:
    made = plan(Query.SEQUENCE, TITLES, COLUMNS, clip_norm=clip_norm)
    return SequenceTrainer().answer(TrainingCall(made, {"embedding": embedding}, SETTINGS), block, SeededRandom(0))


def test_a_context_is_what_was_watched_last_the_newest_heaviest() -> None:
    made = contexts(EMBEDDING, watched(7, 3, 9, 1, 20, weights=[1, 2, 1, 0.5, 1]), MEMORY)
    before_last = 0.5 * EMBEDDING[1] + 0.5 * EMBEDDING[9] + 0.25 * 2 * EMBEDDING[3]
    now = EMBEDDING[20] + 0.5 * 0.5 * EMBEDDING[1] + 0.25 * EMBEDDING[9]
    assert not np.any(made[0])
    np.testing.assert_allclose(made[1], EMBEDDING[7] / np.linalg.norm(EMBEDDING[7]))
    np.testing.assert_allclose(made[4], before_last / np.linalg.norm(before_last))
    np.testing.assert_allclose(made[5], now / np.linalg.norm(now))


def test_without_an_order_the_context_is_all_other_titles() -> None:
    made = contexts(EMBEDDING, watched(7, 3, 9, ordered=False), MEMORY)
    others = EMBEDDING[7] + EMBEDDING[9]
    np.testing.assert_allclose(made[0], others / np.linalg.norm(others))
    everything = EMBEDDING[[3, 7, 9]].sum(axis=0)
    np.testing.assert_allclose(made[3], everything / np.linalg.norm(everything))


def test_every_part_of_an_embedding_has_a_context_of_its_own() -> None:
    other, history = RNG.normal(size=(TITLES, COLUMNS)), watched(4, 2, 8)
    both = contexts(np.hstack([EMBEDDING, 100 * other]), history, MEMORY)
    np.testing.assert_allclose(both[:, :COLUMNS], contexts(EMBEDDING, history, MEMORY))
    np.testing.assert_allclose(both[:, COLUMNS:], contexts(other, history, MEMORY))


def test_the_answer_holds_each_title_with_the_context_it_was_watched_in() -> None:
    history = watched(7, 3, 9, weights=[1, 2, 0.5])
    made, before = answer(history, clip_norm=2.0).device(0).values, contexts(EMBEDDING, history, MEMORY)
    length = np.hypot(2, 0.5)  # the first title has no context
    np.testing.assert_allclose(made[3], before[1] * 2 * 2.0 / length)
    np.testing.assert_allclose(made[9], before[2] * 0.5 * 2.0 / length)
    assert set(np.flatnonzero(np.any(made != 0, axis=1))) == {3, 9}


@given(
    st.lists(st.integers(0, TITLES - 1), min_size=0, max_size=TITLES, unique=True),
    st.data(),
    st.floats(1e-4, 1e4),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_no_history_moves_the_sum_by_more_than_the_clip_norm(
    titles: list[int], data: st.DataObject, clip_norm: float, ordered: bool
) -> None:
    weights = data.draw(st.lists(st.floats(1e-9, 1e9), min_size=len(titles), max_size=len(titles)))
    scale = data.draw(st.floats(0, 1e9))
    mine = watched(*titles, weights=weights, ordered=ordered)
    others = [watched(1, 2, 3), watched(5, 4)]
    with_me = answer(*others, mine, clip_norm=clip_norm, embedding=EMBEDDING * scale)
    without = answer(*others, watched(), clip_norm=clip_norm, embedding=EMBEDDING * scale)
    moved = np.linalg.norm(with_me.total() - without.total())
    assert np.linalg.norm(with_me.device(2).values) <= clip_norm
    assert moved <= clip_norm * (1 + 1e-9)


def test_a_device_with_fewer_than_two_titles_answers_zero_and_any_other_the_clip_norm() -> None:
    made = answer(watched(), watched(3), watched(3, 4), watched(*range(25)), clip_norm=0.7)
    lengths = [np.linalg.norm(made.device(device).values) for device in range(4)]
    np.testing.assert_allclose(lengths, [0, 0, 0.7, 0.7], rtol=1e-9)


def test_a_devices_answer_does_not_depend_on_who_shares_its_block() -> None:
    among = answer(watched(1, 2), watched(9, 4, 7), watched()).device(1).values
    np.testing.assert_array_equal(answer(watched(9, 4, 7)).device(0).values, among)


def test_embeddings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="as many rows"):
        answer(watched(1, 2), embedding=EMBEDDING[:, :3])
    with pytest.raises(ValueError, match="not made of parts"):
        contexts(EMBEDDING[:, :3], watched(1, 2), MEMORY)
    with pytest.raises(ValueError, match="not among"):
        contexts(EMBEDDING[:5], watched(1, 20), MEMORY)
    for wrong in ({"decay": 0.0}, {"decay": 1.5}, {"window": 0.0}, {"window": 1e6}, {"columns": 0.0}):
        with pytest.raises(ValueError, match="a context needs"):
            Memory.of({**SETTINGS, **wrong})


@pytest.mark.parametrize("ordered", [True, False])
def test_the_context_of_now_is_the_last_of_all_contexts(ordered: bool) -> None:
    history = watched(*RNG.permutation(TITLES)[:17], ordered=ordered)
    np.testing.assert_array_equal(context_of(EMBEDDING, history, MEMORY), contexts(EMBEDDING, history, MEMORY)[-1])


def test_scores_are_popularity_and_what_follows_the_context() -> None:
    factors, popularity = RNG.normal(size=(TITLES, COLUMNS)), RNG.random(TITLES)
    block = [watched(), watched(4, 8), watched(3)]
    made = next_scores(factors, popularity, EMBEDDING, block, MEMORY)
    np.testing.assert_array_equal(made[0], popularity)
    np.testing.assert_allclose(made[1], popularity + factors @ contexts(EMBEDDING, block[1], MEMORY)[-1])


def test_a_device_evaluates_the_model_as_it_recommends() -> None:
    factors, popularity = RNG.normal(size=(TITLES, COLUMNS)), RNG.random(TITLES)
    history = watched(4, 8, 2)
    scores = next_scores(factors, popularity, EMBEDDING, [history], MEMORY)[0]
    scores[history.titles] = -np.inf
    best, worst = int(scores.argmax()), int(np.argsort(scores)[3])
    public = {"factors": factors, "popularity": popularity[:, None], "embedding": EMBEDDING}
    call = TrainingCall(
        plan(Query.EVAL, len(Metric), 1, clip_norm=3.0), public, {"alpha0": 0.4, "ridge": 1, **SETTINGS}
    )
    block = [RawHistory(history.titles, history.weights, None, fresh, None, history.order) for fresh in (best, worst)]
    made = EvaluationTrainer().answer(call, block, SeededRandom(0))
    hits = [made.device(row).values[list(Metric).index(Metric.HIT), 0] for row in (0, 1)]
    assert hits == [1.0, 0.0]


def sequence_bundle(**changes: object) -> Bundle:
    made = bundle(embedding=tensors(seed=4)["item_factors"], popularity=np.full(TITLES, 0.1))
    numbers = {**made.manifest["settings"], **SETTINGS, **changes}
    return Bundle({"settings": numbers}, made.tensors, made.catalogue)


def test_picks_follow_what_was_watched_last_and_name_it() -> None:
    model = PublicModel.from_bundle(sequence_bundle())
    assert model.memory == MEMORY
    late_even = owner(model, "t1", "t3", "t5", "t7", "t0", "t2", "t4")
    late_odd = owner(model, "t0", "t2", "t4", "t1", "t3", "t5", "t7")
    assert all(int(pick.title[1:]) % 2 == 0 for pick in recommend(model, late_even, 6))
    odd = recommend(model, late_odd, 6)
    assert all(int(pick.title[1:]) % 2 == 1 for pick in odd)
    assert {pick.reason for pick in odd} <= {f"because you watched Title {n}" for n in (3, 5, 7)}
    scores = next_scores(model.item_factors, model.popularity, model.embedding, [late_odd.history], MEMORY)[0]
    assert odd[0].score == pytest.approx(scores[model.rows[odd[0].title]])
    assert recommend(model, confidence([], model.rows, NOW, 100), 3)[0].reason == "popular"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"decay": 2.0}, "decay"), ({"columns": 3.0}, "parts of 3"), ({"window": "wide"}, "window")],
)
def test_a_bundle_whose_contexts_make_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        PublicModel.from_bundle(sequence_bundle(**changes))


def test_a_bundle_with_an_embedding_of_another_shape_is_refused() -> None:
    made = sequence_bundle()
    for wrong in (np.ones((TITLES, 3)), np.full((TITLES, COLUMNS), np.nan)):
        with pytest.raises(BundleError, match="embedding"):
            PublicModel.from_bundle(replace(made, tensors={**made.tensors, "embedding": wrong}))


def test_the_order_of_a_history_names_each_title_once() -> None:
    for wrong in ([0, 0], [0], [1, 2]):
        with pytest.raises(ValueError, match="order"):
            RawHistory(np.array([3, 5], np.int32), np.ones(2), order=np.array(wrong, np.int32))
