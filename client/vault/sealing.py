"""The vault's cryptography: a data key wrapped by the host's key, sealed rows, a digest over all rows.

Every nonce is 96 random bits. A counter would repeat after an old copy of the file was restored, and a
repeated nonce breaks AES-GCM; at one event a second, random ones stay below a 2^-33 risk for a century.
Hashes come from `cryptography`: hashlib would load a second OpenSSL, a third of what the SDK may take.
Secrets cannot be wiped from Python's memory; that is not attempted.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.hmac import HMAC

from backrow.privacy.errors import DamagedVaultError, VaultError, WrongKeyError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
VAULT_ID_BYTES = 16
DIGEST_BYTES = 32
LABEL_BYTES = 16

MAGIC = b"backrow-vault"
VERSION = 1
_CHECKSUM_BYTES = 32
_WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
HEADER_BYTES = len(MAGIC) + 1 + VAULT_ID_BYTES + _WRAPPED_BYTES + _CHECKSUM_BYTES
DESTROYED = bytes(HEADER_BYTES)
"""A header whose key was destroyed by an erase."""

Entropy = Callable[[int], bytes]
"""Gives that many unpredictable bytes: `os.urandom`, always, outside tests."""


class Sealer:
    """Seals and opens the rows of one vault. Cannot be printed."""

    __slots__ = ("_aead", "_digest_key", "_entropy", "_label_key", "_vault_id")

    def __init__(self, data_key: bytes, vault_id: bytes, entropy: Entropy) -> None:
        # One key per use, each one HKDF-Expand block (RFC 5869) of the random data key.
        self._aead = AESGCM(_hmac(data_key, b"backrow vault: seal\x01"))
        self._digest_key = _hmac(data_key, b"backrow vault: digest\x01")
        self._label_key = _hmac(data_key, b"backrow vault: label\x01")
        self._vault_id = vault_id
        self._entropy = entropy

    def seal(self, place: bytes, plain: bytes) -> bytes:
        """Encrypt for one place; opened anywhere else, in any vault, it is refused."""
        nonce = self._entropy(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, self._vault_id + place)

    def open(self, place: bytes, sealed: object) -> bytes:
        """Decrypt what was sealed for this place.

        Raises:
            DamagedVaultError: it was changed, or sealed for another place or vault.
        """
        if isinstance(sealed, bytes) and len(sealed) >= NONCE_BYTES + TAG_BYTES:
            try:
                return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._vault_id + place)
            except InvalidTag:
                pass
        raise DamagedVaultError(
            "an entry of the vault was changed, moved or damaged: restore the file, or remove it to start anew"
        )

    def label(self, name: str) -> bytes:
        """What stands in the file for a note's name."""
        return _hmac(self._label_key, name.encode())[:LABEL_BYTES]

    def digest(self, place: bytes, sealed: bytes) -> int:
        """One row's term of the digest over all rows.

        The terms are added modulo 2^256, so a row can be added, replaced or counted out without reading
        the others (MSet-Add-Hash, Clarke et al. 2003; the sum is kept sealed, as it must be).
        """
        return int.from_bytes(_hmac(self._digest_key, place + sealed), "big")


def new_header(host_key: bytes, entropy: Entropy) -> tuple[bytes, Sealer]:
    """A fresh data key, wrapped by the host's key, and the sealer that uses it."""
    vault_id, data_key, nonce = entropy(VAULT_ID_BYTES), entropy(KEY_BYTES), entropy(NONCE_BYTES)
    front = MAGIC + bytes([VERSION]) + vault_id
    body = front + nonce + AESGCM(host_key).encrypt(nonce, data_key, front)
    return body + _sha256(body), Sealer(data_key, vault_id, entropy)


def open_header(header: object, host_key: bytes, entropy: Entropy) -> Sealer:
    """Unwrap the data key.

    The checksum tells a damaged header from a wrong key; against a forger the wrapping itself stands.

    Raises:
        WrongKeyError: the header is whole and was written with another key.
        DamagedVaultError: it is not the header that was written.
        VaultError: a newer SDK wrote it.
    """
    if not isinstance(header, bytes) or header[: len(MAGIC)] != MAGIC:
        raise DamagedVaultError("this file is not a backrow vault, or its header is damaged: restore it or remove it")
    if header[len(MAGIC)] != VERSION:
        raise VaultError("this vault was written by a newer version of the SDK: update this one")
    body, checksum = header[:-_CHECKSUM_BYTES], header[-_CHECKSUM_BYTES:]
    if len(header) != HEADER_BYTES or _sha256(body) != checksum:
        raise DamagedVaultError("the vault's header is damaged, so nothing in it can be read: restore the file")
    front, wrapped = body[:-_WRAPPED_BYTES], body[-_WRAPPED_BYTES:]
    try:
        data_key = AESGCM(host_key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], front)
    except InvalidTag:
        raise WrongKeyError("this vault was written with another key: give the key it was created with") from None
    return Sealer(data_key, front[-VAULT_ID_BYTES:], entropy)


def check_host_key(key: bytes) -> None:
    """Raises ValueError unless it is 32 bytes."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ValueError(f"the vault's key is {KEY_BYTES} random bytes from the platform's key store")


def _hmac(key: bytes, data: bytes) -> bytes:
    mac = HMAC(key, SHA256())
    mac.update(data)
    return mac.finalize()


def _sha256(data: bytes) -> bytes:
    digest = Hash(SHA256())
    digest.update(data)
    return digest.finalize()
