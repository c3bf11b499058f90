"""What the book hands out: proofs that a round was reserved, released, or closed."""

from dataclasses import dataclass

from backrow.privacy.plan import RoundPlan


@dataclass(frozen=True, slots=True)
class Reservation:
    """Budget set aside for one round, durably. Made by `Book.reserve` only.

    Attributes:
        index: of its entry in the ledger.
    """

    round: int
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A release that the ledger has recorded. Made by `Book` only.

    Attributes:
        digest: SHA-256 of the released integers, hex.
        index: of its entry in the ledger.
    """

    round: int
    digest: str
    index: int


@dataclass(frozen=True, slots=True)
class Closed:
    """How an earlier round ended. `receipt` None: void."""

    plan: RoundPlan
    receipt: Receipt | None
    participants: int
