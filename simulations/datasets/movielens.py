"""MovieLens 100K and 1M in the layouts in which they are found (Harper and Konstan 2015).

Licence of both: research use, no redistribution, no commercial use. backrow ships neither.
"""

import io
import zipfile
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.catalogue import Catalogue, year_of
from backrow.simulations.datasets.dataset import (
    CatalogueScope,
    Dataset,
    RawRatings,
    by_first_appearance,
    checked,
)

HOME_PAGE = "https://grouplens.org/datasets/movielens/"


@dataclass(frozen=True)
class Edition:
    """One published data set.

    Attributes:
        name: what `registry.load` takes; also its folder's name, on disk and in the publisher's archive.
        description: one line, with the licence in short.
        url: of the publisher's archive.
        sha256: of that archive.
        layouts: the sets of files, best first, from which it can be read.
    """

    name: str
    description: str
    url: str
    sha256: str
    layouts: tuple[tuple[str, ...], ...]

    def complete(self, folder: Traversable) -> bool:
        """Whether the folder holds one of the layouts."""
        return any(all(folder.joinpath(file).is_file() for file in layout) for layout in self.layouts)


ML_100K = Edition(
    "ml-100k",
    "MovieLens 100K: 100,000 ratings, 943 viewers, 1,682 titles; research use only",
    "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    (("u.data", "u.item", "u.genre"), ("ml-100k.inter", "ml-100k.item")),
)
ML_1M = Edition(
    "ml-1m",
    "MovieLens 1M: 1,000,209 ratings, 6,040 viewers, 3,706 rated titles of 3,883; research use only",
    "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
    "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    (("ml-1m.parquet", "movies.dat"), ("ratings.dat", "movies.dat")),
)
EDITIONS = {edition.name: edition for edition in (ML_100K, ML_1M)}

RECBOLE_FOLDER = "recbole/dataset_example/ml-100k"
# The recbole copy differs from u.item in exactly these: a misspelt name (267), and "(V)" taken for a year (1412).
# Both are undone here. Ratings, row order, genres and every other name and year are the same, so both copies give
# the same fingerprint.
_RECBOLE_SPELLING = {"unkonwn": "unknown"}
_NO_GENRE = "unknown"


def read(edition: Edition, location: Path, source: str, scope: CatalogueScope, now: int | None) -> Dataset:
    """Read an edition from a folder, the publisher's archive or the recbole wheel.

    Args:
        edition: what to read.
        location: a folder with one of the edition's layouts, or an archive that holds such a folder.
        source: where it came from, in words.
        scope: "rated": titles by first appearance in row order (for ml-1m the ids of the NCF split); "all": the
            publisher's catalogue in its own order.
        now: Unix seconds; later timestamps are refused. None: not checked.

    Raises:
        DataError: a file is missing, damaged or not in the expected layout.
    """
    try:
        if location.is_dir():
            return _read_folder(edition, location, source, scope, now)
        with zipfile.ZipFile(location) as archive:
            inner = RECBOLE_FOLDER if location.suffix == ".whl" else edition.name
            return _read_folder(edition, zipfile.Path(archive, f"{inner}/"), source, scope, now)
    except (OSError, ValueError, IndexError, pa.ArrowException, zipfile.BadZipFile, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{edition.name} from {source} is damaged ({reason}): get it anew from {HOME_PAGE}") from error


def _read_folder(edition: Edition, folder: Traversable, source: str, scope: CatalogueScope, now: int | None) -> Dataset:
    if not edition.complete(folder):
        wanted = " or ".join(" + ".join(layout) for layout in edition.layouts)
        raise DataError(f"{edition.name} from {source} is incomplete: it needs {wanted}")
    if edition.name == ML_1M.name:
        catalogue = _catalogue_dat(folder.joinpath("movies.dat").read_bytes())
        parquet = folder.joinpath("ml-1m.parquet")
        if parquet.is_file():
            raw = _parquet(parquet.read_bytes())
        else:
            raw = _delimited(folder.joinpath("ratings.dat").read_bytes().replace(b"::", b"\t"))
    elif folder.joinpath("u.data").is_file():
        catalogue = _catalogue_item(folder.joinpath("u.item").read_bytes(), folder.joinpath("u.genre").read_bytes())
        raw = _delimited(folder.joinpath("u.data").read_bytes())
    else:
        catalogue = _catalogue_recbole(folder.joinpath("ml-100k.item").read_bytes())
        raw = _delimited(folder.joinpath("ml-100k.inter").read_bytes().split(b"\n", 1)[1])
    return checked(edition.name, source, raw, catalogue, scope, now)


def _parquet(content: bytes) -> RawRatings:
    """MovieLens 1M with `pos`, the chronological rank that the interpolated 20 % of its timestamps cannot give."""
    table = pyarrow.parquet.read_table(io.BytesIO(content), columns=["user_id", "movie_id", "rating", "pos", "ts"])
    return _raw(table.rename_columns(["user", "title", "rating", "rank", "timestamp"]))


def _delimited(content: bytes) -> RawRatings:
    """Rows of user, title, rating and timestamp, separated by tabs, without a header."""
    return _raw(
        pyarrow.csv.read_csv(
            io.BytesIO(content),
            read_options=pyarrow.csv.ReadOptions(column_names=["user", "title", "rating", "timestamp"]),
            parse_options=pyarrow.csv.ParseOptions(delimiter="\t"),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={
                    "user": pa.int32(),
                    "title": pa.int32(),
                    "rating": pa.float32(),
                    "timestamp": pa.int64(),
                }
            ),
        )
    )


