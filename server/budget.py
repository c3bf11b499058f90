"""What plans cost together: the closed form for a committed schedule, zCDP where costs were chosen on the way."""

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.ledger.parts import Spent
from backrow.privacy.plan import RoundPlan, Schedule


def spent_epsilon(plans: list[RoundPlan], delta: float, added: bool = False) -> float:
    """Epsilon of these rounds; infinity if any of them adds no noise.

    Args:
        added: some of them outside the committed schedule. Their cost may depend on earlier releases, where only
            zCDP holds; otherwise the closed form does.
    """
    gaussian = [event for plan in plans if isinstance(event := plan.event(), GaussianRelease)]
    if len(gaussian) < len(plans):
        return float("inf")
    return (zcdp_epsilon if added else epsilon_of)([event.noise_multiplier for event in gaussian], delta)


def spent_of(plans: list[RoundPlan], schedule: Schedule, added: bool = False) -> Spent:
    """An epsilon as ledger entries carry it. `added`: as for `spent_epsilon`."""
    epsilon = None if schedule.epsilon is None else spent_epsilon(plans, schedule.delta, added)
    return Spent(epsilon, schedule.delta, len(plans))
