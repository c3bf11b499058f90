"""The owner's decisions, in tests."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow, and nothing can be written to any; removing files still works."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
