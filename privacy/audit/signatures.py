"""Many signatures of one key, verified by every processor there is. Pure.

OpenSSL verifies outside the interpreter's lock, so threads share the work; while they do, the caller waits, because
a busy interpreter would let a thread in only once in five milliseconds.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from backrow.privacy.errors import SignatureError
from backrow.privacy.signing import ENTRY, verify

_ALONE = 64
"""So few signatures are not worth a thread."""
_MOST_THREADS = 16

Signed = tuple[bytes, bytes]
"""What was signed, and the signature."""


class Signatures:
    """Verifies entries' signatures by one key. Use as a context: its threads end with it.

    Args:
        key: 32 bytes; None: nothing counts as signed.
    """

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._threads = min(os.cpu_count() or 1, _MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def check(self, entries: Sequence[Signed]) -> list[bool]:
        """Whether each is signed by the key, in order."""
        if self._key is None:
            return [False] * len(entries)
        if len(entries) < _ALONE or self._threads == 1:
            return self._each(entries)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "signatures")
        share = -(-len(entries) // self._threads)
        parts = [entries[start : start + share] for start in range(0, len(entries), share)]
        return list(chain.from_iterable(self._pool.map(self._each, parts)))

    def _each(self, entries: Sequence[Signed]) -> list[bool]:
        return [self._is_signed(*entry) for entry in entries]

    def _is_signed(self, payload: bytes, signature: bytes) -> bool:
        assert self._key is not None
        try:
            verify(self._key, ENTRY, payload, signature)
        except SignatureError:
            return False
        return True
