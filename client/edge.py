"""The edge: hosts devices, adds their answers, and passes on nothing but the sum."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from backrow.client.answers import adds_blocks, answer_block, answer_device, split_blocks
from backrow.client.history import RawHistory
from backrow.client.secure import Heard, Memory, Participant
from backrow.client.secure_edge import relay
from backrow.client.training.sgd import device_seeds
from backrow.privacy import wire
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import BackrowError, CohortError, MalformedMessageError
from backrow.privacy.randomness import RandomSource
from backrow.privacy.signing import SigningKey, remembering
from backrow.privacy.wire_secure import SecureCall, SecureReply

T = TypeVar("T")

SMALLEST_SECURE_COHORT = 3
"""Simulated devices take part in any sum that hides them among two others."""


def _nobody(number: int, slot: int) -> None:
    """Every device stays."""


class Edge(Protocol):
    """What the Flower ClientApp needs of an edge."""

    def enrol(self, call: bytes) -> bytes:
        """Answer a signed enrolment call: pseudonyms of the devices that grant contributions for its purpose."""
        ...

    def answer(self, call: bytes) -> bytes:
        """Answer a signed round call: the integer sum over the invited devices that took part."""
        ...

    def secure(self, call: bytes, memory: Memory) -> bytes:
        """Pass on one step of a secure sum. Args: memory: this edge's, there again at the next step."""
        ...


class HostedDevice(Protocol):
    """An SDK device behind an edge (`backrow.client.Device`)."""

    def consent_for(self, purpose: Purpose) -> bool:
        """True while contributions for this purpose are granted."""
        ...

    def apply_opt_out(self, statement: bytes) -> bool:
        """Heed the device's own opt-out, if it does not know of it any more."""
        ...

    @property
    def identity(self) -> bytes:
        """Its Ed25519 public key, 32 bytes."""
        ...

    def take_part(self, call: bytes) -> bytes | None:
        """The device's encoded answer to a round call or to a step of a secure sum, or None."""
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
        request = expect(wire.decode_signed(call, self._key), wire.EnrolCall)
        for name, statement in request.opt_outs.items():
            _hand_over(self._devices.get(name), statement)
        asked = ((name, _key_if_granting(self._devices[name], request)) for name in sorted(self._devices))
        granting = {name: key for name, key in asked if key is not None}
        keys = tuple(granting.values()) if request.identities else ()
        return wire.encode(wire.EnrolReply(request.run_id, tuple(granting), keys))

    def answer(self, call: bytes) -> bytes:
        request = expect(wire.decode_signed(call, self._key), wire.RoundCall)
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
            contribution = expect(wire.decode(data), wire.Contribution)
            total, participants = total + contribution.values, participants + 1
        return wire.encode(wire.BlindSum(request.plan.run_id, request.plan.round, query.query, participants, total))

    def secure(self, call: bytes, memory: Memory) -> bytes:
        def ask(step: SecureCall, heard: Heard, name: str) -> bytes | None:
            device = self._devices.get(name)
            alone = wire.encode(replace(step, parts={name: step.parts[name]}))
            data = device.take_part(alone) if device is not None else None
            return None if data is None else expect(wire.decode(data), SecureReply).parts.get(name)

        return relay(call, self._key, memory, ask)


