"""Small data sets for the tests of this folder: made here, never copied from anywhere."""

import io
import zipfile
from pathlib import Path

import numpy as np

from backrow.simulations.datasets.catalogue import Catalogue, without_metadata
from backrow.simulations.datasets.dataset import Dataset, Interactions

MOVIES_DAT = (
    "10::Léon (1994)::Thriller|Crime\n20::Toy Story (1995)::Comedy\n30::Nobody Rated Me (1962)::Drama\n".encode(
        "iso-8859-1"
    )
)
RATINGS_DAT = b"1::20::5::978300760\n1::10::3::978300100\n2::20::4::978300760\n2::10::1::978300800\n"
U_GENRE = b"unknown|0\nComedy|1\nDrama|2\n\n"
U_ITEM = (
    "7|unknown||||1|0|0\n"
    "8|Amélie (2001) |01-Jan-2001||http://example.invalid/a|0|1|1\n"
    "9|The Land (1995) (V)|01-Jan-1996||http://example.invalid/b|0|0|1\n"
).encode("iso-8859-1")
U_DATA = b"5\t9\t3\t881250949\n6\t7\t4\t881250950\n6\t9\t5\t881250951\n5\t8\t1\t881250952\n"
RECBOLE_ITEM = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "7\tunkonwn\tunkonwn\tunknown\n"
    "8\tAmélie\t2001\tComedy Drama\n"
    "9\tThe Land (1995)\tV\tDrama\n"
).encode()
RECBOLE_INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA

ML_1M_FILES = {"movies.dat": MOVIES_DAT, "ratings.dat": RATINGS_DAT}
ML_100K_FILES = {"u.data": U_DATA, "u.item": U_ITEM, "u.genre": U_GENRE}
RECBOLE_FILES = {"ml-100k.inter": RECBOLE_INTER, "ml-100k.item": RECBOLE_ITEM}


def archive(folder: str, files: dict[str, bytes], **others: bytes) -> bytes:
    """A zip archive with files in one folder, and others at its root."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in files.items():
            made.writestr(f"{folder}/{name}", content)
        for name, content in others.items():
            made.writestr(name, content)
    return buffer.getvalue()


def folder(parent: Path, name: str, files: dict[str, bytes]) -> Path:
    """A folder with files in it."""
    made = parent / name
    made.mkdir()
    for file, content in files.items():
        (made / file).write_bytes(content)
    return made


def dataset(
    user: list[int],
    title: list[int],
    timestamp: list[int],
    *,
    titles: int | None = None,
    rank: list[int] | None = None,
    catalogue: Catalogue | None = None,
) -> Dataset:
    """A data set from plain lists."""
    interactions = Interactions(
        np.array(user, np.int32),
        np.array(title, np.int32),
        np.array(timestamp, np.int64),
        None,
        None if rank is None else np.array(rank, np.int32),
    )
    viewers = tuple(f"viewer {number}" for number in range(max(user) + 1))
    known = catalogue or without_metadata([f"title {row}" for row in range(titles or max(title) + 1)])
    return Dataset("small", "this test", viewers, known, interactions)


def two_tastes(viewers: int = 60, titles: int = 24, seed: int = 5) -> Dataset:
    """Viewers of even rows watch 6 of the lower half of the catalogue, those of odd rows 6 of the upper half."""
    random = np.random.default_rng(seed)
    user, title, timestamp = [], [], []
    for viewer in range(viewers):
        watched = random.choice(titles // 2, size=6, replace=False) + (viewer % 2) * (titles // 2)
        user += [viewer] * 6
        title += [int(row) for row in watched]
        timestamp += [int(at) for at in np.sort(random.integers(1_000, 9_000_000, 6))]
    return dataset(user, title, timestamp, titles=titles)
