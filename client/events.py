"""What a device records about its owner's watching. Never leaves the device."""

import math
from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What happened."""

    PLAY = "play"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    COMPLETE = "complete"
    SKIP = "skip"
    REWATCH = "re-watch"
    RATE = "rate"
    SEARCH = "search"


class DeviceKind(StrEnum):
    """What it happened on."""

    PHONE = "phone"
    TABLET = "tablet"
    TV = "tv"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One thing the owner did.

    Attributes:
        kind: what happened.
        at: Unix seconds, UTC, >= 0.
        title: catalogue id; None only for a search.
        device: what it happened on.
        position: fraction of the running time reached, 0..1 (play, pause, resume, stop, skip).
        rating: stars, 0.5..5, for `rate` only.
        query: the words of a search, for `search` only.
    """

    kind: EventKind
    at: int
    title: str | None = None
    device: DeviceKind = DeviceKind.TV
    position: float | None = None
    rating: float | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if self.at < 0:
            raise ValueError(f"an event's time is in seconds since 1970 and cannot be negative, got {self.at}")
        if (self.title is None) != (self.kind is EventKind.SEARCH):
            raise ValueError(f"a {self.kind} event " + ("has no title" if self.title else "needs a title"))
        if (self.query is None) != (self.kind is not EventKind.SEARCH):
            raise ValueError("exactly the search events carry a query")
        if (self.rating is None) != (self.kind is not EventKind.RATE):
            raise ValueError("exactly the rate events carry a rating")
        if self.rating is not None and not (math.isfinite(self.rating) and 0.5 <= self.rating <= 5):
            raise ValueError(f"a rating is between 0.5 and 5 stars, got {self.rating}")
        if self.position is not None and not 0 <= self.position <= 1:
            raise ValueError(f"a position is a fraction of the running time, 0..1, got {self.position}")
