"""Interactions of viewers with titles, and the checks that every data set passes before it is used."""

import hashlib
from dataclasses import dataclass, replace
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
MOST_PLAYS = 100_000
"""Of one title by one viewer in one row: beyond, it is something else that was counted."""


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
        plays: shape (interactions,), how often the viewer watched the title up to then, >= 1; None: not counted.
    """

    user: IntArray
    title: IntArray
    timestamp: LongArray
    rating: NDArray[np.float32] | None
    rank: IntArray | None = None
    plays: LongArray | None = None

    def __post_init__(self) -> None:
        columns = (self.title, self.timestamp, self.rating, self.rank, self.plays)
        if any(column is not None and column.shape != self.user.shape for column in columns):
            raise ValueError("interactions have one user, title, timestamp, rating, rank and play count per row")

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
            None if self.plays is None else self.plays[rows],
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

    def places(self, viewers: int, titles: int) -> sparse.csr_array:
        """The place of each title among those the viewer watched, 1 the first; shape (viewers, titles), float64."""
        order = self.chronological()
        user = self.user[order]
        place = np.arange(len(user)) - np.searchsorted(user, user) + 1.0
        places = sparse.csr_array((place, (user, self.title[order])), shape=(viewers, titles))
        places.sort_indices()
        return places


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
        viewings: where titles repeat, every row of the file; None: `interactions` are all there is.
    """

    name: str
    source: str
    viewers: tuple[str, ...]
    catalogue: Catalogue
    interactions: Interactions
    warnings: tuple[str, ...] = ()
    ordered: bool = True
    viewings: Interactions | None = None

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
        for counted in (rows, self.viewings):
            if counted is not None and counted.plays is not None:
                digest.update(b"plays" + counted.plays.astype("<i8").tobytes())
        if self.viewings is not None:
            for column in (self.viewings.user, self.viewings.title, self.viewings.timestamp):
                digest.update(column.astype("<i8").tobytes())
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
        plays: shape (rows,), viewings that a row stands for; None: one each.
    """

    viewers: tuple[str, ...]
    titles: tuple[str, ...]
    user: IntArray
    title: IntArray
    timestamp: LongArray
    rating: NDArray[np.float32] | None
    rank: IntArray | None = None
    plays: NDArray[np.float64] | None = None


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
        DataError: no rows, one viewer, one title, a rating or count that is none, a time before 1970 or after `now`.
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
    interactions = Interactions(raw.user, title, raw.timestamp, raw.rating, raw.rank, _whole_plays(name, raw))
    merged = latest(interactions, len(catalogue))
    duplicates = len(interactions) - len(merged)
    warnings = []
    if duplicates and merged.plays is None:
        warnings.append(
            f"{name}: {duplicates} duplicate rows (same viewer, same title) were merged; the latest of each was kept"
        )
    elif merged.plays is not None:
        warnings.append(
            f"{name}: {int(merged.plays.sum())} viewings were merged into {len(merged)} counts, each at its latest; "
            'data.signals = "plays" weighs by them'
        )
    if len(raw.viewers) < SMALL_POPULATION:
        warnings.append(
            f"{name}: {len(raw.viewers)} viewers only; below {SMALL_POPULATION} the noise hides most of what they share"
        )
    kept = catalogue.take(rows) if scope == "rated" else catalogue
    viewings = interactions if duplicates and merged.plays is not None else None
    return Dataset(name, source, raw.viewers, kept, merged, tuple(warnings), viewings=viewings)


def latest(interactions: Interactions, titles: int) -> Interactions:
    """One row per viewer and title, the latest, in file row order, with its viewings added up if they are counted."""
    in_time = interactions.chronological()
    pair = interactions.user[in_time].astype(np.int64) * titles + interactions.title[in_time]
    _, last, which = np.unique(pair[::-1], return_index=True, return_inverse=True)
    if len(last) == len(pair):
        return interactions
    rows = in_time[::-1][last]
    kept = interactions.take(np.sort(rows))
    if interactions.plays is None:
        return kept
    plays = np.bincount(which, weights=interactions.plays[in_time[::-1]]).astype(np.int64)
    return replace(kept, plays=plays[np.argsort(rows)])


def _whole_plays(name: str, raw: RawRatings) -> LongArray | None:
    """Viewings per row: as counted; one each where titles repeat without ratings; None where nothing tells."""
    if raw.plays is None:
        pairs = len(np.unique(raw.user.astype(np.int64) * len(raw.titles) + raw.title))
        return np.ones(len(raw.user), dtype=np.int64) if raw.rating is None and pairs < len(raw.user) else None
    whole = np.isfinite(raw.plays) & (raw.plays == np.floor(raw.plays))
    if bad := int(np.sum(~(whole & (raw.plays >= 1) & (raw.plays <= MOST_PLAYS)))):
        raise DataError(
            f"{name} has {bad} counts that are not whole numbers from 1 to {MOST_PLAYS:,}: a count says how often a "
            "title was watched; remove those rows or the column"
        )
    return raw.plays.astype(np.int64)
