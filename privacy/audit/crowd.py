"""How many people a release covers, and that none of them had opted out. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault, Findings, counted
from backrow.privacy.audit.opt_outs import Heard, check_statements
from backrow.privacy.audit.story import Reserved, Story
from backrow.privacy.consent import OptOutRequest
from backrow.privacy.ledger.entries import ReleaseEntry, ReserveEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Crowd
from backrow.privacy.ledger.pseudonyms import Commitment, PseudonymList, key_commitment
from backrow.privacy.ledger.signed_entry import SignedEntry


def check_crowd(signed: SignedEntry, index: int, story: Story, found: Findings) -> None:
    """Minimum, numbers and roots of one entry."""
    policy = story.policy
    match signed.body:
        case ScheduleEntry(schedule=schedule):
            lowest = min((plan.minimum for plan in schedule.rounds), default=None)
            if policy is not None and lowest is not None and lowest < policy.minimum:
                _lowered(index, lowest, policy.minimum, found)
        case ReserveEntry(plan=plan):
            if policy is not None and plan.minimum < policy.minimum:
                _lowered(index, plan.minimum, policy.minimum, found)
        case ReleaseEntry() as entry:
            _check_release(entry, index, story, found)
        case _:
            pass


def _check_release(entry: ReleaseEntry, index: int, story: Story, found: Findings) -> None:
    crowd, reserved = entry.crowd, story.by_index.get(entry.reserve)
    if crowd.minimum < entry.plan.minimum:
        _lowered(index, crowd.minimum, entry.plan.minimum, found)
    needed = max(crowd.minimum, entry.plan.minimum)
    if crowd.survived < needed:
        people = counted(crowd.survived, "person", "people")
        found.add(
            Fault.SURVIVORS,
            f"Entry {index} releases a sum of {people}; at least {needed} were promised.",
            index,
        )
    if crowd.participation_bound != 1:
        found.add(
            Fault.PARTICIPATION,
            f"Entry {index} lets one person count {crowd.participation_bound} times; every figure assumes once.",
            index,
        )
    if reserved is None:
        return
    if (problem := _impossible(crowd, reserved, story)) is not None:
        found.add(Fault.CROWD, f"Entry {index} {problem}.", index)
    if (problem := _stale(crowd, reserved, story)) is not None:
        found.add(Fault.OPT_OUTS, f"Entry {index} {problem}", index)


def _impossible(crowd: Crowd, reserved: Reserved, story: Story) -> str | None:
    if crowd.survived > crowd.invited:
        return f"has {crowd.survived} people in a sum to which {crowd.invited} were invited"
    if crowd.participants_size != crowd.invited:
        return f"invites {crowd.invited} people but commits to a list of {crowd.participants_size}"
    if reserved.enrolment is None:
        return "invites people although the ledger records no enrolment before it"
    enrolled = story.enrolments[reserved.enrolment].devices
    if crowd.invited > enrolled:
        return f"invites {crowd.invited} people, {enrolled} are enrolled"
    return None


def _stale(crowd: Crowd, reserved: Reserved, story: Story) -> str | None:
    """The last list that was sealed before a release binds it; whoever opts out later is in the next list."""
    if reserved.opt_out is None or story.latest_opt_out is None:
        return "invites people although the ledger holds no sealed list of opt-outs before it."
    time, entry = story.opt_outs[story.latest_opt_out]
    if (entry.root, time) == (crowd.opt_out_root, crowd.opt_out_time):
        return None
    return f"was not checked against the list of opt-outs that entry {story.latest_opt_out} had sealed before it."


def _lowered(index: int, minimum: int, demanded: int, found: Findings) -> None:
    found.add(
        Fault.MINIMUM,
        f"Entry {index} is content with {counted(minimum, 'person', 'people')}; at least {demanded} were promised.",
        index,
    )


class Compared(NamedTuple):
    """What the lists allowed to compare.

    Attributes:
        releases: compared with their opt-outs.
        of: all there are.
        heard: the signed statements.
    """

    releases: int
    of: int
    heard: Heard


def check_lists(lists: Lists, story: Story, found: Findings, receipts: Sequence[OptOutRequest] = ()) -> Compared:
    """The lists themselves: that they are the committed ones, and that no participant had opted out.

    Raises:
        LedgerError: as `check_statements`.
    """
    keys = {key_commitment(key): key for key in lists.keys}
    compared, known, sealed_lists = 0, Known(), dict[int, Sequence[str]]()
    for index, people in lists.opt_outs.items():
        if index not in story.opt_outs:
            found.add(
                Fault.LISTS, f"A list of opt-outs was handed over for entry {index}, which is no such list.", index
            )
            continue
        entry = story.opt_outs[index][1]
        earlier = [each for each in story.enrolments if each < index]
        key = _key(story, max(earlier, default=None), keys)
        if _matches(people, Commitment(entry.size, entry.root), key, index, found, known):
            sealed_lists[index] = people
    for index, people in lists.participants.items():
        reserved = story.releases.get(index)
        if reserved is None or reserved.crowd is None:
            found.add(
                Fault.LISTS, f"A list of participants was handed over for entry {index}, which is no release.", index
            )
            continue
        crowd = reserved.crowd
        _matches(
            people,
            Commitment(crowd.participants_size, crowd.participants_root),
            _key(story, reserved.enrolment, keys),
            index,
            found,
            known,
        )
        survivors = _survivors(lists, people, index, reserved, keys, story, found, known)
        before, bound = (
            None if sealed is None else lists.opt_outs.get(sealed) for sealed in (reserved.opt_out, reserved.sealed)
        )
        compared += before is not None and bound is not None and survivors is not None
        if both := set(people) & set(before or ()):
            who = counted(len(both), "person", "people")
            found.add(
                Fault.OPTED_OUT,
                f"The round that entry {index} releases invited {who} who had opted out.",
                index,
            )
        elif both := set(survivors or ()) & set(bound or ()):
            who = counted(len(both), "person", "people")
            found.add(
                Fault.OPTED_OUT,
                f"The sum that entry {index} releases holds {who} who had opted out before it was frozen, as entry "
                f"{reserved.sealed} says.",
                index,
            )
    for index in lists.survivors.keys() - lists.participants.keys():
        found.add(
            Fault.LISTS, f"A list of survivors was handed over for entry {index} without that of those invited.", index
        )
    return Compared(compared, len(story.releases), check_statements(lists, sealed_lists, story, receipts, found))


def _survivors(
    lists: Lists,
    invited: Sequence[str],
    index: int,
    reserved: Reserved,
    keys: dict[bytes, bytes],
    story: Story,
    found: Findings,
    known: "Known",
) -> Sequence[str] | None:
    """Who is in a release's sum, or may be; None if the list of them was not handed over."""
    crowd, people = reserved.crowd, lists.survivors.get(index)
    root = None if crowd is None else crowd.survivors_root
    if crowd is None or root is None:
        if people is not None:
            found.add(
                Fault.LISTS, f"A list of survivors was handed over for entry {index}, which commits to none.", index
            )
        return invited
    if people is None:
        return None
    _matches(people, Commitment(crowd.survived, root), _key(story, reserved.enrolment, keys), index, found, known)
    if strangers := set(people) - set(invited):
        who = counted(len(strangers), "person", "people")
        found.add(Fault.LISTS, f"The sum that entry {index} releases holds {who} whom nobody had invited.", index)
    return people


def _key(story: Story, enrolment: int | None, keys: dict[bytes, bytes]) -> bytes | None:
    """The key in force, if it was handed over."""
    return None if enrolment is None else keys.get(story.enrolments[enrolment].key)


class Known:
    """What lists commit to, each computed once: rounds often have the same."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, bytes], tuple[Sequence[str], Commitment | None]] = {}

    def commitment(self, people: Sequence[str], key: bytes) -> Commitment | None:
        """Of this very list; None: somebody is named twice."""
        place = (id(people), key)
        if place not in self._made:
            try:
                made = PseudonymList(key, people).commitment
            except ValueError:
                made = None
            self._made[place] = (people, made)  # kept, so that no other list gets its id
        return self._made[place][1]


def _matches(
    people: Sequence[str], committed: Commitment, key: bytes | None, index: int, found: Findings, known: Known
) -> bool:
    if key is None:
        found.add(Fault.LISTS, f"None of the keys handed over is the one in force at entry {index}.", index)
        return False
    if known.commitment(people, key) == committed:
        return True
    found.add(
        Fault.LISTS,
        f"The list of {len(people)} handed over for entry {index} is not the list of {committed.size} that was "
        "committed to.",
        index,
    )
    return False
