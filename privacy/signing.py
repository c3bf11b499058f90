"""Ed25519 signatures with a context, so that a signature made for one thing never passes for another."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backrow.privacy.errors import SignatureError

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32

CALL = "backrow/call/1"
BUNDLE = "backrow/bundle/1"


class SigningKey:
    """The coordinator's key. Cannot be printed; `seed` is the 32 secret bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, context: str, payload: bytes) -> bytes:
        """Signature over (context, payload), 64 bytes."""
        return self._key.sign(_bound(context, payload))

    def __repr__(self) -> str:
        return f"<SigningKey of {self.public.hex()[:16]}>"


def verify(public_key: bytes, context: str, payload: bytes, signature: bytes) -> None:
    """Return if the signature is good, else raise.

    Raises:
        SignatureError: wrong length, wrong key, other context or changed payload.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise SignatureError("an Ed25519 key has 32 bytes and a signature 64: check which file was given as the key")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _bound(context, payload))
    except InvalidSignature:
        raise SignatureError(
            "the signature does not match: the content was changed or was signed by another coordinator; "
            "fetch it again and check the pinned key"
        ) from None


def _bound(context: str, payload: bytes) -> bytes:
    name = context.encode()
    return len(name).to_bytes(2, "big") + name + payload
