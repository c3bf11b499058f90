"""The bytes of the protocol: fixed sizes, big-endian, nothing optional. Strict; knows nothing of what is safe.

Every message begins with the protocol version and its kind, one byte each. A bitmap has its first flag in the
highest bit of its first byte; unused bits are zero. Lengths follow from what the reader knows already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import MalformedMessageError, TamperedError
from backrow.privacy.ledger.tree import HASH_BYTES
from backrow.privacy.secagg.sealing import PUBLIC_KEY_BYTES, SEAL_BYTES
from backrow.privacy.secagg.session import DIGEST_BYTES, Session
from backrow.privacy.secagg.shamir import SHARE_BYTES
from backrow.privacy.signing import SIGNATURE_BYTES

VERSION = 1
_PREFIX_BYTES = 2
KEYS_BYTES = 3 * PUBLIC_KEY_BYTES
ADVERTISEMENT_BYTES = KEYS_BYTES + SIGNATURE_BYTES
BOX_BYTES = 2 * SHARE_BYTES + SEAL_BYTES

Uint32Array = NDArray[np.uint32]


class Kind(IntEnum):
    """Second byte of a message. Odd: device to coordinator; even: coordinator to device. Never reused."""

    ADVERTISEMENT = 1
    ROSTER = 2
    SHARES = 3
    BOXES = 4
    MASKED = 5
    SURVIVORS = 6
    AGREEMENT = 7
    AGREEMENTS = 8
    ANSWER = 9


@dataclass(frozen=True, slots=True)
class Advertisement:
    """Who a device is and its two X25519 keys of this round, signed with its identity key."""

    identity: bytes
    mask_key: bytes
    seal_key: bytes
    signature: bytes

    @property
    def keys(self) -> bytes:
        """What is signed, after the session's binding."""
        return self.identity + self.mask_key + self.seal_key

    def encode(self) -> bytes:
        """160 bytes, as they stand in a roster."""
        return self.keys + self.signature

    @classmethod
    def of(cls, data: bytes) -> "Advertisement":
        """From 160 bytes."""
        return cls(data[:32], data[32:64], data[64:96], data[96:])


@dataclass(frozen=True, slots=True)
class RosterMessage:
    """Coordinator to device: who advertised, and the neighbours' advertisements.

    Attributes:
        index: the device's own place in the committed cohort.
        members: root of the tree over the committed identity keys.
        names: digest of the committed names.
        keys: root of the tree over all advertisements, in the order of the roster.
        present: bitmap over the committed cohort: who advertised.
        neighbours: their advertisements, by ascending position.
        own_proof: that the device's own advertisement is in `keys`, at its position.
        proof: that they, and the device, are in the committed cohort.
    """

    index: int
    members: bytes
    names: bytes
    keys: bytes
    present: bytes
    neighbours: tuple[Advertisement, ...]
    own_proof: tuple[bytes, ...]
    proof: tuple[bytes, ...]


def encode_advertisement(advertisement: Advertisement) -> bytes:
    """Step 1, device to coordinator."""
    return _message(Kind.ADVERTISEMENT, advertisement.encode())


def decode_advertisement(data: bytes) -> Advertisement:
    """Raises MalformedMessageError, as all decoders of this module."""
    return Advertisement.of(_body(data, Kind.ADVERTISEMENT, ADVERTISEMENT_BYTES))


def encode_roster(message: RosterMessage) -> bytes:
    """Step 2, coordinator to device."""
    counts = len(message.neighbours).to_bytes(2, "big") + len(message.own_proof).to_bytes(1, "big")
    head = message.index.to_bytes(4, "big") + counts
    digests = message.members + message.names + message.keys
    listed = b"".join(advertisement.encode() for advertisement in message.neighbours)
    proofs = b"".join((*message.own_proof, *message.proof))
    return _message(Kind.ROSTER, head + digests + message.present + listed + proofs)


def decode_roster(data: bytes, devices: int) -> RosterMessage:
    """`devices`: size of the committed cohort."""
    bitmap = bitmap_bytes(devices)
    digests = 4 + 2 + 1
    head = digests + 3 * DIGEST_BYTES
    body = _body(data, Kind.ROSTER)
    if len(body) < head + bitmap:
        raise MalformedMessageError(f"a roster of {len(data)} bytes was cut off")
    count, depth = int.from_bytes(body[4:6], "big"), body[6]
    start = head + bitmap
    listed = start + count * ADVERTISEMENT_BYTES
    end = listed + depth * HASH_BYTES
    # Each leaf of a proof needs one hash a level at most.
    most = end + (count + 1) * HASH_BYTES * devices.bit_length()
    if depth > devices.bit_length() or not end <= len(body) <= most or (len(body) - end) % HASH_BYTES:
        raise MalformedMessageError(f"a roster of {count} neighbours cannot have {len(data)} bytes")
    flags(body[head:start], devices)
    return RosterMessage(
        index=int.from_bytes(body[:4], "big"),
        members=body[digests : digests + 32],
        names=body[digests + 32 : digests + 64],
        keys=body[digests + 64 : head],
        present=body[head:start],
        neighbours=tuple(map(Advertisement.of, _pieces(body[start:listed], ADVERTISEMENT_BYTES))),
        own_proof=tuple(_pieces(body[listed:end], HASH_BYTES)),
        proof=tuple(_pieces(body[end:], HASH_BYTES)),
    )


def encode_shares(commitment: bytes, boxes: Sequence[bytes]) -> bytes:
    """Step 2, device to coordinator: commitment to the self-mask seed, a box for each neighbour."""
    return _message(Kind.SHARES, commitment + b"".join(boxes))


