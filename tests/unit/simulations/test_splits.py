from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.splits import NEGATIVES, Split, make_split, tuning_view
from tests.unit.simulations.small_data import dataset, two_tastes

# Viewer 0: titles 3, 1, 2, 0 in time; viewer 1: 0, 2, 3 (2 and 3 tie, file row decides); viewer 2: two titles only.
HISTORY = dataset(
    user=[0, 1, 0, 1, 0, 2, 1, 0, 2],
    title=[0, 0, 1, 2, 2, 4, 3, 3, 5],
    timestamp=[40, 10, 20, 20, 30, 5, 20, 10, 6],
    titles=150,
)


def watched(split: Split, viewer: int) -> set[int]:
    return set(split.train.title[split.train.user == viewer].tolist())


def test_the_last_title_in_time_is_asked_about_and_the_one_before_is_for_tuning() -> None:
    split = make_split(HISTORY, "last")
    assert split.name == "last"
    assert split.test.tolist() == [0, 3, -1]
    assert split.validation.tolist() == [2, 2, -1]


def test_training_keeps_the_validation_title_and_all_of_viewers_who_are_not_asked() -> None:
    split = make_split(HISTORY, "last")
    assert [watched(split, viewer) for viewer in range(3)] == [{1, 2, 3}, {0, 2}, {4, 5}]


def test_a_known_order_decides_where_timestamps_tie() -> None:
    data = dataset([0, 0, 0], [0, 1, 2], [7, 7, 7], rank=[2, 0, 1])
    split = make_split(data, "last")
    assert (split.test.tolist(), split.validation.tolist()) == ([0], [2])


def test_negatives_are_distinct_and_neither_watched_in_training_nor_the_test_title() -> None:
    split = make_split(HISTORY, "last")
    assert split.negatives is not None
    for viewer in (0, 1):
        drawn = split.negatives[viewer]
        assert len(set(drawn.tolist())) == NEGATIVES
        assert not set(drawn.tolist()) & (watched(split, viewer) | {int(split.test[viewer])})
    assert split.negatives[2].tolist() == [-1] * NEGATIVES


def test_negatives_fill_up_with_none_where_the_catalogue_is_small() -> None:
    split = make_split(two_tastes(viewers=4, titles=24), "last")
    assert split.negatives is not None
    assert np.all(np.sum(split.negatives >= 0, axis=1) == 24 - 6)


def test_a_viewers_negatives_do_not_depend_on_the_other_viewers_and_change_with_the_seed() -> None:
    alone = make_split(dataset([0, 0, 0, 0], [0, 1, 2, 3], [40, 20, 30, 10], titles=150), "last")
    together = make_split(HISTORY, "last")
    other_seed = make_split(HISTORY, "last", seed=1)
    assert alone.negatives is not None
    assert together.negatives is not None
    assert other_seed.negatives is not None
    assert np.array_equal(alone.negatives[0], together.negatives[0])
    assert not np.array_equal(other_seed.negatives[0], together.negatives[0])


def test_the_tuning_view_holds_no_test_title_and_asks_about_the_validation_titles() -> None:
    split = make_split(HISTORY, "last")
    view = tuning_view(split)
    assert view.name == "last-tuning"
    assert view.test.tolist() == split.validation.tolist()
    assert view.validation.tolist() == [-1, -1, -1]
    assert [watched(view, viewer) for viewer in range(3)] == [{1, 3}, {0}, {4, 5}]


def test_the_tuning_view_is_the_same_whatever_the_test_title_was() -> None:
    def with_last(title: int) -> Split:
        return tuning_view(make_split(dataset([0, 0, 0, 0], [5, 6, 7, title], [1, 2, 3, 4], titles=150), "last"))

    one, other = with_last(8), with_last(9)
    assert one.negatives is not None
    assert other.negatives is not None
    assert np.array_equal(one.train.title, other.train.title)
    assert np.array_equal(one.negatives, other.negatives)


