"""The closed set of messages that may leave or reach a device, and their codec.

Nothing else can be encoded: an object that is not one of `Message` raises. Decoding is strict; what it
returns is well-formed or it raises. Layout: magic, version, type, header length, canonical JSON header,
then the arrays the header names, little-endian, and not one byte more.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import BackrowError, MalformedMessageError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema
from backrow.privacy.signing import CALL, SIGNATURE_BYTES, SigningKey, verify

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAGIC = b"BKRW"
VERSION = 1
ENROL_ACTION, ANSWER_ACTION = "query.enrol", "query.answer"
RECORD, FIELD = "backrow", "wire"
"""Where a message travels inside Flower: message types, record and field."""
_PREFIX = struct.Struct("<4sHBI")
_DTYPES = {"f8": np.dtype("<f8"), "i8": np.dtype("<i8"), "i4": np.dtype("<i4")}


@dataclass(frozen=True, slots=True)
class EnrolCall:
    """Coordinator to edge: which of your devices grant contributions to training?"""

    run_id: str


@dataclass(frozen=True, slots=True)
class EnrolReply:
    """Edge to coordinator: pseudonyms of the devices that grant; a refusal looks like absence."""

    run_id: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoundCall:
    """Coordinator to edge and device: one round's question, signed.

    Attributes:
        plan: what is asked and how it is protected.
        trainer: which trainer answers ("" for counts).
        cohort_size: how many devices are invited in all.
        devices: pseudonyms of the invited devices behind this edge, sorted.
        tensors: the public model this round needs.
        settings: the public numbers this round needs.
    """

    plan: RoundPlan
    trainer: str
    cohort_size: int
    devices: tuple[str, ...]
    tensors: Mapping[str, FloatArray]
    settings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contribution:
    """Device to edge: one quantised answer, shape (titles, columns)."""

    run_id: str
    round: int
    query: Query
    values: IntArray


@dataclass(frozen=True, slots=True)
class BlindSum:
    """Edge to coordinator: the integer sum of its devices' answers and how many there are."""

    run_id: str
    round: int
    query: Query
    participants: int
    values: IntArray


Message = EnrolCall | EnrolReply | RoundCall | Contribution | BlindSum
_TYPES: tuple[type[Message], ...] = (EnrolCall, EnrolReply, RoundCall, Contribution, BlindSum)


def encode(message: Message) -> bytes:
    """Bytes of one message.

    Raises:
        TypeError: the object is not a message (a raw history, for example).
        MalformedMessageError: it holds NaN or infinity.
    """
    match message:
        case EnrolCall():
            header, arrays = {"run": message.run_id}, {}
        case EnrolReply():
            header, arrays = {"run": message.run_id, "devices": list(message.devices)}, {}
        case RoundCall():
            header = {
                "plan": _plan_out(message.plan),
                "trainer": message.trainer,
                "cohort": message.cohort_size,
                "devices": list(message.devices),
                "settings": dict(message.settings),
            }
            arrays = {name: ("f8", np.asarray(tensor)) for name, tensor in message.tensors.items()}
        case Contribution():
            header = {"run": message.run_id, "round": message.round, "query": message.query.value}
            narrow = message.values.size == 0 or int(np.abs(message.values).max()) < 2**31
            arrays = {"values": ("i4" if narrow else "i8", message.values)}
        case BlindSum():
            header = {"run": message.run_id, "round": message.round, "query": message.query.value}
            header["participants"] = message.participants
            arrays = {"values": ("i8", message.values)}
        case _:
            _refuse(message)
    return _pack(_TYPES.index(type(message)), header, arrays)


def decode(data: bytes) -> Message:
    """The message in these bytes.

    Raises:
        MalformedMessageError: wrong magic, version, type, length, shape, a missing or unknown field, NaN.
    """
    kind, header, arrays = _unpack(data)
    try:
        message = _build(_TYPES[kind], header, arrays)
    except MalformedMessageError:
        raise
    except (KeyError, TypeError, ValueError, BackrowError) as problem:
        raise MalformedMessageError(f"a field of the message is missing or wrong ({problem}): it is ignored") from None
    if header or arrays:
        raise MalformedMessageError(f"the message has unknown fields {sorted([*header, *arrays])}: it is ignored")
    return message


def encode_signed(message: Message, key: SigningKey) -> bytes:
    """`encode`, with the coordinator's signature in front."""
    payload = encode(message)
    return key.sign(CALL, payload) + payload


