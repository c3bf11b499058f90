"""The public catalogue: what every device may know about every title."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

YEAR_BUMPS, YEAR_WIDTH = 24, 2.0
"""Resolution of a release year in `crossed_features`; years."""
_YEAR = re.compile(r"\((\d{4})\)")


@dataclass(frozen=True)
class Catalogue:
    """Titles by row, with what is publicly known about them.

    Attributes:
        ids: distinct; what a `WatchEvent` names.
        names: what a viewer reads.
        genres: of each title, ascending; empty where unknown.
        years: of each title's release; None where unknown.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    genres: tuple[tuple[str, ...], ...]
    years: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.names) == len(self.genres) == len(self.years):
            raise ValueError("a catalogue has one id, name, genre tuple and year per title")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("catalogue ids must be distinct")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Catalogue":
        """The catalogue of the given rows, in their order."""
        return Catalogue(
            tuple(self.ids[row] for row in rows),
            tuple(self.names[row] for row in rows),
            tuple(self.genres[row] for row in rows),
            tuple(self.years[row] for row in rows),
        )

    def feature_names(self) -> tuple[str, ...]:
        """Columns of `features`: the genres that occur, ascending, then the decades, ascending."""
        genres = sorted({genre for of_title in self.genres for genre in of_title})
        decades = sorted({year // 10 * 10 for year in self.years if year is not None})
        return (*(f"genre:{genre}" for genre in genres), *(f"decade:{decade}" for decade in decades))

    def records(self) -> list[dict[str, object]]:
        """One mapping per title in row order, as model bundles hold it."""
        columns = zip(self.ids, self.names, self.genres, self.years, strict=True)
        return [
            {"id": title, "name": name, "genres": list(genres), "year": year} for title, name, genres, year in columns
        ]

    def crossed_features(self) -> FloatArray:
        """Genres, release years and their products, as smooth as what they say of taste: for `sequence`.

        A title's genres have length 1 in all. A year is `YEAR_BUMPS` bumps of width `YEAR_WIDTH` at the quantiles of
        the known years, of length 1 in all, or zero where it is unknown. Every genre is multiplied by every bump.

        Returns:
            Shape (titles, features), float64; zero columns for a catalogue without metadata.
        """
        genres = sorted({genre for of_title in self.genres for genre in of_title})
        kind = np.array([[genre in of_title for genre in genres] for of_title in self.genres], dtype=np.float64)
        kind = _unit_rows(kind.reshape(len(self), len(genres)))
        known = np.array([year is not None for year in self.years])
        year = np.array([0.0 if year is None else float(year) for year in self.years])
        centres = np.unique(np.quantile(year[known], np.linspace(0, 1, YEAR_BUMPS))) if known.any() else np.zeros(0)
        bumps = _unit_rows(np.exp(-0.5 * ((year[:, None] - centres) / YEAR_WIDTH) ** 2) * known[:, None])
        products = (kind[:, :, None] * bumps[:, None, :]).reshape(len(self), -1)
        return np.hstack([kind, bumps, products])

    def features(self) -> FloatArray:
        """Genres multi-hot and decade one-hot, not centred.

        Returns:
            Shape (titles, features), 0 or 1, float64; zero columns for a catalogue without metadata.
        """
        column = {name: index for index, name in enumerate(self.feature_names())}
        hot = np.zeros((len(self), len(column)))
        for row, (genres, year) in enumerate(zip(self.genres, self.years, strict=True)):
            for genre in genres:
                hot[row, column[f"genre:{genre}"]] = 1.0
            if year is not None:
                hot[row, column[f"decade:{year // 10 * 10}"]] = 1.0
        return hot


def _unit_rows(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def without_metadata(ids: Sequence[str]) -> Catalogue:
    """A catalogue of which only the ids are known; they serve as names."""
    return Catalogue(tuple(ids), tuple(ids), ((),) * len(ids), (None,) * len(ids))


def year_of(name: str) -> int | None:
    """The release year in a name such as "Toy Story (1995)": the last four digits in brackets; None without."""
    years = _YEAR.findall(name)
    return int(years[-1]) if years else None