def test_negatives_of_the_tuning_view_may_hold_the_test_title() -> None:
    split = make_split(two_tastes(viewers=10, titles=24), "last")
    view = tuning_view(split)
    assert view.negatives is not None
    # 24 titles, 4 in training and 1 asked about: all 19 others are drawn, the test title with them.
    assert all(int(split.test[viewer]) in view.negatives[viewer] for viewer in range(10))


def test_a_split_that_leaks_cannot_be_made() -> None:
    rows = Interactions(np.zeros(2, np.int32), np.array([1, 2], np.int32), np.arange(2), None)
    nothing = np.array([-1], np.int32)
    with pytest.raises(ValueError, match="leaks"):
        Split("bad", 3, rows, nothing, np.array([2], np.int32), None)


def test_the_published_split_is_refused_for_other_data() -> None:
    with pytest.raises(DataError, match="published for ml-1m only, not for small: use 'last'"):
        make_split(HISTORY, "ncf")
    assert make_split(HISTORY).name == "last"


def test_the_published_split_of_the_real_1m(data_dir: Path) -> None:
    split = make_split(load("ml-1m", offline=True))
    assert split.name == "ncf"
    assert len(split.train) == 994_169
    assert split.negatives is not None
    assert split.negatives.shape == (6040, 99)
    assert int(np.sum(np.any(split.negatives == split.test[:, None], axis=1))) == 156
    assert split.test[:3].tolist() == [25, 133, 207]
    view = tuning_view(split)
    assert len(view.train) == 994_169 - 6040
    assert np.all(view.test >= 0)


def test_last_by_time_is_the_published_title_for_4373_viewers_of_the_real_1m(data_dir: Path) -> None:
    data = load("ml-1m", offline=True)
    assert int(np.sum(make_split(data, "last").test == make_split(data, "ncf").test)) == 4373


def test_the_published_split_needs_the_rated_catalogue(data_dir: Path) -> None:
    whole = load("ml-1m", catalogue="all", offline=True)
    with pytest.raises(DataError, match="catalogue='rated'"):
        make_split(whole, "ncf")
    assert make_split(whole).name == "last"


def test_the_published_split_needs_its_files(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("ml-1m", offline=True)
    monkeypatch.setenv("BACKROW_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"needs ml-1m\.test\.rating and .* in the folder ml-1m of BACKROW_DATA"):
        make_split(data, "ncf")
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m/ml-1m.test.rating").write_text("0\t1\t5\t9\n")
    (tmp_path / "ml-1m/ml-1m.test.negative.xz").write_bytes(b"not xz")
    with pytest.raises(DataError, match="cannot be read"):
        make_split(data, "ncf")


def test_where_viewings_repeat_the_title_that_was_new_last_is_asked_about(tmp_path: Path) -> None:
    watched_in_order = {"ann": "abacadba", "bob": "aabb", "cat": "dccbc"}
    rows = [f"{viewer},{title},{at}" for viewer, titles in watched_in_order.items() for at, title in enumerate(titles)]
    (tmp_path / "plays.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    data = load(str(tmp_path / "plays.csv"))
    split = make_split(data, "last")
    assert [data.catalogue.ids[row] if row >= 0 else "" for row in split.test] == ["d", "", "b"]
    assert [data.catalogue.ids[row] if row >= 0 else "" for row in split.validation] == ["c", "", "c"]
    assert split.train.plays is not None
    learned = [
        {data.catalogue.ids[split.train.title[row]]: int(split.train.plays[row]) for row in rows}
        for rows in (np.flatnonzero(split.train.user == viewer) for viewer in range(3))
    ]
    # Of ann and cat nothing from the new title on; of bob, who is not asked, everything.
    assert learned == [{"a": 3, "b": 1, "c": 1}, {"a": 2, "b": 2}, {"d": 1, "c": 2}]
    assert tuning_view(split).test.tolist() == split.validation.tolist()
