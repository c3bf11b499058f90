"""What an epsilon means: privacy unit, adjacency and the claim they belong to."""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from enum import StrEnum


class PrivacyUnit(StrEnum):
    """Whose data two neighbouring populations differ in."""

    DEVICE = "device"
    EVENT = "event"


class Adjacency(StrEnum):
    """How two neighbouring populations differ."""

    ZERO_OUT = "zero-out"
    """The device takes part in both; in one its contribution is the zero vector."""
    ADD_OR_REMOVE = "add-or-remove"


@dataclass(frozen=True, slots=True)
class PrivacyClaim:
    """An epsilon with everything that must be said beside it. Epsilon None: no privacy is claimed."""

    epsilon: float | None
    delta: float
    unit: PrivacyUnit
    adjacency: Adjacency
    releases: int
    simulated: bool

    def __str__(self) -> str:
        if self.epsilon is None:
            return f"no privacy claimed ({self.releases} releases)"
        stamp = ", simulated" if self.simulated else ""
        return (
            f"epsilon {round_up(self.epsilon)} (delta {self.delta:g}, unit {self.unit}, "
            f"adjacency {self.adjacency}, {self.releases} releases{stamp})"
        )


def round_up(epsilon: float, digits: int = 3) -> str:
    """An epsilon for people: so many significant digits, never less than it is."""
    return f"{float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal_from_float(epsilon)):.{digits}g}"


def odds(epsilon: float) -> str:
    """The number e^epsilon for reading, rounded up: no claim is better than it is."""
    factor = math.exp(min(epsilon, 700))
    if factor < 100:
        return f"{math.ceil(10 * factor) / 10:.1f}"
    return f"{math.ceil(factor):,}" if factor < 1e6 else f"{1.05 * factor:.1e}"