def decode_signed(data: bytes, public_key: bytes) -> Message:
    """Check the signature, then `decode`.

    Raises:
        SignatureError: not signed by the pinned coordinator.
        MalformedMessageError: as `decode`.
    """
    payload = data[SIGNATURE_BYTES:]
    verify(public_key, CALL, payload, data[:SIGNATURE_BYTES])
    return decode(payload)


def _build(kind: type[Message], header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Message:
    if kind is EnrolCall:
        return EnrolCall(_text(header.pop("run")))
    if kind is EnrolReply:
        return EnrolReply(_text(header.pop("run")), _texts(header.pop("devices")))
    if kind is RoundCall:
        settings = header.pop("settings")
        tensors = {name: arrays.pop(name) for name in list(arrays)}
        return RoundCall(
            plan=_plan_in(header.pop("plan")),
            trainer=_text(header.pop("trainer")),
            cohort_size=_count(header.pop("cohort")),
            devices=_texts(header.pop("devices")),
            tensors=tensors,
            settings={_text(name): _number(value) for name, value in settings.items()},
        )
    values = arrays.pop("values").astype(np.int64)
    run_id, number = _text(header.pop("run")), _count(header.pop("round"))
    query = Query(header.pop("query"))
    if kind is Contribution:
        return Contribution(run_id, number, query, values)
    return BlindSum(run_id, number, query, _count(header.pop("participants")), values)


def _pack(kind: int, header: dict[str, Any], arrays: dict[str, tuple[str, NDArray[Any]]]) -> bytes:
    parts = []
    listed = []
    for name, (code, array) in sorted(arrays.items()):
        if code == "f8" and not np.all(np.isfinite(array)):
            raise MalformedMessageError(f"array {name!r} holds NaN or infinity and is not sent")
        listed.append([name, code, list(array.shape)])
        parts.append(np.ascontiguousarray(array, dtype=_DTYPES[code]).tobytes())
    text = json.dumps({**header, "arrays": listed}, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([_PREFIX.pack(MAGIC, VERSION, kind, len(text)), text, *parts])


def _unpack(data: bytes) -> tuple[int, dict[str, Any], dict[str, NDArray[Any]]]:
    if len(data) < _PREFIX.size:
        raise MalformedMessageError(f"{len(data)} bytes are too few for a message: it was cut off")
    magic, version, kind, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise MalformedMessageError("these bytes are not a backrow message")
    if version != VERSION:
        raise MalformedMessageError(f"message version {version} is not supported (this is {VERSION}): update the SDK")
    if kind >= len(_TYPES):
        raise MalformedMessageError(f"message type {kind} is unknown")
    offset = _PREFIX.size + length
    try:
        header = json.loads(data[_PREFIX.size : offset], parse_constant=_no_constant, object_pairs_hook=_unique)
        listed = header.pop("arrays")
        arrays: dict[str, NDArray[Any]] = {}
        for name, code, shape in listed:
            dtype, size = _DTYPES[code], math.prod(_counts(shape))
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


def _plan_out(plan: RoundPlan) -> dict[str, Any]:
    query = plan.query
    return {
        "run": plan.run_id,
        "round": plan.round,
        "query": [query.query.value, query.version, query.rows, query.columns, query.clip_norm],
        "noise_multiplier": plan.noise_multiplier,
        "scale": plan.scale,
        "rounding": plan.rounding.value,
        "noise": plan.noise.value,
        "aggregation": plan.aggregation.value,
        "population": plan.population,
        "minimum": plan.minimum,
        "simulated": plan.simulated,
    }


def _plan_in(data: dict[str, Any]) -> RoundPlan:
    name, version, rows, columns, clip_norm = data.pop("query")
    plan = RoundPlan(
        run_id=_text(data.pop("run")),
        round=_count(data.pop("round")),
        query=QuerySchema(Query(name), _count(rows), _count(columns), _number(clip_norm), _count(version)),
        noise_multiplier=_number(data.pop("noise_multiplier")),
        scale=_number(data.pop("scale")),
        rounding=Rounding(data.pop("rounding")),
        noise=Noise(data.pop("noise")),
        aggregation=Aggregation(data.pop("aggregation")),
        population=_count(data.pop("population")),
        minimum=_count(data.pop("minimum")),
        simulated=_flag(data.pop("simulated")),
    )
    if data:
        raise MalformedMessageError(f"the plan has unknown fields {sorted(data)}: refuse what is not understood")
    return plan


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    return tuple(_text(item) for item in value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value


def _counts(value: object) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {value!r}")
    return [_count(item) for item in value]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def _flag(value: object) -> bool:
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


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not a message: only the classes of this module can leave a device")


