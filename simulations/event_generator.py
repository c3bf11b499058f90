"""Turns ratings into the watch events that might have led to them. Assumptions, not observations.

MovieLens knows who rated what and when; a device knows plays, pauses and stops. What lies between is assumed here, to
exercise vaults, weights and recommendations with streams of the right kinds and lengths. Figures of quality obtained
from generated events are figures about these assumptions too.

| what | assumed | grounds |
|---|---|---|
| day | of its rating or before: latest first, about 2 titles a day | ratings come in bulk, minutes apart |
| hour | `HOURS`, by device; UTC is taken for local time | [1], shape only: most in the evening |
| device | a mix per viewer, Dirichlet of concentration 6 around `DEVICES` | [2]: 70, 15, 10 and 5 % |
| running time | log-normal, median 105 minutes, sigma 0.2 | none |
| outcome | `OUTCOMES`, by stars: skipped within 10 %, stopped at 15..80 %, completed | [3], direction only |
| return | 3 in 10 of the stopped are resumed a day later and completed | none |
| pauses | Poisson, mean 0.5 per running time; breaks exponential, mean 8 minutes | none |
| re-watch | `OUTCOMES`, of the completed; after an exponential time, mean 30 days | none |
| rating | 1 in 5 titles, at the time and with the stars of the data | on a service few rate |
| search | 1 in 5 plays follows one for the first words of the title's name | [4]: 20 % of hours |

[1] American Time Use Survey, watching television by hour of the day. [2] Netflix's figures, Recode, 7 March 2018.
[3] Hu, Koren, Volinsky 2008, where the fraction watched stands for liking. [4] Gomez-Uribe and Hunt 2015.

Every title of the history is played; nothing is invented about titles the viewer never rated.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.privacy.randomness import Purpose, SeededRandom
from backrow.simulations.datasets.catalogue import Catalogue
from backrow.simulations.datasets.dataset import Interactions

MINUTE, HOUR, DAY = 60, 3_600, 86_400

DEVICES: dict[DeviceKind, float] = {
    DeviceKind.TV: 0.70,
    DeviceKind.BROWSER: 0.15,
    DeviceKind.PHONE: 0.10,
    DeviceKind.TABLET: 0.05,
}
"""Share of plays, all viewers together."""

BAND_STARTS = np.array([0, 6, 9, 17, 20, 23, 24])
"""Hours at which the bands of `HOURS` start; the last is the end of the day."""
HOURS: dict[DeviceKind, tuple[float, ...]] = {
    DeviceKind.TV: (0.04, 0.04, 0.22, 0.26, 0.38, 0.06),
    DeviceKind.BROWSER: (0.07, 0.04, 0.34, 0.22, 0.25, 0.08),
    DeviceKind.PHONE: (0.08, 0.12, 0.36, 0.18, 0.18, 0.08),
    DeviceKind.TABLET: (0.05, 0.08, 0.22, 0.22, 0.33, 0.10),
}
"""Share of plays that start in each band; even within a band."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a play; the rest is completed.

    Attributes:
        skipped, stopped: probabilities.
        rewatched: probability, given that it was completed at once.
    """

    skipped: float
    stopped: float
    rewatched: float


UNRATED = Outcome(0.10, 0.20, 0.04)
OUTCOMES: tuple[tuple[float, Outcome], ...] = (
    (2.0, Outcome(0.35, 0.35, 0.00)),
    (3.0, Outcome(0.20, 0.35, 0.00)),
    (4.0, Outcome(0.08, 0.22, 0.02)),
    (5.0, Outcome(0.03, 0.12, 0.06)),
    (5.1, Outcome(0.01, 0.06, 0.15)),
)
"""Outcome of a play whose stars are below the number (and not below the one before)."""

TITLES_A_DAY = 2
RETURNED, RATED, SEARCHED = 0.3, 0.2, 0.2
PAUSES, BREAK_MINUTES, REWATCH_DAYS = 0.5, 8.0, 30.0
RUNNING_MINUTES, RUNNING_SIGMA, MIX_CONCENTRATION = 105.0, 0.2, 6.0


def generate(
    interactions: Interactions, rows: NDArray[np.intp], catalogue: Catalogue, seed: int, viewer: str
) -> list[WatchEvent]:
    """One viewer's events, by time. Runs in the simulator only.

    Args:
        interactions: of everybody.
        rows: shape (titles of this viewer,), the viewer's rows of `interactions`, in any order.
        catalogue: names the titles.
        seed: of the run.
        viewer: the viewer's name; seed and name alone key the randomness, whoever else there is.

    Returns:
        Events with `at` ascending. Re-watches, returns and breaks may lead past the viewer's last rating.
    """
    if not len(rows):
        return []
    mine = interactions.take(np.asarray(rows, dtype=np.intp))
    mine = mine.take(mine.chronological())
    random = SeededRandom(seed, Purpose.EVENTS, viewer).numpy()
    device = _devices(len(mine), random)
    running = RUNNING_MINUTES * MINUTE * np.exp(RUNNING_SIGMA * random.standard_normal(len(mine)))
    start = _starts(mine.timestamp, device, running, random)
    events: list[WatchEvent] = []
    for index, row in enumerate(mine.title):
        stars = None if mine.rating is None else float(mine.rating[index])
        play = _Play(catalogue.ids[row], list(DEVICES)[device[index]], int(start[index]), float(running[index]))
        if random.random() < SEARCHED:
            events.append(_search(play, catalogue.names[row], random))
        events += _watched(play, stars, random)
        if stars is not None and random.random() < RATED:
            events.append(_event(play, EventKind.RATE, int(mine.timestamp[index]), rating=stars))
    events.sort(key=attrgetter("at"))
    return events


@dataclass(frozen=True, slots=True)
class _Play:
    title: str
    device: DeviceKind
    start: int
    running: float
    """Seconds."""


def _devices(titles: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Index into `DEVICES` of each play."""
    mix = random.dirichlet(MIX_CONCENTRATION * np.array(list(DEVICES.values())))
    return random.choice(len(DEVICES), size=titles, p=mix)


