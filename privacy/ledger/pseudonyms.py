"""Who took part and who opted out, without saying who: sorted Merkle trees of keyed hashes of pseudonyms. Pure.

The ledger holds a list's size and root. Who holds the key and both lists checks that they do not meet
(`check_disjoint`). Who opted out, or says that she never took part, proves her absence from a committed list
by the two neighbours between which she would stand (`PseudonymList.prove_absence`); the neighbours' hashes
say nothing to those without the key.

Limits: whoever holds the key can test any pseudonym he can guess. A proof of absence trusts that the list is
sorted, which the auditor sees who holds the list; and it is absence from the list, not from the sum.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from backrow.privacy.errors import OptOutError, ProofError
from backrow.privacy.ledger.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    Tree,
    bulk_sha256,
    leaf_hash,
    leaf_hashes,
    root_of,
    verify_inclusion,
)
from backrow.privacy.names import Names

KEY_BYTES = 32
_HMAC_BLOCK = 64
_PSEUDONYM, _KEY = b"backrow/pseudonym/1\x00", b"backrow/pseudonym-key/1\x00"


def keyed_hash(key: bytes, pseudonym: str) -> bytes:
    """HMAC-SHA256 of a pseudonym, 32 bytes: the same in every list under one key.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    return _hmac(key, _PSEUDONYM + pseudonym.encode())


def keyed_hashes(key: bytes, pseudonyms: Iterable[str]) -> bytes:
    """`keyed_hash` of many, in their order, end to end.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    _check(key)
    chunks = pseudonyms.chunks() if isinstance(pseudonyms, Names) else [[name.encode() for name in pseudonyms]]
    # HMAC written out (RFC 2104): two hashes, of the key's two paddings before the message and before the first hash.
    filled, hashes = key.ljust(_HMAC_BLOCK, b"\x00"), bytearray()
    inner, outer = (bytes(byte ^ pad for byte in filled) for pad in (0x36, 0x5C))
    inner += _PSEUDONYM
    for chunk in chunks:
        digests = bulk_sha256(len(chunk))
        hashes += b"".join(digests([outer + first for first in digests([inner + name for name in chunk])]))
    return bytes(hashes)


def key_commitment(key: bytes) -> bytes:
    """What the ledger says of a key, 32 bytes: binds to it and tells nothing of it.

    Raises:
        ValueError: the key does not have 32 bytes.
    """
    return _hmac(key, _KEY)


@dataclass(frozen=True, slots=True)
class Commitment:
    """What the ledger says of a list.

    Attributes:
        size: how many pseudonyms.
        root: of the Merkle tree over the sorted keyed hashes, 32 bytes.
    """

    size: int
    root: bytes


EMPTY = Commitment(0, EMPTY_ROOT)
"""The list of nobody."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of a list with its inclusion proof."""

    index: int
    hash: bytes
    proof: tuple[bytes, ...]

    def verify(self, commitment: Commitment) -> None:
        """Return if it is in the list.

        Raises:
            ProofError: it is not.
        """
        verify_inclusion(self.index, commitment.size, self.proof, leaf_hash(self.hash), commitment.root)


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """That a keyed hash is not in a list: the entries just before and after it. None: there is none."""

    before: Neighbour | None
    after: Neighbour | None

    def verify(self, absent: bytes, commitment: Commitment) -> None:
        """Return if `absent` (its keyed hash, 32 bytes) is not in the committed list.

        Raises:
            ProofError: the proof does not show it.
        """
        if len(absent) != HASH_BYTES:
            raise ProofError(f"a keyed hash has {HASH_BYTES} bytes, got {len(absent)}: ask for yours again")
        before, after = self.before, self.after
        for neighbour in (before, after):
            if neighbour is not None:
                neighbour.verify(commitment)
        starts, ends = (0 if before is None else before.index + 1), (commitment.size if after is None else after.index)
        if starts != ends or (commitment.size == 0 and commitment != EMPTY):
            raise ProofError("the proof's entries are not neighbours in the committed list: it proves nothing")
        if (before is not None and before.hash >= absent) or (after is not None and after.hash <= absent):
            raise ProofError("the proof's entries do not enclose this pseudonym: it proves nothing about it")


