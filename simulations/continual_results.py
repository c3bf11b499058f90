"""continual.json: what a run over weeks cost, who was there, and how good each week's model was."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from backrow.simulations.results import write_whole

RESULT = "continual.json"
NOTES = (
    "quality is the simulator's ground truth, of whoever watches in the week after a model: the title that each "
    "watches last, ranked among all that it has not watched; it is not released",
    "test titles of the data set are held out of everything here, training and measuring alike",
    "a device that has left or opted out answers nothing from then on; what it has answered before is not subtracted",
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quality(_Part):
    """Of one model in one week, or in all; None where nobody was asked."""

    hr: float | None
    ndcg: float | None

    def __str__(self) -> str:
        return "-" if self.hr is None or self.ndcg is None else f"{self.hr:.4f} / {self.ndcg:.4f}"


class Week(_Part):
    """One week.

    Attributes:
        there: devices that are enrolled and not gone; of them
        contributing: whom the coordinator finds, and
        answering: whose answer is not zero.
        joined, left, opted_out: in this week.
        outcome: "released", or why a round of it was not.
        epsilon_spent: of everything reserved so far.
        asked: devices that the week's model is measured on.
        quality: by model.
    """

    week: int
    there: int
    contributing: int
    answering: int
    joined: int
    left: int
    opted_out: int
    outcome: str
    epsilon_spent: float | None
    asked: int
    quality: dict[str, Quality]


class ContinualResults(_Part):
    """A whole run.

    Attributes:
        claim: in words, with everything that stands beside an epsilon.
        most_answers: of any one device, in how many weeks it answered.
        bound: in how many of them it may have, by the schedule.
        overall: by model, over all devices asked in all weeks that every model has.
        since: the first of these weeks.
        stopped: why weeks are missing at the end.
    """

    claim: str
    epsilon: float | None
    epsilon_spent: float | None
    delta: float
    unit: str
    adjacency: str
    releases: int
    simulated: bool
    dataset: str
    devices: int
    titles: int
    trainer: str
    most_answers: int
    bound: int
    apart: int
    since: int
    once_in: int
    overall: dict[str, Quality]
    weeks: tuple[Week, ...]
    stopped: str | None = None
    notes: tuple[str, ...] = NOTES

    def write(self, path: Path) -> None:
        """A reader sees all of it or nothing."""
        write_whole(path, self.model_dump_json(indent=1) + "\n")


def quality_of(ranks: Any, length: int) -> Quality:
    """HR and NDCG of a list of `length`. Args: ranks: shape (devices,), from 0."""
    if not len(ranks):
        return Quality(hr=None, ndcg=None)
    gain = np.where(ranks < length, 1 / np.log2(ranks + 2), 0.0)
    return Quality(hr=float(np.mean(ranks < length)), ndcg=float(np.mean(gain)))
