"""Randomness is an argument: the operating system's in production, a seed's in simulation.

Both are AES-256 in counter mode. A stream is never used for two things: streams are told apart by
their labels (start them with a `Purpose`) and, below the labels, by a numbered usage.
"""

import operator
import os
from enum import IntEnum
from typing import NoReturn, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

_SALT = b"backrow/randomness/1"
_USAGE_STREAM = 1
_USAGE_NUMPY = 2
_USAGE_SEED64 = 3


class Purpose(IntEnum):
    """First label of a seeded stream: what it is for. Numbers are never reused."""

    NOISE = 1
    """The noise of a release."""
    ROUNDING = 2
    """Stochastic rounding on a device."""
    TRAINING = 3
    """Whatever a trainer draws (negatives, Opacus)."""
    POPULATION = 4
    EVENTS = 5
    SPLIT = 6
    COHORT = 7
    MODEL = 8
    """Random starting points of public tensors."""
    EVALUATION = 9
    IDENTITY = 10
    """Identifiers and keys of simulated parties."""


class RandomSource(Protocol):
    """A stream of uniform bits. Reading it in different portions does not change it."""

    @property
    def simulated(self) -> bool:
        """True if the stream can be recomputed, so that nothing made with it may claim privacy."""
        ...

    def bytes(self, n: int) -> bytes:
        """The next n bytes."""
        ...

    def uint64(self, n: int) -> NDArray[np.uint64]:
        """The next 8 n bytes as n little-endian numbers, shape (n,), read-only."""
        ...


class OsRandom:
    """Bits no one can recompute: AES-256-CTR under a fresh key from `os.urandom`.

    Make one per round and drop it: while it lives, its key is in memory and its past can be
    recomputed from there. A forked process gets a key of its own; copies are refused, because two
    copies would add the same noise.
    """

    simulated = False

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._process = os.getpid()
        self._stream = _keystream(os.urandom(32))

    def bytes(self, n: int) -> bytes:
        """The next n bytes."""
        if os.getpid() != self._process:
            self._restart()
        return self._stream.update(bytes(n))

    def uint64(self, n: int) -> NDArray[np.uint64]:
        """The next 8 n bytes as n little-endian numbers, shape (n,), read-only."""
        return _as_uint64(self.bytes(8 * n))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a random source cannot be copied or sent: make a new OsRandom() where it is needed")


class SeededRandom:
    """Reproducible bits for simulations: AES-256-CTR keyed by HKDF-SHA256 of seed and labels.

    Args:
        seed: any integer.
        labels: what the stream is for; a different seed or label sequence gives an independent
            stream. The encoding keeps types and lengths, so 1 and "1", ("ab",) and ("a", "b") differ.
    """

    simulated = True

    def __init__(self, seed: int, *labels: str | int) -> None:
        self._seed = seed
        self._labels = labels
        self._stream = _keystream(self._key(_USAGE_STREAM))

    def _key(self, usage: int) -> bytes:
        info = bytes([usage]) + b"".join(_encode(label) for label in self._labels)
        return HKDF(SHA256(), length=32, salt=_SALT, info=info).derive(_encode(self._seed))

    def child(self, *labels: str | int) -> "SeededRandom":
        """A fresh stream for a part of this purpose: same as naming the labels at once.

        Raises:
            ValueError: no label is given (the child would repeat its parent).
        """
        if not labels:
            raise ValueError("a child stream needs a label of its own, or it would repeat its parent")
        return SeededRandom(self._seed, *self._labels, *labels)

    def bytes(self, n: int) -> bytes:
        """The next n bytes."""
        return self._stream.update(bytes(n))

    def uint64(self, n: int) -> NDArray[np.uint64]:
        """The next 8 n bytes as n little-endian numbers, shape (n,), read-only."""
        return _as_uint64(self.bytes(8 * n))

    def numpy(self) -> "np.random.Generator":  # quoted: numpy.random is loaded when first used
        """A numpy generator for uses that carry no claim; the same one at every call."""
        return np.random.Generator(np.random.PCG64(int.from_bytes(self._key(_USAGE_NUMPY), "little")))

    def seed64(self) -> int:
        """A seed in [0, 2^64) for a library's own generator; the same one at every call."""
        return int.from_bytes(self._key(_USAGE_SEED64)[:8], "little")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a random source cannot be copied or sent: send its seed and labels")


def _keystream(key: bytes) -> CipherContext:
    # A zero counter is safe: every key is used for one stream only.
    return Cipher(AES256(key), CTR(bytes(16))).encryptor()


def _as_uint64(data: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)


def _encode(label: str | int) -> bytes:
    """Type, length, content: no two label sequences share an encoding."""
    if isinstance(label, str):
        kind, content = b"s", label.encode()
    else:
        number = operator.index(label)
        kind, content = b"i", number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return kind + len(content).to_bytes(4, "little") + content
