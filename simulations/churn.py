"""Who is there in which week, and what they have watched by then: ground truth of a service that goes on for weeks.

Weeks count from 1. Of a run of T weeks the simulator knows T + 1: the last model is asked about what follows it.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from backrow.client.answers import BLOCK
from backrow.privacy.errors import DataError
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.continual_scenario import ChurnSection
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.population import Population

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DAY = 86_400
NEVER = np.iinfo(np.int64).max
"""The week of what does not happen."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Every device that is ever enrolled, by slot.

    Attributes:
        starts: shape (devices + 1,), where each device's entries start.
        title: shape (entries,), in the order of watching.
        week: shape (entries,), when; ascending within a device.
        joined: shape (devices,), the first week it watches something, and is enrolled in.
        left: shape (devices,), the first week it is gone for good; `NEVER`: it stays.
        opted_out: shape (devices,), the first week in which its owner is on the list of opt-outs; `NEVER`: not.
        idle: weeks without watching after which it is out of reach until it watches again; None: it stays in reach.
    """

    starts: IntArray
    title: NDArray[np.int32]
    week: IntArray
    joined: IntArray
    left: IntArray
    opted_out: IntArray
    idle: int | None = None

    def __len__(self) -> int:
        return len(self.joined)

    def from_week(self, week: int) -> "Lives":
        """The same lives, counted so that this week is week 1."""
        shift = week - 1
        left, opted_out = (np.where(when == NEVER, NEVER, when - shift) for when in (self.left, self.opted_out))
        return replace(self, week=self.week - shift, joined=self.joined - shift, left=left, opted_out=opted_out)

    def watched(self, week: int) -> IntArray:
        """How many titles each device has watched by the end of a week, shape (devices,)."""
        upto = np.concatenate([[0], np.cumsum(self.week <= week)])
        return np.asarray(upto[self.starts[1:]] - upto[self.starts[:-1]])

    def there(self, week: int) -> BoolArray:
        """Which devices are enrolled and not gone, whether or not they contribute; shape (devices,)."""
        return (self.joined <= week) & (week < self.left)

    def contributing(self, week: int) -> BoolArray:
        """Which devices a coordinator finds in a week: there, in reach, and not opted out; shape (devices,)."""
        found = self.there(week) & (week < self.opted_out)
        if self.idle is None:
            return found
        return found & (self.watched(week) > self.watched(week - self.idle))

    def answering(self, weeks: int, answers: int | None, apart: int) -> BoolArray:
        """In which weeks each device's answer is not zero, shape (weeks, devices). Derived week by week, on the device.

        Args:
            answers: at most; None: in every week that it contributes in. Else it answers as soon as it has watched
                something that it has not counted, and its last answer is `apart` weeks ago.

        Guarantees: no device answers more than `answers` times, or twice within `apart` weeks.
        """
        spoken = np.zeros((weeks, len(self)), dtype=np.bool_)
        said, used, free = (np.zeros(len(self), dtype=np.int64) for _ in range(3))
        for week in range(1, weeks + 1):
            watched = self.watched(week)
            now = self.contributing(week) & (watched > 0)
            if answers is not None:
                now &= (watched > said) & (used < answers) & (week >= free)
            spoken[week - 1] = now
            said, used, free = np.where(now, watched, said), used + now, np.where(now, week + apart, free)
        return spoken

    def population(self, week: int, answering: BoolArray) -> Population:
        """Everybody as of the end of a week: a device that does not answer holds nothing here.

        Args:
            answering: shape (devices,), of this week.
        """
        kept = (self.week <= week) & np.repeat(answering, np.diff(self.starts))
        user = np.repeat(np.arange(len(self)), np.diff(self.starts))[kept]
        sizes = np.bincount(user, minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        by_title = np.lexsort((self.title[kept], user))
        place = np.empty(len(user), dtype=np.int64)
        place[by_title] = np.arange(len(user))
        nothing, nobody = np.zeros(0, dtype=np.int32), np.zeros(len(self), dtype=np.bool_)
        return Population(
            starts=starts,
            titles=self.title[kept][by_title],
            weights=np.ones(len(user)),
            recent=np.zeros(len(user), dtype=np.bool_),
            granted=self.contributing(week),
            fresh=np.full(len(self), -1, dtype=np.int32),
            passed_starts=np.zeros(len(self) + 1, dtype=np.int64),
            passed=nothing,
            opted_out=self.opted_out <= week,
            children=nobody,
            order=(place - np.repeat(starts[:-1], sizes)).astype(np.int32),
        )


def draw_lives(rows: Interactions, devices: int, weeks: int, days: int, churn: ChurnSection, seed: int) -> Lives:
    """Lives of a run of so many weeks, and one more. A device's draws stand at its slot, whatever the others do.

    Args:
        rows: what is ever watched; nothing that is held out.
        days: of a week.

    Raises:
        DataError: the data is not as long, or in some week nobody contributes.
    """
    order = rows.chronological()
    user, title = rows.user[order].astype(np.int64), rows.title[order]
    if churn.histories == "timestamps":
        week = (rows.timestamp[order] - rows.timestamp.min()) // (days * DAY) + 1
        if week.max(initial=0) <= weeks:
            raise DataError(
                f"the data spans {week.max(initial=0)} weeks of {days} days, and the last can only be asked about: "
                'lower weeks.count or weeks.days, or play the histories out (churn.histories = "paced")'
            )
    else:
        week = _paced(user, devices, weeks, churn, seed)
    joined = np.full(devices, NEVER)
    np.minimum.at(joined, user, week)
    left = _first(seed, "uninstall", churn.uninstalls, joined, weeks)
    opted_out = _first(seed, "opt-out", churn.opt_outs, joined, weeks)
    kept = (week <= weeks + 1) & (week < left[user])
    starts = np.concatenate([[0], np.cumsum(np.bincount(user[kept], minlength=devices))])
    lives = Lives(starts, title[kept], week[kept], joined, left, opted_out, churn.idle)
    for number in range(1, weeks + 1):
        if not lives.contributing(number).any():
            raise DataError(f"nobody contributes in week {number}: choose longer weeks, or less churn")
    return lives


def _paced(user: IntArray, devices: int, weeks: int, churn: ChurnSection, seed: int) -> IntArray:
    """When each entry is watched if every device plays its own history out: some from week 1, others join later.

    So many titles a week, Poisson around `churn.pace`, from the week it joins on; shape (entries,).
    """
    draw = SeededRandom(seed, "churn-join").numpy()
    first = np.where(draw.random(devices) < churn.founders, 1, draw.integers(1, weeks + 2, devices))
    week = np.empty(len(user), dtype=np.int64)
    starts = np.searchsorted(user, np.arange(devices + 1))
    for device, (start, end) in enumerate(pairwise(starts)):
        titles = SeededRandom(seed, "churn-pace", 0, device).numpy().poisson(churn.pace, weeks + 1)
        titles[0] = max(titles[0], 1)  # it joins when it watches
        week[start:end] = first[device] + np.searchsorted(np.cumsum(titles), np.arange(end - start), side="right")
    return week


def _first(seed: int, purpose: str, share: float, joined: IntArray, weeks: int) -> IntArray:
    """The first week after joining in which a draw falls on each device, shape (devices,); `NEVER`: none."""
    when = np.full(len(joined), NEVER)
    for week in range(weeks + 1, 1, -1) if share else ():
        drawn = SeededRandom(seed, f"churn-{purpose}", week).numpy().random(len(joined)) < share
        when[drawn & (joined < week)] = week
    return when


def hosted(contributing: BoolArray, partition: int, partitions: int) -> IntArray:
    """Slots of one node's devices that contribute, ascending: whole blocks, dealt round robin."""
    slots = np.flatnonzero(contributing)
    return np.asarray(slots[(slots // BLOCK) % partitions == partition])
