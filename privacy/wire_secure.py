"""Messages of a round by secure sum, between coordinator, edge and device. Encoded by `wire`.

What the devices of a round say to one another is sealed in `parts`, whose bytes only `secagg` understands.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.codec import count, number, text, texts
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import RoundPlan
from backrow.privacy.wire_plan import LedgerProof, plan_in, plan_out, proof_in, proof_out

if TYPE_CHECKING:
    from backrow.privacy.secagg.session import Session

Uint32Array = NDArray[np.uint32]
Arrays = dict[str, tuple[str, NDArray[Any]]]

NOTHING = np.zeros(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class SecureOpen:
    """Coordinator to device: a round by secure sum begins. Signed; the same bytes for everybody.

    Attributes:
        plan: what will be asked and how it is protected.
        cohort_size: how many devices are invited in all.
        cohort: digest of the committed list of pseudonyms and identity keys, 32 bytes.
        question: SHA-256 of the question that will follow (`question_digest`), 32 bytes.
        adversaries, dropouts: fractions of the cohort that the round stands.
        ledger: a device takes part only in what was reserved first.
    """

    plan: RoundPlan
    cohort_size: int
    cohort: bytes
    question: bytes
    adversaries: float
    dropouts: float
    ledger: LedgerProof


@dataclass(frozen=True, slots=True)
class SecureCall:
    """Coordinator to edge, or edge to one device: the next step.

    Attributes:
        step: 1 .. 5.
        common: a signed `SecureOpen` at step 1, the signed question at step 3, else empty.
        parts: pseudonym to what the protocol has for that device; empty bytes at step 1.
    """

    run_id: str
    round: int
    step: int
    common: bytes
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class SecureReply:
    """Device to edge, or edge to coordinator: answers to a step. Who says nothing has vanished.

    Attributes:
        parts: pseudonym to its answer; empty at step 3.
        summed: at step 3, whose masked vectors are in `values`.
        values: at step 3, their sum modulo 2^32, shape (coordinates,); else empty.
    """

    run_id: str
    round: int
    step: int
    parts: Mapping[str, bytes]
    summed: tuple[str, ...] = ()
    values: Uint32Array = field(default_factory=lambda: NOTHING)


SecureMessage = SecureOpen | SecureCall | SecureReply


def secure_out(message: SecureMessage) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a message."""
    match message:
        case SecureOpen():
            return {
                "plan": plan_out(message.plan),
                "cohort": [message.cohort_size, message.cohort.hex()],
                "question": message.question.hex(),
                "tolerance": [message.adversaries, message.dropouts],
                "ledger": proof_out(message.ledger),
            }, {}
        case SecureCall():
            listed, arrays = _parts_out(message.parts)
            common = np.frombuffer(message.common, dtype=np.uint8)
            return _place_out(message, parts=listed), {**arrays, "common": ("u1", common)}
        case SecureReply():
            listed, arrays = _parts_out(message.parts)
            header = _place_out(message, parts=listed, summed=list(message.summed))
            return header, {**arrays, "values": ("u4", message.values)}


def secure_in(kind: type[SecureMessage], header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> SecureMessage:
    """The message that `secure_out` took apart; takes what it reads. Raises KeyError, TypeError, ValueError."""
    if kind is SecureOpen:
        size, cohort = header.pop("cohort")
        adversaries, dropouts = header.pop("tolerance")
        return SecureOpen(
            plan_in(header.pop("plan")),
            count(size),
            bytes.fromhex(text(cohort)),
            bytes.fromhex(text(header.pop("question"))),
            number(adversaries),
            number(dropouts),
            proof_in(header.pop("ledger")),
        )
    place = text(header.pop("run")), count(header.pop("round")), count(header.pop("step"))
    parts = _parts_in(header.pop("parts"), arrays.pop("parts"))
    if kind is SecureCall:
        return SecureCall(*place, arrays.pop("common").tobytes(), parts)
    return SecureReply(*place, parts, texts(header.pop("summed")), arrays.pop("values").ravel())


def session_of(opening: SecureOpen, coordinator: bytes) -> "Session":
    """The secure sum that this message opens. Devices, edges and the coordinator build the same one.

    Args:
        coordinator: its pinned public key, 32 bytes.

    Raises:
        ValueError: there can be no such sum.
    """
    # Not with the SDK: a device that only recommends never loads the protocol.
    from backrow.privacy.secagg.parameters import Tolerance
    from backrow.privacy.secagg.session import Session

    plan = opening.plan
    return Session(
        run_id=plan.run_id,
        round=plan.round,
        cohort=opening.cohort,
        question=opening.question,
        checkpoint=sha256(opening.ledger.checkpoint),
        coordinator=coordinator,
        devices=opening.cohort_size,
        minimum=plan.minimum,
        dimension=plan.query.dimension,
        tolerance=Tolerance(opening.adversaries, opening.dropouts),
    )


def plan_digest(plan: RoundPlan) -> bytes:
    """SHA-256 of a plan, 32 bytes."""
    return sha256(json.dumps(plan_out(plan), sort_keys=True).encode())


def _place_out(message: SecureCall | SecureReply, **fields: Any) -> dict[str, Any]:
    return {"run": message.run_id, "round": message.round, "step": message.step, **fields}


def _parts_out(parts: Mapping[str, bytes]) -> tuple[list[list[Any]], Arrays]:
    names = sorted(parts)
    listed = [[name, len(parts[name])] for name in names]
    return listed, {"parts": ("u1", np.frombuffer(b"".join(parts[name] for name in names), dtype=np.uint8))}


def _parts_in(listed: object, array: NDArray[Any]) -> dict[str, bytes]:
    if not isinstance(listed, list):
        raise ValueError(f"expected a list, got {listed!r}")
    data, parts, offset = array.tobytes(), {}, 0
    for name, length in listed:
        end = offset + count(length)
        if text(name) in parts:
            raise ValueError(f"device {name!r} is named twice")
        parts[name] = data[offset:end]
        offset = end
    if offset != len(data):
        raise ValueError(f"the parts have {len(data)} bytes, {offset} are announced")
    return parts
