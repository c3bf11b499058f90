"""Every number that an entry claims about its noise, held against what its plan implies. Pure."""

import math

from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.story import Story
from backrow.privacy.ledger.entries import PublicationEntry, ReleaseEntry, ReserveEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Spent
from backrow.privacy.ledger.releases import mechanism_of, sensitivity_of
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.plan import Aggregation

_BITS = {Aggregation.TRUSTED: 64, Aggregation.SECURE: 32}


def check_claims(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """Noise, sensitivity, delta and counts of one entry. Epsilons are judged at the end (`budget`)."""
    match signed.body:
        case ReserveEntry(cumulative=cumulative):
            _cover(cumulative, len(story.reserves) + 1, len(story.reserves) + 1, index, story, found)
        case ReleaseEntry() as entry:
            _check_noise(entry, index, found)
            _cover(entry.alone, 1, 1, index, story, found)
            if (reserved := story.by_index.get(entry.reserve)) is not None:
                count = reserved.position + 1
                _cover(entry.cumulative, count, count, index, story, found)
        case PublicationEntry() as entry:
            _cover(entry.claim, len(entry.releases), len(story.reserves), index, story, found)
        case _:
            pass


def _check_noise(entry: ReleaseEntry, index: int, found: Findings) -> None:
    plan = entry.plan
    sensitivity = sensitivity_of(plan)
    if not math.isclose(entry.sensitivity, sensitivity, rel_tol=1e-12):
        found.add(
            Fault.SENSITIVITY,
            f"Entry {index} says that one person can change the sum by {entry.sensitivity:.9g}; by its own plan it is "
            f"{sensitivity:.9g}.",
            index,
        )
    if not math.isclose(entry.noise_scale, plan.noise_scale, rel_tol=1e-12):
        found.add(
            Fault.NOISE,
            f"Entry {index} claims noise of standard deviation {entry.noise_scale:.9g}; by its own plan it is "
            f"{plan.noise_scale:.9g}.",
            index,
        )
    elif entry.mechanism is not mechanism_of(plan) or entry.bits != _BITS[plan.aggregation]:
        found.add(
            Fault.NOISE,
            f"Entry {index} claims the mechanism {entry.mechanism} in {entry.bits} bits; by its own plan it is "
            f"{mechanism_of(plan)} in {_BITS[plan.aggregation]}.",
            index,
        )


def _cover(spent: Spent, least: int, most: int, index: int, story: Story, found: Findings) -> None:
    policy = story.policy
    if policy is not None and spent.delta != policy.delta:
        found.add(
            Fault.COVER,
            f"Entry {index} claims its epsilon at delta {spent.delta:g}; the rules say {policy.delta:g}, and the two "
            "cannot be compared.",
            index,
        )
    elif not least <= spent.releases <= most:
        expected = str(most) if least == most else f"{least} to {most}"
        found.add(
            Fault.COVER,
            f"Entry {index} claims an epsilon of {spent.releases} releases; it covers {expected}.",
            index,
        )


def check_schedule(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """Whether a schedule asks for more than the rules allow. What it costs is judged at the end."""
    policy = story.policy
    if policy is None or not isinstance(signed.body, ScheduleEntry):
        return
    schedule = signed.body.schedule
    if schedule.delta != policy.delta:
        problem = f"counts at delta {schedule.delta:g}, the rules at {policy.delta:g}"
    elif policy.epsilon is None:
        return
    elif schedule.epsilon is None:
        problem = f"has no budget, the rules have epsilon {policy.epsilon:g}"
    elif schedule.epsilon > policy.epsilon:
        problem = f"allows itself epsilon {schedule.epsilon:g}, the rules {policy.epsilon:g}"
    else:
        return
    found.add(Fault.SCHEDULE_OVER_BUDGET, f"The schedule of entry {index} {problem}.", index)
