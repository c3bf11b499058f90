"""Bytes of a message: prefix, canonical JSON header, arrays. Strict; knows nothing of what messages mean.

Layout: magic, version, type, header length, header, then the arrays that the header names, little-endian,
and not one byte more.
"""

import json
import math
import struct
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import MalformedMessageError

MAGIC = b"BKRW"
VERSION = 3
Piece = bytes | memoryview
_PREFIX = struct.Struct("<4sHBI")
_DTYPES: dict[str, np.dtype[Any]] = {
    "f8": np.dtype("<f8"),
    "i8": np.dtype("<i8"),
    "i4": np.dtype("<i4"),
    "u4": np.dtype("<u4"),
    "u1": np.dtype("u1"),
}


def pack(kind: int, header: dict[str, Any], arrays: dict[str, tuple[str, NDArray[Any]]]) -> list[Piece]:
    """Bytes of one message, in pieces to be joined; `arrays`: name to (type code, array).

    The pieces of arrays that have the layout already are these arrays' own memory: join or hash them before anything is
    written there.

    Raises:
        MalformedMessageError: an array holds NaN or infinity.
    """
    parts: list[Piece] = []
    listed = []
    for name, (code, array) in sorted(arrays.items()):
        if code == "f8" and not np.all(np.isfinite(array)):
            raise MalformedMessageError(f"array {name!r} holds NaN or infinity and is not sent")
        listed.append([name, code, list(array.shape)])
        parts.append(np.ascontiguousarray(array, dtype=_DTYPES[code]).reshape(-1).view(np.uint8).data)
    text = json.dumps({**header, "arrays": listed}, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return [_PREFIX.pack(MAGIC, VERSION, kind, len(text)), text, *parts]


def unpack(data: Piece, kinds: int) -> tuple[int, dict[str, Any], dict[str, NDArray[Any]]]:
    """Type, header and arrays of one message.

    Args:
        data: exactly one message.
        kinds: how many types there are.

    Raises:
        MalformedMessageError: wrong magic, version, type or length, a damaged header, NaN.
    """
    if len(data) < _PREFIX.size:
        raise MalformedMessageError(f"{len(data)} bytes are too few for a message: it was cut off")
    magic, version, kind, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise MalformedMessageError("these bytes are not a backrow message")
    if version != VERSION:
        raise MalformedMessageError(f"message version {version} is not supported (this is {VERSION}): update the SDK")
    if kind >= kinds:
        raise MalformedMessageError(f"message type {kind} is unknown")
    offset = _PREFIX.size + length
    try:
        header = json.loads(bytes(data[_PREFIX.size : offset]), parse_constant=_no_constant, object_pairs_hook=_unique)
        listed = header.pop("arrays")
        arrays: dict[str, NDArray[Any]] = {}
        for name, code, shape in listed:
            dtype, size = _DTYPES[code], math.prod(counts(shape))
            if name in arrays or offset + size * dtype.itemsize > len(data):
                raise MalformedMessageError(f"array {name!r} is listed twice or is cut off")
            array = np.frombuffer(data, dtype, size, offset).reshape(shape)
            if code == "f8" and not np.all(np.isfinite(array)):
                raise MalformedMessageError(f"array {name!r} holds NaN or infinity: the message is ignored")
            arrays[name] = array
            offset += size * dtype.itemsize
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as problem:
        raise MalformedMessageError(f"the header of the message is damaged ({problem})") from None
    if offset != len(data):
        raise MalformedMessageError(f"the message has {len(data)} bytes, its header announces {offset}")
    return kind, header, arrays


def version_of(data: Piece) -> int | None:
    """What version these bytes say they have; None: they are no message."""
    if len(data) < _PREFIX.size or data[: len(MAGIC)] != MAGIC:
        return None
    return int(_PREFIX.unpack_from(data)[1])


def text(value: object) -> str:
    """A header field that must be text; this and the readers below raise ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    return tuple(text(item) for item in value)


def count(value: object) -> int:
    """A whole number >= 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value


def counts(value: object) -> list[int]:
    """A list of counts."""
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    return [count(item) for item in value]


def number(value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a field is given twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
