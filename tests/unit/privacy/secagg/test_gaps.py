"""Who survived may not leave a gap on the ring where the sum could come apart: in a whole round of 200 devices."""

import numpy as np
import pytest

from backrow.privacy.errors import SurvivorsError, VoidRoundError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import checks, messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.graph import ring
from backrow.privacy.secagg.messages import bitmap
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance, largest_gap
from backrow.privacy.secagg.roster import cohort_digest, neighbourhood_on
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.signing import SECAGG_FREEZE, SigningKey

DEVICES, GAP = 200, 9
KEY = SigningKey(bytes(range(32)))


class Run:
    """A round in which everybody has given a vector but `GAP` devices in a row on the ring."""

    def __init__(self) -> None:
        keys = {f"{n:03}": SigningKey(SeededRandom(n, "identity").bytes(32)) for n in range(DEVICES)}
        members = {name: key.public for name, key in keys.items()}
        session = Session(
            "gaps", 1, cohort_digest(members), bytes(32), bytes(32), KEY.public, DEVICES, 100, 1, Tolerance()
        )
        self.round = SecureRound(session, members, KEY)
        self.devices, replies = dict[str, SecureDevice](), dict[str, bytes]()
        for name, key in keys.items():
            random = SeededRandom(1, name)
            self.devices[name], replies[name] = SecureDevice.begin(session, SecurePolicy(100), key, random)
        self.round.take_advertisements(replies)
        for name, message in self.round.send_rosters().items():
            self.devices[name], replies[name] = self.devices[name].share(message, SeededRandom(2, name))
        self.round.take_shares(replies)
        seating = self.round._seating
        gone = {seating.names[position] for position in ring(seating.roster.graph_seed, DEVICES)[:GAP]}
        self.survived = [name not in gone for name in seating.names]
        for name, message in self.round.send_boxes().items():
            if name not in gone:
                self.devices[name], reply = self.devices[name].mask(message, np.array([1]))
                self.round.add_masked([name], messages.decode_masked(reply, session))
        self.names, self.roster = seating.names, seating.roster


@pytest.fixture(scope="module")
def run() -> Run:
    return Run()


def test_no_neighbourhood_minds_a_gap_that_the_sum_does(run: Run) -> None:
    rule = neighbourhood_on(run.roster)
    assert rule == Neighbourhood(30, 21)
    assert largest_gap(DEVICES, Tolerance(), 30) == GAP - 1 < 30 - 21


def test_the_coordinator_asks_nobody_to_open_such_a_sum(run: Run) -> None:
    with pytest.raises(VoidRoundError, match="9 of 15 devices in a row are missing, 8 may"):
        run.round.send_survivors()


def test_a_device_countersigns_no_such_list_even_if_the_coordinator_signed_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    survivors = bitmap(run.survived)
    message = messages.encode_survivors(survivors, KEY.sign(SECAGG_FREEZE, run.roster.signed_survivors(survivors)))
    alive = [name for name, here in zip(run.names, run.survived, strict=True) if here]
    for name in alive:
        with pytest.raises(SurvivorsError, match="come apart"):
            run.devices[name].agree(message)
    monkeypatch.setattr(checks, "survivors_together", lambda *_: None)
    for name in alive:  # control: nothing else is wrong with it
        run.devices[name].agree(message)
