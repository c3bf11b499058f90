"""Masks have no structure that a coordinator could use; seeds that differ in one bit give unrelated masks.

Every check compares with a point that it exceeds with probability FALSE_ALARM at most if all is well (over keys;
with these keys the outcome is fixed), and each has a control, a mask as others have made it, that must exceed it.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.masks import add_mask, mask_key

FALSE_ALARM = 1e-6
SEED = SeededRandom(1, "masks").bytes(32)

Mask = NDArray[np.uint32]
Maker = Callable[[bytes, int], Mask]


def ours(seed: bytes, size: int) -> Mask:
    total = np.zeros(size, np.uint32)
    add_mask(total, mask_key(seed, b"a test"))
    return total


def folded_twister(seed: bytes, size: int) -> Mask:
    """The control: a seed folded to 28 bits into a Mersenne twister."""
    generator = np.random.RandomState(int.from_bytes(seed, "big") % 2**28)
    return generator.randint(0, 2**32, size, dtype=np.uint32)


def linear_complexity(bits: list[int]) -> int:
    """Length of the shortest linear recurrence over GF(2) that gives these bits (Berlekamp and Massey)."""
    connection, before, length, since, window = 1, 1, 0, 1, 0
    for at, bit in enumerate(bits):
        window = window << 1 | bit
        if (window & connection).bit_count() & 1:
            if 2 * length <= at:
                connection, before, length, since = connection ^ before << since, connection, at + 1 - length, 1
                continue
            connection ^= before << since
        since += 1
    return length


def complexity_deficit(make: Maker, plane: int) -> float:
    """How far a bit plane is from the complexity of random bits. P[|deficit| >= d] < 2^(1 - 2d) for random bits."""
    size = 40_400  # more than twice the 19,937 bits of a Mersenne twister's state
    bits = (make(SEED, size) >> np.uint32(plane) & np.uint32(1)).tolist()
    return abs(linear_complexity(bits) - size / 2)


LARGEST_DEFICIT = 14
"""2^(1 - 28) for each of 32 planes: 2.4e-7 in all."""


@pytest.mark.parametrize("plane", range(32))
def test_no_bit_plane_of_a_mask_is_a_linear_recurrence(plane: int) -> None:
    assert complexity_deficit(ours, plane) < LARGEST_DEFICIT


@pytest.mark.parametrize("plane", [0, 31])
def test_a_mersenne_twister_would_be_noticed_in_every_bit_plane(plane: int) -> None:
    assert complexity_deficit(folded_twister, plane) > LARGEST_DEFICIT


def flipped(seed: bytes, bit: int) -> bytes:
    return (int.from_bytes(seed, "big") ^ 1 << bit).to_bytes(32, "big")


def relation(make: Maker) -> float:
    """Bits in which the mask of a seed agrees with those of the 256 seeds one bit away: least p-value, times 256."""
    size = 1_000
    mask = make(SEED, size)
    agreeing = [int(np.bitwise_count(~(mask ^ make(flipped(SEED, bit), size))).sum()) for bit in range(256)]
    scores = np.abs(np.array(agreeing) - 16 * size) / np.sqrt(8 * size)
    return float(256 * 2 * stats.norm.sf(scores.max()))


def test_seeds_that_differ_in_one_bit_give_unrelated_masks() -> None:
    assert relation(ours) > FALSE_ALARM


def test_a_seed_folded_to_28_bits_would_be_noticed() -> None:
    assert relation(folded_twister) < FALSE_ALARM


def test_a_seed_folded_to_28_bits_is_found_by_trying_and_ours_is_not_there() -> None:
    # A sixteenth of a percent of the folded space, around the right place: seconds; all of it, a minute per core.
    place = int.from_bytes(SEED, "big") % 2**28
    tried = [place + step for step in range(-200, 200)]

    def found(mask: Mask) -> list[int]:
        return [each for each in tried if np.array_equal(folded_twister(each.to_bytes(32, "big"), 4), mask)]

    assert found(folded_twister(SEED, 4)) == [place]
    assert found(ours(SEED, 4)) == []


def byte_frequencies(mask: Mask) -> float:
    """Chi-square of the values of each of the four bytes: least p-value, times 4."""
    places = mask.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return min(1.0, 4 * min(float(stats.chisquare(np.bincount(place, minlength=256)).pvalue) for place in places))


def test_every_byte_of_a_mask_is_uniform() -> None:
    mask = ours(SEED, 500_000)
    assert byte_frequencies(mask) > FALSE_ALARM
    assert byte_frequencies(mask >> np.uint32(1)) < FALSE_ALARM  # control: 31 bits, as non-negative int32
    assert byte_frequencies(mask % np.uint32(4_000_000_000)) < FALSE_ALARM  # control: a modulus below the ring's


def regression(make: Maker) -> float:
    """Slope of masked coordinates on the contribution, 2,000 keys, extreme contributions: p-value."""
    contribution = np.array([-(2**31), 2**31 - 1, 2**20, -(2**20), 0, 1, -1, 2**30] * 4, np.int64)
    total, squares = 0.0, 0.0
    for key in range(2_000):
        masked = contribution.astype(np.uint32) + make(key.to_bytes(32, "big"), contribution.size)
        total += float(masked.view(np.int32).astype(np.float64) @ contribution)
        squares += float(contribution.astype(np.float64) @ contribution)
    # Uniform on the ring: variance 2^64 / 12 at each coordinate.
    return float(2 * stats.norm.sf(abs(total) / np.sqrt(squares * 2.0**64 / 12)))


def test_a_masked_contribution_does_not_lean_towards_the_contribution() -> None:
    assert regression(ours) > FALSE_ALARM


def test_a_mask_narrower_than_the_ring_would_be_noticed() -> None:
    assert regression(lambda seed, size: ours(seed, size) & np.uint32(2**28 - 1)) < FALSE_ALARM


def test_successive_and_distant_coordinates_are_uncorrelated() -> None:
    centred = ours(SEED, 400_000).view(np.int32) / 2.0**31 * np.sqrt(3)
    for lag in (1, 4, 2**16):
        score = centred[lag:] @ centred[:-lag] / np.sqrt(centred.size - lag)
        assert 2 * stats.norm.sf(abs(score)) > FALSE_ALARM
    repeated = np.tile(centred[:1_000], 400)  # control: a keystream that begins again
    assert 2 * stats.norm.sf(abs(repeated[1_000:] @ repeated[:-1_000]) / np.sqrt(399_000)) < FALSE_ALARM
