"""The closed set of messages that may leave or reach a device, and their codec.

Nothing else can be encoded: an object that is not one of `Message` raises. Decoding is strict; what it
returns is well-formed or it raises. How bytes are laid out is in `codec`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.codec import VERSION, Piece, count, flag, number, pack, text, texts, unpack, version_of
from backrow.privacy.consent import Purpose, purpose_of
from backrow.privacy.errors import BackrowError, MalformedMessageError, SignatureError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.names import Names
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Query
from backrow.privacy.signing import CALL, SIGNATURE_BYTES, SigningKey, verify
from backrow.privacy.wire_plan import NO_PROOF, LedgerProof, plan_in, plan_out, proof_in, proof_out
from backrow.privacy.wire_secure import SecureCall, SecureOpen, SecureReply, secure_in, secure_out

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ENROL_ACTION, ANSWER_ACTION, SECURE_ACTION = "query.enrol", "query.answer", "query.secure"
RECORD, FIELD = "backrow", "wire"
"""Where a message travels inside Flower: message types, record and field."""
_NAMES = "@devices"
"""Array of packed names (`privacy.names`); no tensor has this name."""


@dataclass(frozen=True, slots=True)
class EnrolCall:
    """Coordinator to edge: which of your devices grant contributions for this purpose?

    Belongs to no round and asks for no data: budget is reserved after it and before any `RoundCall`.

    Attributes:
        identities: their identity keys are wanted too, for a secure sum.
        round: the one that will be reserved if enough of them do.
        purpose: what it will be reserved for.
        opt_outs: pseudonym to the opt-out that its device has signed (`consent.sign_opt_out`), of devices that were
            behind this edge: whoever is here again hears of it before anything else.
    """

    run_id: str
    identities: bool = False
    round: int = 0
    purpose: Purpose = Purpose.TRAIN
    opt_outs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EnrolReply:
    """Edge to coordinator: pseudonyms of the devices that grant; a refusal looks like absence.

    Attributes:
        identities: their Ed25519 public keys in the same order, where they were asked for.
    """

    run_id: str
    devices: Sequence[str]
    identities: tuple[bytes, ...] = ()


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
        catalogue: SHA-256 of the catalogue whose rows these are, hex; a device with another one refuses.
        ledger: a device answers only what was reserved first.
    """

    plan: RoundPlan
    trainer: str
    cohort_size: int
    devices: Sequence[str]
    tensors: Mapping[str, FloatArray]
    settings: Mapping[str, float]
    catalogue: str = ""
    ledger: LedgerProof = NO_PROOF


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


Message = EnrolCall | EnrolReply | RoundCall | Contribution | BlindSum | SecureOpen | SecureCall | SecureReply
_TYPES: tuple[type[Message], ...] = (
    EnrolCall,
    EnrolReply,
    RoundCall,
    Contribution,
    BlindSum,
    SecureOpen,
    SecureCall,
    SecureReply,
)


def encode(message: Message) -> bytes:
    """Bytes of one message.

    Raises:
        TypeError: the object is not a message (a raw history, for example).
        MalformedMessageError: it holds NaN or infinity, or a pseudonym that is none.
    """
    return b"".join(_pieces(message))


def _pieces(message: Message) -> list[Piece]:
    header: dict[str, Any]
    arrays: dict[str, tuple[str, NDArray[Any]]] = {}
    match message:
        case EnrolCall():
            header = {"run": message.run_id, "identities": message.identities, "round": message.round}
            header["purpose"] = message.purpose.value
            header["opt_outs"] = {name: signed.hex() for name, signed in sorted(message.opt_outs.items())}
        case EnrolReply():
            header = {"run": message.run_id, "identities": [key.hex() for key in message.identities]}
            arrays = {_NAMES: ("u1", Names.of(message.devices).to_bytes())}
        case RoundCall():
            header = {
                "plan": plan_out(message.plan),
                "trainer": message.trainer,
                "cohort": message.cohort_size,
                "settings": dict(message.settings),
                "catalogue": message.catalogue,
                "ledger": proof_out(message.ledger),
            }
            arrays = {name: ("f8", np.asarray(tensor)) for name, tensor in message.tensors.items()}
            arrays[_NAMES] = ("u1", Names.of(message.devices).to_bytes())
        case Contribution():
            header = {"run": message.run_id, "round": message.round, "query": message.query.value}
            narrow = message.values.size == 0 or int(np.abs(message.values).max()) < 2**31
            arrays = {"values": ("i4" if narrow else "i8", message.values)}
        case BlindSum():
            header = {"run": message.run_id, "round": message.round, "query": message.query.value}
            header["participants"] = message.participants
            arrays = {"values": ("i8", message.values)}
        case SecureOpen() | SecureCall() | SecureReply():
            header, arrays = secure_out(message)
        case _:
            _refuse(message)
    return pack(_TYPES.index(type(message)), header, arrays)


