import gzip
import os
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.registry import load

NOW = 1_700_000_000
GOOD = "user,item,timestamp,rating\nann,x,100,4\nbob,x,200,5\nann,y,300,2.5\n"


def csv(folder: Path, text: str, name: str = "watched.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def parquet(folder: Path, **columns: object) -> str:
    path = folder / "watched.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return str(path)


def test_a_csv_gives_viewers_and_titles_by_first_appearance(tmp_path: Path) -> None:
    data = load(csv(tmp_path, GOOD), now=NOW)
    assert data.viewers == ("ann", "bob")
    assert data.catalogue.ids == data.catalogue.names == ("x", "y")
    assert data.interactions.user.tolist() == [0, 1, 0]
    assert data.interactions.title.tolist() == [0, 0, 1]
    assert data.interactions.timestamp.tolist() == [100, 200, 300]
    assert data.interactions.rating is not None
    assert data.interactions.rating.tolist() == [4, 5, 2.5]
    assert (data.interactions.user.dtype, data.interactions.title.dtype) == (np.int32, np.int32)


def test_parquet_csv_tsv_and_compressed_csv_of_the_same_rows_are_the_same_data(tmp_path: Path) -> None:
    table = {
        "user": ["ann", "bob", "ann"],
        "item": ["x", "x", "y"],
        "timestamp": [100, 200, 300],
        "rating": [4, 5, 2.5],
    }
    (tmp_path / "watched.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    fingerprints = {
        load(path).fingerprint
        for path in (
            csv(tmp_path, GOOD),
            csv(tmp_path, GOOD.replace(",", "\t"), "watched.tsv"),
            str(tmp_path / "watched.csv.gz"),
            parquet(tmp_path, **table),
        )
    }
    assert len(fingerprints) == 1


def test_the_fingerprint_changes_with_any_column(tmp_path: Path) -> None:
    texts = [
        GOOD,
        GOOD.replace("bob", "bo"),
        GOOD.replace("y", "z"),
        GOOD.replace("300", "301"),
        GOOD.replace("2.5", "3"),
    ]
    assert len({load(csv(tmp_path, text)).fingerprint for text in texts}) == len(texts)


def test_ratings_are_optional(tmp_path: Path) -> None:
    assert load(csv(tmp_path, "user,item,timestamp\n1,2,3\n2,3,4\n")).interactions.rating is None


def test_unambiguous_other_names_of_columns_are_understood(tmp_path: Path) -> None:
    data = load(csv(tmp_path, GOOD.replace("user,item,timestamp,rating", "user_id,movieId,ts,stars")))
    assert data.viewers == ("ann", "bob")


def test_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    data = load(csv(tmp_path, "user,item,timestamp\n007,1,1\n7,2,2\n"))
    assert data.viewers == ("007", "7")


def test_integer_ids_of_a_parquet_file_and_dates_are_understood(tmp_path: Path) -> None:
    at = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, 0, 0, 1, 500_000, tzinfo=UTC)]
    data = load(parquet(tmp_path, user=[9, 8], item=[5, 6], timestamp=at), now=NOW)
    assert data.viewers == ("9", "8")
    assert data.interactions.timestamp.tolist() == [1_577_836_800, 1_577_923_201]
    days = load(parquet(tmp_path, user=[9, 8], item=[5, 6], timestamp=[date(2020, 1, 1), date(2020, 1, 2)]))
    assert days.interactions.timestamp.tolist() == [1_577_836_800, 1_577_923_200]


def test_the_row_index_that_pandas_leaves_in_a_parquet_file_is_no_column(tmp_path: Path) -> None:
    path = parquet(tmp_path, user=[1, 2], item=[1, 2], timestamp=[1, 2], __index_level_0__=[0, 1])
    assert len(load(path).interactions) == 2


