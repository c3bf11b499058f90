"""Keys of one round and what is sealed with them: X25519 to agree, AES-256-GCM to seal."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backrow.privacy.errors import TamperedError, WeakKeyError
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg.shamir import SHARE_BYTES, draw

PUBLIC_KEY_BYTES = 32
SEAL_BYTES = 16
"""A sealed text is longer than the text by this much."""

_FIELD = 2**255 - 19
_LOW_ORDER = {
    0,
    1,
    _FIELD - 1,
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
}
"""Points of order 1, 2, 4 and 8, of the curve and of its twist: a product with them says nothing secret."""

_NONCE = bytes(12)


class KeyPair:
    """A device's X25519 key for one round. Cannot be printed.

    Attributes:
        secret: 32 bytes that are, big-endian, a number below shamir.PRIME, so that they can be shared.
        public: 32 bytes.
    """

    __slots__ = ("_key", "public", "secret")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SHARE_BYTES:
            raise ValueError(f"an X25519 secret has {SHARE_BYTES} bytes, got {len(secret)}")
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.secret = secret
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random: RandomSource) -> "KeyPair":
        """A fresh pair from the next 32 bytes (more with chance 2^-248)."""
        return cls(draw(random).to_bytes(SHARE_BYTES, "big"))

    def exchange(self, peer_public: bytes) -> bytes:
        """What both sides can compute, 32 bytes: only to derive keys from.

        Raises:
            WeakKeyError: the peer's key is no public key, see `check_public_key`.
        """
        check_public_key(peer_public)
        return self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))

    def __repr__(self) -> str:
        return f"<KeyPair of {self.public.hex()[:16]}>"


def check_public_key(public: bytes) -> None:
    """Return if these are an X25519 key that an honest device may have, else raise.

    A number of the field has one spelling here: with two, one key could pass for two.

    Raises:
        WeakKeyError: another length, not below 2^255 - 19, or of low order.
    """
    if len(public) != PUBLIC_KEY_BYTES:
        raise WeakKeyError(f"an X25519 key has {PUBLIC_KEY_BYTES} bytes, got {len(public)}: leave this device out")
    number = int.from_bytes(public, "little")
    if number >= _FIELD:
        raise WeakKeyError("an X25519 key is spelled in a second way: leave this device out")
    if number in _LOW_ORDER:
        raise WeakKeyError("an X25519 key has low order, its secrets are known to all: leave this device out")


def seal(key: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """Encrypt and authenticate, 16 bytes longer than the text. One key seals one text: the nonce is zero.

    Args:
        key: 32 bytes from `masks.mask_key`, derived for this box only: pair, direction, round, purpose.
        aad: authenticated beside the text, not carried.

    Raises:
        ValueError: a key of another length.
    """
    return _cipher(key).encrypt(_NONCE, plaintext, aad)


def open_sealed(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    """The text that was sealed with this key and aad.

    Raises:
        TamperedError: another key or aad, or changed bytes.
        ValueError: a key of another length.
    """
    try:
        return _cipher(key).decrypt(_NONCE, sealed, aad)
    except InvalidTag:
        raise TamperedError("a sealed box was changed, or is of another pair or round: nothing of it is used") from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise ValueError(f"a sealing key has 32 bytes, got {len(key)}")
    return AESGCM(key)
