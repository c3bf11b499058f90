"""The round journal: an append-only file in which budget is reserved before a round's first message.

A crash can waste budget but never hide it: a reservation counts as spent whether or not a release follows.
One JSON object per line, flushed to disk before the call returns.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.errors import BudgetExhaustedError, JournalError
from backrow.privacy.plan import RoundPlan, Schedule


@dataclass(frozen=True, slots=True)
class Reservation:
    """Budget set aside for one round, durably. Made by `Journal.reserve` only."""

    round: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A release that the journal has recorded. Made by `Journal.release` only."""

    round: int
    digest: str
    line: int


class Journal:
    """Appends to one run's journal.

    Args:
        path: must not exist: a run's journal is never continued by another run.
        schedule: everything the run may release; written as the first line.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, schedule: Schedule, clock: Callable[[], int]) -> None:
        self._schedule = schedule
        self._clock = clock
        self._lines = 0
        self._reserved: list[RoundPlan] = []
        self._open: Reservation | None = None
        try:
            self._file = path.open("xb")
        except FileExistsError:
            raise JournalError(
                f"{path} exists: a run never continues another run's journal; use a new folder"
            ) from None
        _sync_folder(path.parent)
        self._write(
            "schedule", epsilon=schedule.epsilon, delta=schedule.delta, rounds=[describe(p) for p in schedule.rounds]
        )

    def reserve(self, plan: RoundPlan) -> Reservation:
        """Set the budget of the next scheduled round aside, before its first message.

        Raises:
            JournalError: a round is still open, or this is not the next round of the schedule.
            BudgetExhaustedError: with it, the reservations would exceed the committed epsilon.
        """
        if self._open is not None:
            raise JournalError(f"round {self._open.round} is still open: release or void it first")
        position = len(self._reserved)
        if position >= len(self._schedule.rounds) or plan != self._schedule.rounds[position]:
            raise JournalError(f"round {plan.round} is not the next round of the committed schedule: nothing is sent")
        spent = spent_epsilon([*self._reserved, plan], self._schedule.delta)
        if self._schedule.epsilon is not None and spent > self._schedule.epsilon:
            raise BudgetExhaustedError(
                f"round {plan.round} would bring the run to epsilon {spent:.4f}, more than the committed "
                f"{self._schedule.epsilon:g}: the run stops here with what is released"
            )
        self._write("reserve", round=plan.round, spent=spent if math.isfinite(spent) else None)
        self._reserved.append(plan)
        self._open = Reservation(plan.round)
        return self._open

    def release(self, reservation: Reservation, digest: str, participants: int) -> Receipt:
        """Record a release; the receipt is what `RoundSum.release` asks for."""
        self._close(reservation)
        self._write("release", round=reservation.round, digest=digest, participants=participants)
        return Receipt(reservation.round, digest, self._lines)

    def void(self, reservation: Reservation, reason: str) -> None:
        """Record that a reserved round released nothing. Its budget stays spent."""
        self._close(reservation)
        self._write("void", round=reservation.round, reason=reason)

    @property
    def spent(self) -> float | None:
        """Epsilon of everything reserved so far; None where no privacy is claimed."""
        value = spent_epsilon(self._reserved, self._schedule.delta)
        return None if self._schedule.epsilon is None else value

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _close(self, reservation: Reservation) -> None:
        if self._open != reservation:
            raise JournalError(f"round {reservation.round} is not open: it was released or voided before")
        self._open = None

    def _write(self, kind: str, **fields: Any) -> None:
        entry = {"kind": kind, "run": self._schedule.run_id, "time": self._clock(), **fields}
        self._file.write(json.dumps(entry, sort_keys=True, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines += 1


def spent_epsilon(plans: list[RoundPlan], delta: float) -> float:
    """Closed-form epsilon of these rounds; infinity if any of them adds no noise."""
    events = [plan.event() for plan in plans]
    gaussian = [event for event in events if isinstance(event, GaussianRelease)]
    if len(gaussian) < len(events):
        return float("inf")
    return epsilon_of([event.noise_multiplier for event in gaussian], delta)


def describe(plan: RoundPlan) -> dict[str, Any]:
    """One plan as the journal records it."""
    return {
        "round": plan.round,
        "query": plan.query.query.value,
        "shape": [plan.query.rows, plan.query.columns],
        "clip_norm": plan.query.clip_norm,
        "scale": plan.scale,
        "rounding": plan.rounding.value,
        "integer_sensitivity": plan.integer_sensitivity,
        "noise": plan.noise.value,
        "noise_multiplier": plan.noise_multiplier,
        "noise_scale": plan.noise_scale,
        "aggregation": plan.aggregation.value,
        "population": plan.population,
        "minimum": plan.minimum,
        "simulated": plan.simulated,
    }


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
