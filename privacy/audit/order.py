"""Reserve first, keep the schedule, close every reservation once. Pure."""

from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.model import Closing
from backrow.privacy.audit.story import Reserved, Story
from backrow.privacy.ledger.entries import (
    FindingEntry,
    ReleaseEntry,
    ReserveEntry,
    RetractionEntry,
    ScheduleEntry,
    VoidEntry,
)
from backrow.privacy.ledger.parts import Additions, Basis
from backrow.privacy.ledger.signed_entry import SignedEntry


def check_order(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """One entry against what came before it."""
    match signed.body:
        case ScheduleEntry(schedule=schedule):
            if schedule.run_id in story.schedules:
                found.add(
                    Fault.OFF_SCHEDULE,
                    f"Entry {index} commits run {schedule.run_id!r} to a schedule for a second time.",
                    index,
                )
        case ReserveEntry() as entry:
            _check_reserve(entry, index, story, found)
        case ReleaseEntry() as entry:
            reserved = _reservation(entry.reserve, index, "releases a sum", story, found)
            if reserved is not None and (entry.plan, entry.purpose) != (reserved.entry.plan, reserved.entry.purpose):
                found.add(
                    Fault.DIFFERS,
                    f"Entry {index} releases another question, or with other noise, than entry {reserved.index} "
                    "reserved budget for.",
                    index,
                    reserved.index,
                )
        case VoidEntry(reserve=reserve):
            _reservation(reserve, index, "closes a round", story, found)
        case FindingEntry(entries=entries):
            _check_references(entries, index, "reports a finding about", found)
        case RetractionEntry(entry=entry_index):
            _check_references((entry_index,), index, "withdraws", found)
        case _:
            pass


def _check_reserve(entry: ReserveEntry, index: int, story: Story, found: Findings) -> None:
    plan, run = entry.plan, entry.plan.run_id
    if (before := story.open_of.get(run)) is not None:
        found.add(
            Fault.LEFT_OPEN,
            f"Entry {index} begins a round of run {run!r} while the round of entry {before.index} is neither released "
            "nor void.",
            index,
            before.index,
        )
    match entry.basis:
        case Basis.ADDITION:
            if story.policy is not None and story.policy.additions is Additions.REFUSED:
                found.add(
                    Fault.ADDITION,
                    f"Entry {index} adds a round that no schedule committed to; the rules allow no additions.",
                    index,
                )
            elif plan.correlation is not None:
                found.add(
                    Fault.ADDITION,
                    f"Entry {index} adds a round with correlated noise: its draws belong to a committed sequence, and "
                    "noise that is used twice hides nothing.",
                    index,
                )
        case Basis.SCHEDULED:
            if (problem := _off_schedule(entry, story)) is not None:
                found.add(
                    Fault.OFF_SCHEDULE, f"Entry {index} reserves round {plan.round} of run {run!r}, {problem}", index
                )


def _off_schedule(entry: ReserveEntry, story: Story) -> str | None:
    """What is wrong with a scheduled round, or None."""
    plan = entry.plan
    committed = story.schedules.get(plan.run_id)
    if committed is None:
        return "for which no schedule was committed before."
    position = story.next_round.get(plan.run_id, 0)
    if position >= len(committed.schedule.rounds):
        return f"but the committed schedule ends with round {position}."
    if plan.round != position + 1:
        return f"but the next round of the committed schedule is {position + 1}."
    if plan != committed.schedule.rounds[position]:
        return "with another question, bound or noise than was committed."
    if entry.purpose is not committed.purposes[position]:
        return f"for the purpose {entry.purpose}, but it was committed for {committed.purposes[position]}."
    return None


def _reservation(reserve: int, index: int, does: str, story: Story, found: Findings) -> Reserved | None:
    reserved = story.by_index.get(reserve)
    if reserved is None:
        found.add(
            Fault.UNRESERVED,
            f"Entry {index} {does} for which entry {reserve} should have reserved budget, and has not.",
            index,
        )
    elif reserved.closing is not Closing.OPEN:
        found.add(
            Fault.CLOSED_TWICE,
            f"Entry {index} {does} on the reservation of entry {reserve}, which entry {reserved.close} has used up.",
            index,
            reserve,
        )
        return None
    return reserved


def _check_references(entries: tuple[int, ...], index: int, does: str, found: Findings) -> None:
    for entry in entries:
        if entry >= index:
            found.add(Fault.DANGLING, f"Entry {index} {does} entry {entry}, which did not exist.", index)
