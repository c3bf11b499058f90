"""The words of consent and its signed records: what is refused, and which of two records holds."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.consent import (
    ALL,
    CONTRIBUTING,
    DEVICE,
    EVERYTHING,
    LARGEST,
    OWNER,
    SOURCES,
    ConsentRecord,
    OptOutRequest,
    PlatformSignal,
    Purpose,
    newer,
    purpose_of,
    read_opt_out,
    read_record,
    sign_opt_out,
    sign_record,
)
from backrow.privacy.errors import MalformedMessageError, SignatureError
from backrow.privacy.ledger import parts
from backrow.privacy.signing import CALL, CONSENT, SIGNATURE_BYTES, SigningKey

KEY, STRANGER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
GRANT = ConsentRecord(KEY.public, Purpose.TRAIN, True, 3, 1_000_000)
WITHDRAWAL = dataclasses.replace(GRANT, granted=False)
OPT_OUT = OptOutRequest(ConsentRecord(KEY.public, EVERYTHING, False, 4, 1_000_001), "device-7")

RECORDS = st.builds(
    lambda purpose, said, counter, at: ConsentRecord(KEY.public, purpose, *said[:1], counter, at, said[1]),
    st.sampled_from([EVERYTHING, *ALL]),
    st.one_of(st.just((True, OWNER)), st.sampled_from(SOURCES).map(lambda source: (False, source))),
    st.integers(1, LARGEST),
    st.integers(0, LARGEST),
)


def test_words_stay_what_they_are() -> None:
    assert [*ALL] == ["personalise", "train", "trends", "experiments", "feedback"]
    assert [*PlatformSignal] == ["global-privacy-control", "child-profile", "system-switch"]
    assert {*ALL} - {*CONTRIBUTING} == {Purpose.PERSONALISE}


def test_every_purpose_of_a_ledger_is_one_that_an_owner_is_asked_about() -> None:
    assert [purpose_of(booked) for booked in parts.Purpose] == list(CONTRIBUTING)


@pytest.mark.parametrize("booked", ["personalise", "all", "", "TRAIN", "advertising"])
def test_nothing_leaves_for_any_other_purpose(booked: str) -> None:
    with pytest.raises(ValueError, match="nothing leaves"):
        purpose_of(booked)


@given(RECORDS)
def test_what_was_signed_is_what_is_read(record: ConsentRecord) -> None:
    assert read_record(sign_record(record, KEY)) == record


@given(st.integers(0, len(sign_record(GRANT, KEY)) * 8 - 1))
def test_no_bit_of_a_record_can_be_changed(bit: int) -> None:
    data = bytearray(sign_record(GRANT, KEY))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((SignatureError, MalformedMessageError)):
        read_record(bytes(data))


@given(st.binary(max_size=200))
def test_noise_is_no_record(data: bytes) -> None:
    for read in (read_record, read_opt_out):
        with pytest.raises((SignatureError, MalformedMessageError)):
            read(data)


@pytest.mark.parametrize("data", [b"", bytes(64), sign_record(GRANT, KEY)[:-1], sign_record(GRANT, KEY) + b"\0"])
def test_records_cut_short_or_too_long_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match="ignored"):
        read_record(data)


def forged(offset: int, value: int) -> bytes:
    """The grant with one byte of its content changed, and signed by the same device."""
    payload = bytearray(sign_record(GRANT, KEY)[SIGNATURE_BYTES:])
    payload[offset] = value
    return KEY.sign(CONSENT, bytes(payload)) + bytes(payload)


@pytest.mark.parametrize(
    ("offset", "value"), [(0, 2), (33, 99), (34, 2), (35, 255), (43, 255), (51, 99), (51, SOURCES.index(DEVICE))]
)
def test_signed_nonsense_is_malformed(offset: int, value: int) -> None:
    assert read_record(forged(33, 1)).purpose == Purpose.PERSONALISE  # the control: a byte that may be so
    with pytest.raises(MalformedMessageError, match="no record of consent"):
        read_record(forged(offset, value))


def test_nobody_signs_for_another_device() -> None:
    with pytest.raises(ValueError, match="its own records"):
        sign_record(GRANT, STRANGER)
    payload = sign_record(GRANT, KEY)[SIGNATURE_BYTES:]
    with pytest.raises(SignatureError):
        read_record(STRANGER.sign(CONSENT, payload) + payload)


def test_a_signature_for_something_else_is_none() -> None:
    payload = sign_record(GRANT, KEY)[SIGNATURE_BYTES:]
    with pytest.raises(SignatureError):
        read_record(KEY.sign(CALL, payload) + payload)
    record = dataclasses.replace(OPT_OUT.record)
    payload = sign_record(record, KEY)[SIGNATURE_BYTES:]
    with pytest.raises(SignatureError):  # a receipt kept at home is no opt-out
        read_opt_out(KEY.sign(CONSENT, payload) + payload)


BAD: list[dict[str, Any]] = [
    {"device": KEY.public[:-1]},
    {"device": KEY.public.hex()},
    {"purpose": "advertising"},
    {"purpose": None},
    {"granted": 1},
    {"counter": 0},
    {"counter": True},
    {"counter": LARGEST + 1},
    {"at": -1},
    {"at": 1.5},
    {"source": "coordinator"},
    {"source": DEVICE},
    *({"source": signal} for signal in PlatformSignal),
]


@pytest.mark.parametrize("change", BAD, ids=repr)
def test_there_is_no_such_record(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"device|purpose|consent|counter|time|source|owner"):
        dataclasses.replace(GRANT, **change)


def test_the_higher_counter_holds_and_at_equal_counters_the_withdrawal() -> None:
    later = dataclasses.replace(GRANT, counter=4)
    assert newer(GRANT, later) == newer(later, GRANT) == later
    assert newer(later, WITHDRAWAL) == newer(WITHDRAWAL, later) == later
    assert newer(GRANT, WITHDRAWAL) == newer(WITHDRAWAL, GRANT) == WITHDRAWAL


@pytest.mark.parametrize("change", [{"purpose": Purpose.TRENDS}, {"device": STRANGER.public}], ids=repr)
def test_records_about_two_things_are_not_compared(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="do not replace"):
        newer(GRANT, dataclasses.replace(GRANT, **change))


@pytest.mark.parametrize("pseudonym", ["", "device-7", "Gerät"])
def test_an_opt_out_is_read_as_it_was_signed(pseudonym: str) -> None:
    request = dataclasses.replace(OPT_OUT, pseudonym=pseudonym)
    assert read_opt_out(sign_opt_out(request, KEY)) == request


def test_an_opt_out_cannot_be_moved_to_another_pseudonym() -> None:
    data = sign_opt_out(OPT_OUT, KEY)
    with pytest.raises(SignatureError):
        read_opt_out(data.replace(b"device-7", b"device-8"))


def test_only_a_withdrawal_of_everything_is_an_opt_out() -> None:
    for record in (WITHDRAWAL, dataclasses.replace(OPT_OUT.record, granted=True)):
        with pytest.raises(ValueError, match="withdrawal of everything"):
            OptOutRequest(record)
    with pytest.raises(ValueError, match="pseudonym"):
        OptOutRequest(OPT_OUT.record, "x" * 201)
