"""Who is left out of a run that repeats an earlier one, and what both cost together."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.errors import ScenarioError
from backrow.privacy.ledger.files import write_durably
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.server.suppression import COORDINATOR
from backrow.simulations.pipeline import Prepared
from backrow.simulations.population import device_name
from backrow.simulations.retrained import Retrained
from backrow.simulations.scenario import RetrainSection

LEFT_OUT = f"{COORDINATOR}/left_out.json"
"""Pseudonyms; the coordinator shows them to nobody."""


def terms_of(section: RetrainSection, schedule: Schedule) -> Retrained:
    """What is said beside the committed schedule of a run that leaves devices out.

    Costs add up as Gaussian-DP parameters do, with one delta for everything. That the second run was decided on after
    the first changes nothing: its cost is fixed, and not running it would have cost less.
    """
    new, fresh = multipliers(schedule.rounds), coordinates(schedule.rounds)
    before = None if section.mu is None else [1 / section.mu]
    both = None if before is None or new is None else before + new

    def epsilon(of: list[float] | None, over: int) -> float | None:
        return None if of is None or schedule.epsilon is None else epsilon_of(of, schedule.delta, over)

    return Retrained(
        run=section.run,
        left_out=section.left_out,
        epsilon_before=epsilon(before, section.coordinates),
        epsilon_alone=epsilon(new, fresh),
        epsilon_together=epsilon(both, section.coordinates + fresh),
        delta=schedule.delta,
        unit=schedule.unit.value,
        adjacency=schedule.adjacency.value,
        releases_before=section.releases,
        releases_alone=len(schedule.rounds),
        simulated=schedule.simulated,
    )


def multipliers(plans: Sequence[RoundPlan]) -> list[float] | None:
    """Noise multipliers of these rounds; None if any of them adds no noise."""
    gaussian = [event for plan in plans if isinstance(event := plan.event(), GaussianRelease)]
    return [event.noise_multiplier for event in gaussian] if len(gaussian) == len(plans) else None


def coordinates(plans: Sequence[RoundPlan]) -> int:
    """Numbers that these rounds release."""
    return sum(plan.query.dimension for plan in plans)


def mu_of(*mus: float | None) -> float | None:
    """Gaussian-DP parameter of several together; None if one of them claims nothing."""
    known = [mu for mu in mus if mu is not None]
    return math.hypot(*known) if len(known) == len(mus) else None


def leave_out(prepared: Prepared, names: Sequence[str]) -> Prepared:
    """The same people, of whom these never grant. Their devices go on recommending."""
    population, gone = prepared.population, set(names)
    out = np.array([device_name(slot) in gone for slot in range(len(population))], dtype=bool)
    owners = replace(population, granted=population.granted & ~out, opted_out=population.opted_out | out)
    return replace(prepared, population=owners)


def keep_left_out(folder: Path, names: Sequence[str]) -> None:
    """Write who is left out; on disk when this returns."""
    write_durably(folder / LEFT_OUT, json.dumps(sorted(names), indent=0).encode() + b"\n")


def read_left_out(folder: Path) -> tuple[str, ...]:
    """Who is left out of the run in this folder.

    Raises:
        ScenarioError: nobody knows any more.
    """
    try:
        return tuple(str(name) for name in json.loads((folder / LEFT_OUT).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        raise ScenarioError(
            f"{folder / LEFT_OUT} is missing or damaged: nobody knows who is left out; restore it"
        ) from None
