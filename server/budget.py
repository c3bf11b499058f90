"""What plans cost together: the closed form for a committed schedule, zCDP where costs were chosen on the way."""

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.ledger.parts import Spent
from backrow.privacy.plan import RoundPlan, Schedule

ACCOUNTANT = ("backrow-gaussian-closed-form", "1")


def spent_epsilon(plans: list[RoundPlan], delta: float) -> float:
    """Closed-form epsilon of these rounds; infinity if any of them adds no noise."""
    multipliers = _multipliers(plans)
    return float("inf") if multipliers is None else epsilon_of(multipliers, delta)


def zcdp_spent(plans: list[RoundPlan], delta: float) -> float:
    """zCDP epsilon of these rounds, valid where costs depend on earlier releases."""
    multipliers = _multipliers(plans)
    return float("inf") if multipliers is None else zcdp_epsilon(multipliers, delta)


def _multipliers(plans: list[RoundPlan]) -> list[float] | None:
    gaussian = [event for plan in plans if isinstance(event := plan.event(), GaussianRelease)]
    return [event.noise_multiplier for event in gaussian] if len(gaussian) == len(plans) else None


def spent_of(plans: list[RoundPlan], schedule: Schedule) -> Spent:
    """An epsilon as ledger entries carry it."""
    epsilon = None if schedule.epsilon is None else spent_epsilon(plans, schedule.delta)
    return Spent(epsilon, schedule.delta, len(plans))