def _raw(table: pa.Table) -> RawRatings:
    viewers, user = by_first_appearance(table["user"].to_numpy())
    titles, title = by_first_appearance(table["title"].to_numpy())
    timestamp = table["timestamp"].to_numpy().astype(np.int64)
    rating = table["rating"].to_numpy().astype(np.float32)
    rank = table["rank"].to_numpy().astype(np.int32) if "rank" in table.column_names else None
    return RawRatings(viewers, titles, user, title, timestamp, rating, rank)


def _catalogue(rows: list[tuple[str, str, list[str]]]) -> Catalogue:
    # u.item leaves a blank behind three names.
    rows = [(key, name.strip(), genres) for key, name, genres in rows]
    return Catalogue(
        tuple(key for key, _, _ in rows),
        tuple(name for _, name, _ in rows),
        tuple(tuple(sorted(genre for genre in genres if genre != _NO_GENRE)) for _, _, genres in rows),
        tuple(year_of(name) for _, name, _ in rows),
    )


def _lines(content: bytes, encoding: str) -> list[str]:
    return [line for line in content.decode(encoding).splitlines() if line]


def _catalogue_dat(content: bytes) -> Catalogue:
    """`movies.dat`: id::name (year)::genre|genre."""
    fields = [line.split("::") for line in _lines(content, "iso-8859-1")]
    return _catalogue([(key, name, genres.split("|")) for key, name, genres in fields])


def _catalogue_item(items: bytes, genres: bytes) -> Catalogue:
    """`u.item`: id|name (year)|date|video date|address|one flag per genre of `u.genre`. The year is the name's."""
    order = [line.split("|")[0] for line in _lines(genres, "iso-8859-1")]
    rows = []
    for line in _lines(items, "iso-8859-1"):
        key, name, *_, flags = line.split("|", 5)
        rows.append((key, name, [genre for genre, flag in zip(order, flags.split("|"), strict=True) if flag == "1"]))
    return _catalogue(rows)


def _catalogue_recbole(content: bytes) -> Catalogue:
    """`ml-100k.item`: id, name without its last bracket, that bracket (the year), genres separated by spaces."""
    rows = []
    for line in _lines(content, "utf-8")[1:]:
        key, name, bracket, genres = line.split("\t")
        name = _RECBOLE_SPELLING.get(name, f"{name} ({bracket})")
        rows.append((key, name, genres.split(" ")))
    return _catalogue(rows)
