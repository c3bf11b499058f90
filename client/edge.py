"""The edge: hosts devices, adds their answers, and passes on nothing but the sum."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from backrow.client.answers import answer_block, split_blocks
from backrow.client.history import RawHistory
from backrow.privacy import wire
from backrow.privacy.errors import BackrowError, CohortError, MalformedMessageError
from backrow.privacy.randomness import RandomSource

T = TypeVar("T")


class Edge(Protocol):
    """What the Flower ClientApp needs of an edge."""

    def enrol(self, call: bytes) -> bytes:
        """Answer a signed enrolment call: pseudonyms of the devices that grant contributions."""
        ...

    def answer(self, call: bytes) -> bytes:
        """Answer a signed round call: the integer sum over the invited devices that took part."""
        ...


class HostedDevice(Protocol):
    """An SDK device behind an edge (`backrow.client.Device`)."""

    @property
    def consent(self) -> bool:
        """True while contributions are granted."""
        ...

    def take_part(self, call: bytes) -> bytes | None:
        """The device's encoded contribution, or None."""
        ...


class DeviceEdge:
    """Hosts real SDK devices, each with its own vault.

    Args:
        devices: by pseudonym.
        coordinator_key: pinned public key.
    """

    def __init__(self, devices: Mapping[str, HostedDevice], coordinator_key: bytes) -> None:
        self._devices = devices
        self._key = coordinator_key

    def enrol(self, call: bytes) -> bytes:
        request = _expect(wire.decode_signed(call, self._key), wire.EnrolCall)
        return wire.encode(
            wire.EnrolReply(request.run_id, tuple(sorted(d for d in self._devices if self._devices[d].consent)))
        )

    def answer(self, call: bytes) -> bytes:
        request = _expect(wire.decode_signed(call, self._key), wire.RoundCall)
        query = request.plan.query
        total, participants = np.zeros((query.rows, query.columns), dtype=np.int64), 0
        for name in _distinct(request.devices):
            device = self._devices.get(name)
            try:
                data = device.take_part(call) if device is not None else None
            except BackrowError:
                data = None  # a refusal looks like absence, and one device never stops the others
            if data is None:
                continue
            contribution = _expect(wire.decode(data), wire.Contribution)
            total, participants = total + contribution.values, participants + 1
        return wire.encode(wire.BlindSum(request.plan.run_id, request.plan.round, query.query, participants, total))


class SimulatedEdge:
    """Hosts simulated devices, in fixed blocks, from histories already in memory.

    Args:
        names: pseudonyms of the devices that grant contributions, ascending by slot. A device that
            withholds is not known here at all.
        slots: their enrolment slots; a slot decides the block and the randomness, for good.
        histories: their raw histories.
        coordinator_key: pinned public key.
        random: (purpose, round, block or slot) to a source; simulated.
    """

    def __init__(
        self,
        names: Sequence[str],
        slots: Sequence[int],
        histories: Sequence[RawHistory],
        coordinator_key: bytes,
        random: Callable[[str, int, int], RandomSource],
    ) -> None:
        if len(set(names)) != len(names):
            raise CohortError("a device is hosted twice by one edge: every device has its own name and slot")
        self._position = {name: position for position, name in enumerate(names)}
        self._slots = slots
        self._histories = histories
        self._key = coordinator_key
        self._random = random

    def enrol(self, call: bytes) -> bytes:
        request = _expect(wire.decode_signed(call, self._key), wire.EnrolCall)
        return wire.encode(wire.EnrolReply(request.run_id, tuple(sorted(self._position))))

    def answer(self, call: bytes) -> bytes:
        request = _expect(wire.decode_signed(call, self._key), wire.RoundCall)
        plan = request.plan
        invited = sorted(self._position[name] for name in _distinct(request.devices) if name in self._position)
        slots = [self._slots[position] for position in invited]
        total = np.zeros((plan.query.rows, plan.query.columns), dtype=np.int64)
        for block, members in split_blocks(slots):
            hosted = [self._slots[invited[member]] for member in members]

            def device_random(position: int, hosted: Sequence[int] = hosted) -> RandomSource:
                return self._random("round", plan.round, hosted[position])

            histories = [self._histories[invited[member]] for member in members]
            total += answer_block(request, histories, self._random("train", plan.round, block), device_random)
        return wire.encode(wire.BlindSum(plan.run_id, plan.round, plan.query.query, len(invited), total))


def _distinct(devices: Sequence[str]) -> Sequence[str]:
    if len(set(devices)) != len(devices):
        raise CohortError("a device is named twice in one cohort: its data would count twice; the call is refused")
    return devices


def _expect(message: wire.Message, kind: type[T]) -> T:
    if not isinstance(message, kind):
        raise MalformedMessageError(f"expected {kind.__name__}, got {type(message).__name__}")
    return message
