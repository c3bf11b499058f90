"""Data sets by name or path, from the nearest place that has them."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backrow.privacy.errors import DataError
from backrow.simulations.datasets import fetch, movielens, tabular
from backrow.simulations.datasets.dataset import CatalogueScope, Dataset
from backrow.simulations.datasets.movielens import EDITIONS, ML_100K, Edition


class Place(StrEnum):
    """Where a copy lies, in the order in which places are asked."""

    DATA = fetch.DATA_VARIABLE
    CACHE = "the cache"
    PUBLISHER = "the publisher"
    RECBOLE = f"the {fetch.RECBOLE} wheel"


@dataclass(frozen=True, slots=True)
class Source:
    """A copy on this machine.

    Attributes:
        place: how it came here.
        path: a folder or an archive.
    """

    place: Place
    path: Path


class Listing(NamedTuple):
    """One line of `available`."""

    name: str
    description: str
    where: str


def available() -> list[Listing]:
    """Every data set that has a name, and where it is or can be had."""
    listings = []
    for edition in EDITIONS.values():
        source = locate(edition.name)
        others = f", or {Place.RECBOLE}" if edition.name == ML_100K.name else ""
        where = f"here ({source.place})" if source else f"{Place.PUBLISHER} ({movielens.HOME_PAGE}){others}"
        listings.append(Listing(edition.name, edition.description, where))
    return listings


def locate(name: str) -> Source | None:
    """The nearest copy on this machine, without touching the network; None if there is none.

    Raises:
        DataError: unknown name, or BACKROW_DATA is not a folder.
    """
    edition = _edition(name)
    data = fetch.data_folder()
    if data is not None:
        if edition.complete(data / name):
            return Source(Place.DATA, data / name)
        if (archive := data / _archive(edition)).is_file():
            return Source(Place.DATA, archive)
    if fetch.intact(archive := fetch.cache_folder() / _archive(edition), edition.sha256):
        return Source(Place.CACHE, archive)
    if edition.name == ML_100K.name and fetch.intact(
        wheel := fetch.cache_folder() / fetch.RECBOLE_WHEEL, fetch.RECBOLE_SHA256
    ):
        return Source(Place.RECBOLE, wheel)
    return None


def load(
    name_or_path: str, *, catalogue: CatalogueScope = "rated", offline: bool = False, now: int | None = None
) -> Dataset:
    """A checked data set, from this machine or, unless `offline`, from the network.

    Args:
        name_or_path: "ml-100k", "ml-1m", or the path of a CSV or Parquet file (see `tabular.read`).
        catalogue: "rated": the titles that occur in the data, by first appearance; "all": the publisher's catalogue
            (a file given by path has no other than its own).
        offline: use copies on this machine only.
        now: Unix seconds; later timestamps are refused. None: not checked.

    Raises:
        DataError: unknown name, no copy to be had, or a file that does not hold what it must.
    """
    if name_or_path not in EDITIONS and _is_path(name_or_path):
        return tabular.read(Path(name_or_path), now)
    edition = _edition(name_or_path)
    source = locate(edition.name) or _fetched(edition, offline)
    return movielens.read(edition, source.path, str(source.place), catalogue, now)


def describe(dataset: Dataset) -> dict[str, str | int | float]:
    """What the command line prints about a data set.

    Returns:
        name, source, viewers, titles, interactions, density (share of the matrix), first_timestamp and
        last_timestamp (Unix seconds), median_per_viewer, ties_at_last_timestamp (viewers whose last timestamp is
        shared by several titles, so that "last" hangs on the row order), viewings (where they are counted) and
        fingerprint.
    """
    rows = dataset.interactions
    viewers, titles = len(dataset.viewers), len(dataset.catalogue)
    last = np.full(viewers, -1, dtype=np.int64)
    np.maximum.at(last, rows.user, rows.timestamp)
    at_last = np.bincount(rows.user[rows.timestamp == last[rows.user]], minlength=viewers)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "viewers": viewers,
        "titles": titles,
        "interactions": len(rows),
        "density": len(rows) / (viewers * titles),
        "first_timestamp": int(rows.timestamp.min()),
        "last_timestamp": int(rows.timestamp.max()),
        "median_per_viewer": float(np.median(np.bincount(rows.user, minlength=viewers))),
        "ties_at_last_timestamp": int(np.sum(at_last > 1)),
        **({} if rows.plays is None else {"viewings": int(rows.plays.sum())}),
        "fingerprint": dataset.fingerprint,
    }


def _archive(edition: Edition) -> str:
    return edition.url.rsplit("/", 1)[-1]


def _is_path(name_or_path: str) -> bool:
    path = Path(name_or_path)
    return path.exists() or len(path.parts) > 1 or path.name.lower().endswith((*tabular.SUFFIXES, ".gz"))


def _edition(name: str) -> Edition:
    if name in EDITIONS:
        return EDITIONS[name]
    close = difflib.get_close_matches(name.lower(), EDITIONS, n=1, cutoff=0.5)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    raise DataError(
        f"there is no data set {name!r}; known: {', '.join(EDITIONS)}, or the path of a CSV or Parquet file.{meant}"
    )


def _fetched(edition: Edition, offline: bool) -> Source:
    tries: list[tuple[Place, Callable[[], Path]]] = [
        (Place.PUBLISHER, lambda: fetch.from_publisher(edition.url, edition.sha256))
    ]
    if edition.name == ML_100K.name:
        tries.append((Place.RECBOLE, fetch.from_recbole_wheel))
    reasons = []
    if offline:
        reasons.append("offline was asked for")
    else:
        for place, bring in tries:
            try:
                return Source(place, bring())
            except DataError as error:
                reasons.append(str(error))
    raise DataError(
        f"{edition.name} is not on this machine and was not fetched: {'; '.join(reasons)}. "
        f"Get {_archive(edition)} from {movielens.HOME_PAGE}, put it into a folder and set {fetch.DATA_VARIABLE} to it."
    )
