"""What a generated population is made of: catalogue, popularity with a long tail, tastes. Public, drawn from a seed.

Nobody in it exists. Tastes follow genres and decades in part, which is what the public prior can see, and hidden
directions of the catalogue in part, which only the viewers' sums can show.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.datasets.catalogue import Catalogue

FloatArray = NDArray[np.float64]

DECADES = tuple(range(1950, 2030, 10))
FEWEST_EVENTS, LONGEST_OVER_MEAN, LENGTH_SPREAD = 3, 14, 1.04
"""Of a history: at least; at most, over the mean; standard deviation of the logarithm (ML-1M's mean over median)."""
TWO_GENRES = 0.4
"""Share of titles with a second genre."""
NEW = 0.03
"""Share of titles that came out within the public recency window."""
HIDDEN = 8
"""Directions in which titles differ and that no metadata shows."""
SEEN_WEIGHT, HIDDEN_WEIGHT = 1.6, 1.2
"""Of metadata and of the hidden directions in the logarithm of a taste's popularity."""
_QUANTILES = 4096


@dataclass(frozen=True)
class Recipe:
    """A population, named by its numbers: the same recipe gives the same bytes.

    Attributes:
        devices: how many.
        titles: size of the catalogue.
        events: mean length of a history; lengths are log-normal.
        factors: columns that the public prior will have: genres and decades are chosen to fit.
        tastes: groups of viewers; a device mixes three of them with what everybody watches.
        tail: standard deviation of the logarithm of a title's popularity (ML-1M: about 1.5).
        seed: of everything.

    Raises:
        DataError: a number is out of range.
    """

    devices: int
    titles: int
    events: int
    factors: int = 32
    tastes: int = 40
    tail: float = 1.5
    seed: int = 1

    def __post_init__(self) -> None:
        problems = {
            "devices: at least 2": self.devices < 2,
            f"events: at least {2 * FEWEST_EVENTS}": self.events < 2 * FEWEST_EVENTS,
            "titles: at least 8 times events, and below 1,000,000": not 8 * self.events <= self.titles < 10**6,
            f"factors: {len(DECADES) + 2} to 200": not len(DECADES) + 2 <= self.factors <= 200,
            "tastes: 1 to 1,000": not 1 <= self.tastes <= 1000,
            "tail: 0 to 4": not 0 <= self.tail <= 4,
        }
        if wrong := [rule for rule, broken in problems.items() if broken]:
            raise DataError(f"[generated] {'; '.join(wrong)}")

    def fields(self) -> dict[str, int | float]:
        """Its numbers, by name."""
        return asdict(self)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Genres and decades of every title."""
        genres, decades = self._metadata
        names = np.array([f"genre {number:02d}" for number in range(genres.shape[1])])
        numbers = range(self.titles)
        return Catalogue(
            tuple(f"t{number:06d}" for number in numbers),
            tuple(f"Title {number} ({DECADES[decades[number]]})" for number in numbers),
            tuple(tuple(names[row]) for row in genres),
            tuple(DECADES[decade] for decade in decades),
        )

    @cached_property
    def popularity(self) -> FloatArray:
        """How often everybody watches a title, shape (titles,), sum 1."""
        weight = np.exp(self.tail * self._random("popularity").standard_normal(self.titles))
        return np.asarray(weight / weight.sum())

    @cached_property
    def new(self) -> NDArray[np.bool_]:
        """Shape (titles,): came out within the recency window."""
        return self._random("new").random(self.titles) < NEW

    @cached_property
    def taste_popularity(self) -> FloatArray:
        """How often each taste watches a title, shape (tastes + 1, titles), rows sum to 1; the last is everybody's."""
        genres, decades = self._metadata
        random = self._random("tastes")
        liked = random.standard_normal((self.tastes, genres.shape[1]))
        period = random.standard_normal((self.tastes, len(DECADES))) / 2
        hidden = random.standard_normal((self.tastes, HIDDEN)) / np.sqrt(HIDDEN)
        seen = liked @ (genres / np.maximum(genres.sum(axis=1, keepdims=True), 1)).T + period[:, decades]
        unseen = hidden @ self._random("hidden").standard_normal((HIDDEN, self.titles))
        weight = self.popularity * np.exp(SEEN_WEIGHT * seen + HIDDEN_WEIGHT * unseen)
        return np.vstack([weight / weight.sum(axis=1, keepdims=True), self.popularity])

    def lengths(self, block: int, devices: int) -> NDArray[np.int64]:
        """How many titles the devices of a block have watched, the held-out one not counted; shape (devices,)."""
        normal = self._random("lengths", block).standard_normal(devices)
        return self._length(self._typical_length, normal)

    def random(self, block: int) -> np.random.Generator:
        """The stream of a block's histories."""
        return self._random("histories", block)

    @cached_property
    def _typical_length(self) -> float:
        """The median that, bounds applied, gives the mean."""
        normal = np.array([NormalDist().inv_cdf((place + 0.5) / _QUANTILES) for place in range(_QUANTILES)])
        low, high = 1.0, 2.0 * self.events
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._length(middle, normal).mean() < self.events else (low, middle)
        return low

    def _length(self, median: float, normal: FloatArray) -> NDArray[np.int64]:
        lowest = max(FEWEST_EVENTS, self.events // 5)
        highest = min(LONGEST_OVER_MEAN * self.events, self.titles // 4)
        return np.clip(median * np.exp(LENGTH_SPREAD * normal), lowest, highest).astype(np.int64)

    @cached_property
    def _metadata(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Genres, shape (titles, genres), and place of the decade, shape (titles,)."""
        random, kinds = self._random("metadata"), self.factors - len(DECADES)
        share = random.dirichlet(np.full(kinds, 2.0))
        genres = np.zeros((self.titles, kinds), dtype=np.bool_)
        first, second = random.choice(kinds, self.titles, p=share), random.choice(kinds, self.titles, p=share)
        genres[np.arange(self.titles), first] = True
        both = random.random(self.titles) < TWO_GENRES
        genres[np.flatnonzero(both), second[both]] = True
        recent_years = np.arange(1, len(DECADES) + 1) / (len(DECADES) * (len(DECADES) + 1) / 2)
        return genres, random.choice(len(DECADES), self.titles, p=recent_years)

    def _random(self, *labels: str | int) -> np.random.Generator:
        return SeededRandom(self.seed, "generated", *labels).numpy()
