"""Packed names are the same names, in the same order, and nothing else comes through."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy import wire
from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.names import LONGEST, Names, merged
from backrow.privacy.wire import EnrolReply
from backrow.server.cohort import invite
from backrow.simulations.population import device_name, device_names

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.lists(TEXT, max_size=20))
def test_names_come_back_from_the_wire_as_they_were(names: list[str]) -> None:
    again = wire.decode(wire.encode(EnrolReply("run", tuple(names))))
    assert again == EnrolReply("run", tuple(names))
    assert isinstance(again, EnrolReply)
    assert list(again.devices) == names


@given(st.lists(TEXT, unique=True, max_size=20))
def test_packed_names_have_the_order_of_the_texts(names: list[str]) -> None:
    assert list(Names.of(names).sorted()) == sorted(names)
    assert list(merged([names[::2], names[1::2]])) == sorted(names)


@given(st.lists(TEXT, unique=True, min_size=1, max_size=20))
def test_the_digest_of_a_cohort_is_that_of_its_names_on_lines(names: list[str]) -> None:
    cohort = invite({1: EnrolReply("r", tuple(names[:3])), 2: EnrolReply("r", tuple(names[3:]))}, 1, 100)
    assert cohort.digest() == hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def test_the_digest_of_many_names_is_one_digest() -> None:
    names = device_names(np.arange(70_000))
    cohort = invite({1: EnrolReply("r", names)}, 1, 70_000)
    assert cohort.digest() == hashlib.sha256("\n".join(names).encode()).hexdigest()


@given(st.lists(TEXT, max_size=20), st.lists(TEXT, max_size=5))
def test_a_name_is_found_among_others_where_it_is(names: list[str], others: list[str]) -> None:
    packed = Names.of(names)
    assert packed.among(others).tolist() == [name in others for name in names]
    assert all((name in packed) == (name in names) for name in others)
    assert (packed.doubled() is not None) == (len(set(names)) != len(names))


@pytest.mark.parametrize("name", ["", "a\0b", "a\0", "x" * (LONGEST + 1), "\ud800"])
def test_what_is_no_pseudonym_is_not_sent(name: str) -> None:
    with pytest.raises(MalformedMessageError, match="pseudonym"):
        wire.encode(EnrolReply("run", ("a", name)))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 1), np.uint8),
        np.zeros((3, 0), np.uint8),
        np.zeros((0, 3), np.uint8),
        np.full((1, LONGEST + 1), 97, np.uint8),
        np.full(3, 97, np.uint8),
        np.array([[97, 98], [0, 98]], np.uint8),
        np.array([[97, 98, 99], [97, 0, 99]], np.uint8),
        np.array([[97, 0]], np.uint8),
        np.array([[0xFF, 97]], np.uint8),
        np.array([[97, 0xC3], [0xA4, 97]], np.uint8),
    ],
    ids=["empty", "no width", "nobody, wide", "too wide", "flat", "first", "inside", "padded", "no UTF-8", "split"],
)
def test_malformed_names_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(MalformedMessageError, match="name"):
        Names.from_bytes(rows)


def test_a_million_names_travel_at_their_width() -> None:
    names = device_names(np.arange(10_000))
    assert len(wire.encode(EnrolReply("run", names))) < 9 * 10_000 + 200


def test_names_of_simulated_devices_say_their_slot() -> None:
    slots = np.array([0, 7, 63, 64, 999_999, 99_999_999])
    names = device_names(slots)
    assert names == tuple(device_name(int(slot)) for slot in slots)
    with pytest.raises(ValueError, match="digits"):
        device_names(np.array([10**8]))
