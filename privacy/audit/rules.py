"""The rules, their file, stamps and units. Pure."""

import math
import tomllib
from typing import Any

from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.story import Story
from backrow.privacy.ledger.entries import PolicyEntry, ReleaseEntry, ReserveEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.tree import sha256


def check_rules(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """One entry against the rules of its ledger."""
    if isinstance(signed.body, PolicyEntry) and index > 0:
        found.add(
            Fault.POLICY_CHANGED,
            f"Entry {index} states rules although entry 0 has fixed them: rules are not changed while they bind.",
            index,
        )
    policy = story.policy
    if policy is None:
        return
    match signed.body:
        case ScheduleEntry(schedule=schedule):
            _unit(schedule.unit == policy.unit and schedule.adjacency == policy.adjacency, index, found)
            if policy.stamp is Stamp.PRODUCTION and schedule.simulated:
                _stamp("commits to simulated noise in a ledger for production", index, found)
        case ReserveEntry(plan=plan):
            if policy.stamp is Stamp.PRODUCTION and plan.simulated:
                _stamp("reserves a round with simulated noise in a ledger for production", index, found)
        case ReleaseEntry() as entry:
            _unit(entry.unit == policy.unit and entry.adjacency == policy.adjacency, index, found)
            if entry.stamp is not policy.stamp:
                _stamp(f"is stamped {entry.stamp}, its ledger {policy.stamp}", index, found)
            elif entry.plan.simulated and entry.stamp is Stamp.PRODUCTION:
                _stamp("is stamped production, but its noise comes from a simulation", index, found)
        case _:
            pass


def check_policy(policy: PolicyEntry, file: bytes | None, bare: bool, found: Findings) -> bool:
    """The first entry and its file. False if it states nothing that a ledger could be held against.

    Args:
        file: policy.toml.
        bare: no run folder was handed over, so that no file is expected.
    """
    usable = 0 < policy.delta < 1 and (policy.epsilon is None or policy.epsilon > 0)
    if not usable or any(budget.epsilon <= 0 for budget in policy.purposes):
        found.add(
            Fault.NO_POLICY, "Entry 0 states no budget that could be kept: epsilon and delta are out of range.", 0
        )
        return False
    if file is None:
        if not bare:
            found.add(Fault.NO_POLICY, "policy.toml is missing from the run folder: the rules cannot be read.", 0)
    elif sha256(file) != policy.policy:
        found.add(
            Fault.POLICY_MISMATCH,
            "policy.toml is not the file whose hash entry 0 records: one of them was replaced.",
            0,
        )
    elif wrong := _differences(policy, file):
        found.add(
            Fault.POLICY_MISMATCH,
            f"Entry 0 and policy.toml disagree about {', '.join(wrong)}: the ledger does not bind itself to its rules.",
            0,
        )
    return True


def check_production(policy: PolicyEntry, found: Findings) -> None:
    """A simulation protects nobody."""
    if policy.stamp is Stamp.SIMULATED:
        found.add(
            Fault.SIMULATED,
            "This ledger is of a simulation: its noise can be computed again by whoever knows the seed, and protects "
            "nobody. It may not be offered as protection of real people.",
            0,
        )


def _differences(policy: PolicyEntry, file: bytes) -> list[str]:
    """What the file says otherwise; keys that it does not have are not missed: its hash is signed."""
    try:
        said: dict[str, Any] = tomllib.loads(file.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return ["everything (policy.toml is not TOML)"]
    epsilon: Any = "none" if policy.epsilon is None else policy.epsilon
    ours: dict[str, Any] = {
        "epsilon": epsilon,
        "delta": policy.delta,
        "minimum_cohort": policy.minimum,
        "stamp": policy.stamp.value,
        "additions": policy.additions.value,
        "purposes": {budget.purpose.value: budget.epsilon for budget in policy.purposes},
    }
    return [name for name, value in ours.items() if name in said and not _same(said[name], value)]


def _same(said: Any, ours: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (said, ours))
    return math.isclose(said, ours, rel_tol=1e-15) if numbers else bool(said == ours)


def _unit(same: bool, index: int, found: Findings) -> None:
    if not same:
        found.add(
            Fault.UNIT,
            f"Entry {index} counts privacy in another unit or adjacency than the rules: its figures cannot be added "
            "to the others.",
            index,
        )


def _stamp(how: str, index: int, found: Findings) -> None:
    found.add(Fault.STAMP, f"Entry {index} {how}.", index)
