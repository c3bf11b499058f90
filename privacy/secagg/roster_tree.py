"""A Merkle tree over what devices advertised, and one proof for several of its leaves.

The tree of RFC 6962, as in the ledger: `ledger.tree` has the same roots.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from backrow.privacy.errors import RosterError
from backrow.privacy.ledger.tree import HASH_BYTES, leaf_hash, node_hash


class RosterTree:
    """Every hash of the tree over these leaves, so that many proofs are cheap. The coordinator holds it.

    Args:
        leaves: one or more, any bytes.

    Raises:
        ValueError: no leaf.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("a roster has at least one device")
        self._size = len(leaves)
        self._hashes: dict[tuple[int, int], bytes] = {}
        self._fill([leaf_hash(leaf) for leaf in leaves], 0, self._size)

    @property
    def root(self) -> bytes:
        """32 bytes."""
        return self._hashes[0, self._size]

    def prove(self, positions: Iterable[int]) -> list[bytes]:
        """One proof for the leaves at all these positions: 32 bytes for each subtree without any of them.

        Raises:
            ValueError: no position, or one that is not in the tree.
        """
        wanted = sorted(set(positions))
        if not wanted or not 0 <= wanted[0] <= wanted[-1] < self._size:
            raise ValueError(f"a proof is for positions from 0 to {self._size - 1}, at least one")
        return list(self._siblings(0, self._size, wanted))

    def _fill(self, level: list[bytes], start: int, end: int) -> bytes:
        if end - start == 1:
            found = level[start]
        else:
            middle = start + _split(end - start)
            found = node_hash(self._fill(level, start, middle), self._fill(level, middle, end))
        self._hashes[start, end] = found
        return found

    def _siblings(self, start: int, end: int, wanted: list[int]) -> Iterator[bytes]:
        if not wanted:
            yield self._hashes[start, end]
        elif end - start > 1:
            middle = start + _split(end - start)
            yield from self._siblings(start, middle, [position for position in wanted if position < middle])
            yield from self._siblings(middle, end, [position for position in wanted if position >= middle])


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of the tree over these leaves, 32 bytes.

    Raises:
        ValueError: no leaf.
    """
    return RosterTree(leaves).root


def prove(leaves: Sequence[bytes], positions: Iterable[int]) -> list[bytes]:
    """One proof for the leaves at all these positions; for many proofs make one `RosterTree`.

    Raises:
        ValueError: no leaf, no position, or one that is not in the tree.
    """
    return RosterTree(leaves).prove(positions)


def check(root: bytes, size: int, leaves: Mapping[int, bytes], proof: Sequence[bytes]) -> None:
    """Return if the tree of this root and size has these leaves at these positions, else raise. Devices run it.

    Args:
        root: 32 bytes.
        size: how many leaves the tree has; the root alone does not say it, so bind both.
        leaves: by position, at least one.
        proof: from `prove`, for exactly these positions.

    Raises:
        RosterError: the proof does not show it.
    """
    wanted = sorted(leaves)
    if not wanted or not 0 <= wanted[0] <= wanted[-1] < size:
        raise RosterError(f"a roster of {size} devices has no such positions: leave this round")
    if any(len(node) != HASH_BYTES for node in proof):
        raise RosterError(f"every hash of a proof has {HASH_BYTES} bytes: the proof is damaged")
    unused = iter(proof)
    try:
        found = _implied(0, size, wanted, leaves, unused)
    except StopIteration:
        raise RosterError("the proof of the roster is too short: it is damaged") from None
    if next(unused, None) is not None:
        raise RosterError("the proof of the roster is too long: it is damaged")
    if found != root:
        raise RosterError("these advertisements are not on the roster: one of them, or the roster, was changed")


def _implied(start: int, end: int, wanted: list[int], leaves: Mapping[int, bytes], unused: Iterator[bytes]) -> bytes:
    if not wanted:
        return next(unused)
    if end - start == 1:
        return leaf_hash(leaves[start])
    middle = start + _split(end - start)
    left = _implied(start, middle, [position for position in wanted if position < middle], leaves, unused)
    right = _implied(middle, end, [position for position in wanted if position >= middle], leaves, unused)
    return node_hash(left, right)


def _split(width: int) -> int:
    """Largest power of two smaller than `width` (>= 2)."""
    return 1 << ((width - 1).bit_length() - 1)
