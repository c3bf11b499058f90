"""The rules of a ledger, written once as policy.toml and named by hash in its first entry."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import tomli_w

from backrow.privacy.ledger.parts import Additions, PurposeBudget, Stamp

POLICY = "policy.toml"


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run whose devices this one asks again, without some of them. Its releases stay published and stay spent.

    Attributes:
        run: its id.
        entries, ledger: size and root (hex) of its ledger.
        left_out, root: how many devices are left out, and the keyed commitment to their pseudonyms (hex).
        mu: Gaussian-DP parameter of everything reserved before; None: no privacy was claimed.
        releases: how many that covers.
    """

    run: str
    entries: int
    ledger: str
    left_out: int
    root: str
    mu: float | None
    releases: int


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """What a coordinator binds itself to.

    Attributes:
        epsilon, delta: budget of everything together; None claims no privacy.
        minimum: smallest cohort any sum may cover.
        stamp: whether the noise protects anybody.
        purposes: further budgets, each at the same delta.
        additions: what happens to a release outside the committed schedule.
        earlier: the budget comes on top of this run's; None: of nothing.
    """

    epsilon: float | None
    delta: float
    minimum: int
    stamp: Stamp
    purposes: tuple[PurposeBudget, ...] = ()
    additions: Additions = Additions.REFUSED
    earlier: Earlier | None = None

    def write(self, folder: Path) -> bytes:
        """Write policy.toml and return its SHA-256, 32 bytes."""
        table: dict[str, Any] = {
            "epsilon": "none" if self.epsilon is None else self.epsilon,
            "delta": self.delta,
            "minimum_cohort": self.minimum,
            "stamp": self.stamp.value,
            "additions": self.additions.value,
            "purposes": {budget.purpose.value: budget.epsilon for budget in self.purposes},
        }
        if self.earlier is not None:
            told = {name: value for name, value in asdict(self.earlier).items() if value is not None}
            table["on_top_of"] = {"mu": "none", **told}
        data = tomli_w.dumps(table).encode()
        (folder / POLICY).write_bytes(data)
        return sha256(data).digest()
