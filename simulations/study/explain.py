"""What each release of a schedule costs, alone and with everything before it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease, PrivacyEvent
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.plan import RoundPlan
from backrow.simulations.study.budget import Opinions, opinions


@dataclass(frozen=True, slots=True)
class Cost:
    """One release of a schedule.

    Attributes:
        round, query: which one.
        clip_norm: of one answer.
        noise_multiplier, noise_scale: of the sum; 0: no noise.
        share: of the whole budget, in mu squared.
        alone: epsilon of this release by itself; None without noise.
        together: epsilon of it and everything before.
        added: outside the committed schedule: from here on only zCDP holds for what is together.
    """

    round: int
    query: str
    clip_norm: float
    noise_multiplier: float
    noise_scale: float
    share: float
    alone: float | None
    together: float | None
    added: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """What every release costs, and all of them together.

    Attributes:
        source: the run or scenario.
        budget: epsilon that was committed; None claims no privacy.
        delta: of every epsilon here.
        costs: in order.
        opinions: of all together; None where a release carries no noise.
        adaptive: costs were chosen on the way: zCDP's figure is the one to claim.
    """

    source: str
    budget: float | None
    delta: float
    costs: tuple[Cost, ...]
    opinions: Opinions | None
    adaptive: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier run, which this one repeats for fewer devices, has spent on them.

    Attributes:
        mu: Gaussian-DP parameter of it all.
        releases, coordinates: how much that covers.
    """

    mu: float
    releases: int
    coordinates: int


def explain(
    source: str,
    plans: Sequence[RoundPlan],
    added: Sequence[bool],
    budget: float | None,
    delta: float,
    before: Before | None = None,
) -> Explained:
    """What the releases of these plans cost.

    Args:
        before: an earlier run that counts too; the first line of the result.
        source: named in the result.
        plans: in the order of their reservation.
        added: for each, whether it stands outside the committed schedule.
        budget: epsilon that was committed.
        delta: of every epsilon.

    Raises:
        AccountantDisagreementError: as `opinions`.
        ValueError: no release.
    """
    if not plans:
        raise ValueError(f"{source} has no release: there is nothing to explain")
    events = [_gaussian(plan.event()) for plan in plans]
    whole = math.fsum(event.mu**2 for event in events if event is not None) + (before.mu**2 if before else 0)
    multipliers: list[float] = []
    coordinates, noisy, adaptive = 0, True, False
    costs = []
    if before is not None:
        multipliers, coordinates = [1 / before.mu], before.coordinates
        spent = epsilon_of(multipliers, delta, coordinates)
        costs.append(
            Cost(
                0, f"earlier run, {before.releases} releases", 0.0, 0.0, 0.0, before.mu**2 / whole, spent, spent, False
            )
        )
    for plan, event, outside in zip(plans, events, added, strict=True):
        noisy, adaptive = noisy and event is not None, adaptive or outside
        alone = together = None
        if event is not None:
            multipliers.append(event.noise_multiplier)
            coordinates += event.dimension
            alone = epsilon_of([event.noise_multiplier], delta, event.dimension)
            together = zcdp_epsilon(multipliers, delta) if adaptive else epsilon_of(multipliers, delta, coordinates)
        costs.append(
            Cost(
                plan.round, plan.query.query.value, plan.query.clip_norm, plan.noise_multiplier, plan.noise_scale,
                event.mu**2 / whole if event is not None else 0.0, alone, together if noisy else None, outside,
            )
        )  # fmt: skip
    told = opinions(tuple(sorted(multipliers)), delta, max(coordinates, 1)) if noisy else None
    if told is not None and before is not None:
        told = replace(told, releases=told.releases - 1 + before.releases)
    return Explained(source, budget, delta, tuple(costs), told, adaptive)


def _gaussian(event: PrivacyEvent) -> GaussianRelease | None:
    return event if isinstance(event, GaussianRelease) else None
