"""The result of `backrow audit attack --json`, read strictly: an impact assessment shows what was measured."""

import json
import math
from dataclasses import dataclass
from typing import Any

from backrow.privacy.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Area:
    """How well one membership attack tells members from others.

    Attributes:
        sees: what the attacker is given.
        value, low, high: area under its curve and the interval at `confidence`; .5 is guessing.
    """

    sees: str
    value: float
    low: float
    high: float
    members: int
    others: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Attacks:
    """What attacks on a run of the same scenario showed.

    Attributes:
        epsilon, delta, unit, adjacency, releases: the claim that was attacked; epsilon None: none.
        noise_factor: share of the claimed noise that was really added; 1 is honest.
        lower, reach: of the one-run canary audit: what it shows epsilon to be at least, and what it could have shown.
        silent_p: how likely honest noise is as small as what was measured; None if there was none to measure.
        largest_auc: what the claim allows any membership attack.
    """

    epsilon: float | None
    delta: float
    unit: str
    adjacency: str
    releases: int
    noise_factor: float
    canaries: int
    guesses: int
    correct: int
    confidence: float
    lower: float
    reach: float
    silent_p: float | None
    silent_coordinates: int
    largest_auc: float | None
    areas: tuple[Area, ...]
    findings: tuple[str, ...]


def parse_attacks(data: bytes) -> Attacks:
    """Read the JSON.

    Raises:
        LedgerError: it is no such result.
    """
    try:
        read = json.loads(data)
        claim, crafted = read["claim"], read["canaries"]
        audit = crafted["audit"]
        return Attacks(
            epsilon=_maybe(claim["epsilon"]),
            delta=_number(claim["delta"]),
            unit=_text(claim["unit"]),
            adjacency=_text(claim["adjacency"]),
            releases=_count(claim["releases"]),
            noise_factor=_number(read["noise_factor"]),
            canaries=_count(audit["canaries"]),
            guesses=_count(audit["guesses"]),
            correct=_count(audit["correct"]),
            confidence=_number(audit["confidence"]),
            lower=_number(audit["epsilon_lower"]),
            reach=_number(audit["epsilon_reach"]),
            silent_p=_maybe(crafted["silent_p"]),
            silent_coordinates=_count(crafted["silent_coordinates"]),
            largest_auc=_maybe(read["largest_auc"]),
            areas=(
                _area("released sums, of crafted canaries", crafted["auc"]),
                *(_area(f"{_text(each['sees'])}, of viewers", each["auc"]) for each in read["membership"]),
            ),
            findings=tuple(_text(each) for each in read["findings"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise LedgerError(
            f"this is not the result of an attack ({type(problem).__name__}: {problem}): make it with backrow audit "
            "attack SCENARIO.toml --json"
        ) from None


def _area(sees: str, auc: Any) -> Area:
    return Area(
        sees,
        _number(auc["value"]),
        _number(auc["low"]),
        _number(auc["high"]),
        _count(auc["members"]),
        _count(auc["non_members"]),
        _number(auc["confidence"]),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r:.80}")
    return float(value)


def _maybe(value: Any) -> float | None:
    return None if value is None else _number(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r:.80}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {value!r:.80}")
    return value
