"""From what the owner did to how much each title counts. Runs on the device.

The rule, for one title (events in the order of their times):

1. How much was seen: finished (a completion, a re-watch, or a position of .9 or more: the credits) is 1;
   else the largest position reached. A title that was begun and neither stopped nor skipped since (play,
   pause, resume) counts at least .5: a pause is not abandonment. One that was stopped counts at least .1.
   Rated, with no position known, counts 1: who rates has seen.
2. Seen again: times 1 + ln(1 + n), n the viewings beyond the first.
3. Rated r stars (the last rating counts): times 1 + (r - 3) / 4.
4. Skipped: a skip before a quarter of the running time, or at an unknown position, says no: the title is
   disliked. A later one halves what counts. Finishing the title after the skip takes it back; skipping the
   credits is no skip.
5. Rated 2 stars or less: disliked, whatever was seen.

A disliked title has no weight and is never recommended. A title completed once weighs exactly 1, so data
that only knows "watched" gives binary weights.

A run that evaluates itself names a public time. What happened from then on is kept out of the weights; the
title begun first since then, if it counts and nothing was known of it before, is fresh: what the model ought
to have recommended.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.client.events import EventKind, WatchEvent
from backrow.client.history import RawHistory

RECENT_SECONDS = 28 * 24 * 3600
"""The public recency window where a call does not name one."""
CREDITS = 0.9
OPEN_AT_LEAST = 0.5
STOPPED_AT_LEAST = 0.1
EARLY_SKIP = 0.25
LATE_SKIP_FACTOR = 0.5
DISLIKED_AT_MOST = 2.0


@dataclass(frozen=True, slots=True, repr=False)
class Preferences:
    """What a device's events say. Stays on the device; cannot be printed.

    Attributes:
        history: weights > 0 of the titles the model knows.
        watched: every title begun, completed or rated, last touched first, also those the model does not
            know (training ignores them).
        disliked: never to be recommended.
    """

    history: RawHistory
    watched: tuple[str, ...]
    disliked: frozenset[str]

    def __repr__(self) -> str:
        return "<Preferences: not printable>"


class _Title:
    """What is known of one title so far."""

    __slots__ = ("completions", "early_skip", "late_skip", "latest", "open", "rating", "reached", "rewatches", "seen")

    def __init__(self) -> None:
        self.seen = self.open = self.early_skip = self.late_skip = False
        self.completions = self.rewatches = self.latest = 0
        self.reached = 0.0
        self.rating: float | None = None

    def add(self, event: WatchEvent) -> None:
        self.latest = event.at
        position = event.position or 0.0
        self.reached = max(self.reached, position)
        finished = event.kind in (EventKind.COMPLETE, EventKind.REWATCH) or position >= CREDITS
        early = event.kind is EventKind.SKIP and position < EARLY_SKIP
        self.seen = self.seen or not early
        if finished:
            self.early_skip = self.late_skip = False
        match event.kind:
            case EventKind.PLAY | EventKind.PAUSE | EventKind.RESUME:
                self.open = True
            case EventKind.STOP | EventKind.COMPLETE:
                self.open = False
                self.completions += event.kind is EventKind.COMPLETE
            case EventKind.REWATCH:
                self.rewatches += 1
            case EventKind.SKIP:
                self.open = False
                self.early_skip = self.early_skip or early
                self.late_skip = self.late_skip or not (early or finished)
            case EventKind.RATE:
                self.rating = event.rating
            case EventKind.SEARCH:
                raise AssertionError("a search has no title")

    @property
    def disliked(self) -> bool:
        return self.early_skip or (self.rating is not None and self.rating <= DISLIKED_AT_MOST)

    @property
    def hidden(self) -> bool:
        return self.seen or self.disliked

    def weight(self) -> float:
        if self.disliked:
            return 0.0
        viewings_again = max(self.completions - 1, self.rewatches, 0)
        weight = self._fraction() * (1 + math.log1p(viewings_again))
        if self.late_skip:
            weight *= LATE_SKIP_FACTOR
        if self.rating is not None:
            weight *= 1 + (self.rating - 3) / 4
        return weight

    def _fraction(self) -> float:
        if self.completions or self.rewatches or self.reached >= CREDITS:
            return 1.0
        if self.rating is not None and self.reached == 0:
            return 1.0
        return max(self.reached, OPEN_AT_LEAST if self.open else STOPPED_AT_LEAST)


def plays_weight(plays: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a title weighs of which only the number of viewings is known: 1 + ln(plays), by rules 1 and 2.

    Args:
        plays: any shape, >= 1.

    Raises:
        ValueError: a count below 1.
    """
    if np.any(plays < 1):
        raise ValueError("a title that was watched was watched at least once")
    return np.asarray(1 + np.log(plays))


def confidence(
    events: Iterable[WatchEvent], rows: Mapping[str, int], now: int, recent_seconds: int, since: int | None = None
) -> Preferences:
    """Confidence weights by the rule at the top of this module.

    Args:
        events: in any order; of equal times, the later in the iteration happened later.
        rows: catalogue row by title id.
        now: Unix seconds.
        recent_seconds: a title touched this long ago or less is recent, >= 0.
        since: Unix seconds; the preferences are those of then, and later events decide what is fresh only.

    Raises:
        ValueError: recent_seconds < 0.
    """
    if recent_seconds < 0:
        raise ValueError(f"the recency window is a number of seconds >= 0, got {recent_seconds}")
    ordered = sorted(events, key=lambda event: event.at)
    titles = _fold(event for event in ordered if since is None or event.at < since)
    fresh = None
    if since is not None:
        now = min(now, since)
        later = _fold(event for event in ordered if event.at >= since).items()
        fresh = next((rows[n] for n, t in later if n in rows and n not in titles and t.weight() > 0), None)
    known = sorted(
        (rows[name], weight, title.latest >= now - recent_seconds, title.latest)
        for name, title in titles.items()
        if name in rows and (weight := title.weight()) > 0
    )
    passed = [rows[n] for n, title in titles.items() if n in rows and title.hidden and not title.weight() > 0]
    history = RawHistory(
        np.array([row for row, _, _, _ in known], dtype=np.int32),
        np.array([weight for _, weight, _, _ in known], dtype=np.float64),
        np.array([recent for _, _, recent, _ in known], dtype=np.bool_),
        fresh,
        np.array(sorted(passed), dtype=np.int32),
        np.argsort(np.array([latest for *_, latest in known], dtype=np.int64), kind="stable").astype(np.int32),
    )
    seen = sorted((-title.latest, name) for name, title in titles.items() if title.seen)
    disliked = frozenset(name for name, title in titles.items() if title.disliked)
    return Preferences(history, tuple(name for _, name in seen), disliked)


def _fold(events: Iterable[WatchEvent]) -> dict[str, _Title]:
    """What is known of every title, the first touched first; events: by time."""
    titles: dict[str, _Title] = {}
    for event in events:
        if event.title is not None:
            titles.setdefault(event.title, _Title()).add(event)
    return titles
