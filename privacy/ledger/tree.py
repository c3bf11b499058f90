"""The Merkle tree of RFC 6962 and RFC 9162 over SHA-256, and its proofs. Pure; everybody runs it.

One pair of functions serves every proof: `Tree.subtree_proof` shows that the entries [start, end) are a
subtree of a larger tree, `verify_subtree` checks it. Inclusion of one entry is [i, i + 1), consistency with
an older tree is [0, old size).
"""

from collections.abc import Callable, Iterable, Sequence

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from backrow.privacy.errors import ProofError

HASH_BYTES = 32
LARGEST_SIZE = 2**63 - 1
"""Most entries a tree may claim to have (the limit of C2SP checkpoints)."""

_LEAF, _NODE = b"\x00", b"\x01"
_MANY, _CHUNK = 256, 65_536


def sha256(*data: bytes | memoryview) -> bytes:
    """SHA-256 of these end to end, 32 bytes."""
    digest = Hash(SHA256())  # not hashlib: it would load a second OpenSSL into the device SDK
    for part in data:
        digest.update(part)
    return digest.finalize()


EMPTY_ROOT = sha256(b"")
"""Root of the tree without entries."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry, as RFC 6962 section 2.1 prefixes it."""
    return sha256(_LEAF + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two neighbouring subtrees."""
    return sha256(_NODE + left + right)


class Tree:
    """An append-only tree that knows the hash of every full subtree.

    Appending costs two hashes on average; a root or a proof, of this or of any smaller size, O(log n).
    """

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        # _levels[h] holds, one after the other, the hashes of the full subtrees over 2^h entries.
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaf_hashes:
            self.append(leaf)

    @property
    def size(self) -> int:
        """How many entries the tree has."""
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> int:
        """Add the hash of one entry, 32 bytes; returns its index.

        Raises:
            ValueError: not 32 bytes.
        """
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, got {len(leaf)}")
        index = position = self.size
        self._levels[0] += leaf
        level = 0
        while position & 1:
            parent = node_hash(self._full(level, position - 1), self._full(level, position))
            level, position = level + 1, position >> 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += parent
        return index

    def leaf(self, index: int) -> bytes:
        """Hash of one entry.

        Raises:
            ValueError: there is no such entry.
        """
        self._check(0 <= index < self.size, f"there is no entry {index}")
        return self._full(0, index)

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` entries (of all by default).

        Raises:
            ValueError: the tree has fewer.
        """
        size = self.size if size is None else size
        self._check(0 <= size <= self.size, f"there are no {size} entries")
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Proof that entry `index` is in the tree of the first `size` entries (RFC 9162 section 2.1.3).

        Raises:
            ValueError: there is no such entry or tree.
        """
        return self.subtree_proof(index, index + 1, size)

    def consistency_proof(self, old_size: int, size: int | None = None) -> list[bytes]:
        """Proof that the first `old_size` entries begin the first `size` (RFC 9162 section 2.1.4).

        Empty for `old_size` 0: every tree begins with no entry.

        Raises:
            ValueError: the sizes are not in order, or the tree has fewer entries.
        """
        return self.subtree_proof(0, old_size, size) if old_size else []

    def subtree_proof(self, start: int, end: int, size: int | None = None) -> list[bytes]:
        """Proof that the entries [start, end) are a subtree of the first `size` entries.

        Raises:
            ValueError: they cannot be one, or the tree has fewer entries.
        Source: draft-ietf-plants-merkle-tree-certs, "Subtree Consistency Proofs".
        """
        size = self.size if size is None else size
        self._check(0 <= size <= self.size, f"there are no {size} entries")
        self._check(_is_subtree(start, end, size), f"[{start}, {end}) is no subtree of {size} entries")
        low, high, known, proof = 0, size, True, list[bytes]()
        while (low, high) != (start, end):
            middle = low + _split(high - low)
            if end <= middle:
                proof.append(self._hash(middle, high))
                high = middle
            else:
                proof.append(self._hash(low, middle))
                if start < middle:
                    start, known = middle, False
                low = middle
        if not known:
            proof.append(self._hash(low, high))
        return proof[::-1]

    def _full(self, level: int, position: int) -> bytes:
        return bytes(self._levels[level][HASH_BYTES * position : HASH_BYTES * (position + 1)])

    def _hash(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self._full(level, start >> level)
        middle = start + _split(width)
        return node_hash(self._hash(start, middle), self._hash(middle, end))

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            raise ValueError(f"{problem}: this tree has {self.size}")


def leaf_hashes(entries: bytes) -> bytes:
    """`leaf_hash` of entries of 32 bytes each, end to end."""
    return _hash_rows(_LEAF, entries, HASH_BYTES, bulk_sha256(len(entries) // HASH_BYTES))


def root_of(leaf_hashes: bytes) -> bytes:
    """Root of the tree with these leaf hashes, end to end: as that of `Tree`, which is not kept.

    Level by level, where a last hash without a neighbour moves up as it is (RFC 6962, section 2.1).
    """
    level, digests = leaf_hashes, bulk_sha256(len(leaf_hashes) // HASH_BYTES)
    while len(level) > HASH_BYTES:
        paired = len(level) // (2 * HASH_BYTES) * 2 * HASH_BYTES
        level = _hash_rows(_NODE, level[:paired], 2 * HASH_BYTES, digests) + level[paired:]
    return level or EMPTY_ROOT


def bulk_sha256(times: int) -> Callable[[Iterable[bytes]], list[bytes]]:
    """`sha256` of many messages, in the way that is quickest for so many."""
    if times < _MANY:
        return lambda messages: [sha256(message) for message in messages]
    import hashlib  # three times quicker for short messages; a device never comes here

    return lambda messages: [digest.digest() for digest in map(hashlib.sha256, messages)]


def _hash_rows(prefix: bytes, rows: bytes, width: int, digests: Callable[[Iterable[bytes]], list[bytes]]) -> bytes:
    """Digests of the prefix and each row, end to end."""
    done = bytearray()
    for start in range(0, len(rows), _CHUNK * width):
        part = rows[start : start + _CHUNK * width]
        done += b"".join(digests([prefix + part[at : at + width] for at in range(0, len(part), width)]))
    return bytes(done)


def verify_inclusion(index: int, size: int, proof: Sequence[bytes], leaf: bytes, root: bytes) -> None:
    """Return if the proof shows that entry `index`, with hash `leaf`, is in the tree of this size and root.

    Raises:
        ProofError: it does not.
    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        raise ProofError(f"a tree of {size} entries has no such entry {index}: the proof is worthless")
    verify_subtree(index, index + 1, size, proof, leaf, root)


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Return if the proof shows that the older tree begins the newer one.

    Raises:
        ProofError: it does not, or the older tree is empty and there is nothing to prove.
    Source: RFC 9162, section 2.1.4.2.
    """
    if old_size < 1:
        raise ProofError("every tree begins with the empty one: there is nothing to prove")
    verify_subtree(0, old_size, size, proof, old_root, root)


def verify_subtree(start: int, end: int, size: int, proof: Sequence[bytes], subtree_root: bytes, root: bytes) -> None:
    """Return if the proof shows that the entries [start, end) are a subtree of the tree, each with its root.

    Raises:
        ProofError: it does not.
    """
    if start == end and 0 <= end <= size:
        if proof or subtree_root != EMPTY_ROOT:
            raise ProofError("no entries have no proof and a fixed hash: the proof is worthless")
        return
    if implied_roots(start, end, size, proof, subtree_root) != (subtree_root, root):
        raise ProofError(
            f"entries [{start}, {end}) with these hashes are not in the tree of {size} entries with this root: "
            "the proof, the entries or the tree were changed"
        )


def implied_roots(start: int, end: int, size: int, proof: Sequence[bytes], subtree_root: bytes) -> tuple[bytes, bytes]:
    """Roots of the subtree [start, end) and of the whole tree, as this proof would have them.

    Args:
        subtree_root: used where the proof does not say it: where [start, end) is a full subtree.

    Raises:
        ProofError: no proof of such a subtree can look like this.
    Source: draft-ietf-plants-merkle-tree-certs, "Verifying a Subtree Consistency Proof"; of RFC 9162 the
        same with start 0 or a single entry.
    """
    if size > LARGEST_SIZE or not _is_subtree(start, end, size):
        raise ProofError(f"[{start}, {end}) is no subtree of a tree of {size} entries: the proof is worthless")
    if any(len(node) != HASH_BYTES for node in proof):
        raise ProofError(f"every hash of a proof has {HASH_BYTES} bytes: the proof is damaged")
    first, last, end_of_tree = start, end - 1, size - 1
    # The largest full subtree at the right edge of [start, end), or all of it, needs no hash of its own.
    while first != last and (last & 1 or last == end_of_tree):
        first, last, end_of_tree = first >> 1, last >> 1, end_of_tree >> 1
    nodes = list(proof)
    if first != last and not nodes:
        raise ProofError("the proof is too short")
    subtree = whole = subtree_root if first == last else nodes.pop(0)
    for node in nodes:
        if end_of_tree == 0:
            raise ProofError("the proof is too long")
        if last & 1 or last == end_of_tree:
            if first < last:
                subtree = node_hash(node, subtree)
            whole = node_hash(node, whole)
            while not last & 1:
                first, last, end_of_tree = first >> 1, last >> 1, end_of_tree >> 1
        else:
            whole = node_hash(whole, node)
        first, last, end_of_tree = first >> 1, last >> 1, end_of_tree >> 1
    if end_of_tree != 0:
        raise ProofError("the proof is too short")
    return subtree, whole


def _split(width: int) -> int:
    """Largest power of two smaller than `width` (>= 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _is_subtree(start: int, end: int, size: int) -> bool:
    return 0 <= start < end <= size and start % (1 << (end - start - 1).bit_length()) == 0
