"""Interactions of viewers with titles, and the checks that every data set passes before it is used."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.catalogue import Catalogue

IntArray = NDArray[np.int32]
LongArray = NDArray[np.int64]
CatalogueScope = Literal["rated", "all"]

SMALL_POPULATION = 100
"""Below this many viewers figures say little and noise drowns them: warned of."""


@dataclass(frozen=True)
class Interactions:
    """Who watched what and when, in file row order; at most one row per viewer and title.

    Attributes:
        user: shape (interactions,), rows of `Dataset.viewers`.
        title: shape (interactions,), rows of the catalogue.
        timestamp: shape (interactions,), Unix seconds, UTC.
        rating: shape (interactions,), stars 0.5..5; None where the data has no ratings.
        rank: shape (interactions,), order in time among the viewer's own rows, where the data knows it better
            than its timestamps do (ties); None: by timestamp, then file row.
    """

    user: IntArray
    title: IntArray
    timestamp: LongArray
    rating: NDArray[np.float32] | None
    rank: IntArray | None = None

    def __post_init__(self) -> None:
        columns = (self.title, self.timestamp, self.rating, self.rank)
        if any(column is not None and column.shape != self.user.shape for column in columns):
            raise ValueError("interactions have one user, title, timestamp, rating and rank per row")

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Interactions":
        """The given rows (indices or mask), in the given order."""
        return Interactions(
            self.user[rows],
            self.title[rows],
            self.timestamp[rows],
            None if self.rating is None else self.rating[rows],
            None if self.rank is None else self.rank[rows],
        )

    def chronological(self) -> NDArray[np.intp]:
        """Row indices sorted by viewer and, within a viewer, by time (`rank`, else timestamp, then file row)."""
        return np.lexsort((self.timestamp if self.rank is None else self.rank, self.user))

    def matrix(self, viewers: int, titles: int) -> sparse.csr_array:
        """1 where watched, shape (viewers, titles), float64, sorted indices."""
        ones = np.ones(len(self))
        watched = sparse.csr_array((ones, (self.user, self.title)), shape=(viewers, titles))
        watched.sort_indices()
        return watched


@dataclass(frozen=True)
class Dataset:
    """A checked data set.

    Attributes:
        name: "ml-1m", "ml-100k" or the file's name.
        source: where it came from, in words, without a path of this machine.
        viewers: their names in the data; `Interactions.user` indexes them.
        catalogue: `Interactions.title` indexes it.
        interactions: one row per viewer and title.
        warnings: sentences that the command line shows.
        ordered: whether its kind of times tells the order of watching: seconds do, whole days do not. Declared by
            the format, whatever the times are.
    """

    name: str
    source: str
    viewers: tuple[str, ...]
    catalogue: Catalogue
    interactions: Interactions
    warnings: tuple[str, ...] = ()
    ordered: bool = True

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of viewers, catalogue and interactions; the name and the source do not count."""
        digest = hashlib.sha256(b"backrow data set 1\0")
        for texts in (self.viewers, self.catalogue.ids, self.catalogue.names, self.catalogue.genres):
            digest.update(repr(texts).encode())
        digest.update(repr(self.catalogue.years).encode())
        rows = self.interactions
        for column, stored_as in (
            (rows.user, "<i4"),
            (rows.title, "<i4"),
            (rows.timestamp, "<i8"),
            (rows.rating, "<f4"),
            (rows.rank, "<i4"),
        ):
            digest.update(b"none" if column is None else column.astype(stored_as).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class RawRatings:
    """Columns as read from a file, ids coded by order of first appearance; nothing checked yet.

    Attributes:
        viewers: distinct, by first appearance.
        titles: distinct ids, by first appearance.
        user, title: shape (rows,), codes.
        timestamp: shape (rows,), Unix seconds.
        rating: shape (rows,), stars; None without.
        rank: as in `Interactions`.
    """

    viewers: tuple[str, ...]
    titles: tuple[str, ...]
    user: IntArray
    title: IntArray
    timestamp: LongArray
    rating: NDArray[np.float32] | None
    rank: IntArray | None = None


def by_first_appearance(ids: NDArray[np.generic]) -> tuple[tuple[str, ...], IntArray]:
    """Distinct ids in order of first appearance, and each row's index among them."""
    distinct, first, code = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    position = np.empty(len(order), dtype=np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    return tuple(str(value) for value in distinct[order]), position[code]


def checked(
    name: str, source: str, raw: RawRatings, catalogue: Catalogue, scope: CatalogueScope, now: int | None
) -> Dataset:
    """Check raw columns and make a data set of them.

    Args:
        name: of the data set.
        source: where it came from, in words.
        raw: columns as read.
        catalogue: every title that `raw` names, and perhaps more.
        scope: "rated" keeps the titles that occur, in order of first appearance; "all" keeps the catalogue.
        now: Unix seconds; later timestamps are refused. None: not checked.

    Raises:
        DataError: no rows, one viewer, one title, a rating that is no number, a time before 1970 or after `now`.
    """
    if len(raw.user) == 0:
        raise DataError(f"{name} holds no interactions: give a file with at least two viewers and two titles")
    if len(raw.viewers) < 2:
        raise DataError(f"{name} holds one viewer only; a sum over one viewer hides nobody: give at least two")
    if len(raw.titles) < 2:
        raise DataError(f"{name} holds one title only; there is nothing to recommend: give at least two")
    if raw.rating is not None and not np.all(np.isfinite(raw.rating)):
        bad = int(np.sum(~np.isfinite(raw.rating)))
        raise DataError(f"{name} has {bad} ratings that are empty, NaN or infinite: remove those rows or the column")
    if raw.timestamp.min() < 0:
        bad = int(np.sum(raw.timestamp < 0))
        raise DataError(f"{name} has {bad} negative timestamps: give Unix seconds (UTC, since 1970)")
    if now is not None and raw.timestamp.max() > now:
        bad = int(np.sum(raw.timestamp > now))
        hint = "; they look like milliseconds: divide by 1000" if raw.timestamp.max() > 50 * now else ""
        raise DataError(f"{name} has {bad} timestamps in the future: give Unix seconds (UTC, since 1970){hint}")
    row_of = {title: row for row, title in enumerate(catalogue.ids)}
    missing = [title for title in raw.titles if title not in row_of]
    if missing:
        raise DataError(f"{name} rates {len(missing)} titles its catalogue lacks ({missing[0]!r}): get both files anew")
    rows = [row_of[title] for title in raw.titles]
    title = raw.title if scope == "rated" else np.asarray(rows, dtype=np.int32)[raw.title]
    interactions = Interactions(raw.user, title, raw.timestamp, raw.rating, raw.rank)
    merged, duplicates = _merged(interactions, len(catalogue))
    warnings = []
    if duplicates:
        warnings.append(
            f"{name}: {duplicates} duplicate rows (same viewer, same title) were merged; the latest of each was kept"
        )
    if len(raw.viewers) < SMALL_POPULATION:
        warnings.append(
            f"{name}: {len(raw.viewers)} viewers only; below {SMALL_POPULATION} the noise hides most of what they share"
        )
    kept = catalogue.take(rows) if scope == "rated" else catalogue
    return Dataset(name, source, raw.viewers, kept, merged, tuple(warnings))


def _merged(interactions: Interactions, titles: int) -> tuple[Interactions, int]:
    """One row per viewer and title, the latest, in file row order; and how many rows went."""
    latest_last = interactions.chronological()
    pair = interactions.user[latest_last].astype(np.int64) * titles + interactions.title[latest_last]
    _, latest = np.unique(pair[::-1], return_index=True)
    duplicates = len(pair) - len(latest)
    if not duplicates:
        return interactions, 0
    return interactions.take(np.sort(latest_last[::-1][latest])), duplicates