class PseudonymList:
    """A list as the coordinator keeps it and the auditor rebuilds it: sorted, without doubles.

    Args:
        key: 32 bytes, secret; known to the coordinator and to whoever audits the list.
        pseudonyms: in any order.

    Raises:
        ValueError: a pseudonym is named twice.
    """

    def __init__(self, key: bytes, pseudonyms: Iterable[str]) -> None:
        self.key_commitment = key_commitment(key)
        hashes = np.sort(np.frombuffer(keyed_hashes(key, pseudonyms), dtype=f"S{HASH_BYTES}"))
        if np.any(hashes[:-1] == hashes[1:]):
            raise ValueError("a pseudonym is named twice in one list: remove the double")
        self._hashes = _Hashes(hashes.tobytes())

    @cached_property
    def commitment(self) -> Commitment:
        """Size and root, for the ledger."""
        return Commitment(len(self._hashes), root_of(leaf_hashes(self._hashes.packed)))

    @cached_property
    def _tree(self) -> Tree:
        return Tree(map(leaf_hash, self._hashes))

    @property
    def hashes(self) -> frozenset[bytes]:
        """The keyed hashes."""
        return frozenset(self._hashes)

    def prove_absence(self, absent: bytes) -> AbsenceProof:
        """The proof for one keyed hash. Runs on the coordinator, at the owner's request.

        Raises:
            OptOutError: it is in the list.
        """
        if len(absent) != HASH_BYTES:
            raise ValueError(f"a keyed hash has {HASH_BYTES} bytes, got {len(absent)}")
        place = bisect_left(self._hashes, absent)
        after = self._neighbour(place)
        if after is not None and after.hash == absent:
            raise OptOutError("this pseudonym is in the list: there is no absence to prove")
        return AbsenceProof(self._neighbour(place - 1), after)

    def _neighbour(self, index: int) -> Neighbour | None:
        if not 0 <= index < len(self._hashes):
            return None
        return Neighbour(index, self._hashes[index], tuple(self._tree.inclusion_proof(index)))


class _Hashes(Sequence[bytes]):
    """Hashes end to end, read one by one: a million in 32 MB."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed) // HASH_BYTES

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> "_Hashes": ...
    def __getitem__(self, place: int | slice) -> "bytes | _Hashes":
        if isinstance(place, slice):
            return _Hashes(b"".join(self[each] for each in range(*place.indices(len(self)))))
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.packed[place * HASH_BYTES : (place + 1) * HASH_BYTES]


def check_list(listed: PseudonymList, committed: Commitment) -> None:
    """Return if a list is the one that was committed to, sorted and complete. Runs at the auditor's.

    Raises:
        OptOutError: it is another list, or the key is another.
    """
    if listed.commitment != committed:
        raise OptOutError(
            f"the list of {listed.commitment.size} is not the one of {committed.size} in the ledger: "
            "it was changed, or the key is another one"
        )


def check_disjoint(participants: PseudonymList, opted_out: PseudonymList) -> None:
    """Return if nobody is in both lists. Runs on the coordinator before a release and at the auditor's.

    The auditor first compares both with the ledger (`check_list`).

    Raises:
        OptOutError: somebody is; says how many, not who.
        ValueError: the lists were made with different keys and cannot be compared.
    """
    if participants.key_commitment != opted_out.key_commitment:
        raise ValueError("lists under different keys never meet: build both with the key of the participants")
    if both := participants.hashes & opted_out.hashes:
        raise OptOutError(f"{len(both)} devices that had opted out were asked to take part: nothing may be released")


def _check(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of a pseudonym list has {KEY_BYTES} bytes, got {len(key)}")


def _hmac(key: bytes, message: bytes) -> bytes:
    _check(key)
    mac = HMAC(key, SHA256())
    mac.update(message)
    return mac.finalize()