def decode_shares(data: bytes, neighbours: int) -> tuple[bytes, list[bytes]]:
    """Commitment and boxes."""
    body = _body(data, Kind.SHARES, DIGEST_BYTES + neighbours * BOX_BYTES)
    return body[:DIGEST_BYTES], _pieces(body[DIGEST_BYTES:], BOX_BYTES)


def encode_boxes(shared: Sequence[bool], boxes: Sequence[bytes]) -> bytes:
    """Step 3, coordinator to device: which neighbours shared, and their boxes for this device."""
    return _flagged(Kind.BOXES, shared, boxes)


def decode_boxes(data: bytes, neighbours: int) -> tuple[tuple[bool, ...], list[bytes]]:
    """Flag of each neighbour; a box for each flag that is set."""
    return _flagged_in(data, Kind.BOXES, neighbours, BOX_BYTES)


def encode_masked(session: Session, vector: Uint32Array) -> bytes:
    """Step 3, device to edge: the masked vector, with the session it belongs to in front."""
    return _message(Kind.MASKED, session.binding("masked") + vector.astype("<u4", copy=False).tobytes())


def decode_masked(data: bytes, session: Session) -> Uint32Array:
    """The masked vector, shape (dimension,), read-only.

    Raises:
        TamperedError: it belongs to another round, question, cohort or run.
    """
    body = memoryview(_checked(data, Kind.MASKED, DIGEST_BYTES + 4 * session.dimension))[_PREFIX_BYTES:]
    if body[:DIGEST_BYTES] != session.binding("masked"):
        raise TamperedError("a masked vector belongs to another round, question, cohort or run: it is not added")
    return np.frombuffer(body, dtype="<u4", offset=DIGEST_BYTES).astype(np.uint32, copy=False)


def encode_survivors(survivors: bytes, signature: bytes) -> bytes:
    """Step 4, coordinator to device: frozen bitmap over the roster, and the coordinator's signature."""
    return _message(Kind.SURVIVORS, survivors + signature)


def decode_survivors(data: bytes, roster_size: int) -> tuple[bytes, bytes]:
    """Bitmap and signature."""
    size = bitmap_bytes(roster_size)
    body = _body(data, Kind.SURVIVORS, size + SIGNATURE_BYTES)
    flags(body[:size], roster_size)
    return body[:size], body[size:]


def encode_agreement(signature: bytes) -> bytes:
    """Step 4, device to coordinator."""
    return _message(Kind.AGREEMENT, signature)


def decode_agreement(data: bytes) -> bytes:
    """The signature."""
    return _body(data, Kind.AGREEMENT, SIGNATURE_BYTES)


def encode_agreements(signed: Sequence[bool], signatures: Sequence[bytes]) -> bytes:
    """Step 5, coordinator to device: which neighbours countersigned, and their signatures."""
    return _flagged(Kind.AGREEMENTS, signed, signatures)


def decode_agreements(data: bytes, neighbours: int) -> tuple[tuple[bool, ...], list[bytes]]:
    """Flag of each neighbour; a signature for each flag that is set."""
    return _flagged_in(data, Kind.AGREEMENTS, neighbours, SIGNATURE_BYTES)


def encode_answer(shares: Sequence[bytes]) -> bytes:
    """Step 5, device to coordinator: one share for each neighbour that shared."""
    return _message(Kind.ANSWER, b"".join(shares))


def decode_answer(data: bytes, shares: int) -> list[bytes]:
    """The shares."""
    return _pieces(_body(data, Kind.ANSWER, shares * SHARE_BYTES), SHARE_BYTES)


def bitmap_bytes(size: int) -> int:
    """Bytes of a bitmap with so many flags."""
    return (size + 7) // 8


def bitmap(values: Sequence[bool] | NDArray[np.bool_]) -> bytes:
    """Bytes of these flags."""
    return np.packbits(np.asarray(values, dtype=bool)).tobytes()


def flags(data: bytes, size: int) -> NDArray[np.bool_]:
    """The flags of a bitmap.

    Raises:
        MalformedMessageError: wrong length, or an unused bit is set.
    """
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8)).astype(bool)
    if len(data) != bitmap_bytes(size) or bits[size:].any():
        raise MalformedMessageError(f"{len(data)} bytes are no bitmap of {size} flags")
    return bits[:size]


def _message(kind: Kind, body: bytes) -> bytes:
    return bytes([VERSION, kind]) + body


def _checked(data: bytes, kind: Kind, size: int | None = None) -> bytes:
    if not isinstance(data, bytes) or len(data) < _PREFIX_BYTES:
        raise MalformedMessageError("a message of the secure sum was cut off")
    if data[0] != VERSION:
        raise MalformedMessageError(f"version {data[0]} of the secure sum is not supported: update the SDK")
    if data[1] != kind:
        raise MalformedMessageError(f"expected message {kind.name} of the secure sum, got kind {data[1]}")
    if size is not None and len(data) != _PREFIX_BYTES + size:
        raise MalformedMessageError(f"message {kind.name} has {_PREFIX_BYTES + size} bytes here, got {len(data)}")
    return data


def _body(data: bytes, kind: Kind, size: int | None = None) -> bytes:
    return _checked(data, kind, size)[_PREFIX_BYTES:]


def _flagged(kind: Kind, which: Sequence[bool], pieces: Sequence[bytes]) -> bytes:
    return _message(kind, bitmap(which) + b"".join(pieces))


def _flagged_in(data: bytes, kind: Kind, size: int, piece: int) -> tuple[tuple[bool, ...], list[bytes]]:
    body, head = _body(data, kind), bitmap_bytes(size)
    which = flags(body[:head], size).tolist()
    if len(body) != head + piece * sum(which):
        raise MalformedMessageError(f"message {kind.name} with {sum(which)} parts cannot have {len(data)} bytes")
    return tuple(which), _pieces(body[head:], piece)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
