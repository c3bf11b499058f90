"""What the host of a device must do: real devices with vaults, asked twice by a coordinator that plays on restarts.

A device that was restarted goes on from what is on disk. One whose disk was put back to an older state does not know,
and nothing in the protocol can tell: the last attack here succeeds, which is why a host must never restore a vault.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.client import Device
from backrow.client.device import PARTICIPATION
from backrow.privacy import wire
from backrow.privacy.errors import BackrowError, RefusedCallError, RepeatedAnswerError
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import OsRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.masks import from_ring
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.secagg.sealing import KeyPair
from backrow.privacy.signing import SECAGG_FREEZE
from backrow.privacy.wire_plan import NO_PROOF
from backrow.privacy.wire_secure import SecureCall, SecureOpen, SecureReply, session_of
from tests.attacks.malice import combined, without_own_mask, without_pair_mask
from tests.unit.client.devices import COORDINATOR, open_device, ready, round_call

DEVICES = [f"d{n}" for n in range(6)]
VICTIM = DEVICES[0]


@dataclass
class Round:
    """One round over six real devices, driven by hand.

    Attributes:
        truth: what each device wanted to add, its share of the noise included; the attacker does not see it.
        sent, replies: by step.
    """

    folder: Path
    devices: dict[str, Device]
    truth: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    sent: dict[int, dict[str, bytes]] = field(default_factory=dict)
    replies: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.question = round_call(
            cohort=6, minimum=5, population=6, omitted=0.2, noise=Noise.SHARES, scale=2.0**11,
            rounding=Rounding.DEVICE_STOCHASTIC, aggregation=Aggregation.SECURE, run_id=f"hosts-{self.folder.name}",
        )  # fmt: skip
        members = {name: device.identity for name, device in self.devices.items()}
        proof = self.question.ledger
        self.opening = SecureOpen(
            self.question.plan, 6, cohort_digest(members), wire.question_digest(self.question), 0.05, 0.05, proof
        )
        self.session = session_of(self.opening, COORDINATOR.public)
        self.secure = SecureRound(self.session, members, COORDINATOR)
        for name in self.devices:
            self.listen(name)

    def listen(self, name: str) -> None:
        contributor = self.devices[name]._contributor
        answer = contributor._answer

        def heard(*asked: Any) -> NDArray[np.int64]:
            values = answer(*asked)
            self.truth.setdefault(name, values.ravel())
            return values

        contributor._answer = heard  # type: ignore[method-assign]

    def ask(self, step: int, name: str, part: bytes = b"") -> bytes:
        """One step with one device, through the front door."""
        common = {
            1: wire.encode_signed(self.opening, COORDINATOR),
            3: wire.encode_signed(replace(self.question, ledger=NO_PROOF), COORDINATOR),
        }
        plan = self.question.plan
        call = SecureCall(plan.run_id, plan.round, step, common.get(step, b""), {name: part})
        data = self.devices[name].take_part(wire.encode(call))
        assert data is not None
        reply = wire.decode(data)
        assert isinstance(reply, SecureReply)
        return reply.parts[name]

    def step(self, number: int) -> None:
        send: dict[int, Callable[[], dict[str, bytes]]] = {
            1: lambda: dict.fromkeys(self.devices, b""),
            2: self.secure.send_rosters,
            3: self.secure.send_boxes,
            4: self.secure.send_survivors,
            5: self.secure.send_agreements,
        }
        self.sent[number] = send[number]()
        self.replies[number] = {name: self.ask(number, name, part) for name, part in self.sent[number].items()}
        take = {1: self.secure.take_advertisements, 2: self.secure.take_shares, 4: self.secure.take_agreements}
        if number == 3:
            for name, reply in self.replies[3].items():
                self.secure.add_masked([name], messages.decode_masked(reply, self.session))
        else:
            take.get(number, self.secure.take_answers)(self.replies[number])

    def until(self, last: int) -> "Round":
        for number in range(1, last + 1):
            self.step(number)
        return self

    def restart(self, name: str) -> None:
        """The device's process ends and begins again."""
        self.devices[name].close()
        self.devices[name] = open_device(self.folder / name, random=OsRandom)
        self.listen(name)

    def put_back(self, name: str, copy: Path) -> None:
        """The vault of participation is what it was when it was copied."""
        self.devices[name].close()
        shutil.copy(copy / name, self.folder / name / "device" / PARTICIPATION)
        self.devices[name] = open_device(self.folder / name, random=OsRandom)
        self.listen(name)

    def copies(self) -> Path:
        """A backup of all vaults of participation."""
        place = self.folder / "backup"
        place.mkdir()
        for name in self.devices:
            self.devices[name].close()
            shutil.copy(self.folder / name / "device" / PARTICIPATION, place / name)
            self.devices[name] = open_device(self.folder / name, random=OsRandom)
            self.listen(name)
        return place


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Round]:
    for name in DEVICES:
        (tmp_path / name).mkdir()
    made = Round(tmp_path, {name: ready(tmp_path / name, random=OsRandom) for name in DEVICES})
    yield made
    for device in made.devices.values():
        device.close()


