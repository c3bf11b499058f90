"""What a run may say about itself: an epsilon that three accountants agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy, PrivacyEvent
from backrow.privacy.accounting.gaussian import check_delta
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.accounting.rdp import rdp_epsilon
from backrow.privacy.accounting.sequences import events_of
from backrow.privacy.errors import AccountantDisagreementError, BudgetExhaustedError
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.units import PrivacyClaim

AGREEMENT = 0.005
"""Relative difference, at most, of closed form and PLD."""

_NEAR_ZERO = 1e-6
"""Epsilons this small count as equal."""


@dataclass(frozen=True, slots=True)
class Accounted:
    """Epsilon of the same releases by three accountants.

    Attributes:
        delta: of all three.
        closed_form: exact; infinity if any release carries no noise.
        pld: by privacy loss distributions.
        rdp: by Renyi differential privacy, an upper bound.
        releases: how many.
    """

    delta: float
    closed_form: float
    pld: float
    rdp: float
    releases: int


def account(events: Sequence[PrivacyEvent], delta: float) -> Accounted:
    """The epsilon of committed releases, counted three times.

    Args:
        events: everything released.
        delta: in (0, 1).

    Raises:
        AccountantDisagreementError: closed form and PLD differ by more than .5 %, or RDP is below one.
        ValueError: delta is out of range.
    """
    check_delta(delta)
    multipliers: list[float] = []
    for event in events:
        match event:
            case NoPrivacy():
                infinity = float("inf")
                return Accounted(delta, infinity, infinity, infinity, len(events))
            case GaussianRelease():
                multipliers.append(event.noise_multiplier)
            case _:
                assert_never(event)
    return _account(tuple(sorted(multipliers)), delta)


@lru_cache(maxsize=256)
def _account(multipliers: tuple[float, ...], delta: float) -> Accounted:
    accounted = Accounted(
        delta,
        epsilon_of(multipliers, delta),
        pld_epsilon(multipliers, delta),
        rdp_epsilon(multipliers, delta),
        len(multipliers),
    )
    check_agreement(accounted)
    return accounted


def check_agreement(accounted: Accounted) -> None:
    """Refuse figures that cannot all be right.

    Raises:
        AccountantDisagreementError: closed form and PLD differ by more than .5 %, or RDP is below one.
    """
    closed, pld, rdp = accounted.closed_form, accounted.pld, accounted.rdp
    # Asked this way round, NaN is a disagreement.
    agree = abs(pld - closed) <= AGREEMENT * closed + _NEAR_ZERO and rdp >= max(closed, pld) - _NEAR_ZERO
    if not agree:
        raise AccountantDisagreementError(
            f"the accountants disagree at delta {accounted.delta:g}: closed form {closed:.6g}, PLD {pld:.6g}, RDP "
            f"{rdp:.6g} (the first two must agree within .5 %, the third be above both): do not run this schedule"
        )


def claim(schedule: Schedule) -> PrivacyClaim:
    """What a run may claim once every round of its schedule is released.

    Raises:
        AccountantDisagreementError: as `account`.
        BudgetExhaustedError: the whole schedule costs more than its budget.
    """
    whole = claim_of(schedule.rounds, schedule)
    spent = float("inf") if whole.epsilon is None else whole.epsilon
    if schedule.epsilon is not None and spent > schedule.epsilon:
        raise BudgetExhaustedError(
            f"the schedule costs epsilon {spent:.9g}, more than its budget {schedule.epsilon:.9g}: calibrate it with "
            "noise_multipliers(), naming its number of coordinates"
        )
    return whole


def claim_of(plans: Sequence[RoundPlan], schedule: Schedule) -> PrivacyClaim:
    """What a run may claim after some rounds of its schedule (reserved is as good as released).

    The closed form, plus what the integer sampler's error costs. Epsilon is None if the schedule
    claims nothing or any of the rounds carries no noise.

    Raises:
        AccountantDisagreementError: as `account`.
        ValueError: a round is not of this schedule.
    """
    if any(plan not in schedule.rounds for plan in plans):
        raise ValueError("a claim covers rounds of its own schedule only")
    events = events_of(plans)
    accounted = account(events, schedule.delta)
    epsilon: float | None = None
    gaussian = [event for event in events if isinstance(event, GaussianRelease)]
    if schedule.epsilon is not None and len(gaussian) == len(events):
        coordinates = sum(event.dimension for event in gaussian)
        epsilon = max(
            accounted.closed_form,
            epsilon_of([event.noise_multiplier for event in gaussian], schedule.delta, coordinates),
        )
    return PrivacyClaim(
        epsilon,
        schedule.delta,
        schedule.unit,
        schedule.adjacency,
        len(plans),
        any(plan.simulated for plan in plans),
    )
