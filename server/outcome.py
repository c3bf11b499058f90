"""What a run says of itself while it goes on and when it has ended."""

from dataclasses import dataclass

from backrow.privacy.plan import RoundPlan
from backrow.server.programs.program import Program
from backrow.server.round import Release


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What can be said of one round, for progress and the metrics table.

    Attributes:
        outcome: "released" or why not.
        spent: epsilon of everything reserved so far; None where no privacy is claimed.
        bytes_up: bytes one device uploads in this round.
        masked: masked vectors that arrived; 0 where edges are trusted.
    """

    plan: RoundPlan
    outcome: str
    invited: int
    participants: int
    spent: float | None
    bytes_up: int
    seconds: float
    masked: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: its program after the last round, its releases and reports."""

    program: Program
    releases: tuple[Release, ...]
    reports: tuple[RoundReport, ...]
    stopped: str | None = None
