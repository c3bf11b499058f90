"""Records to JSON and back, exactly."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.ledger.canonical import Json
from backrow.privacy.ledger.fields import Wide, from_json, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    flag: bool


@dataclass(frozen=True)
class Outer:
    number: int
    wide: Wide
    decimal: float
    text: str
    data: bytes
    colour: Colour
    inner: Inner
    items: tuple[float, ...]
    perhaps: int | None


FINITE = st.floats(allow_nan=False, allow_infinity=False)
WRITTEN: dict[str, Json] = {
    "number": 1,
    "wide": "-18446744073709551616",
    "decimal": "0.1",
    "text": "x",
    "data": "00ff",
    "colour": "red",
    "inner": {"flag": 1},
    "items": ["1.5", "1e-05"],
    "perhaps": 3,
}
READ = Outer(1, Wide(-(2**64)), 0.1, "x", b"\x00\xff", Colour.RED, Inner(True), (1.5, 1e-5), 3)


def test_every_kind_of_field_is_written_as_it_should_and_read_back() -> None:
    assert to_json(READ) == WRITTEN
    assert from_json(Outer, WRITTEN) == READ


@settings(deadline=None)
@given(FINITE)
def test_a_float_comes_back_bit_for_bit(value: float) -> None:
    @dataclass(frozen=True)
    class One:
        value: float

    back = from_json(One, to_json(One(value))).value
    assert back.hex() == value.hex()


def test_a_field_that_is_absent_is_left_out() -> None:
    absent = Outer(**{**READ.__dict__, "perhaps": None})
    written = to_json(absent)
    assert "perhaps" not in written
    assert from_json(Outer, written) == absent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "1"),
        ("number", True),
        ("wide", 1),
        ("wide", "01"),
        ("wide", "1_0"),
        ("decimal", 0.1),
        ("decimal", 1),
        ("decimal", "0.10"),
        ("decimal", "1e-5"),
        ("decimal", "nan"),
        ("decimal", "inf"),
        ("decimal", " 1.0"),
        ("decimal", "1_0.0"),
        ("text", 1),
        ("data", "00FF"),
        ("data", "00 ff"),
        ("data", "0"),
        ("colour", "blue"),
        ("inner", {"flag": 2}),
        ("inner", {"flag": "1"}),
        ("inner", {}),
        ("inner", {"flag": 1, "other": 1}),
        ("inner", "flag"),
        ("items", "1.5"),
        ("items", [1.5]),
        ("perhaps", "3"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_by_name(field: str, value: Json) -> None:
    with pytest.raises(ValueError, match=field):
        from_json(Outer, {**WRITTEN, field: value})


def test_missing_and_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="text is missing"):
        from_json(Outer, {name: value for name, value in WRITTEN.items() if name != "text"})
    with pytest.raises(ValueError, match="unknown fields \\['extra'\\]"):
        from_json(Outer, {**WRITTEN, "extra": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [("decimal", math.nan), ("decimal", math.inf), ("number", 1.0), ("number", np.int64(1)), ("text", b"x")],
)
def test_what_a_type_does_not_allow_is_not_written(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        to_json(Outer(**{**READ.__dict__, field: value}))


def test_a_type_that_has_no_place_in_the_ledger_is_refused_at_once() -> None:
    @dataclass(frozen=True)
    class Bad:
        values: dict[str, int]

    with pytest.raises(TypeError, match="no place in the ledger"):
        to_json(Bad({}))
