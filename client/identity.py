"""The device's signing key: it names the device in secure sums and signs what its owner says."""

from collections.abc import Callable

from backrow.client.vault.store import Vault
from backrow.privacy.randomness import RandomSource
from backrow.privacy.signing import SigningKey

_NOTE = "identity"


def device_identity(vault: Vault, random: Callable[[], RandomSource]) -> SigningKey:
    """The key kept in this vault, of participation; made and kept when first asked for.

    Raises:
        VaultError: it could not be written.
    """
    seed = vault.note(_NOTE)
    if seed is None:
        seed = random().bytes(32)
        vault.keep_note(_NOTE, seed)
    return SigningKey(seed)
