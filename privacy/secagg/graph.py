"""Who is whose neighbour: places on a ring in an order that the seed decides, joined to the nearest on both sides.

Everybody computes it from the seed; nobody is told.
"""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from backrow.privacy.errors import SurvivorsError

IntArray = NDArray[np.int64]

SEED_BYTES = 32


def ring(seed: bytes, devices: int) -> IntArray:
    """Positions on the roster in ring order, shape (devices,).

    Each position draws 64 bits from AES-256-CTR under the seed (counter from zero, little-endian), and the
    smallest draw comes first; of equal draws the lower position.

    Args:
        seed: 32 bytes that nobody could choose, used for nothing else.

    Raises:
        ValueError: another length, or fewer than 3 devices.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"the seed of a graph has {SEED_BYTES} bytes, got {len(seed)}")
    if devices < 3:
        raise ValueError(f"a graph joins at least 3 devices, got {devices}")
    stream = Cipher(AES256(seed), CTR(bytes(16))).encryptor().update(bytes(8 * devices))
    return np.argsort(np.frombuffer(stream, dtype="<u8"), kind="stable").astype(np.int64, copy=False)


def all_neighbours(seed: bytes, devices: int, neighbours: int) -> IntArray:
    """Neighbours of every position, shape (devices, neighbours), each row ascending. The coordinator runs it.

    Being neighbours is mutual. With an even number they are the nearest on the ring, half on each side; the
    only odd number is devices - 1: all others.

    Raises:
        ValueError: no such graph, or a seed of another length.
    """
    order, offsets = ring(seed, devices), _offsets(devices, neighbours)
    rows = np.empty((devices, neighbours), np.int64)
    rows[order] = np.sort(order[(np.arange(devices)[:, None] + offsets) % devices], axis=1)
    return rows


def neighbours_of(seed: bytes, devices: int, neighbours: int, position: int) -> tuple[int, ...]:
    """Neighbours of one position, ascending. The device runs it: the same row as of `all_neighbours`.

    Raises:
        ValueError: no such graph or position, or a seed of another length.
    """
    if not 0 <= position < devices:
        raise ValueError(f"there is no position {position} among {devices} devices")
    order = ring(seed, devices)
    (place,) = np.flatnonzero(order == position)
    return tuple(sorted(order[(place + _offsets(devices, neighbours)) % devices].tolist()))


def check_gaps(seed: bytes, survived: Sequence[bool], neighbours: int, largest: int) -> None:
    """Return if no neighbours / 2 places in a row on the ring lack more survivors than `largest`, else raise.

    The device runs it before it countersigns who survived, the coordinator before it asks.

    Args:
        survived: by position, for everybody on the roster.
        largest: from `parameters.largest_gap`.

    Raises:
        SurvivorsError: a gap is larger: the sum could come apart there.
        ValueError: a seed of another length, or fewer than 3 devices.
    """
    missing = ~np.asarray(survived, bool)[ring(seed, len(survived))]
    row = neighbours // 2
    counts = np.cumsum(np.concatenate([[0], missing, missing[: row - 1]]))
    most = int(np.max(counts[row:] - counts[:-row]))
    if most > largest:
        raise SurvivorsError(
            f"{most} of {row} devices in a row are missing, {largest} may: the sum could come apart there; "
            "the round is void, its budget stays reserved"
        )


def _offsets(devices: int, neighbours: int) -> IntArray:
    if neighbours == devices - 1:
        return np.arange(1, devices)
    if not (2 <= neighbours < devices and neighbours % 2 == 0):
        raise ValueError(f"no graph joins each of {devices} devices to {neighbours} others: take an even number")
    steps = np.arange(1, neighbours // 2 + 1)
    return np.concatenate([-steps, steps])
