"""What plans cost together: the closed form for a committed schedule, zCDP where costs were chosen on the way."""

from collections.abc import Sequence

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.events import GaussianRelease
from backrow.privacy.accounting.sequences import events_of
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.errors import BudgetExhaustedError
from backrow.privacy.ledger.entries import ReserveEntry
from backrow.privacy.ledger.parts import Basis, Purpose, PurposeBudget, Spent
from backrow.privacy.plan import RoundPlan, Schedule


def spent_epsilon(plans: list[RoundPlan], delta: float, added: bool = False) -> float:
    """Epsilon of these rounds; infinity if any of them adds no noise.

    Args:
        added: some of them outside the committed schedule. Their cost may depend on earlier releases, where only
            zCDP holds; otherwise the closed form does.
    """
    events = events_of(plans)
    gaussian = [event for event in events if isinstance(event, GaussianRelease)]
    if len(gaussian) < len(events):
        return float("inf")
    return (zcdp_epsilon if added else epsilon_of)([event.noise_multiplier for event in gaussian], delta)


def spent_of(plans: list[RoundPlan], schedule: Schedule, added: bool = False) -> Spent:
    """An epsilon as ledger entries carry it. `added`: as for `spent_epsilon`."""
    epsilon = None if schedule.epsilon is None else spent_epsilon(plans, schedule.delta, added)
    return Spent(epsilon, schedule.delta, len(plans))


def check_budget(
    plan: RoundPlan,
    purpose: Purpose,
    reserved: Sequence[ReserveEntry],
    schedule: Schedule,
    purposes: Sequence[PurposeBudget],
    added: bool,
) -> None:
    """Return if one more round stays within the run's budget and its purpose's.

    Args:
        reserved: so far.
        purposes: budgets besides the schedule's.
        added: some rounds, or this one, stand outside the schedule.

    Raises:
        BudgetExhaustedError: it does not.
    """
    limits = [("the run", schedule.epsilon, [entry.plan for entry in reserved])]
    for budget in purposes:
        if budget.purpose is purpose:
            earlier = [entry.plan for entry in reserved if entry.purpose is purpose]
            limits.append((f"purpose {purpose}", budget.epsilon, earlier))
    for whose, limit, earlier in limits:
        spent = spent_epsilon([*earlier, plan], schedule.delta, added)
        if limit is not None and spent > limit:
            raise BudgetExhaustedError(
                f"round {plan.round} would bring {whose} to epsilon {spent:.4f}, more than the committed "
                f"{limit:g}: it stops here with what is released"
            )


def added(entries: Sequence[ReserveEntry]) -> bool:
    """With additions the cost of a round may depend on earlier releases: a filter, not the closed form."""
    return any(entry.basis is Basis.ADDITION for entry in entries)
