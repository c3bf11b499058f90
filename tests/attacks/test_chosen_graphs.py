"""A coordinator that chooses who is whose neighbour: before the round it must not, within it it can still try.

What the graph is drawn from holds the fresh keys of every device that accepts it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from backrow.privacy.errors import RosterError, VoidRoundError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg import seating as seating_module
from backrow.privacy.secagg.graph import neighbours_of
from backrow.privacy.secagg.messages import Advertisement, bitmap
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance
from backrow.privacy.secagg.roster import Cohort, Roster
from backrow.privacy.secagg.roster_tree import RosterTree
from backrow.privacy.secagg.seating import Seating
from tests.attacks.malice import VICTIM, Spied, exposes, opened_by, said, seating, spied, stays_silent, weaken

DEVICES, RULE = 120, Neighbourhood(12, 12)
Attack = Callable[[], np.ndarray]


def foreseen(monkeypatch: pytest.MonkeyPatch, root: bytes) -> tuple[Spied, Attack]:
    """Before any device has said a word, the coordinator knows who will be near the victim, and wins them over.

    They are twelve of 120, as many as the round stands.
    """
    run = spied(DEVICES, tolerance=Tolerance(0.1, 0.0))
    names = Cohort({name: key.public for name, key in run.keys.items()}).names
    graph = Roster(run.session, bitmap([True] * DEVICES), root).graph_seed
    near = neighbours_of(graph, DEVICES, RULE.neighbours, names.index(VICTIM))
    accomplices = [names[other] for other in near]
    assert len(accomplices) == run.session.tolerance.counts(DEVICES)[0]
    assert not run.heard

    monkeypatch.setattr(seating_module, "Roster", lambda session, present, _: Roster(session, present, root))
    run.until(1)

    def attack() -> np.ndarray:
        for step in (2, 3):
            run.take(step, run.step(step))
        assert run.secure.rule == RULE
        return opened_by(run, accomplices)

    return run, attack


@pytest.mark.parametrize("root", [bytes(32), b"x" * 32])
def test_a_graph_chosen_before_the_round_exposes_the_victim_if_nobody_looks_for_its_own_keys_in_it(
    monkeypatch: pytest.MonkeyPatch, root: bytes
) -> None:
    weaken(monkeypatch, "own_advertisement_counted")
    exposes(*foreseen(monkeypatch, root))


@pytest.mark.parametrize("root", [bytes(32), b"x" * 32])
def test_a_graph_chosen_before_the_round_is_refused_by_everybody(monkeypatch: pytest.MonkeyPatch, root: bytes) -> None:
    run, attack = foreseen(monkeypatch, root)
    stays_silent(run, VoidRoundError, "0 devices shared", attack)
    assert len(run.refused) == DEVICES
    for problem in run.refused.values():
        assert isinstance(problem, RosterError)
        assert "not drawn from what this device advertised" in str(problem)


# What remains: rosters tried out once the keys are in


@dataclass
class Trying:
    """A round of twenty whose keys are in, one accomplice that is no neighbour of the victim, and one device more."""

    run: Spied
    accomplice: str
    other: str

    @classmethod
    def begun(cls) -> "Trying":
        run = spied(20).until(1)
        seats = Seating.of(run.session, run.secure._cohort, run.secure._advertised)
        near = [seats.names[other] for other in seats.neighbours[seats.names.index(VICTIM)]]
        accomplice, other = [name for name in sorted(run.keys) if name not in (VICTIM, *near)][:2]
        return cls(run, accomplice, other)

    @property
    def advertised(self) -> dict[int, Advertisement]:
        return self.run.secure._advertised

    def place(self, name: str) -> int:
        return self.run.secure._cohort.index[name]

    def drawn(self) -> Seating:
        return Seating.of(self.run.session, self.run.secure._cohort, self.advertised)


def the_accomplices_keys(trying: Trying, number: int, _: pytest.MonkeyPatch) -> None:
    """It saw the others' first."""
    run, name = trying.run, trying.accomplice
    run.random[name] = SeededRandom(number, "tried")
    run.reply(1, name, b"")
    trying.advertised[trying.place(name)] = messages.decode_advertisement(said(run, name, 1))


def who_is_left_out(trying: Trying, number: int, _: pytest.MonkeyPatch) -> None:
    """Nobody's help is needed."""
    everybody = {trying.place(n): messages.decode_advertisement(said(trying.run, n, 1)) for n in trying.run.keys}
    able = [name for name in sorted(trying.run.keys) if name not in (VICTIM, trying.accomplice)]
    del everybody[trying.place(able[number % len(able)])]
    trying.run.secure._advertised = everybody


def the_leaf_of_a_device_that_is_given_up(trying: Trying, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """That device refuses; the others cannot see its leaf. Nobody's help is needed."""
    place = trying.place(trying.other)

    def tree(leaves: list[bytes]) -> RosterTree:
        return RosterTree([*leaves[:place], number.to_bytes(160, "big"), *leaves[place + 1 :]])

    monkeypatch.setattr(seating_module, "RosterTree", tree)


@pytest.mark.parametrize("tried", [the_accomplices_keys, who_is_left_out, the_leaf_of_a_device_that_is_given_up])
def test_limit_rosters_can_be_tried_between_the_advertisements_and_the_roster(
    monkeypatch: pytest.MonkeyPatch, tried: Callable[[Trying, int, pytest.MonkeyPatch], None]
) -> None:
    # Nothing of the devices is weakened. docs/threat-model.md says it: G tries make the chances G times larger.
    trying = Trying.begun()
    run = trying.run
    for number in range(100):
        tried(trying, number, monkeypatch)
        seats = trying.drawn()
        if seats.names.index(trying.accomplice) in seats.neighbours[seats.names.index(VICTIM)]:
            break
    for step in (2, 3, 4, 5):
        run.take(step, run.step(step))
    seats, result = seating(run), run.secure.result()
    assert seats.names.index(trying.accomplice) in seats.neighbours[seats.names.index(VICTIM)]
    np.testing.assert_array_equal(result.values, run.expected(result.survivors))
    given_up = {trying.other} if tried is the_leaf_of_a_device_that_is_given_up else set()
    assert set(run.refused) == given_up
    assert {VICTIM, trying.accomplice} <= set(result.survivors)
    assert len(result.survivors) == (20 if tried is the_accomplices_keys else 19)
