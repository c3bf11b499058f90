"""Release entries as a plan implies them, so that a coordinator cannot write down something else. Pure."""

from typing import assert_never, cast

from backrow.privacy.ledger.entries import ReleaseEntry, ReserveEntry
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.parts import Crowd, Mechanism, Provenance, Spent, Stamp
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule

CLOSED_FORM = ("backrow-gaussian-closed-form", "1")
"""Who counts releases of a committed schedule."""
ZCDP = ("backrow-zcdp", "1")
"""Who counts everything so far from the first added round on: its cost may depend on earlier releases. A release by
itself is still counted in closed form."""

_BITS = {Aggregation.TRUSTED: 64, Aggregation.SECURE: 32}


def mechanism_of(plan: RoundPlan) -> Mechanism:
    """How a round's sum is noised."""
    if plan.noise_multiplier == 0:
        return Mechanism.NONE
    match plan.noise:
        case Noise.ONCE:
            return Mechanism.ROUNDED_GAUSSIAN
        case Noise.BLOCK:
            return Mechanism.FLOAT_GAUSSIAN
        case Noise.SHARES:
            return Mechanism.DISCRETE_GAUSSIAN_SHARES
        case Noise.CORRELATED:
            return Mechanism.CORRELATED_GAUSSIAN
        case _:
            assert_never(plan.noise)


def sensitivity_of(plan: RoundPlan) -> float:
    """L2 sensitivity that the noise of a round is measured against, in the answer's own unit."""
    match plan.noise:
        case Noise.ONCE | Noise.SHARES | Noise.CORRELATED:
            return plan.integer_sensitivity / plan.scale
        case Noise.BLOCK:
            return plan.query.clip_norm
        case _:
            assert_never(plan.noise)


def release_entry(
    reserve_index: int,
    reserve: ReserveEntry,
    schedule: Schedule,
    crowd: Crowd,
    provenance: Provenance,
    values: bytes,
    alone: Spent,
    accountant: tuple[str, str],
    sentinels: tuple[int, ...] = (),
) -> ReleaseEntry:
    """The entry of a release. Runs on the coordinator, before the release leaves.

    Args:
        reserve_index, reserve: the round's reservation; plan, purpose and cumulative cost come from it.
        schedule: of the run; says unit and adjacency.
        values: hash of the released integers.
        alone: what this release costs by itself.
        accountant: its name and version.
        sentinels: the raw noisy integers of the sentinel rows.
    """
    plan = reserve.plan
    return ReleaseEntry(
        reserve=reserve_index,
        purpose=reserve.purpose,
        stamp=Stamp.SIMULATED if plan.simulated else Stamp.PRODUCTION,
        plan=plan,
        unit=schedule.unit,
        adjacency=schedule.adjacency,
        mechanism=mechanism_of(plan),
        sensitivity=sensitivity_of(plan),
        noise_scale=plan.noise_scale,
        bits=_BITS[plan.aggregation],
        crowd=crowd,
        provenance=provenance,
        values=values,
        sentinels=cast(tuple[Wide, ...], sentinels),
        alone=alone,
        cumulative=reserve.cumulative,
        accountant=accountant[0],
        accountant_version=accountant[1],
    )
