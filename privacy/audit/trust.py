"""Which public key a ledger is held against, and what that is worth. Pure."""

from dataclasses import dataclass

from backrow.privacy.audit.evidence import read_key
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.errors import BackrowError
from backrow.privacy.ledger.entries import PolicyEntry
from backrow.privacy.ledger.signed_entry import SignedEntry, decode_entry


@dataclass(frozen=True, slots=True)
class Trust:
    """The key that signatures are held against.

    Attributes:
        key: None if neither the auditor nor the run names one.
        pinned: the auditor brought it.
    """

    key: bytes | None
    pinned: bool


def resolve(first: bytes, pinned: bytes | None, public: bytes | None, found: Findings) -> Trust:
    """The key to verify with. A ledger of another coordinator is found out here, once, and not at every entry.

    Args:
        first: the first line of the ledger, without its newline; empty if there is none.
        pinned: the auditor's own, 32 bytes.
        public: what coordinator.pub holds.
    """
    expected, named = pinned, "the pinned key"
    if expected is None and public is not None:
        named = "coordinator.pub"
        try:
            expected = read_key(public)
        except BackrowError:
            found.add(Fault.WRONG_KEY, "coordinator.pub holds no public key: ask the coordinator for it again.")
    entry = _policy(first)
    if entry is None or not isinstance(entry.body, PolicyEntry):
        return Trust(expected, pinned is not None)
    claimed = entry.body.coordinator
    if expected is None:
        return Trust(claimed, False)
    if claimed != expected and (_signed(entry, claimed) or _signed(entry, expected)):
        found.add(
            Fault.WRONG_KEY,
            f"Entry 0 names the coordinator with the key {claimed.hex()}, {named} is {expected.hex()}: this is the "
            "ledger of somebody else, or was signed again by somebody else.",
            0,
        )
        return Trust(claimed if _signed(entry, claimed) else expected, pinned is not None)
    return Trust(expected, pinned is not None)


def _policy(line: bytes) -> SignedEntry | None:
    try:
        return decode_entry(line)
    except BackrowError:
        return None


def _signed(entry: SignedEntry, key: bytes) -> bool:
    try:
        entry.verify(key)
    except BackrowError:
        return False
    return True
