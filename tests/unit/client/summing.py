"""Real devices in one round by secure sum, step by step through their front door."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from backrow.client import Device
from backrow.privacy import wire
from backrow.privacy.ledger.parts import Purpose
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import OsRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.wire_plan import NO_PROOF
from backrow.privacy.wire_secure import SecureCall, SecureOpen, SecureReply, session_of
from tests.unit.client.devices import COORDINATOR, ready, round_call
from tests.unit.client.growing import GrowingLedger

DEVICES = 6


class Summing:
    """One round. Attributes: parts, replies: what the coordinator sent to each device, and what came back, by step."""

    def __init__(self, devices: dict[str, Device], run_id: str, purpose: Purpose = Purpose.TRAIN) -> None:
        self.devices = devices
        call = round_call(
            cohort=DEVICES, minimum=DEVICES - 1, population=DEVICES, omitted=0.2, noise=Noise.SHARES, scale=2.0**11,
            rounding=Rounding.DEVICE_STOCHASTIC, aggregation=Aggregation.SECURE, run_id=run_id,
        )  # fmt: skip
        self.ledger = GrowingLedger(run_id)
        self.question = replace(call, ledger=self.ledger.reserve(call.plan, purpose=purpose))
        members = {name: device.identity for name, device in devices.items()}
        self.opening = SecureOpen(
            self.question.plan, DEVICES, cohort_digest(members), wire.question_digest(self.question), 0.05, 0.05,
            self.question.ledger,
        )  # fmt: skip
        self.session = session_of(self.opening, COORDINATOR.public)
        self.secure = SecureRound(self.session, members, COORDINATOR)
        self.parts: dict[int, dict[str, bytes]] = {}
        self.replies: dict[int, dict[str, bytes]] = {}

    def call(self, step: int, name: str) -> bytes:
        """What a device is given at a step."""
        common = {
            1: wire.encode_signed(self.opening, COORDINATOR),
            3: wire.encode_signed(replace(self.question, ledger=NO_PROOF), COORDINATOR),
        }
        plan = self.question.plan
        part = self.parts.get(step, {}).get(name, b"")
        return wire.encode(SecureCall(plan.run_id, plan.round, step, common.get(step, b""), {name: part}))

    def ask(self, step: int, name: str) -> bytes | None:
        """The bytes that left the device."""
        return self.devices[name].take_part(self.call(step, name))

    def send(self, step: int) -> None:
        """The coordinator makes the parts of a step."""
        match step:
            case 1:
                self.parts[1] = dict.fromkeys(self.devices, b"")
            case 2:
                self.parts[2] = self.secure.send_rosters()
            case 3:
                self.parts[3] = self.secure.send_boxes()
            case 4:
                self.parts[4] = self.secure.send_survivors()
            case _:
                self.parts[5] = self.secure.send_agreements()

    def step(self, step: int) -> dict[str, bytes]:
        """Every device is asked; who says nothing has vanished. Returns the bytes that left, by device."""
        self.send(step)
        left = {name: data for name in self.parts[step] if (data := self.ask(step, name)) is not None}
        replies = {}
        for name, data in left.items():
            message = wire.decode(data)
            assert isinstance(message, SecureReply)
            replies[name] = message.parts[name]
        match step:
            case 1:
                self.secure.take_advertisements(replies)
            case 2:
                self.secure.take_shares(replies)
            case 3:
                for name, reply in replies.items():
                    self.secure.add_masked([name], messages.decode_masked(reply, self.session))
            case 4:
                self.secure.take_agreements(replies)
            case _:
                self.secure.take_answers(replies)
        return left


@contextmanager
def summing(folder: Path, purpose: Purpose = Purpose.TRAIN) -> Iterator[Summing]:
    """Six devices that grant training, and a round for them."""
    with ExitStack() as opened:
        devices = {}
        for name in (f"d{n}" for n in range(DEVICES)):
            (folder / name).mkdir()
            devices[name] = opened.enter_context(ready(folder / name, random=OsRandom))
        yield Summing(devices, f"summing-{folder.name}", purpose)