def _starts(
    rated_at: NDArray[np.int64], device: NDArray[np.intp], running: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.int64]:
    """When each play starts: `TITLES_A_DAY` a day, backwards from the last rating, done before its own rating."""
    profiles = np.cumsum([HOURS[kind] for kind in DEVICES], axis=1)
    band = np.sum(random.random((len(device), 1)) * profiles[device, -1:] >= profiles[device], axis=1)
    hour = BAND_STARTS[band] + random.random(len(device)) * np.diff(BAND_STARTS)[band]
    start = np.empty(len(rated_at), dtype=np.int64)
    day, on_day = int(rated_at[-1]) // DAY, 0
    for index in range(len(rated_at) - 1, -1, -1):
        latest = int(rated_at[index]) // DAY
        if latest < day:
            day, on_day = latest, 0
        elif on_day == TITLES_A_DAY:
            day, on_day = day - 1, 0
        on_day += 1
        start[index] = day * DAY + int(hour[index] * HOUR)
    start -= np.where(start + running > rated_at, DAY, 0)
    return np.maximum(start, 0)


def _watched(play: _Play, stars: float | None, random: np.random.Generator) -> Iterator[WatchEvent]:
    """From play to skip, stop or completion, and what comes of it later."""
    outcome = UNRATED if stars is None else next(outcome for below, outcome in OUTCOMES if stars < below)
    fate = random.random()
    yield _event(play, EventKind.PLAY, play.start, position=0.0)
    if fate < outcome.skipped:
        reached = random.uniform(0.01, 0.10)
        yield _event(play, EventKind.SKIP, play.start + int(reached * play.running), position=reached)
    elif fate < outcome.skipped + outcome.stopped:
        reached = random.uniform(0.15, 0.80)
        pauses, end = _pauses(play, reached, random)
        yield from pauses
        yield _event(play, EventKind.STOP, end, position=reached)
        if random.random() < RETURNED:
            yield _event(play, EventKind.RESUME, end + DAY, position=reached)
            yield _event(play, EventKind.COMPLETE, end + DAY + int((1 - reached) * play.running))
    else:
        pauses, end = _pauses(play, 1.0, random)
        yield from pauses
        yield _event(play, EventKind.COMPLETE, end)
        if random.random() < outcome.rewatched:
            yield _event(play, EventKind.REWATCH, end + int(random.exponential(REWATCH_DAYS) * DAY))


def _pauses(play: _Play, reached: float, random: np.random.Generator) -> tuple[list[WatchEvent], int]:
    """Pauses and resumes up to the position reached, and the time at which it is reached."""
    events, lost = [], 0
    for position in np.sort(random.uniform(0.0, reached, random.poisson(PAUSES * reached))):
        at = play.start + int(position * play.running) + lost
        lost += int(random.exponential(BREAK_MINUTES) * MINUTE)
        resumed = play.start + int(position * play.running) + lost
        events.append(_event(play, EventKind.PAUSE, at, position=float(position)))
        events.append(_event(play, EventKind.RESUME, resumed, position=float(position)))
    return events, play.start + int(reached * play.running) + lost


def _search(play: _Play, name: str, random: np.random.Generator) -> WatchEvent:
    """A search for the first one to three words of the name, up to two minutes before the play."""
    words = name.split(" (")[0].lower().split() or [name.lower()]
    query = " ".join(words[: random.integers(1, 4)])
    return WatchEvent(
        EventKind.SEARCH, max(0, play.start - int(random.integers(5, 121))), None, play.device, query=query
    )


def _event(
    play: _Play, kind: EventKind, at: int, position: float | None = None, rating: float | None = None
) -> WatchEvent:
    return WatchEvent(kind, at, play.title, play.device, position, rating)
