"""Frozen dataclasses to canonical JSON and back, read off their type hints. Strict both ways.

text and enums as strings, whole numbers as numbers, yes-or-no as 1 or 0, floats as the shortest decimal
string that gives the same float64, bytes as lower-case hex, tuples as lists; None is left out.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, NamedTuple, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

from backrow.privacy.ledger.canonical import LARGEST_INTEGER, Json

Wide = NewType("Wide", int)
"""A whole number of any size; written as a string."""

Record = TypeVar("Record")


class _Field(NamedTuple):
    name: str
    optional: bool
    write: Callable[[Any], Json]
    read: Callable[[Any], Any]


def to_json(record: object) -> dict[str, Json]:
    """The fields of a dataclass.

    Raises:
        ValueError: a field holds what its type does not allow.
    """
    kind: Any = type(record)
    written: dict[str, Json] = {}
    for name, optional, write, _ in _fields_of(kind):
        value = getattr(record, name)
        if value is not None:
            written[name] = write(value)
        elif not optional:
            raise ValueError(f"{name} is missing")
    return written


def from_json(kind: type[Record], data: Json) -> Record:
    """The dataclass with these fields.

    Guarantees: `to_json` gives exactly `data` again (every reader below takes one spelling only); text may still be
        spelled as `canonical` forbids.

    Raises:
        ValueError: a field is missing, unknown or of the wrong kind, or the dataclass refuses it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected the fields of a {kind.__name__}, got {data!r}")
    hashable: Any = kind
    known = _fields_of(hashable)
    values: list[Any] = []
    absent = 0
    name = ""
    try:
        for name, optional, _, read in known:
            if name in data:
                values.append(read(data[name]))
            elif optional:
                values.append(None)
                absent += 1
            else:
                raise ValueError(f"{name} is missing")
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
    if len(data) + absent > len(known):
        raise ValueError(f"unknown fields {sorted(data.keys() - {field.name for field in known})}")
    return kind(*values)


@cache
def _fields_of(kind: Any) -> tuple[_Field, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind} is not a record of the ledger")
    hints = get_type_hints(kind)
    return tuple(_field(field.name, hints[field.name]) for field in fields(kind))


def _field(name: str, hint: Any) -> _Field:
    optional = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
    if optional:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return _Field(name, optional, *_codec(hint))


def _codec(hint: Any) -> tuple[Callable[[Any], Json], Callable[[Any], Any]]:
    if hint is Wide:
        return _write_wide, _read_wide
    if get_origin(hint) is tuple:
        item, ellipsis = get_args(hint)
        if ellipsis is not Ellipsis:
            raise TypeError(f"{hint} has no place in the ledger: only tuples of one kind have")
        write, read = _codec(item)
        if item is Wide:
            return _write_wides, lambda items: tuple(map(read, _list(items)))
        return lambda values: [write(value) for value in values], lambda items: tuple(map(read, _list(items)))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return lambda word: _is(hint, word).value, partial(_word, {word.value: word for word in hint})
    if is_dataclass(hint):
        kind: Any = hint
        return lambda record: to_json(_is(kind, record)), partial(from_json, kind)
    if hint in _PLAIN:
        return _PLAIN[hint]
    raise TypeError(f"{hint} has no place in the ledger")


def _is(kind: type[Record], value: object) -> Record:
    if not isinstance(value, kind):
        raise ValueError(f"expected {kind.__name__}, got {value!r}")
    return value


def _word(words: dict[str, Any], text: Any) -> Any:
    try:
        return words[text]
    except (KeyError, TypeError):
        raise ValueError(f"expected one of {sorted(words)}, got {text!r}") from None


def _list(value: object) -> list[Any]:
    return _is(list, value)


def _write_float(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return repr(float(value))


def _read_float(text: object) -> float:
    if not isinstance(text, str):
        raise ValueError(f"expected text, got {text!r}")
    value = float(text)
    if repr(value) != text or not math.isfinite(value):
        raise ValueError(f"{text!r} is not the shortest decimal of a finite float64")
    return value


def _write_wide(value: object) -> str:
    return str(_number(value))


def _write_wides(values: Iterable[object]) -> list[Json]:
    """Thousands of sentinels at once."""
    items = list(values)
    return list(map(str, items)) if set(map(type, items)) == {int} else [_write_wide(item) for item in items]


def _read_wide(text: object) -> Wide:
    value = int(_text(text))
    if str(value) != text:
        raise ValueError(f"{text!r} is not a whole number")
    return Wide(value)


def _read_number(value: object) -> int:
    if type(value) is not int or not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:  # type, because True is an int
        raise ValueError(f"expected a whole number up to 2^53 - 1, got {value!r}")
    return value


def _read_flag(value: object) -> bool:
    if _number(value) not in (0, 1):
        raise ValueError(f"expected 1 or 0, got {value!r}")
    return value == 1


def _read_bytes(text: object) -> bytes:
    value = bytes.fromhex(_text(text))
    if value.hex() != text:
        raise ValueError(f"{text!r} is not lower-case hex")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


_PLAIN: dict[Any, tuple[Callable[[Any], Json], Callable[[Any], Any]]] = {
    str: (_text, _text),
    int: (_number, _read_number),
    bool: (lambda value: int(_is(bool, value)), _read_flag),
    float: (_write_float, _read_float),
    bytes: (lambda value: _is(bytes, value).hex(), _read_bytes),
}
