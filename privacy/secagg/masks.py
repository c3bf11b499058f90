"""Masks: AES-256-CTR keystreams added to vectors modulo 2^32, so that pairs of them cancel in the sum."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from backrow.privacy.errors import UnsafePlanError

Int64Array = NDArray[np.int64]
Uint32Array = NDArray[np.uint32]

KEY_BYTES = 32
HALF = 2**31
"""Numbers of a ring element stand for -HALF <= number < HALF."""

_SALT = b"backrow/secagg-key/1"
_CHUNK = 2**16  # coordinates; keystream and its zeros stay in the processor's cache
_ZEROS = bytes(4 * _CHUNK)


def mask_key(shared: bytes, info: bytes) -> bytes:
    """Key of one mask, 32 bytes: HKDF-SHA256 of a secret, bound to everything that the mask is for.

    Args:
        shared: what two devices share, or the seed of a device's own mask; 32 bytes.
        info: protocol version, run, round, cohort, question, checkpoint and pair. A key that was derived with
            another info has nothing to do with this one.

    Raises:
        ValueError: the secret has another length, or nothing is bound.
    """
    if len(shared) != KEY_BYTES or not info:
        raise ValueError(f"a key is derived from {KEY_BYTES} secret bytes and from what it is for")
    return HKDF(SHA256(), length=KEY_BYTES, salt=_SALT, info=info).derive(shared)


def add_mask(total: Uint32Array, key: bytes, *, subtract: bool = False) -> None:
    """Add the mask of this key to a vector modulo 2^32, in place, or take it away again.

    The mask is the AES-256-CTR keystream from counter zero as little-endian numbers: uniform, nothing rejected.

    Args:
        total: shape (coordinates,), uint32, contiguous.
        key: 32 bytes from `mask_key`, for this mask only.

    Raises:
        ValueError: not such a vector, or not such a key.
    """
    if total.dtype != np.uint32 or total.ndim != 1 or not (total.flags.c_contiguous and total.flags.writeable):
        raise ValueError("a mask is added to a writable contiguous vector of uint32")
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of a mask has {KEY_BYTES} bytes, got {len(key)}")
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    zeros = memoryview(_ZEROS)
    buffer = bytearray(4 * min(_CHUNK, total.size) + 15)  # the 15: update_into() asks for room to spare
    mask = np.frombuffer(buffer, dtype="<u4", count=min(_CHUNK, total.size))
    change = np.subtract if subtract else np.add
    for start in range(0, total.size, _CHUNK):
        part = total[start : start + _CHUNK]
        stream.update_into(zeros[: 4 * part.size], buffer)
        change(part, mask[: part.size], out=part)


def to_ring(values: Int64Array) -> Uint32Array:
    """Whole numbers modulo 2^32, shape kept. The device runs it on its noised answer.

    Raises:
        UnsafePlanError: a number is below -2^31 or above 2^31 - 1 and would come back as another.
        ValueError: not int64.
    """
    if values.dtype != np.int64:
        raise ValueError(f"only int64 is made ring elements, got {values.dtype}: round first")
    if values.size and not (values.min() >= -HALF and values.max() < HALF):
        raise UnsafePlanError("a number would wrap around modulo 2^32: lower the scale or the clip norm")
    return values.astype(np.uint32)


def from_ring(values: Uint32Array) -> Int64Array:
    """The whole numbers from -2^31 to 2^31 - 1 that ring elements stand for, shape kept.

    Raises:
        ValueError: not uint32.
    """
    if values.dtype != np.uint32:
        raise ValueError(f"ring elements are uint32, got {values.dtype}")
    return values.view(np.int32).astype(np.int64)
