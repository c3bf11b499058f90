"""Ed25519 signatures with a context, so that a signature made for one thing never passes for another."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from backrow.privacy.errors import SignatureError

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32

CALL = "backrow/call/2"
"""Over SHA-256 of a message, 32 bytes; 1 was over the message."""
BUNDLE = "backrow/bundle/1"
ENTRY = "backrow/entry/1"
SECAGG_ADVERTISE = "backrow/secagg-advertise/1"
SECAGG_FREEZE = "backrow/secagg-freeze/1"
SECAGG_AGREE = "backrow/secagg-agree/1"
CONSENT = "backrow/consent/1"
OPT_OUT = "backrow/opt-out/1"

_found_good: ContextVar[set[tuple[bytes, bytes, bytes]] | None] = ContextVar("found_good", default=None)


class SigningKey:
    """A coordinator's or witness's key. Cannot be printed; `seed` is the 32 secret bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, context: str, payload: bytes) -> bytes:
        """Signature over (context, payload), 64 bytes."""
        return self._key.sign(_bound(context, payload))

    def sign_note(self, text: bytes) -> bytes:
        """Signature over the bytes of a C2SP note, 64 bytes.

        A note is signed as it stands. It holds no zero byte and every context begins with one, so a note's
        signature never passes for another.

        Raises:
            ValueError: the text holds a zero byte.
        """
        if b"\0" in text:
            raise ValueError("a note holds no zero byte: only text is signed as a note")
        return self._key.sign(text)

    def __repr__(self) -> str:
        return f"<SigningKey of {self.public.hex()[:16]}>"


def verify(public_key: bytes, context: str, payload: bytes, signature: bytes) -> None:
    """Return if the signature is good, else raise.

    Raises:
        SignatureError: wrong length, wrong key, other context or changed payload.
    """
    _verify(public_key, _bound(context, payload), signature)


def verify_note(public_key: bytes, text: bytes, signature: bytes) -> None:
    """Return if this is the key's signature over the bytes of a C2SP note, else raise.

    Raises:
        SignatureError: wrong length, wrong key, changed text, or no text at all.
    """
    if b"\0" in text:
        raise SignatureError("the signature is not over a note: a note holds no zero byte")
    _verify(public_key, text, signature)


@contextmanager
def remembering() -> Iterator[None]:
    """Inside, a signature that was found good is not checked again. For an edge that hosts many devices.

    Each of them would check the signatures of the same neighbours, in the same process.
    """
    token = _found_good.set(set())
    try:
        yield
    finally:
        _found_good.reset(token)


def _verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    good = _found_good.get()
    if good is not None and (public_key, message, signature) in good:
        return
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise SignatureError("an Ed25519 key has 32 bytes and a signature 64: check which file was given as the key")
    try:
        _opened(public_key).verify(signature, message)
    except InvalidSignature:
        raise SignatureError(
            "the signature does not match: the content was changed or was signed by another coordinator; "
            "fetch it again and check the pinned key"
        ) from None
    if good is not None:
        good.add((public_key, message, signature))


@lru_cache(maxsize=64)
def _opened(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def _bound(context: str, payload: bytes) -> bytes:
    name = context.encode()
    return len(name).to_bytes(2, "big") + name + payload
