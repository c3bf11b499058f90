"""The words of consent, and signed records of what an owner said. Pure; devices sign, coordinators and auditors read.

Unset means withheld. A record's counter is the device's own and only grows, over all its purposes, so of two
records about the same purpose the one with the higher counter holds (`newer`).
"""

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from backrow.privacy.errors import MalformedMessageError, SignatureError
from backrow.privacy.signing import CONSENT, OPT_OUT, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, SigningKey, verify


class Purpose(StrEnum):
    """What an owner is asked about, one at a time. All but `PERSONALISE` are contributions: something leaves."""

    PERSONALISE = "personalise"
    """Recommending from one's own history, on the device alone. Nothing leaves."""
    TRAIN = "train"
    TRENDS = "trends"
    EXPERIMENTS = "experiments"
    FEEDBACK = "feedback"


class PlatformSignal(StrEnum):
    """Switches outside of backrow. While one is set, nothing is contributed; none of them ever grants."""

    GLOBAL_PRIVACY_CONTROL = "global-privacy-control"
    CHILD_PROFILE = "child-profile"
    SYSTEM_SWITCH = "system-switch"


ALL: Final = tuple(Purpose)
CONTRIBUTING: Final = tuple(purpose for purpose in Purpose if purpose is not Purpose.PERSONALISE)
"""Purposes for which something leaves the device."""

EVERYTHING: Final = "all"
"""A record about every contributing purpose at once: an opt-out."""
OWNER, DEVICE, ACCOUNT = "owner", "device", "account"
"""Sources: the owner said it; the device withheld because a grant could no longer be shown; the owner's opt-out came
back from the coordinator to a device that did not know it."""
SOURCES: Final = (OWNER, DEVICE, *(signal.value for signal in PlatformSignal), ACCOUNT)  # numbered: only ever append

LARGEST = 2**63 - 1
_SUBJECTS: Final = (EVERYTHING, *(purpose.value for purpose in ALL))  # numbered on the wire: only ever append
_VERSION = 1
_RECORD = struct.Struct(f">B{PUBLIC_KEY_BYTES}sBBQQB")
_RECORD_BYTES = _RECORD.size
_LONGEST_PSEUDONYM = 200


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """What was said, once.

    Attributes:
        device: the device's public identity key, 32 bytes.
        purpose: or `EVERYTHING`.
        counter: >= 1; larger than in every earlier record of the device.
        at: Unix seconds by the device's clock.
        source: `OWNER`, `DEVICE` or a `PlatformSignal`. Only owners grant.
    """

    device: bytes
    purpose: Purpose | Literal["all"]
    granted: bool
    counter: int
    at: int
    source: str = OWNER

    def __post_init__(self) -> None:
        if not isinstance(self.device, bytes) or len(self.device) != PUBLIC_KEY_BYTES:
            raise ValueError(f"a device is named by its public key, {PUBLIC_KEY_BYTES} bytes")
        if self.purpose != EVERYTHING and not isinstance(self.purpose, Purpose):
            raise ValueError(f"unknown purpose {self.purpose!r}: use one of {', '.join(_SUBJECTS)}")
        if not isinstance(self.granted, bool):
            raise ValueError(f"consent is True or False, got {self.granted!r}")
        if type(self.counter) is not int or not 1 <= self.counter <= LARGEST:
            raise ValueError(f"a counter is a whole number from 1 to 2^63 - 1, got {self.counter!r}")
        if type(self.at) is not int or not 0 <= self.at <= LARGEST:
            raise ValueError(f"a time is a whole number of seconds since 1970, got {self.at!r}")
        if self.source not in SOURCES:
            raise ValueError(f"unknown source {self.source!r}: use one of {', '.join(SOURCES)}")
        if self.granted and self.source != OWNER:
            raise ValueError(f"only the owner grants, never {self.source}")


@dataclass(frozen=True, slots=True)
class OptOutRequest:
    """What an owner may choose to send to the coordinator: never ask this device again. It tells that much.

    Attributes:
        record: a withdrawal of `EVERYTHING`.
        pseudonym: under which the device is enrolled; "": the coordinator knows the device by its identity key.
    """

    record: ConsentRecord
    pseudonym: str = ""

    def __post_init__(self) -> None:
        if self.record.purpose != EVERYTHING or self.record.granted:
            raise ValueError("an opt-out is a withdrawal of everything: make the record so")
        if not isinstance(self.pseudonym, str) or len(self.pseudonym) > _LONGEST_PSEUDONYM:
            raise ValueError(f"a pseudonym is text of at most {_LONGEST_PSEUDONYM} characters")


