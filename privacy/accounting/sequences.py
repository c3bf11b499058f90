"""From plans to events: rounds whose noise is correlated are one event together (docs/continual.md, 5)."""

from collections.abc import Sequence

from backrow.privacy.accounting.events import GaussianRelease, PrivacyEvent
from backrow.privacy.correlated import Correlation
from backrow.privacy.plan import RoundPlan


def events_of(plans: Sequence[RoundPlan]) -> list[PrivacyEvent]:
    """What the accountant is told of these rounds together, whichever of a schedule they are.

    Rounds of one sequence cost what all its releases up to the last of them cost: they are made from those.

    Args:
        plans: distinct rounds.
    """
    alone: list[PrivacyEvent] = [plan.event() for plan in plans if plan.correlation is None]
    sequences: dict[tuple[str, Correlation], list[RoundPlan]] = {}
    for plan in plans:
        if plan.correlation is not None:
            sequences.setdefault((plan.run_id, plan.correlation), []).append(plan)
    for (_, correlation), members in sequences.items():
        last = max(correlation.place(plan.round) for plan in members)
        dimension = members[0].query.dimension * last
        alone.append(GaussianRelease(1 / correlation.mu(last), dimension))
    return alone
