"""The one JSON encoding that is hashed and signed: a subset of RFC 8785 without floats, true, false and null.

One line of UTF-8; keys sorted; no space; whole numbers that every JSON reader reads exactly; text in Unicode
normalisation form C. Whatever does not encode to the very same bytes again is refused.
"""

import json
from typing import NoReturn

from backrow.privacy.errors import MalformedEntryError

Json = str | int | list["Json"] | dict[str, "Json"]

LARGEST_INTEGER = 2**53 - 1
"""Larger numbers travel as decimal strings: readers that keep numbers as float64 would change them."""
LARGEST_LINE = 2**24
"""Bytes of one line, at most."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Json) -> bytes:
    """The canonical bytes, without a newline.

    Raises:
        ValueError: a float, true, false, null, a number beyond 2^53 - 1, text that is not NFC, or too long.
    """
    _check(value)
    # Python sorts keys by code point and RFC 8785 by UTF-16: the same up to U+FFFF, and our keys are ASCII.
    line = _ENCODER.encode(value).encode()
    if len(line) > LARGEST_LINE:
        raise ValueError(f"the line would have {len(line)} bytes, at most {LARGEST_LINE} are read back")
    return line


def decode(line: bytes) -> dict[str, Json]:
    """The object in a canonical line.

    Raises:
        MalformedEntryError: not one canonical JSON object.
    """
    parsed = parse(line)
    try:
        _check(parsed)
    except ValueError as problem:
        raise MalformedEntryError(f"the line holds what is never written ({problem}): it is refused") from None
    check_spelling(line, parsed)
    return parsed


def parse(line: bytes) -> dict[str, Json]:
    """The object in a line whose fields and spelling (`check_spelling`) the caller checks.

    Raises:
        MalformedEntryError: too long, not UTF-8, not one JSON object, or a float.
    """
    if len(line) > LARGEST_LINE:
        raise MalformedEntryError(f"the line has {len(line)} bytes, at most {LARGEST_LINE} are read: it is refused")
    try:
        parsed = _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as problem:
        raise MalformedEntryError(f"the line is not the JSON of an entry ({problem}): it is refused") from None
    if not isinstance(parsed, dict):
        raise MalformedEntryError("the line is not a JSON object: it is refused")
    return parsed


def check_spelling(line: bytes, parsed: dict[str, Json]) -> None:
    """Return if a line is the canonical spelling of what `parse` read in it, and a strict reader has accepted.

    Strict readers (`fields`) accept text and whole numbers only, each where it is written: what is left to check
    is how they are spelled.

    Raises:
        MalformedEntryError: it is spelled otherwise.
    """
    try:
        if not line.isascii():  # a line of ASCII holds ASCII text only, or spells it as we never do
            _check(parsed)
        again = _ENCODER.encode(parsed).encode()
    except ValueError as problem:
        raise MalformedEntryError(f"the line holds what is never written ({problem}): it is refused") from None
    if again != line:
        raise MalformedEntryError(
            "the line is not in canonical form (order, spacing, spelling, or a key is given twice): it was rewritten"
        )


def _check(value: object) -> None:
    kind = type(value)  # not isinstance: True is no number here, and this runs for every field of a ledger
    if isinstance(value, str) and kind is str:
        if not value.isascii():
            _check_unicode(value)
    elif isinstance(value, int) and kind is int:
        if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            raise ValueError(f"{value} is beyond 2^53 - 1: write it as a string")
    elif isinstance(value, list):
        if set(map(type, value)) == {str} and "".join(value).isascii():
            return  # thousands of sentinels
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not (isinstance(key, str) and key.isascii()):
                raise ValueError(f"the key {key!r} is not ASCII text")
            _check(item)
    else:
        raise ValueError(f"{value!r} is not written: decimals are strings, what is absent is left out")


def _check_unicode(text: str) -> None:
    import unicodedata  # loaded with the first text beyond ASCII: most ledgers hold none

    text.encode()  # refuses lone surrogates
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError(f"the text {text!r} is not in Unicode normalisation form C")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is a float; decimals are strings")


_DECODER = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number)
