"""The owner's consent to contribute. Withheld until granted; durable before the call returns."""

import json
from dataclasses import dataclass
from enum import StrEnum

from backrow.client.vault.store import Vault


class Purpose(StrEnum):
    """What a contribution is for. Recommending on the device needs no consent: nothing leaves."""

    TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the owner last said, and how often the answer has changed."""

    granted: bool
    counter: int


class Consent:
    """The owner's decisions, kept sealed in a vault: nobody without its key can grant in the owner's name."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def decision(self, purpose: Purpose = Purpose.TRAIN) -> Decision | None:
        """The last decision; None if the owner was never asked."""
        kept = self._vault.note(_name(purpose))
        if kept is None:
            return None
        fields = json.loads(kept)
        return Decision(fields["granted"] is True, int(fields["counter"]))

    def granted(self, purpose: Purpose = Purpose.TRAIN) -> bool:
        """True only after the owner has granted and not withdrawn. Unset means withheld."""
        decision = self.decision(purpose)
        return decision is not None and decision.granted

    def decide(self, granted: bool, purpose: Purpose = Purpose.TRAIN) -> Decision:
        """Grant or withdraw; on disk when this returns. The counter grows with every change.

        Raises:
            ValueError: the decision is not True or False: consent is never guessed.
            VaultError: it could not be written; the former decision stands.
        """
        if not isinstance(granted, bool):
            raise ValueError(f"consent is True or False, got {granted!r}")
        former = self.decision(purpose)
        if former is not None and former.granted is granted:
            return former
        decision = Decision(granted, 1 if former is None else former.counter + 1)
        fields = {"granted": decision.granted, "counter": decision.counter}
        self._vault.keep_note(_name(purpose), json.dumps(fields).encode())
        return decision


def _name(purpose: Purpose) -> str:
    return f"consent/{purpose.value}"
