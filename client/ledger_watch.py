"""What a device demands of the coordinator's ledger before it answers: it has only grown, and the round is in it.

The ledger's modules are imported when a call arrives, not with the SDK: a device that only recommends never
loads them.
"""

from backrow.client.vault.store import Vault
from backrow.privacy.consent import Purpose, purpose_of
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.wire_plan import LedgerProof


def check_ledger(plan: RoundPlan, shown: LedgerProof, coordinator_key: bytes, kept: Vault) -> tuple[int, Purpose]:
    """When the round's budget was reserved and what for, in a ledger that extends the one this device saw last.

    The new checkpoint is on disk when this returns.

    Args:
        plan: of the round.
        shown: with it; both signed by the coordinator already.
        coordinator_key: pinned, 32 bytes.
        kept: where the last checkpoint of every run is kept.

    Returns:
        Unix seconds and the purpose, as the coordinator has signed them.

    Raises:
        LedgerError and its kin: the ledger was rolled back, forked, or is not what its checkpoint says.
        RefusedCallError: the round was not reserved there, or with another plan, or for no purpose of this device.
    """
    from backrow.privacy.ledger.entries import ReserveEntry
    from backrow.privacy.ledger.keys import VerifierKey
    from backrow.privacy.ledger.observer import View
    from backrow.privacy.ledger.signed_entry import decode_entry
    from backrow.privacy.ledger.tree import leaf_hash

    if not shown.checkpoint:
        raise RefusedCallError("the call shows no ledger: a device answers only what was reserved in one")
    name = f"ledger/{plan.run_id}"
    view = View.restore(VerifierKey(f"backrow/{plan.run_id}", coordinator_key), kept.note(name))
    advanced = view.advance_by_leaves(shown.leaves, shown.checkpoint)
    entry = decode_entry(shown.reserve)
    entry.verify(coordinator_key)
    in_place = entry.index < len(shown.leaves) and shown.leaves[entry.index] == leaf_hash(shown.reserve)
    if not in_place or not isinstance(entry.body, ReserveEntry) or entry.body.plan != plan:
        raise RefusedCallError("this round's budget was not reserved in the ledger with this plan: not answered")
    note = advanced.note
    assert note is not None
    if note != view.note:
        kept.keep_note(name, note)
    try:
        return entry.time, purpose_of(entry.body.purpose)
    except ValueError as problem:
        raise RefusedCallError(f"the round was reserved for no purpose that a device knows ({problem})") from None