REFUSED = {
    "no item column, and what was found": ("user,film,timestamp\n1,2,3\n2,3,4\n", "no item column.*'user', 'film'"),
    "an unknown column, and what was meant": (
        "user,item,timestamp,ratings\n1,2,3,4\n2,3,4,5\n",
        "does not know.*'ratings'; found: 'user', 'item', 'timestamp', 'ratings'.*did you mean 'rating'",
    ),
    "two columns for one thing": ("user,item,movie_id,ts\n1,2,3,4\n2,3,4,5\n", "2 columns for the item.*keep one"),
    "a NaN rating": ("user,item,timestamp,rating\n1,2,3,nan\n2,3,4,5\n", "1 ratings that are empty, NaN or infinite"),
    "an infinite rating": ("user,item,timestamp,rating\n1,2,3,inf\n2,3,4,5\n", "1 ratings.*infinite.*remove"),
    "an empty rating": ("user,item,timestamp,rating\n1,2,3,\n2,3,4,5\n", "1 ratings that are empty"),
    "no rating in the whole column": ("user,item,timestamp,rating\n1,2,3,\n2,3,4,\n", "2 ratings that are empty"),
    "words for ratings": (
        "user,item,timestamp,rating\n1,2,3,good\n2,3,4,bad\n",
        "rating column is string, not numbers",
    ),
    "a negative time": ("user,item,timestamp\n1,2,-3\n2,3,4\n", "1 negative timestamps.*Unix seconds"),
    "a time to come": (f"user,item,timestamp\n1,2,3\n2,3,{NOW + 1}\n", "1 timestamps in the future"),
    "milliseconds": (f"user,item,timestamp\n1,2,3\n2,3,{NOW}000\n", "look like milliseconds: divide by 1000"),
    "a NaN time": ("user,item,timestamp\n1,2,nan\n2,3,4\n", "timestamps that are NaN or infinite"),
    "no time": ("user,item,timestamp\n1,2,\n2,3,4\n", "1 rows without a timestamp"),
    "words for times": ("user,item,timestamp\n1,2,noon\n2,3,4\n", "timestamp column is string"),
    "no user": ('user,item,timestamp\n"",2,3\n2,3,4\n', "1 rows without a user"),
    "one viewer": ("user,item,timestamp\n1,2,3\n1,3,4\n", "one viewer only.*at least two"),
    "one title": ("user,item,timestamp\n1,2,3\n2,2,4\n", "one title only.*at least two"),
    "no rows": ("user,item,timestamp\n", "no interactions"),
    "nothing at all": ("", "is empty"),
    "rows of different lengths": ("user,item,timestamp\n1,2,3,4\n", "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_csv_is_refused_with(case: str, tmp_path: Path) -> None:
    text, sentence = REFUSED[case]
    with pytest.raises(DataError, match=sentence):
        load(csv(tmp_path, text), now=NOW)


def test_future_times_are_judged_by_the_given_clock_only(tmp_path: Path) -> None:
    path = csv(tmp_path, f"user,item,timestamp\n1,2,3\n2,3,{NOW}\n")
    assert len(load(path, now=NOW).interactions) == 2
    with pytest.raises(DataError, match="future"):
        load(path, now=NOW - 1)


def test_a_parquet_file_with_fractions_for_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="user column is double; it must hold integers or text"):
        load(parquet(tmp_path, user=[1.5, 2.0], item=[1, 2], timestamp=[1, 2]))


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "watched.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match=r"cannot be read.*complete"):
        load(str(tmp_path / "watched.parquet"))


def test_a_csv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "watched.csv").write_bytes(b"user,item,timestamp\n\xff\xfe,2,3\n1,2,3\n")
    with pytest.raises(DataError, match="cannot be read"):
        load(str(tmp_path / "watched.csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = Path(csv(tmp_path, GOOD))
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        load(str(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*nowhere\.csv"):
        load(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="neither CSV nor Parquet"):
        load(str(tmp_path))


def test_duplicate_rows_are_merged_with_a_warning_and_the_latest_is_kept(tmp_path: Path) -> None:
    rows = ["ann,x,300,5", "bob,x,200,4", "ann,x,100,1", "ann,y,50,2", "bob,x,200,3", "cat,z,5,1"]
    data = load(csv(tmp_path, "\n".join(["user,item,timestamp,rating", *rows])))
    assert any("2 duplicate rows" in warning and "merged" in warning for warning in data.warnings)
    assert data.interactions.timestamp.tolist() == [300, 50, 200, 5]
    assert data.interactions.rating is not None
    assert data.interactions.rating.tolist() == [5, 2, 3, 1]  # of bob's equal times the later row


def test_a_small_population_is_accepted_with_a_warning_and_a_larger_one_without(tmp_path: Path) -> None:
    def text(viewers: int) -> str:
        return "user,item,timestamp\n" + "".join(f"{viewer},{viewer % 7},5\n" for viewer in range(viewers))

    assert "99 viewers only" in load(csv(tmp_path, text(99))).warnings[0]
    assert load(csv(tmp_path, text(100))).warnings == ()


def test_another_scale_of_ratings_is_mapped_onto_stars_with_a_warning(tmp_path: Path) -> None:
    data = load(csv(tmp_path, "user,item,timestamp,rating\n1,2,3,0\n2,3,4,100\n2,4,5,50\n"))
    assert data.interactions.rating is not None
    assert data.interactions.rating.tolist() == [0.5, 5.0, 2.75]
    assert "run from 0 to 100" in data.warnings[0]


def test_counts_of_a_title_are_added_up_over_its_rows_and_the_latest_time_is_kept(tmp_path: Path) -> None:
    rows = ["ann,x,300,5", "bob,x,200,4", "ann,x,100,1", "ann,y,50,2"]
    data = load(csv(tmp_path, "\n".join(["user,item,timestamp,plays", *rows])))
    assert data.interactions.plays is not None
    assert data.interactions.plays.tolist() == [6, 4, 2]
    assert data.interactions.timestamp.tolist() == [300, 200, 50]
    assert any("12 viewings were merged into 3 counts" in warning for warning in data.warnings)


def test_rows_that_repeat_are_viewings_where_there_are_no_ratings(tmp_path: Path) -> None:
    rows = ["ann,x,300", "bob,x,200", "ann,x,100", "ann,y,50"]
    data = load(csv(tmp_path, "\n".join(["user,item,timestamp", *rows])))
    assert data.interactions.plays is not None
    assert data.interactions.plays.tolist() == [2, 1, 1]
    assert data.viewings is not None
    assert len(data.viewings) == 4
    once = load(csv(tmp_path, "user,item,timestamp\nann,x,300\nbob,x,200\nann,y,50\n"))
    assert (once.interactions.plays, once.viewings) == (None, None)


def test_how_often_something_was_watched_changes_the_fingerprint(tmp_path: Path) -> None:
    def of(count: int) -> str:
        return load(csv(tmp_path, f"user,item,timestamp,count\nann,x,300,{count}\nbob,y,200,1\n")).fingerprint

    assert of(1) != of(2)


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "", "1e9"])
def test_a_count_that_is_no_number_of_viewings_is_refused(tmp_path: Path, count: str) -> None:
    with pytest.raises(DataError, match="1 counts that are not whole numbers"):
        load(csv(tmp_path, f"user,item,timestamp,count\nann,x,300,{count}\nbob,y,200,1\n"))


def test_counts_that_are_text_and_counts_beside_ratings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the count column is string"):
        load(csv(tmp_path, "user,item,timestamp,count\nann,x,300,often\nbob,y,200,1\n"))
    with pytest.raises(DataError, match="ratings and counts"):
        load(csv(tmp_path, "user,item,timestamp,rating,count\nann,x,300,3,2\nbob,y,200,1,2\n"))
