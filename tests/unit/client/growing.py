"""Ledgers that grow from call to call, as a coordinator's would, one for each run id; in memory."""

from dataclasses import dataclass, field

from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.entries import Body, ReserveEntry
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.parts import Basis, Purpose, Spent
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.plan import RoundPlan
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_plan import LedgerProof
from tests.unit.client.bundles import COORDINATOR

NOW = 1_000_000
"""Unix seconds by the clocks of devices and of the coordinator, unless a test says otherwise."""


@dataclass
class GrowingLedger:
    """Signed entries of one run."""

    run_id: str
    key: SigningKey = COORDINATOR
    lines: list[bytes] = field(default_factory=list)

    def reserve(self, plan: RoundPlan, time: int = NOW, purpose: Purpose = Purpose.TRAIN) -> LedgerProof:
        """Add a reservation and show it."""
        return self.add(ReserveEntry(purpose, plan, Basis.SCHEDULED, Spent(1.0, 1e-5, 1)), time)

    def add(self, body: Body, time: int = NOW) -> LedgerProof:
        """Add any entry and show it as if it were a reservation."""
        origin = f"backrow/{self.run_id}"
        self.lines.append(sign_entry(self.key, origin, len(self.lines), time, body).encode())
        return self.proof(len(self.lines) - 1)

    def proof(self, index: int, size: int | None = None) -> LedgerProof:
        """Show an entry under a checkpoint of the first `size` entries."""
        leaves = tuple(map(leaf_hash, self.lines[:size]))
        signer = Signer(f"backrow/{self.run_id}", self.key)
        note = Checkpoint(signer.name, len(leaves), Tree(leaves).root()).sign(signer)
        return LedgerProof(note.encode(), leaves, self.lines[index])


_LEDGERS: dict[str, GrowingLedger] = {}


def reserved(plan: RoundPlan, time: int) -> LedgerProof:
    """A reservation of this plan in its run's ledger, which only grows."""
    return _LEDGERS.setdefault(plan.run_id, GrowingLedger(plan.run_id)).reserve(plan, time)
