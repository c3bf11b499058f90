import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.simulations.baselines.popularity import Popularity
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.metrics import Metrics, Protocol, evaluate
from backrow.simulations.splits import Split, make_split
from tests.unit.simulations.golden_metrics import case

FloatArray = NDArray[np.float64]


def split_of(watched: NDArray[np.bool_], test: list[int], negatives: NDArray[np.int32] | None = None) -> Split:
    user, title = np.nonzero(watched)
    rows = Interactions(user.astype(np.int32), title.astype(np.int32), np.zeros(len(user), np.int64), None)
    nothing = np.full(len(test), -1, np.int32)
    return Split("made here", watched.shape[1], rows, nothing, np.array(test, np.int32), negatives)


def ranked(scores: FloatArray, split: Split, protocol: Protocol = "full", k: int = 10, recall_k: int = 20) -> Metrics:
    return evaluate(lambda viewers: scores[viewers], split, protocol, k=k, recall_k=recall_k)


@pytest.mark.parametrize("protocol", ["full", "ncf"])
def test_an_independent_library_finds_the_same_values(protocol: Protocol) -> None:
    golden = json.loads((Path(__file__).parent / "golden_metrics.json").read_text())[protocol]
    scores, watched, test, negatives = case()
    found = ranked(scores, split_of(watched, test.tolist(), negatives), protocol)
    assert found.hr == pytest.approx(golden["Success@10"], abs=1e-12)
    assert found.ndcg == pytest.approx(golden["nDCG@10"], abs=1e-12)
    assert found.recall == pytest.approx(golden["R@20"], abs=1e-12)


def test_titles_of_the_training_set_are_not_ranked() -> None:
    watched = np.array([[True, True, False, False]])
    found = ranked(np.array([[9.0, 8.0, 7.0, 6.0]]), split_of(watched, [3]), k=1)
    assert found.ranks.tolist() == [1]
    assert found.coverage == 0.25


def test_a_tie_counts_half() -> None:
    found = ranked(np.array([[5.0, 3.0, 3.0, 3.0, 1.0]]), split_of(np.zeros((1, 5), bool), [2]), k=3)
    assert found.ranks.tolist() == [2]  # one above, two others level
    assert found.hr == 1
    assert found.ndcg == pytest.approx(1 / np.log2(4))


def test_a_half_rank_is_used_as_it_is() -> None:
    found = ranked(np.array([[3.0, 3.0, 1.0]]), split_of(np.zeros((1, 3), bool), [1]), k=1)
    assert found.ranks.tolist() == [0.5]
    assert found.hr == 1
    assert found.ndcg == pytest.approx(1 / np.log2(2.5))


def test_nothing_is_won_by_scoring_everything_alike() -> None:
    found = ranked(np.zeros((1, 101)), split_of(np.zeros((1, 101), bool), [0]))
    assert found.ranks.tolist() == [50]
    assert found.hr == 0


def test_a_test_title_among_its_own_negatives_loses_half_a_rank() -> None:
    negatives = np.array([[2, 0]], np.int32)
    found = ranked(np.array([[1.0, 5.0, 3.0]]), split_of(np.zeros((1, 3), bool), [2], negatives), "ncf")
    assert found.ranks.tolist() == [0.5]


def test_missing_negatives_are_not_ranked() -> None:
    negatives = np.array([[0, -1, -1]], np.int32)
    found = ranked(np.array([[5.0, 1.0, 9.0]]), split_of(np.zeros((1, 3), bool), [1], negatives), "ncf", k=3)
    assert found.ranks.tolist() == [1]
    assert found.coverage == pytest.approx(2 / 3)


def test_viewers_without_a_test_title_count_for_coverage_only() -> None:
    scores = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 2.0]])
    found = ranked(scores, split_of(np.zeros((2, 3), bool), [0, -1]), k=1)
    assert len(found.ranks) == 1
    assert found.hr == 1
    assert found.coverage == pytest.approx(2 / 3)


def test_nobody_to_ask_gives_no_number() -> None:
    found = ranked(np.zeros((1, 3)), split_of(np.zeros((1, 3), bool), [-1]))
    assert np.isnan(found.hr)
    assert np.isnan(found.ndcg)


def test_a_viewer_who_has_watched_nearly_all_is_shown_no_watched_title() -> None:
    watched = np.array([[True, True, True, False]])
    assert ranked(np.array([[9.0, 8.0, 7.0, -6.0]]), split_of(watched, [3]), k=3).coverage == 0.25


def test_the_columns_of_results_are_named_by_their_list_lengths() -> None:
    found = ranked(np.eye(3), split_of(np.zeros((3, 3), bool), [0, 1, 2]), k=1, recall_k=2)
    assert found.row() == {"hr@1": 1.0, "ndcg@1": 1.0, "recall@2": 1.0, "coverage@1": 1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        ranked(np.array([[1.0, bad, 2.0]]), split_of(np.zeros((1, 3), bool), [0]))


def test_misuse_is_refused() -> None:
    split = split_of(np.zeros((1, 3), bool), [0])
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        ranked(np.zeros((1, 4)), split)
    with pytest.raises(ValueError, match="has no negatives"):
        ranked(np.zeros((1, 3)), split, "ncf")
    with pytest.raises(ValueError, match="at least one title"):
        ranked(np.zeros((1, 3)), split, k=0)


def test_the_scorers_own_array_is_left_alone() -> None:
    scores = np.array([[9.0, 8.0, 7.0]])
    evaluate(lambda viewers: scores, split_of(np.array([[True, False, False]]), [1]))
    assert scores.tolist() == [[9.0, 8.0, 7.0]]


def test_popularity_on_the_real_1m_gives_the_published_figures(data_dir: Path) -> None:
    data = load("ml-1m", offline=True)
    split = make_split(data, "ncf")
    baseline = Popularity().fit(split.train.matrix(split.viewers, split.titles))
    ncf, full = evaluate(baseline.scores, split, "ncf"), evaluate(baseline.scores, split, "full")
    assert (ncf.hr, ncf.ndcg) == (pytest.approx(0.4538, abs=5e-5), pytest.approx(0.2536, abs=5e-5))
    assert (full.hr, full.ndcg) == (pytest.approx(0.0414, abs=5e-5), pytest.approx(0.0204, abs=5e-5))
