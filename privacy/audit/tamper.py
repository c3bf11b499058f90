"""What can be done to a ledger, and the name under which each must be found. For the demonstration and the tests."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.forgery import Copy, note_over, signed_copy
from backrow.privacy.audit.tamper_beside import (
    other_noise,
    other_numbers,
    take_out,
    taken_off,
    taken_off_by_another,
)
from backrow.privacy.ledger.entries import PolicyEntry, ReleaseEntry, ReserveEntry, VoidEntry
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.note import Note
from backrow.privacy.ledger.parts import Spent, Stamp
from backrow.privacy.ledger.signed_entry import sign_entry


@dataclass(frozen=True, slots=True)
class Tampering:
    """One thing to do.

    Attributes:
        name: in a word.
        done: in a sentence.
        fault: under which it must be found, before any other.
        apply: the tampered copy; None where the ledger has nothing that it could be done to.
        seen: it shows only against the checkpoint that somebody else has kept.
        kept: it shows only against the released integers.
        witnessed: it shows only to those who demand that a witness has cosigned.
    """

    name: str
    done: str
    fault: Fault
    apply: Callable[[Copy], Copy | None]
    seen: bool = False
    kept: bool = False
    witnessed: bool = False


def _edit(copy: Copy) -> Copy | None:
    at = len(copy.lines) // 2
    line = copy.lines[at]
    changed = re.sub(rb'("time":\d*)(\d)', lambda found: found[1] + b"%d" % ((int(found[2]) + 1) % 10), line)
    return copy.with_lines(*copy.lines[:at], changed, *copy.lines[at + 1 :])


def _delete(copy: Copy) -> Copy | None:
    at = len(copy.lines) // 2
    return copy.with_lines(*copy.lines[:at], *copy.lines[at + 1 :]) if len(copy.lines) > 2 else None


def _reorder(copy: Copy) -> Copy | None:
    at = len(copy.lines) - 2
    return copy.with_lines(*copy.lines[:at], copy.lines[at + 1], copy.lines[at]) if at > 0 else None


def _duplicate(copy: Copy) -> Copy | None:
    at = len(copy.lines) // 2
    return copy.with_lines(*copy.lines[: at + 1], *copy.lines[at:])


def _cut_short(copy: Copy) -> Copy | None:
    return copy.with_lines(*copy.lines[:-1], copy.lines[-1][: len(copy.lines[-1]) // 2])


def _cut_off(copy: Copy) -> Copy | None:
    return copy.with_lines(*copy.lines[:-1]) if len(copy.lines) > 2 else None


def _roll_back(copy: Copy) -> Copy | None:
    if len(copy.lines) < 3:
        return None
    earlier = copy.lines[:-1]
    return replace(copy, lines=earlier, note=note_over(earlier, copy.origin, copy.right))


def _fork(copy: Copy) -> Copy | None:
    bodies = [each.body for each in copy.entries]
    if (release := copy.first(ReleaseEntry)) is None or not isinstance(release.body, ReleaseEntry):
        return None
    bodies[release.index] = replace(release.body, values=bytes(32))
    return copy.resigned(tuple(bodies))


def _impersonate(copy: Copy) -> Copy | None:
    bodies = tuple(
        replace(each.body, coordinator=copy.wrong.public) if isinstance(each.body, PolicyEntry) else each.body
        for each in copy.entries
    )
    return signed_copy(copy.entries, bodies, copy.wrong, copy.right, copy.wrong)


def _replace_one(copy: Copy) -> Copy | None:
    at = len(copy.entries) - 1
    old = copy.entries[at]
    line = sign_entry(copy.wrong, old.origin, old.index, old.time, old.body).encode() + b"\n"
    return copy.with_lines(*copy.lines[:at], line)


def _clock(copy: Copy) -> Copy | None:
    old = copy.entries[-1]
    if copy.entries[-2].time == 0:
        return None
    line = sign_entry(copy.right, old.origin, old.index, copy.entries[-2].time - 1, old.body).encode() + b"\n"
    lines = (*copy.lines[:-1], line)
    return replace(copy, lines=lines, note=note_over(lines, copy.origin, copy.right))


def _hide_reserve(copy: Copy) -> Copy | None:
    if (release := copy.first(ReleaseEntry)) is None or not isinstance(release.body, ReleaseEntry):
        return None
    return copy.swap(release.index, reserve=0)


def _twice(copy: Copy) -> Copy | None:
    bodies = [each.body for each in copy.entries]
    if (release := copy.first(ReleaseEntry)) is None:
        return None
    return copy.resigned((*bodies, release.body))


def _on_release(change: Callable[[ReleaseEntry], dict[str, object] | None]) -> Callable[[Copy], Copy | None]:
    def apply(copy: Copy) -> Copy | None:
        release = copy.first(ReleaseEntry)
        if release is None or not isinstance(release.body, ReleaseEntry):
            return None
        changes = change(release.body)
        return None if changes is None else copy.swap(release.index, **changes)

    return apply


def _less(spent: Spent) -> Spent | None:
    return None if spent.epsilon is None else replace(spent, epsilon=spent.epsilon * 0.9)


def _quiet(entry: ReleaseEntry) -> dict[str, object] | None:
    if entry.plan.noise_multiplier == 0 or len(entry.sentinels) < 200:
        return None  # too few to see it for certain
    return {"sentinels": tuple(Wide(value // 2 if value > 0 else -(-value // 2)) for value in entry.sentinels)}


def _epsilon(entry: ReleaseEntry) -> dict[str, object] | None:
    alone = _less(entry.alone)
    return None if alone is None else {"alone": alone}


def _reserve_epsilon(copy: Copy) -> Copy | None:
    reserve = copy.first(ReserveEntry)
    if (
        reserve is None
        or not isinstance(reserve.body, ReserveEntry)
        or (less := _less(reserve.body.cumulative)) is None
    ):
        return None
    return copy.swap(reserve.index, cumulative=less)


def _noisier(copy: Copy) -> Copy | None:
    """The whole round is said to have had more noise than was committed to."""
    reserve = copy.first(ReserveEntry)
    if reserve is None or not isinstance(reserve.body, ReserveEntry) or reserve.body.plan.noise_multiplier == 0:
        return None
    plan, more = reserve.body.plan, 1.25
    made = plan.correlation  # says the same of its whole sequence, or the plan would contradict itself
    sequence = None if made is None else replace(made, noise_multiplier=made.noise_multiplier * more)
    noisier = replace(plan, noise_multiplier=plan.noise_multiplier * more, correlation=sequence)
    return copy.swap(reserve.index, plan=noisier)


def _raise_budget(copy: Copy) -> Copy | None:
    policy = copy.entries[0].body
    if not isinstance(policy, PolicyEntry):
        return None
    return copy.swap(0, epsilon=100.0 if policy.epsilon is None else policy.epsilon * 2)


def _claim_production(copy: Copy) -> Copy | None:
    policy = copy.entries[0].body
    if not isinstance(policy, PolicyEntry) or policy.stamp is Stamp.PRODUCTION:
        return None
    return copy.swap(0, stamp=Stamp.PRODUCTION)


def _vanish(copy: Copy) -> Copy | None:
    """A reservation is called void although its release went out."""
    release = copy.first(ReleaseEntry)
    if release is None or not isinstance(release.body, ReleaseEntry):
        return None
    bodies = [each.body for each in copy.entries]
    bodies.insert(release.index, VoidEntry(release.body.reserve, "nothing was released"))
    return copy.resigned(tuple(bodies[: release.index + 2]))


def _borrow_cosignature(copy: Copy) -> Copy | None:
    """Another past under the cosignature that a witness gave to the true one."""
    if (other := _fork(copy)) is None:
        return None
    cosignature = copy.witness.sign(Note.parse(copy.note).text, copy.entries[-1].time)
    return replace(other, note=Note.parse(other.note).with_signature(cosignature).encode())


TAMPERINGS = (
    Tampering("edit", "one digit of one entry changed", Fault.SIGNATURE, _edit),
    Tampering("delete", "one entry taken out", Fault.REMOVED, _delete),
    Tampering("reorder", "two entries exchanged", Fault.MOVED, _reorder),
    Tampering("duplicate", "one entry written twice", Fault.REPEATED, _duplicate),
    Tampering("truncate", "half of the last line cut off", Fault.UNFINISHED, _cut_short),
    Tampering("cut off", "the last entry taken away", Fault.CUT_OFF, _cut_off),
    Tampering("roll back", "an older ledger shown, with its checkpoint", Fault.ROLLED_BACK, _roll_back, seen=True),
    Tampering("fork", "another past shown, signed with the right key", Fault.FORKED, _fork, seen=True),
    Tampering("impersonate", "everything signed again with another key", Fault.WRONG_KEY, _impersonate),
    Tampering("replace", "the last entry signed again with another key", Fault.SIGNATURE, _replace_one),
    Tampering("turn back the clock", "the last entry dated before the one before it", Fault.CLOCK, _clock),
    Tampering("skip the budget", "a release whose budget nobody reserved", Fault.UNRESERVED, _hide_reserve),
    Tampering("spend twice", "two releases on one reservation", Fault.CLOSED_TWICE, _twice),
    Tampering("deny a release", "a round called void, and released", Fault.CLOSED_TWICE, _vanish),
    Tampering("change the plan", "more noise claimed than was committed to", Fault.OFF_SCHEDULE, _noisier),
    Tampering(
        "overstate the noise",
        "a quarter more noise claimed than the plan implies",
        Fault.NOISE,
        _on_release(lambda entry: {"noise_scale": entry.noise_scale * 1.25} if entry.noise_scale else None),
    ),
    Tampering(
        "understate the noise needed",
        "half the influence of one person claimed",
        Fault.SENSITIVITY,
        _on_release(lambda entry: {"sensitivity": entry.sensitivity / 2}),
    ),
    Tampering("add less noise", "half the noise measured in the sentinels", Fault.QUIET, _on_release(_quiet)),
    Tampering("understate epsilon", "a tenth less claimed for a release", Fault.UNDERSTATED, _on_release(_epsilon)),
    Tampering("understate the sum", "a tenth less claimed in all", Fault.UNDERSTATED, _reserve_epsilon),
    Tampering("raise the budget", "twice the budget written into the rules", Fault.POLICY_MISMATCH, _raise_budget),
    Tampering("claim production", "a simulation stamped as production", Fault.POLICY_MISMATCH, _claim_production),
    Tampering(
        "too small a crowd",
        "a release of one device fewer than the minimum",
        Fault.SURVIVORS,
        _on_release(
            lambda entry: (
                {"crowd": replace(entry.crowd, survived=entry.crowd.minimum - 1)} if entry.crowd.minimum else None
            )
        ),
    ),
    Tampering(
        "ignore opt-outs",
        "a round checked against another list of opt-outs",
        Fault.OPT_OUTS,
        _on_release(lambda entry: {"crowd": replace(entry.crowd, opt_out_root=bytes(32))}),
    ),
    Tampering(
        "drop an opt-out", "somebody taken off the list of opt-outs without a word of hers", Fault.DROPPED, taken_off
    ),
    Tampering(
        "forge a consent",
        "an opt-out lifted by a statement that another key has signed",
        Fault.DROPPED,
        taken_off_by_another,
    ),
    Tampering("swap the numbers", "one released integer changed", Fault.CHANGED_VALUES, other_numbers, kept=True),
    Tampering("hide the numbers", "the integers of one release removed", Fault.MISSING_VALUES, take_out, kept=True),
    Tampering("show other noise", "good noise shown, not the sum's own", Fault.OTHER_SENTINELS, other_noise, kept=True),
    Tampering("pass by the witnesses", "another past, which no witness saw", Fault.WITNESSES, _fork, witnessed=True),
    Tampering(
        "borrow a cosignature",
        "another past under a witness' cosignature",
        Fault.COSIGNATURE,
        _borrow_cosignature,
        witnessed=True,
    ),
)
"""Everything that the demonstration does."""