class SimulatedEdge:
    """Hosts simulated devices, in fixed blocks, from histories already in memory.

    Args:
        names: pseudonyms of the devices that grant contributions, ascending by slot. A device that
            withholds is not known here at all.
        slots: their enrolment slots; a slot decides the block and the randomness, for good.
        histories: their raw histories.
        coordinator_key: pinned public key.
        random: (purpose, round, block or slot) to a source; simulated.
        vanishing: (round, slot) to the step of a secure sum from which on that device is gone; None: it stays.
    """

    def __init__(
        self,
        names: Sequence[str],
        slots: Sequence[int],
        histories: Sequence[RawHistory],
        coordinator_key: bytes,
        random: Callable[[str, int, int], RandomSource],
        vanishing: Callable[[int, int], int | None] = _nobody,
    ) -> None:
        if len(set(names)) != len(names):
            raise CohortError("a device is hosted twice by one edge: every device has its own name and slot")
        self._position = {name: position for position, name in enumerate(names)}
        self._slots = slots
        self._histories = histories
        self._key = coordinator_key
        self._random = random
        self._vanishing = vanishing

    def enrol(self, call: bytes) -> bytes:
        request = expect(wire.decode_signed(call, self._key), wire.EnrolCall)
        names = tuple(sorted(self._position))
        keys = tuple(self._identity(name).public for name in names) if request.identities else ()
        return wire.encode(wire.EnrolReply(request.run_id, names, keys))

    def answer(self, call: bytes) -> bytes:
        request = expect(wire.decode_signed(call, self._key), wire.RoundCall)
        plan = request.plan
        invited = sorted(self._position[name] for name in _distinct(request.devices) if name in self._position)
        slots = [self._slots[position] for position in invited]
        total = np.zeros((plan.query.rows, plan.query.columns), dtype=np.int64)
        if not adds_blocks(plan):
            for position in invited:
                total += self._integers(request, position)
            return wire.encode(wire.BlindSum(plan.run_id, plan.round, plan.query.query, len(invited), total))
        seeds = device_seeds(self._random("seeds", plan.round, 0), slots)
        for block, members in split_blocks(slots):
            histories = [self._histories[invited[member]] for member in members]
            total += answer_block(request, histories, self._random("train", plan.round, block), seeds[members])
        return wire.encode(wire.BlindSum(plan.run_id, plan.round, plan.query.query, len(invited), total))

    def secure(self, call: bytes, memory: Memory) -> bytes:
        def ask(step: SecureCall, heard: Heard, name: str) -> bytes | None:
            position = self._position.get(name)
            if position is None:
                return None
            slot = self._slots[position]
            gone = self._vanishing(step.round, slot)
            if gone is not None and step.step >= gone:
                return None
            return self._participant(name, step.round, memory).step(step, heard, step.parts[name])

        with remembering():
            return relay(call, self._key, memory, ask)

    def _participant(self, name: str, number: int, memory: Memory) -> Participant:
        position = self._position[name]
        slot = self._slots[position]
        return Participant(
            identity=self._identity(name),
            smallest_cohort=SMALLEST_SECURE_COHORT,
            adversaries=0.0,
            coordinator_key=self._key,
            memory=memory,
            name=name,
            answer=lambda question: self._integers(question, position),
            random=lambda step: self._random(f"secure-{step}", number, slot),
        )

    def _identity(self, name: str) -> SigningKey:
        return SigningKey(self._random("identity", 0, self._slots[self._position[name]]).bytes(32))

    def _integers(self, request: wire.RoundCall, position: int) -> wire.IntArray:
        """One device's answer, exactly as a device that stands alone computes it."""
        source = self._random("round", request.plan.round, self._slots[position])
        return answer_device(request, self._histories[position], source)


def _hand_over(device: HostedDevice | None, opt_out: bytes) -> None:
    """Before the device is asked anything. Whatever comes of it, the coordinator invites nobody on its list."""
    try:
        if device is not None:
            device.apply_opt_out(opt_out)
    except BackrowError:
        pass  # out of reach, or not what this device has signed


def _key_if_granting(device: HostedDevice, call: wire.EnrolCall) -> bytes | None:
    """A granting device's identity key, empty if it is not wanted. None: it withholds, or is closed or damaged."""
    try:
        return (device.identity if call.identities else b"") if device.consent_for(call.purpose) else None
    except BackrowError:
        return None  # as in a round: it looks like absence, and one device never stops the others


def _distinct(devices: Sequence[str]) -> Sequence[str]:
    if len(set(devices)) != len(devices):
        raise CohortError("a device is named twice in one cohort: its data would count twice; the call is refused")
    return devices


def expect(message: wire.Message, kind: type[T]) -> T:
    """A decoded message, if it is of this kind.

    Raises:
        MalformedMessageError: it is another one.
    """
    if not isinstance(message, kind):
        raise MalformedMessageError(f"expected {kind.__name__}, got {type(message).__name__}")
    return message