def decode(data: Piece) -> Message:
    """The message in these bytes.

    Raises:
        MalformedMessageError: wrong magic, version, type, length, shape, a missing or unknown field, NaN.
    """
    kind, header, arrays = unpack(data, len(_TYPES))
    try:
        message = _build(_TYPES[kind], header, arrays)
    except MalformedMessageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, BackrowError) as problem:
        raise MalformedMessageError(f"a field of the message is missing or wrong ({problem}): it is ignored") from None
    if header or arrays:
        raise MalformedMessageError(f"the message has unknown fields {sorted([*header, *arrays])}: it is ignored")
    return message


def encode_signed(message: Message, key: SigningKey) -> bytes:
    """`encode`, with the coordinator's signature in front: over SHA-256 of every byte that follows.

    Ed25519 would read a message twice, by SHA-512, and a question is a megabyte. A forger would need two messages with
    one SHA-256 (which every hash in the ledger rests on too), or a signature over another digest in this context.
    """
    pieces = _pieces(message)
    return b"".join([key.sign(CALL, sha256(*pieces)), *pieces])


def decode_signed(data: bytes, public_key: bytes) -> Message:
    """Check the signature, then `decode`.

    Raises:
        SignatureError: not signed by the pinned coordinator, or by the rules of another version.
        MalformedMessageError: as `decode`.
    """
    payload = memoryview(data)[SIGNATURE_BYTES:]
    try:
        verify(public_key, CALL, sha256(payload), data[:SIGNATURE_BYTES])
    except SignatureError as problem:
        version = version_of(payload)
        if version in (None, VERSION):
            raise
        raise SignatureError(f"{problem}; it says to be version {version}, this is {VERSION}: update both") from None
    return decode(payload)


def question_digest(call: RoundCall) -> bytes:
    """SHA-256 of what a round asks, 32 bytes: the whole call without who is asked and the ledger's proof."""
    return sha256(encode(replace(call, devices=(), ledger=NO_PROOF)))


def _build(kind: type[Message], header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Message:
    if kind is EnrolCall:
        opt_outs = {text(name): bytes.fromhex(text(signed)) for name, signed in header.pop("opt_outs").items()}
        return EnrolCall(
            text(header.pop("run")),
            flag(header.pop("identities")),
            count(header.pop("round")),
            purpose_of(text(header.pop("purpose"))),
            opt_outs,
        )
    if kind is EnrolReply:
        keys = tuple(bytes.fromhex(key) for key in texts(header.pop("identities")))
        return EnrolReply(text(header.pop("run")), Names.from_bytes(arrays.pop(_NAMES)), keys)
    if kind is SecureOpen or kind is SecureCall or kind is SecureReply:
        return secure_in(kind, header, arrays)
    if kind is RoundCall:
        settings, devices = header.pop("settings"), Names.from_bytes(arrays.pop(_NAMES))
        tensors = {name: arrays.pop(name) for name in list(arrays)}
        return RoundCall(
            plan=plan_in(header.pop("plan")),
            trainer=text(header.pop("trainer")),
            cohort_size=count(header.pop("cohort")),
            devices=devices,
            tensors=tensors,
            settings={text(name): number(value) for name, value in settings.items()},
            catalogue=text(header.pop("catalogue")),
            ledger=proof_in(header.pop("ledger")),
        )
    values = arrays.pop("values").astype(np.int64, copy=False)
    run_id, round_number = text(header.pop("run")), count(header.pop("round"))
    query = Query(header.pop("query"))
    if kind is Contribution:
        return Contribution(run_id, round_number, query, values)
    return BlindSum(run_id, round_number, query, count(header.pop("participants")), values)


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not a message: only the classes of this module can leave a device")
