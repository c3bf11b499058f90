"""Owners who come, go and change their minds at any step of any round, and a model of who is then in each sum.

The model is CONSENT in a few lines; it knows nothing of vaults, keys and messages. `worlds` runs real devices.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hypothesis import strategies as st

from backrow.privacy.plan import Aggregation
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.server.settings import RunSettings
from tests.hosted import ANSWER, ENROL, name_of

OWNERS, NODES, ROUNDS = 6, 2, 3
DROPOUTS = 0.2
"""Of its roster, which a secure sum promises to stand."""
FEWEST_IN_A_GRAPH = 4
"""Fewest devices that can stand any drop-out at all."""


class Does(StrEnum):
    """What an owner, or the world, does to a device."""

    GRANT = "grant"
    WITHDRAW = "withdraw"
    WITHDRAW_ALL = "withdraw all"
    OPT_OUT = "opt out"  # tells the coordinator
    LIFT = "lift"  # the opt-out; what holds on the device stays
    LEAVE = "leave"  # out of reach
    RETURN = "return"
    RESTART = "restart"


class Part(StrEnum):
    """Of a step, in order: before the first node is asked, before the second, after both."""

    BEFORE = "1 before"
    MIDST = "2 midst"
    AFTER = "3 after"


Moment = tuple[int, int, str]
"""(round, step, part)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A message of a step that is lost: a device's, or the one with everybody's of a node.

    Attributes:
        reply: on the way back, so what it asked for was done.
    """

    round: int
    step: int
    whose: str
    reply: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens in a run: who grants at first, who does what when (in order), what is lost, on how many nodes."""

    run: RunSettings
    grants: tuple[bool, ...]
    events: tuple[tuple[Moment, int, Does], ...]
    losses: frozenset[Loss]
    nodes: int = NODES

    def loses(self, number: int, step: int, whose: str) -> set[bool]:
        """The directions in which a message is lost."""
        return {reply for reply in (False, True) if Loss(number, step, whose, reply) in self.losses}


@dataclass(frozen=True, slots=True)
class Expected:
    """How a round must end.

    Attributes:
        who: owners in its sum, if there is one.
        released: True: there must be one; False: there must be none; None: either.
    """

    who: frozenset[int]
    released: bool | None


@st.composite
def schedules(draw: st.DrawFn, run: RunSettings) -> Schedule:
    """Up to seven events, of two owners, so that one follows on another; and up to three losses of anybody's."""
    last = ANSWER if run.aggregation is Aggregation.TRUSTED else UNMASK
    rounds, steps, owners = st.integers(1, ROUNDS), st.integers(ENROL, last), st.integers(0, OWNERS - 1)
    busy = st.sampled_from(draw(st.tuples(owners, owners)))
    moments = st.tuples(rounds, steps, st.sampled_from([part.value for part in Part]))
    events = draw(st.lists(st.tuples(moments, busy, st.sampled_from([*Does, Does.GRANT, Does.OPT_OUT])), max_size=7))
    # Of one device much more often than of a node: without half of the devices a round tells little.
    nodes = draw(st.sampled_from([NODES, OWNERS]))
    whose = st.one_of(*[owners.map(name_of)] * 3, st.integers(0, nodes - 1).map(node_of))
    losses = draw(st.frozensets(st.builds(Loss, rounds, steps, whose, st.booleans()), max_size=3))
    grants = draw(st.tuples(*[st.sampled_from([True] * 7 + [False])] * OWNERS))
    return Schedule(run, grants, tuple(sorted(events, key=lambda event: event[0])), losses, nodes)


def node_of(node: int) -> str:
    return f"node{node}"


def expected(schedule: Schedule) -> list[Expected]:
    """What CONSENT says of every round that is opened."""
    granted = {owner for owner, grants in enumerate(schedule.grants) if grants}
    listed, away, due, nodes = set[int](), set[int](), list(schedule.events), schedule.nodes

    def pass_time(now: Moment) -> None:
        while due and due[0][0] <= now:
            _, owner, does = due.pop(0)
            match does:
                case Does.GRANT:
                    granted.add(owner)
                case Does.WITHDRAW | Does.WITHDRAW_ALL:
                    granted.discard(owner)
                case Does.OPT_OUT:
                    granted.discard(owner)
                    listed.add(owner)
                case Does.LIFT:
                    listed.discard(owner)
                case Does.LEAVE:
                    away.add(owner)
                case Does.RETURN:
                    away.discard(owner)
                case Does.RESTART:
                    pass

    def step(number: int, step: int, asked: Iterable[int]) -> frozenset[int]:
        """Who of those asked is heard: allows it and is in reach when its node asks."""
        heard = set[int]()
        for node in range(nodes):
            pass_time((number, step, Part.MIDST if node else Part.BEFORE))
            here = {
                owner for owner in asked if owner % nodes == node and not schedule.loses(number, step, node_of(node))
            }
            heard |= {owner for owner in here & granted - away if not schedule.loses(number, step, name_of(owner))}
        pass_time((number, step, Part.AFTER))
        return frozenset(heard)

    rounds, minimum = list[Expected](), schedule.run.minimum
    for number in range(1, ROUNDS + 1):
        cohort = step(number, ENROL, range(OWNERS)) - listed
        if len(cohort) < minimum:
            break
        if schedule.run.aggregation is Aggregation.TRUSTED:
            who = step(number, ANSWER, cohort)
            rounds.append(Expected(who, len(who) >= minimum))
            continue
        roster = step(number, ADVERTISE, cohort)
        shared = step(number, SHARE, roster) - listed
        who = step(number, MASK, shared)
        left = {owner % nodes for owner in who & listed}  # at the freeze; what follows it is too late for this round
        who -= {owner for owner in who if owner % nodes in left}  # an edge adds blind: who is behind it leaves with her
        held = len(step(number, UNMASK, step(number, AGREE, who)))
        stands = len(roster) >= FEWEST_IN_A_GRAPH and len(roster) - held <= math.ceil(len(roster) * DROPOUTS)
        rounds.append(Expected(who, False if len(who) < minimum else True if stands else None))
    return rounds
