"""The wire: what it carries comes back equal, and what is not well-formed is refused."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.client.history import RawHistory
from backrow.privacy import wire
from backrow.privacy.errors import MalformedMessageError, SignatureError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.secagg.steps import ADVERTISE, MASK
from backrow.privacy.signing import ENTRY, SigningKey, verify
from backrow.privacy.wire_plan import NO_PROOF
from backrow.privacy.wire_secure import SecureCall, SecureOpen, SecureReply
from tests.builders import gradient_call, plan

KEY = SigningKey(bytes(range(32)))
CALL = gradient_call()
SUM = wire.BlindSum("run", 1, Query.GRADIENT, 3, np.arange(-4, 4).reshape(4, 2))
EVERY_MESSAGE = [
    wire.EnrolCall("run"),
    wire.EnrolReply("run", ("d1", "d2")),
    CALL,
    wire.Contribution("run", 1, Query.GRADIENT, np.array([[-(2**40)], [2**40]])),
    SUM,
    wire.EnrolReply("run", ("d1",), (bytes(range(32)),)),
    SecureOpen(plan(), 10, bytes(32), bytes(range(32)), 0.05, 0.1, NO_PROOF),
    SecureCall("run", 1, ADVERTISE, b"signed", {"d1": b"", "d2": b"\x00\x01"}),
    SecureReply("run", 1, MASK, {}, ("d1", "d2"), np.array([0, 2**32 - 1], dtype=np.uint32)),
]


def parts(data: bytes) -> tuple[dict, bytes]:
    length = struct.unpack_from("<4sHBI", data)[3]
    return json.loads(data[11 : 11 + length]), data[11 + length :]


def rebuilt(data: bytes, header: dict, body: bytes, *, version: int | None = None, kind: int | None = None) -> bytes:
    magic, old_version, old_kind, _ = struct.unpack_from("<4sHBI", data)
    text = json.dumps(header).encode()
    chosen = (old_version if version is None else version, old_kind if kind is None else kind)
    return struct.pack("<4sHBI", magic, *chosen, len(text)) + text + body


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda m: type(m).__name__)
def test_every_message_comes_back_equal_and_encodes_to_the_same_bytes(message: wire.Message) -> None:
    data = wire.encode(message)
    again = wire.decode(data)
    assert type(again) is type(message)
    assert wire.encode(again) == data


def test_a_round_call_comes_back_with_its_plan_tensors_and_settings() -> None:
    again = wire.decode(wire.encode(CALL))
    assert isinstance(again, wire.RoundCall)
    assert again.plan == CALL.plan
    assert again.settings == CALL.settings
    np.testing.assert_array_equal(again.tensors["factors"], CALL.tensors["factors"])


def test_where_the_noise_is_added_and_how_many_may_omit_it_come_back() -> None:
    made = gradient_call(
        noise=Noise.SHARES,
        rounding=Rounding.DEVICE_NEAREST,
        aggregation=Aggregation.SECURE,
        scale=2.0**10,
        minimum=50,
        omitted=0.05,
    )
    again = wire.decode(wire.encode(made))
    assert isinstance(again, wire.RoundCall)
    assert again.plan == made.plan
    assert (again.plan.noise, again.plan.omitted) == (Noise.SHARES, 0.05)


def test_a_contribution_that_fits_takes_four_bytes_a_coordinate() -> None:
    small = wire.encode(wire.Contribution("run", 1, Query.GRADIENT, np.full((1000, 3), 2**31 - 1)))
    large = wire.encode(wire.Contribution("run", 1, Query.GRADIENT, np.full((1000, 3), 2**31)))
    assert len(small) < 4 * 3000 + 200
    assert len(large) > 8 * 3000


@pytest.mark.parametrize(
    "leak", [RawHistory(np.array([1], np.int32), np.ones(1)), {"titles": [1]}, b"x", None, CALL.plan]
)
def test_nothing_but_a_message_can_be_encoded(leak: object) -> None:
    with pytest.raises(TypeError, match="is not a message"):
        wire.encode(leak)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_neither_sent_nor_accepted(value: float) -> None:
    bad = wire.RoundCall(CALL.plan, "gradient", 1, (), {"factors": np.array([[value]])}, {})
    with pytest.raises(MalformedMessageError, match="NaN or infinity"):
        wire.encode(bad)
    good = wire.encode(wire.RoundCall(CALL.plan, "gradient", 1, (), {"factors": np.ones((1, 1))}, {}))
    with pytest.raises(MalformedMessageError, match="NaN or infinity"):
        wire.decode(good[:-8] + struct.pack("<d", value))


def test_nan_in_a_header_is_refused() -> None:
    header, body = parts(wire.encode(CALL))
    header["plan"]["noise_multiplier"] = float("nan")
    with pytest.raises(MalformedMessageError, match="NaN"):
        wire.decode(rebuilt(wire.encode(CALL), header, body))


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda m: type(m).__name__)
def test_wrong_lengths_are_refused(message: wire.Message) -> None:
    data = wire.encode(message)
    for wrong in (b"", data[:5], data[:-1], data + b"\0"):
        with pytest.raises(MalformedMessageError):
            wire.decode(wrong)


def test_a_wrong_version_type_or_magic_is_named() -> None:
    data = wire.encode(SUM)
    header, body = parts(data)
    with pytest.raises(MalformedMessageError, match="version 9 is not supported"):
        wire.decode(rebuilt(data, header, body, version=9))
    with pytest.raises(MalformedMessageError, match="type 77 is unknown"):
        wire.decode(rebuilt(data, header, body, kind=77))
    with pytest.raises(MalformedMessageError, match="not a backrow message"):
        wire.decode(b"PICK" + data[4:])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.pop("run"),
        lambda h: h.update(extra=1),
        lambda h: h.update(participants=-1),
        lambda h: h.update(participants=True),
        lambda h: h.update(query="everything you have"),
        lambda h: h.update(arrays=[["values", "f16", [4, 2]]]),
        lambda h: h.update(arrays=[["values", "i8", [-4, -2]]]),
        lambda h: h.update(arrays=[["values", "i8", [4, 2]], ["values", "i8", [0]]]),
        lambda h: h.update(arrays=[["values", "i8", [2**62, 2**62]]]),
    ],
    ids=["missing", "unknown", "negative", "not a number", "query", "dtype", "shape", "twice", "huge"],
)
def test_a_header_with_a_wrong_field_is_refused(change: object) -> None:
    data = wire.encode(SUM)
    header, body = parts(data)
    change(header)  # type: ignore[operator]
    with pytest.raises(MalformedMessageError):
        wire.decode(rebuilt(data, header, body))


@given(st.binary(max_size=200))
def test_random_bytes_never_surface_as_anything_but_a_malformed_message(noise: bytes) -> None:
    for data in (noise, wire.encode(SUM)[:11] + noise):
        with pytest.raises(MalformedMessageError):
            wire.decode(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_never_passes_the_signature(position: int, flip: int) -> None:
    data = bytearray(wire.encode_signed(SUM, KEY))
    data[position % len(data)] ^= flip
    with pytest.raises(SignatureError):
        wire.decode_signed(bytes(data), KEY.public)


def test_a_call_signed_by_another_coordinator_is_refused() -> None:
    data = wire.encode_signed(CALL, SigningKey(bytes(32)))
    with pytest.raises(SignatureError, match="another coordinator"):
        wire.decode_signed(data, KEY.public)
    assert wire.decode_signed(wire.encode_signed(CALL, KEY), KEY.public) is not None


def test_a_call_of_the_version_before_is_refused_and_the_version_is_named() -> None:
    payload = wire.encode(CALL)
    old = payload[:4] + (2).to_bytes(2, "little") + payload[6:]
    with pytest.raises(SignatureError, match="says to be version 2, this is 3"):
        wire.decode_signed(KEY.sign("backrow/call/1", old) + old, KEY.public)
    with pytest.raises(SignatureError):  # the old rule over a message of today
        wire.decode_signed(KEY.sign("backrow/call/1", payload) + payload, KEY.public)
    signed = wire.encode_signed(CALL, KEY)
    assert signed[64:] == payload
    with pytest.raises(SignatureError):  # and what is signed today is nothing to the old rule
        verify(KEY.public, "backrow/call/1", payload, signed[:64])


def test_a_signature_over_a_digest_signs_no_message_that_looks_like_it() -> None:
    signed = wire.encode_signed(SUM, KEY)
    with pytest.raises(SignatureError):
        wire.decode_signed(signed[:64] + sha256(signed[64:]), KEY.public)
    with pytest.raises(SignatureError):
        verify(KEY.public, ENTRY, sha256(signed[64:]), signed[:64])


def test_an_unsafe_plan_cannot_arrive_over_the_wire() -> None:
    data = wire.encode(CALL)
    header, body = parts(data)
    header["plan"]["scale"] = 2.0**61
    with pytest.raises(MalformedMessageError, match="wrap around"):
        wire.decode(rebuilt(data, header, body))


def test_plans_differ_when_any_field_does() -> None:
    assert plan(number=1) != plan(number=2)


def test_parts_for_one_device_given_twice_are_refused() -> None:
    data = wire.encode(SecureCall("run", 1, ADVERTISE, b"", {"d1": b"a", "d2": b"b"}))
    header, body = parts(data)
    header["parts"][1][0] = "d1"
    with pytest.raises(MalformedMessageError, match="named twice"):
        wire.decode(rebuilt(data, header, body))


def test_the_question_s_digest_is_the_same_for_every_edge_and_changes_with_the_question() -> None:
    elsewhere = replace(CALL, devices=("other",))
    assert wire.question_digest(elsewhere) == wire.question_digest(CALL)
    moved = {"factors": CALL.tensors["factors"] + 1e-12}
    for other in (replace(CALL, tensors=moved), replace(CALL, trainer="subspace"), replace(CALL, settings={})):
        assert wire.question_digest(other) != wire.question_digest(CALL)
