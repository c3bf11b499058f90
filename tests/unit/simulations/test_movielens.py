import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from backrow.privacy.errors import DataError
from backrow.simulations.datasets import fetch
from backrow.simulations.datasets.movielens import ML_1M, ML_100K, RECBOLE_FOLDER, Edition, read
from backrow.simulations.datasets.registry import load
from tests.unit.simulations.small_data import (
    ML_1M_FILES,
    ML_100K_FILES,
    RECBOLE_FILES,
    RECBOLE_ITEM,
    archive,
    folder,
)

NOW = 1_700_000_000


def zipped(parent: Path, name: str, content: bytes) -> Path:
    path = parent / name
    path.write_bytes(content)
    return path


def test_the_rated_catalogue_of_1m_is_numbered_by_first_appearance(tmp_path: Path) -> None:
    data = read(ML_1M, folder(tmp_path, "ml-1m", ML_1M_FILES), "a folder", "rated", NOW)
    assert data.catalogue.ids == ("20", "10")
    assert data.catalogue.names == ("Toy Story (1995)", "Léon (1994)")
    assert data.catalogue.genres == (("Comedy",), ("Crime", "Thriller"))
    assert data.catalogue.years == (1995, 1994)
    assert data.interactions.title.tolist() == [0, 1, 0, 1]
    assert data.viewers == ("1", "2")


def test_the_whole_catalogue_of_1m_is_the_publishers(tmp_path: Path) -> None:
    data = read(ML_1M, folder(tmp_path, "ml-1m", ML_1M_FILES), "a folder", "all", NOW)
    assert data.catalogue.ids == ("10", "20", "30")
    assert data.interactions.title.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("edition", "files"), [(ML_1M, ML_1M_FILES), (ML_100K, ML_100K_FILES)])
def test_the_publishers_archive_holds_the_same_as_the_unpacked_folder(
    edition: Edition, files: dict[str, bytes], tmp_path: Path
) -> None:
    packed = zipped(tmp_path, "some.zip", archive(edition.name, files))
    unpacked = folder(tmp_path, edition.name, files)
    fingerprints = {read(edition, place, "somewhere", "all", NOW).fingerprint for place in (packed, unpacked)}
    assert len(fingerprints) == 1


def test_the_recbole_copy_of_100k_is_the_publishers_100k(tmp_path: Path) -> None:
    wheel = zipped(tmp_path, "some.whl", archive(RECBOLE_FOLDER, RECBOLE_FILES))
    theirs = read(ML_100K, wheel, "the wheel", "all", NOW)
    ours = read(ML_100K, folder(tmp_path, "ml-100k", ML_100K_FILES), "a folder", "all", NOW)
    assert theirs.catalogue == ours.catalogue
    assert ours.catalogue.names == ("unknown", "Amélie (2001)", "The Land (1995) (V)")
    assert ours.catalogue.years == (None, 2001, 1995)
    assert ours.catalogue.genres == ((), ("Comedy", "Drama"), ("Drama",))
    assert theirs.fingerprint == ours.fingerprint


def test_the_parquet_layout_of_1m_orders_by_position_where_times_tie(tmp_path: Path) -> None:
    columns = {"user_id": [1, 1, 2, 2], "movie_id": [20, 10, 20, 10], "rating": [5, 3, 4, 1], "pos": [1, 0, 0, 1]}
    table = pa.table({**columns, "ts": [978300760, 978300760, 5, 6], "ts_exact": [True, True, True, False]})
    pyarrow.parquet.write_table(table, buffer := io.BytesIO())
    files = {"ml-1m.parquet": buffer.getvalue(), "movies.dat": ML_1M_FILES["movies.dat"]}
    rows = read(ML_1M, folder(tmp_path, "ml-1m", files), "a folder", "rated", NOW).interactions
    assert rows.chronological().tolist() == [1, 0, 2, 3]


DAMAGED = {
    "a rating that is no number": {**ML_1M_FILES, "ratings.dat": b"1::20::five::978300760\n2::10::5::978300760\n"},
    "a row that is too short": {**ML_1M_FILES, "ratings.dat": b"1::20::5\n2::10::5\n"},
    "a catalogue row that is too short": {**ML_1M_FILES, "movies.dat": b"10::Toy\n20::Story\n"},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_as_such(case: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ml-1m from a folder is damaged .*get it anew"):
        read(ML_1M, folder(tmp_path, "ml-1m", DAMAGED[case]), "a folder", "rated", NOW)


def test_an_archive_that_is_none_is_named_as_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is damaged"):
        read(ML_1M, zipped(tmp_path, "ml-1m.zip", b"PK but not really"), "a folder", "rated", NOW)


def test_an_archive_without_the_files_says_which_are_needed(tmp_path: Path) -> None:
    packed = zipped(tmp_path, "ml-1m.zip", archive("ml-1m", {"movies.dat": b""}))
    with pytest.raises(DataError, match=r"incomplete: it needs .*ratings\.dat \+ movies\.dat"):
        read(ML_1M, packed, "a folder", "rated", NOW)


def test_a_rating_of_a_title_that_the_catalogue_lacks_is_refused(tmp_path: Path) -> None:
    files = {**ML_1M_FILES, "ratings.dat": b"1::20::5::978300760\n2::99::5::978300760\n"}
    with pytest.raises(DataError, match=r"1 titles its catalogue lacks \('99'\)"):
        read(ML_1M, folder(tmp_path, "ml-1m", files), "a folder", "rated", NOW)


@pytest.mark.parametrize("name", ["ml-1m", "ml-100k"])
def test_the_real_sets_have_their_published_sizes(name: str, data_dir: Path) -> None:
    rated, whole = (load(name, catalogue=scope, offline=True, now=NOW) for scope in ("rated", "all"))
    sizes = {"ml-1m": (6040, 3706, 3883, 1_000_209), "ml-100k": (943, 1682, 1682, 100_000)}
    assert (len(rated.viewers), len(rated.catalogue), len(whole.catalogue), len(rated.interactions)) == sizes[name]
    assert rated.warnings == whole.warnings == ()
    there = [rated.catalogue.ids[row] for row in rated.interactions.title[:1000]]
    assert there == [whole.catalogue.ids[row] for row in whole.interactions.title[:1000]]
    first = list(dict.fromkeys(rated.interactions.title.tolist()))
    assert first == list(range(len(rated.catalogue)))
    assert rated.catalogue.features().shape == (len(rated.catalogue), 28 if name == "ml-1m" else 26)


def test_positions_and_times_of_the_real_1m_agree(data_dir: Path) -> None:
    rows = load("ml-1m", offline=True).interactions
    order = rows.chronological()
    same_viewer = np.diff(rows.user[order]) == 0
    assert np.all(np.diff(rows.timestamp[order])[same_viewer] >= 0)


def test_the_real_recbole_wheel_is_the_publishers_100k(data_dir: Path) -> None:
    wheel = fetch.cache_folder() / fetch.RECBOLE_WHEEL
    if not fetch.intact(wheel, fetch.RECBOLE_SHA256):
        pytest.skip(f"{fetch.RECBOLE_WHEEL} is not in the cache folder")
    theirs = read(ML_100K, wheel, "the wheel", "all", NOW)
    ours = read(ML_100K, data_dir / "ml-100k", "a folder", "all", NOW)
    assert theirs.catalogue == ours.catalogue
    assert theirs.fingerprint == ours.fingerprint


def test_the_misspelt_name_is_in_the_recbole_layout_only() -> None:
    assert b"unkonwn" in RECBOLE_ITEM
    assert not any(b"unkonwn" in content for content in ML_100K_FILES.values())
