"""A sum that comes apart: ten accomplices of two hundred, as many as the round stands, five at each of two places.

The ring of neighbours is cut there, and the coordinator learns the sum of the twelve devices between. The graph is
drawn after the accomplices are, and hardly ever puts them so; here they are chosen after the graph.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from backrow.privacy.errors import SurvivorsError, VoidRoundError
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.masks import from_ring
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance
from backrow.privacy.secagg.sealing import KeyPair
from tests.attacks.malice import (
    VICTIM,
    Pair,
    Spied,
    frozen,
    on_ring,
    opened_secret,
    said,
    seating,
    secrets_of,
    spied,
    weaken,
    without_own_mask,
    without_pair_mask,
)

DEVICES, MINIMUM = 200, 150


class Torn:
    """A round up to step 2.

    Attributes:
        inside: twelve in a row on the ring, the victim among them.
        gates: accomplices, five on either side of them.
        ends: on each side, the nearest honest device beyond the gate, and the one inside that is its neighbour.
    """

    def __init__(self) -> None:
        self.run: Spied = spied(DEVICES, minimum=MINIMUM, tolerance=Tolerance(0.05, 0.0)).until(1)
        self.secrets: dict[str, Pair] = secrets_of(self.run)
        self.run.take(2, self.run.step(2))
        order = on_ring(self.run)
        self.inside = order[:12]
        self.gates = order[-5:] + order[12:17]
        self.ends = ((order[-6], order[0]), (order[17], order[11]))
        assert self.run.secure.rule == Neighbourhood(12, 11)

    def send(self, hidden: Sequence[tuple[str, str]] = (), gone: Sequence[str] = ()) -> None:
        """Step 3. Args: `hidden`: pairs each of whom is told that the other shared nothing; `gone`: they vanish."""
        seats = seating(self.run)
        for name, message in self.run.secure.send_boxes().items():
            shared, boxes = messages.decode_boxes(message, 12)
            near = [seats.names[other] for other in seats.neighbours[seats.names.index(name)]]
            here = [(name, other) not in hidden and (other, name) not in hidden for other in near]
            kept = [box for box, told in zip(boxes, here, strict=True) if told]
            if name not in gone:
                self.run.reply(3, name, messages.encode_boxes(np.logical_and(shared, here), kept))
        self.run.take(3, {name: said(self.run, name, 3) for name in self.run.keys if name not in gone})

    def opened(self, hidden: Sequence[tuple[str, str]] = (), gone: Sequence[str] = ()) -> np.ndarray:
        """Steps 4 and 5, and what the twelve wanted to add, together."""
        for step in (4, 5):
            self.run.take(step, self.run.step(step))
        run, seats, total = self.run, seating(self.run), np.zeros(self.run.session.dimension, dtype=np.uint32)
        keys = {name: self.secrets[name][0] for name in self.gates}
        keys |= {name: KeyPair(opened_secret(run, name)) for name in gone}
        for name in self.inside:
            at = seats.names.index(name)
            vector = messages.decode_masked(said(run, name, 3), run.session)
            vector = without_own_mask(vector, seats.roster, at, opened_secret(run, name, hidden))
            for other in set(seats.neighbours[at]) & {seats.names.index(each) for each in keys}:
                shared = keys[seats.names[other]].exchange(seats.advertisements[at].mask_key)
                vector = without_pair_mask(vector, seats.roster, at, other, shared)
            total += vector
        return from_ring(total)


def test_a_gap_cuts_the_ring_if_nobody_looks_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "survivors_together")
    torn = Torn()
    gone = [outside for outside, _ in torn.ends]
    torn.send(gone=gone)
    np.testing.assert_array_equal(torn.opened(gone=gone), torn.run.expected(torn.inside))
    assert VICTIM in torn.inside
    assert len(torn.inside) == 12 < MINIMUM


def test_a_gap_that_could_cut_the_ring_opens_nothing() -> None:
    torn = Torn()
    gone = [outside for outside, _ in torn.ends]
    torn.send(gone=gone)
    with pytest.raises(VoidRoundError, match="come apart"):  # our own coordinator does not even ask
        torn.run.secure.send_survivors()
    for name in set(torn.run.keys) - set(gone):
        with pytest.raises(SurvivorsError, match="come apart"):
            torn.run.reply(4, name, frozen(torn.run, gone))
    assert {step for _, step, _ in torn.run.heard} == {1, 2, 3}


def test_a_pair_that_is_told_two_stories_cuts_the_ring_if_nobody_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "survivors_shared")
    torn = Torn()
    torn.send(hidden=torn.ends)
    np.testing.assert_array_equal(torn.opened(hidden=torn.ends), torn.run.expected(torn.inside))


def test_a_device_that_never_shared_cannot_survive() -> None:
    torn = Torn()
    torn.send(hidden=torn.ends)
    message = torn.run.secure.send_survivors()[VICTIM]
    for pair in torn.ends:
        for name in pair:
            with pytest.raises(SurvivorsError, match="two stories"):
                torn.run.reply(4, name, message)
    assert {step for _, step, _ in torn.run.heard} == {1, 2, 3}
