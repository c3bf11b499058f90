"""What a run tells its caller while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Progress:
    """One piece of news.

    Attributes:
        kind: `stage` (text only) or `round`.
        epsilon_spent: of everything reserved so far; None where no privacy is claimed.
        epsilon: the budget.
        seconds_left: estimate for the rounds that remain.
    """

    kind: Literal["stage", "round"]
    text: str
    round: int = 0
    rounds: int = 0
    cohort: int = 0
    epsilon_spent: float | None = None
    epsilon: float | None = None
    seconds_left: float | None = None


Observer = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """An observer that says nothing."""
