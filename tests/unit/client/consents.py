"""The owner's decisions, in tests."""

from pathlib import Path
from typing import Any

from backrow.client.consent import Consent
from backrow.client.vault.store import Vault
from backrow.privacy.signing import SigningKey

KEY = bytes(range(32))
IDENTITY = SigningKey(bytes(range(3, 35)))
ROOT = Path(__file__).parents[3]


def consent_in(vault: Vault, **changes: Any) -> Consent:
    return Consent(vault, **{"identity": lambda: IDENTITY, "clock": lambda: 1_000_000, **changes})
