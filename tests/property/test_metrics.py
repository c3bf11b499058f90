"""The streaming evaluation against one that follows the definitions of `metrics` word by word."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backrow.simulations import metrics
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.metrics import Protocol, evaluate
from backrow.simulations.splits import Split

Case = tuple[NDArray[np.float64], Split, int, int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few distinct scores, so that ties are common; some viewers without a test title; negatives with gaps."""
    viewers, titles = draw(st.integers(1, 5)), draw(st.integers(2, 9))
    cells = viewers * titles
    scores = draw(st.lists(st.integers(-2, 2), min_size=cells, max_size=cells))
    watched = np.array(draw(st.lists(st.booleans(), min_size=cells, max_size=cells))).reshape(viewers, titles)
    test = np.array([draw(st.sampled_from([-1, *np.flatnonzero(~row).tolist()])) for row in watched], np.int32)
    row = st.lists(st.integers(-1, titles - 1), min_size=4, max_size=4)
    negatives = np.array(draw(st.lists(row, min_size=viewers, max_size=viewers)), np.int32)
    user, title = np.nonzero(watched)
    train = Interactions(user.astype(np.int32), title.astype(np.int32), np.zeros(len(user), np.int64), None)
    split = Split("drawn", titles, train, np.full(viewers, -1, np.int32), test, negatives)
    table = np.array(scores, np.float64).reshape(viewers, titles)
    return table, split, draw(st.integers(1, titles + 1)), draw(st.integers(1, titles + 1))


def by_definition(
    scores: NDArray[np.float64], split: Split, protocol: Protocol, k: int, recall_k: int
) -> tuple[list[float], dict[str, float]]:
    """Ranks and metrics, one viewer and one title at a time."""
    ranks, shown = [], set()
    for viewer in range(split.viewers):
        watched = {int(t) for u, t in zip(split.train.user, split.train.title, strict=True) if u == viewer}
        if protocol == "full":
            candidates = [title for title in range(split.titles) if title not in watched]
        else:
            assert split.negatives is not None
            candidates = [int(title) for title in [split.test[viewer], *split.negatives[viewer]] if title >= 0]
        order = sorted(range(len(candidates)), key=lambda place: (-scores[viewer, candidates[place]], place))
        shown |= {candidates[place] for place in order[:k]}
        test = int(split.test[viewer])
        if test < 0:
            continue
        others = list(candidates)
        others.remove(test)
        above = sum(1 for title in others if scores[viewer, title] > scores[viewer, test])
        level = sum(1 for title in others if scores[viewer, title] == scores[viewer, test])
        ranks.append(above + 0.5 * level)
    if not ranks:
        return [], {}
    return ranks, {
        "hr": sum(rank < k for rank in ranks) / len(ranks),
        "ndcg": sum(1 / math.log2(rank + 2) for rank in ranks if rank < k) / len(ranks),
        "recall": sum(rank < recall_k for rank in ranks) / len(ranks),
        "coverage": len(shown) / split.titles,
    }


@pytest.mark.parametrize("protocol", ["full", "ncf"])
@settings(deadline=None)  # a busy machine is no failure
@given(case=cases())
def test_the_evaluation_follows_its_definitions(protocol: Protocol, case: Case) -> None:
    scores, split, k, recall_k = case
    found = evaluate(lambda viewers: scores[viewers], split, protocol, k=k, recall_k=recall_k)
    ranks, expected = by_definition(scores, split, protocol, k, recall_k)
    assert found.ranks.tolist() == ranks
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name


@settings(deadline=None)
@given(case=cases(), block=st.integers(1, 4))
def test_the_size_of_the_blocks_changes_nothing(case: Case, block: int) -> None:
    scores, split, k, recall_k = case
    whole = evaluate(lambda viewers: scores[viewers], split, k=k, recall_k=recall_k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        parts = evaluate(lambda viewers: scores[viewers], split, k=k, recall_k=recall_k)
    assert parts.ranks.tolist() == whole.ranks.tolist()
    assert parts.coverage == whole.coverage


@settings(deadline=None)
@given(case=cases())
def test_only_the_order_of_scores_counts(case: Case) -> None:
    scores, split, k, recall_k = case
    one = evaluate(lambda viewers: scores[viewers], split, k=k, recall_k=recall_k)
    other = evaluate(lambda viewers: np.exp(3 * scores[viewers]) - 7, split, k=k, recall_k=recall_k)
    assert one.ranks.tolist() == other.ranks.tolist()
    assert one.coverage == other.coverage


@settings(deadline=None)
@given(case=cases())
def test_a_higher_score_never_ranks_a_test_title_lower(case: Case) -> None:
    scores, split, k, recall_k = case
    raised = scores.copy()
    asked = np.flatnonzero(split.test >= 0)
    raised[asked, split.test[asked]] += 1
    before = evaluate(lambda viewers: scores[viewers], split, k=k, recall_k=recall_k)
    after = evaluate(lambda viewers: raised[viewers], split, k=k, recall_k=recall_k)
    assert np.all(after.ranks <= before.ranks)
