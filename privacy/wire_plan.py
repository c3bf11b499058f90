"""The parts of messages that are about a round's plan and its ledger. Encoded into a message's header."""

from dataclasses import dataclass
from typing import Any

from backrow.privacy.codec import count, flag, number, text, texts
from backrow.privacy.correlated import Correlation
from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """That a round stands in the ledger, and that the ledger has only grown. The same bytes for everybody.

    Attributes:
        checkpoint: the signed note.
        leaves: hash of every entry up to it, 32 bytes each.
        reserve: the round's own entry, as it stands in the ledger.
    """

    checkpoint: bytes
    leaves: tuple[bytes, ...]
    reserve: bytes


NO_PROOF = LedgerProof(b"", (), b"")


def proof_out(proof: LedgerProof) -> list[Any]:
    """Header field of a proof."""
    return [proof.checkpoint.hex(), proof.reserve.hex(), [leaf.hex() for leaf in proof.leaves]]


def proof_in(field: object) -> LedgerProof:
    """The proof that `proof_out` wrote. Raises ValueError."""
    if not isinstance(field, list):
        raise ValueError(f"expected a list, got {field!r}")
    checkpoint, reserve, leaves = field
    hashes = tuple(bytes.fromhex(leaf) for leaf in texts(leaves))
    return LedgerProof(bytes.fromhex(text(checkpoint)), hashes, bytes.fromhex(text(reserve)))


def plan_out(plan: RoundPlan) -> dict[str, Any]:
    """Header field of a plan."""
    query = plan.query
    # Absent where there is none: plans without it are encoded as before.
    sequence = {} if plan.correlation is None else {"correlation": _correlation_out(plan.correlation)}
    return {
        **sequence,
        "run": plan.run_id,
        "round": plan.round,
        "query": [query.query.value, query.version, query.rows, query.columns, query.clip_norm, query.sentinels],
        "noise_multiplier": plan.noise_multiplier,
        "scale": plan.scale,
        "rounding": plan.rounding.value,
        "noise": plan.noise.value,
        "aggregation": plan.aggregation.value,
        "population": plan.population,
        "minimum": plan.minimum,
        "simulated": plan.simulated,
        "omitted": plan.omitted,
    }


def plan_in(data: dict[str, Any]) -> RoundPlan:
    """The plan that `plan_out` wrote.

    Raises:
        ValueError, KeyError, TypeError: a field is missing or wrong.
        MalformedMessageError: a field is unknown.
        UnsafePlanError: there is no such plan.
    """
    name, version, rows, columns, clip_norm, sentinels = data.pop("query")
    plan = RoundPlan(
        run_id=text(data.pop("run")),
        round=count(data.pop("round")),
        query=QuerySchema(
            Query(name), count(rows), count(columns), number(clip_norm), count(sentinels), count(version)
        ),
        noise_multiplier=number(data.pop("noise_multiplier")),
        scale=number(data.pop("scale")),
        rounding=Rounding(data.pop("rounding")),
        noise=Noise(data.pop("noise")),
        aggregation=Aggregation(data.pop("aggregation")),
        population=count(data.pop("population")),
        minimum=count(data.pop("minimum")),
        simulated=flag(data.pop("simulated")),
        omitted=number(data.pop("omitted")),
        correlation=_correlation_in(data.pop("correlation")) if "correlation" in data else None,
    )
    if data:
        raise MalformedMessageError(f"the plan has unknown fields {sorted(data)}: refuse what is not understood")
    return plan


def _correlation_out(made: Correlation) -> list[Any]:
    schema = [made.horizon, made.participations, made.separation]
    # Absent where there is none: sequences without one are encoded as before.
    gaps = [] if made.stride is None else [made.stride]
    return [list(made.coefficients), made.bits, *schema, made.noise_multiplier, made.first, *gaps]


def _correlation_in(field: object) -> Correlation:
    if not isinstance(field, list):
        raise ValueError(f"expected a list, got {field!r}")
    coefficients, bits, horizon, participations, separation, noise_multiplier, first, *stride = field
    if not isinstance(coefficients, list):
        raise ValueError(f"expected a list, got {coefficients!r}")
    return Correlation(
        tuple(count(each) for each in coefficients), count(bits), count(horizon), count(participations),
        count(separation), number(noise_multiplier), count(first), *map(count, stride),
    )  # fmt: skip
