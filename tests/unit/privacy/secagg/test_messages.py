"""Messages come back equal; another length, kind, version or stray bit is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.errors import BackrowError, MalformedMessageError, TamperedError
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.messages import Advertisement, Kind, RosterMessage
from tests.secure_sums import identities, session_of

SESSION = session_of(identities(20))
ADVERT = Advertisement(b"i" * 32, b"m" * 32, b"s" * 32, b"g" * 64)
ROSTER = RosterMessage(
    7, b"r" * 32, b"n" * 32, b"k" * 32, b"\xff\xff\xf0", (ADVERT,) * 4, (b"o" * 32,) * 2, (b"p" * 32,) * 3
)
BOXES = [bytes([n]) * messages.BOX_BYTES for n in range(3)]
FLAGS = (True, False, True, True)

EVERY = {
    Kind.ADVERTISEMENT: (messages.encode_advertisement(ADVERT), messages.decode_advertisement),
    Kind.ROSTER: (messages.encode_roster(ROSTER), lambda data: messages.decode_roster(data, 20)),
    Kind.SHARES: (messages.encode_shares(b"c" * 32, BOXES), lambda data: messages.decode_shares(data, 3)),
    Kind.BOXES: (messages.encode_boxes(FLAGS, BOXES), lambda data: messages.decode_boxes(data, 4)),
    Kind.MASKED: (
        messages.encode_masked(SESSION, np.arange(4, dtype=np.uint32)),
        lambda data: messages.decode_masked(data, SESSION),
    ),
    Kind.SURVIVORS: (
        messages.encode_survivors(b"\xff\x80", b"g" * 64),
        lambda data: messages.decode_survivors(data, 9),
    ),
    Kind.AGREEMENT: (messages.encode_agreement(b"g" * 64), messages.decode_agreement),
    Kind.AGREEMENTS: (
        messages.encode_agreements(FLAGS, [b"g" * 64] * 3),
        lambda data: messages.decode_agreements(data, 4),
    ),
    Kind.ANSWER: (messages.encode_answer([b"h" * 32] * 4), lambda data: messages.decode_answer(data, 4)),
}
AGAIN = {
    Kind.ADVERTISEMENT: messages.encode_advertisement,
    Kind.ROSTER: messages.encode_roster,
    Kind.SHARES: lambda read: messages.encode_shares(*read),
    Kind.BOXES: lambda read: messages.encode_boxes(*read),
    Kind.MASKED: lambda read: messages.encode_masked(SESSION, read),
    Kind.SURVIVORS: lambda read: messages.encode_survivors(*read),
    Kind.AGREEMENT: messages.encode_agreement,
    Kind.AGREEMENTS: lambda read: messages.encode_agreements(*read),
    Kind.ANSWER: messages.encode_answer,
}
every_message = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)


def test_every_kind_of_message_is_tried_here() -> None:
    assert set(EVERY) == set(Kind)


def test_messages_come_back_equal() -> None:
    read = {kind: decode(data) for kind, (data, decode) in EVERY.items()}
    assert read[Kind.ADVERTISEMENT] == ADVERT
    assert read[Kind.ROSTER] == ROSTER
    assert read[Kind.SHARES] == (b"c" * 32, BOXES)
    assert read[Kind.BOXES] == (FLAGS, BOXES)
    assert read[Kind.SURVIVORS] == (b"\xff\x80", b"g" * 64)
    assert read[Kind.AGREEMENT] == b"g" * 64
    assert read[Kind.AGREEMENTS] == (FLAGS, [b"g" * 64] * 3)
    assert read[Kind.ANSWER] == [b"h" * 32] * 4
    np.testing.assert_array_equal(read[Kind.MASKED], np.arange(4))


@every_message
@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d[:2], lambda d: b"", lambda d: d * 2]
)
def test_another_length_is_refused(kind: Kind, change: Callable[[bytes], bytes]) -> None:
    data, decode = EVERY[kind]
    with pytest.raises(MalformedMessageError):
        decode(change(data))


@every_message
def test_another_kind_or_version_is_refused(kind: Kind) -> None:
    data, decode = EVERY[kind]
    for prefix in (bytes([1, 10 - kind if kind != 5 else 1]), bytes([2, kind]), bytes([1, 0])):
        with pytest.raises(MalformedMessageError):
            decode(prefix + data[2:])


@every_message
def test_only_bytes_are_read(kind: Kind) -> None:
    data, decode = EVERY[kind]
    with pytest.raises(MalformedMessageError):
        decode(bytearray(data))


@given(st.sampled_from(list(EVERY)), st.binary(max_size=300), st.integers(0, 300))
def test_garbage_is_refused_by_name_or_is_the_one_spelling_of_what_is_read(
    kind: Kind, garbage: bytes, keep: int
) -> None:
    data, decode = EVERY[kind]
    mixed = data[:keep] + garbage
    try:
        read = decode(mixed)
    except BackrowError:
        return
    assert AGAIN[kind](read) == mixed


@pytest.mark.parametrize("kind", [Kind.BOXES, Kind.AGREEMENTS, Kind.SURVIVORS])
def test_unused_bits_of_a_bitmap_are_zero(kind: Kind) -> None:
    data, decode = EVERY[kind]
    last = 3 if kind is Kind.SURVIVORS else 2
    with pytest.raises(MalformedMessageError, match="no bitmap"):
        decode(data[:last] + bytes([data[last] | 1]) + data[last + 1 :])


def test_a_roster_announces_no_more_than_it_holds() -> None:
    data, decode = EVERY[Kind.ROSTER]
    for count in (0, 5, 65535):
        with pytest.raises(MalformedMessageError, match="cannot have"):
            decode(data[:6] + count.to_bytes(2, "big") + data[8:])


def test_an_oversized_proof_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(MalformedMessageError, match="cannot have"):
        messages.decode_roster(messages.encode_roster(replace(ROSTER, proof=(b"p" * 32,) * 1000)), 20)
    with pytest.raises(MalformedMessageError, match="cannot have"):
        messages.decode_roster(messages.encode_roster(replace(ROSTER, own_proof=(b"o" * 32,) * 6)), 20)


@pytest.mark.parametrize(
    "other",
    [{"round": 2}, {"run_id": "other"}, {"question": b"x" * 32}, {"checkpoint": b"x" * 32}, {"cohort": b"x" * 32}],
)
def test_a_masked_vector_of_another_session_is_not_added(other: dict[str, object]) -> None:
    data, _ = EVERY[Kind.MASKED]
    with pytest.raises(TamperedError, match="another round"):
        messages.decode_masked(data, session_of(identities(20), **other))