def without_victim(run: Round) -> bytes:
    seats = run.secure._seating
    survivors = messages.bitmap([name != VICTIM for name in seats.names])
    signature = COORDINATOR.sign(SECAGG_FREEZE, seats.roster.signed_survivors(survivors))
    return messages.encode_survivors(survivors, signature)


def second_list(run: Round, again: Callable[[str], None]) -> NDArray[np.int64]:
    """After an honest round the victim's neighbours, each after `again`, are told that it had vanished."""
    seats, at = run.secure._seating, run.secure._seating.names.index(VICTIM)
    assert seats.rule == Neighbourhood(4, 3)
    near = [seats.names[other] for other in seats.neighbours[at]]
    first = {name: run.replies[5][name] for name in near}
    signatures, answers = {}, {}
    for name in DEVICES[1:]:
        again(name)
        signatures[seats.names.index(name)] = messages.decode_agreement(run.ask(4, name, without_victim(run)))
    for name in near:
        answers[name] = run.ask(5, name, seats.agreements_message(seats.names.index(name), signatures))

    def secret(told: dict[str, bytes]) -> bytes:
        shares = {}
        for name, reply in told.items():
            holder = seats.names.index(name)
            pieces = messages.decode_answer(reply, 4)
            shares[seats.places[at][holder] + 1] = pieces[seats.places[holder][at]]
        return combined(shares, 3)

    vector = messages.decode_masked(run.replies[3][VICTIM], run.session)
    vector = without_own_mask(vector, seats.roster, at, secret(first))
    key = KeyPair(secret(answers))
    for other in seats.neighbours[at]:
        vector = without_pair_mask(vector, seats.roster, at, other, key.exchange(seats.advertisements[other].mask_key))
    return from_ring(vector)


def test_the_honest_round_gives_the_sum(run: Round) -> None:
    result = run.until(5).secure.result()
    np.testing.assert_array_equal(result.values, sum(run.truth.values()))


def test_restarted_devices_open_no_second_list(run: Round) -> None:
    run.until(5)
    for name in DEVICES[1:]:
        with pytest.raises(BackrowError, match="early or late"):
            second_list(run, run.restart)
        run.restart(name)
        with pytest.raises(BackrowError, match="early or late"):
            run.ask(4, name, without_victim(run))


def test_restarted_devices_that_have_only_countersigned_do_not_countersign_another(run: Round) -> None:
    run.until(4)
    for name in DEVICES[1:]:
        run.restart(name)
        with pytest.raises(RepeatedAnswerError, match="nothing more is said"):
            run.ask(4, name, without_victim(run))
        assert run.ask(4, name, run.sent[4][name]) == run.replies[4][name]  # the same request: the same bytes


def test_a_restarted_device_masks_no_second_vector(run: Round) -> None:
    run.until(3)
    run.restart(VICTIM)
    with pytest.raises(RefusedCallError, match="answered already"):  # its budget; the protocol: test_weak_keys.py
        run.ask(3, VICTIM, run.sent[3][VICTIM])


@pytest.mark.parametrize("done", [2, 3, 4, 5])
def test_a_round_is_not_begun_again(run: Round, done: int) -> None:
    run.until(done)
    for name in DEVICES:
        run.restart(name)
        with pytest.raises(RefusedCallError, match="already"):
            run.ask(1, name)


def test_limit_a_vault_that_is_put_back_exposes_the_victim(run: Round) -> None:
    # Nothing of ours is weakened here but the host: it restores a backup. docs/threat-model.md says it.
    run.until(3)
    backup = run.copies()
    run.step(4)
    run.step(5)
    found = second_list(run, lambda name: run.put_back(name, backup))
    np.testing.assert_array_equal(found, run.truth[VICTIM])