def purpose_of(booked: str) -> Purpose:
    """The purpose that a round's reservation names (`privacy.ledger.parts.Purpose`, the same words).

    Raises:
        ValueError: it is none for which something may leave a device.
    """
    for purpose in CONTRIBUTING:
        if booked == purpose.value:
            return purpose
    raise ValueError(f"nothing leaves a device for {booked!r}: the purposes are {', '.join(CONTRIBUTING)}")


def newer(one: ConsentRecord, other: ConsentRecord) -> ConsentRecord:
    """The record that holds: the higher counter; at equal counters the withdrawal.

    Raises:
        ValueError: they are of two devices, or about two purposes.
    """
    if (one.device, one.purpose) != (other.device, other.purpose):
        raise ValueError("records of two devices or about two purposes do not replace one another")
    if one.counter == other.counter:
        return other if one.granted else one
    return one if one.counter > other.counter else other


def sign_record(record: ConsentRecord, key: SigningKey) -> bytes:
    """Bytes of a record with its device's signature in front. Runs on the device.

    Raises:
        ValueError: the key is another device's.
    """
    return _sign(CONSENT, record, _payload(record), key)


def read_record(data: bytes) -> ConsentRecord:
    """The record in these bytes, if the device that it names has signed it.

    Raises:
        MalformedMessageError: not exactly one record of this version.
        SignatureError: changed, or signed by another key or for something else.
    """
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    record = _parse(payload)
    _verify(record, CONSENT, payload, signature)
    return record


def sign_opt_out(request: OptOutRequest, key: SigningKey) -> bytes:
    """Bytes of an opt-out, signed. Runs on the device. Raises: as `sign_record`."""
    return _sign(OPT_OUT, request.record, _payload(request.record) + request.pseudonym.encode(), key)


def read_opt_out(data: bytes) -> OptOutRequest:
    """The opt-out in these bytes, if the device that it names has signed it. Runs on the coordinator.

    A copy sent again says nothing new: keep the record's counter, and heed only a higher one.

    Raises:
        MalformedMessageError: not exactly one opt-out of this version.
        SignatureError: changed, or signed by another key or for something else.
    """
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    record = _parse(payload[:_RECORD_BYTES])
    try:
        request = OptOutRequest(record, payload[_RECORD_BYTES:].decode())
    except ValueError as problem:
        raise MalformedMessageError(f"this is no opt-out ({problem}): it is ignored") from None
    _verify(record, OPT_OUT, payload, signature)
    return request


def _payload(record: ConsentRecord) -> bytes:
    return _RECORD.pack(
        _VERSION, record.device, _SUBJECTS.index(record.purpose), record.granted, record.counter, record.at,
        SOURCES.index(record.source),
    )  # fmt: skip


def _parse(payload: bytes) -> ConsentRecord:
    try:
        version, device, subject, granted, counter, at, source = _RECORD.unpack(payload)
        if version != _VERSION or granted > 1:
            raise ValueError("another version, or neither yes nor no")
        said = _SUBJECTS[subject]
        purpose: Purpose | Literal["all"] = EVERYTHING if said == EVERYTHING else Purpose(said)
        return ConsentRecord(device, purpose, granted == 1, counter, at, SOURCES[source])
    except (struct.error, LookupError, ValueError) as problem:
        raise MalformedMessageError(f"this is no record of consent ({problem}): it is ignored") from None


def _sign(context: str, record: ConsentRecord, payload: bytes, key: SigningKey) -> bytes:
    if key.public != record.device:
        raise ValueError("a device signs its own records only: use the identity key that the record names")
    return key.sign(context, payload) + payload


def _verify(record: ConsentRecord, context: str, payload: bytes, signature: bytes) -> None:
    try:
        verify(record.device, context, payload, signature)
    except SignatureError:
        raise SignatureError("the record is not what its device signed: it is ignored") from None
