"""One encoding for one value, and nothing else is read."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import MalformedEntryError
from backrow.privacy.ledger.canonical import LARGEST_INTEGER, LARGEST_LINE, decode, encode

TEXT = st.text().filter(lambda text: text.isascii() or _is_nfc(text))
VALUES = st.recursive(
    st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(st.characters(codec="ascii")), VALUES, max_size=5)


def _is_nfc(text: str) -> bool:
    import unicodedata

    return unicodedata.is_normalized("NFC", text)


@settings(deadline=None)
@given(OBJECTS)
def test_what_is_written_is_read_back_and_is_one_line(value: dict) -> None:
    line = encode(value)
    assert b"\n" not in line
    assert decode(line) == value
    assert json.loads(line) == value


@settings(deadline=None)
@given(OBJECTS, st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_is_another_canonical_line(value: dict, place: int, byte: int) -> None:
    line = bytearray(encode(value))
    line[place % len(line)] = byte
    with suppress(MalformedEntryError):
        assert encode(decode(bytes(line))) == bytes(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a":1.5}', "decimals are strings"),
        (b'{"a":1e3}', "decimals are strings"),
        (b'{"a":NaN}', "decimals are strings"),
        (b'{"a":-Infinity}', "decimals are strings"),
        (b'{"a":true}', "is not written"),
        (b'{"a":null}', "is not written"),
        (b'{"a":1,"a":1}', "given twice"),
        (b'{"a":{"b":1,"b":2}}', "given twice"),
        (b'{"b":1,"a":2}', "canonical form"),
        (b'{"a": 1}', "canonical form"),
        (b'{"a":1} ', "canonical form"),
        (b'{"a":-0}', "canonical form"),
        (b'{"a":"\\u0041"}', "canonical form"),
        (b'{"a":"\\/"}', "canonical form"),
        (b'{"a":"\\ud800"}', "never written"),
        ('{"a":"e\u0301"}'.encode(), "normalisation form C"),
        ('{"\u00e9":1}'.encode(), "not ASCII"),
        (b'{"a":"\xff"}', "not the JSON"),
        (b"\xef\xbb\xbf{}", "not the JSON"),
        (b'{"a":9007199254740992}', "beyond 2"),
        (b'{"a":' + b"9" * 5000 + b"}", "not the JSON"),
        (b"[1]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b"", "not the JSON"),
        (b'{"a":1', "not the JSON"),
        (b'{"a":1}{"a":1}', "not the JSON"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not the JSON"),
        (b" " * (LARGEST_LINE + 1), "at most"),
    ],
)
def test_anything_else_is_refused_and_says_why(line: bytes, says: str) -> None:
    with pytest.raises(MalformedEntryError, match=says):
        decode(line)


@pytest.mark.parametrize("value", [{"a": 1.0}, {"a": True}, {"a": None}, {"a": 2**53}, {"a": b"x"}, {"a": "\ud800"}])
def test_what_would_not_be_read_back_is_not_written(value: dict) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode(value)


def test_a_line_too_long_to_be_read_is_not_written() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode({"a": "x" * LARGEST_LINE})


def test_the_largest_number_and_other_alphabets_pass() -> None:
    value = {"a": LARGEST_INTEGER, "b": -LARGEST_INTEGER, "c": "\u00e9 \u65e5\u672c \U0001f3ac \u2028"}
    assert decode(encode(value)) == value
