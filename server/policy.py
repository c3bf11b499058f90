"""The rules of a ledger, written once as policy.toml and named by hash in its first entry."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import tomli_w

from backrow.privacy.ledger.parts import Additions, PurposeBudget, Stamp

POLICY = "policy.toml"


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """What a coordinator binds itself to.

    Attributes:
        epsilon, delta: budget of everything together; None claims no privacy.
        minimum: smallest cohort any sum may cover.
        stamp: whether the noise protects anybody.
        purposes: further budgets, each at the same delta.
        additions: what happens to a release outside the committed schedule.
    """

    epsilon: float | None
    delta: float
    minimum: int
    stamp: Stamp
    purposes: tuple[PurposeBudget, ...] = ()
    additions: Additions = Additions.REFUSED

    def write(self, folder: Path) -> bytes:
        """Write policy.toml and return its SHA-256, 32 bytes."""
        table = {
            "epsilon": "none" if self.epsilon is None else self.epsilon,
            "delta": self.delta,
            "minimum_cohort": self.minimum,
            "stamp": self.stamp.value,
            "additions": self.additions.value,
            "purposes": {budget.purpose.value: budget.epsilon for budget in self.purposes},
        }
        data = tomli_w.dumps(table).encode()
        (folder / POLICY).write_bytes(data)
        return sha256(data).digest()
