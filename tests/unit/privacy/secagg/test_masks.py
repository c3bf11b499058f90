import numpy as np
import pytest

from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.masks import HALF, add_mask, from_ring, mask_key, to_ring

KEY = bytes(range(32))


def mask(key: bytes, size: int) -> np.ndarray:
    total = np.zeros(size, np.uint32)
    add_mask(total, key)
    return total


def test_the_mask_is_the_keystream_of_the_published_cipher() -> None:
    # Encrypting zero blocks: AESAVS (NIST), 256-bit key of one leading one, plaintext zero.
    block = bytes.fromhex("e35a6dcb19b201a01ebcfa8aa22b5759")
    key = bytes([0x80]) + bytes(31)
    assert mask(key, 4).astype("<u4").tobytes() == block


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 2**16 - 1, 2**16, 2**16 + 1, 3 * 2**16 + 7])
def test_a_mask_does_not_depend_on_the_portions_it_is_made_in(size: int) -> None:
    assert np.array_equal(mask(KEY, size), mask(KEY, 4 * 2**16)[:size])


def test_adding_and_subtracting_wrap_around_and_undo_one_another() -> None:
    vector = np.full(70_000, 2**32 - 1, np.uint32)
    add_mask(vector, KEY)
    assert np.array_equal(vector, mask(KEY, 70_000) - np.uint32(1))
    add_mask(vector, KEY, subtract=True)
    assert (vector == 2**32 - 1).all()


def test_masks_of_pairs_cancel_and_the_sum_is_exact_to_both_bounds() -> None:
    random = SeededRandom(1).numpy()
    answers = random.integers(-(2**20), 2**20, size=(5, 1000))
    answers[:, 0], answers[:, 1] = -(HALF // 5), (HALF - 1) // 5
    answers[0, 0] -= HALF % 5
    answers[0, 1] += (HALF - 1) % 5
    sent = [to_ring(answer) for answer in answers]
    for low in range(5):
        for high in range(low + 1, 5):
            key = mask_key(KEY, bytes([low, high]))
            add_mask(sent[low], key)
            add_mask(sent[high], key, subtract=True)
    total = from_ring(np.sum(sent, axis=0, dtype=np.uint32))
    assert np.array_equal(total, answers.sum(axis=0))
    assert total[0] == -HALF
    assert total[1] == HALF - 1


@pytest.mark.parametrize("number", [HALF, -HALF - 1, 2**62, -(2**63)])
def test_a_number_that_would_come_back_as_another_is_refused(number: int) -> None:
    with pytest.raises(UnsafePlanError, match="wrap around"):
        to_ring(np.array([0, number]))


def test_numbers_at_the_bounds_come_back() -> None:
    numbers = np.array([[-HALF, HALF - 1], [0, -1]])
    assert np.array_equal(from_ring(to_ring(numbers)), numbers)
    assert to_ring(np.empty(0, np.int64)).size == 0


def test_only_whole_numbers_enter_the_ring() -> None:
    with pytest.raises(ValueError, match="round first"):
        to_ring(np.array([np.nan]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint32"):
        from_ring(np.array([1]))  # type: ignore[arg-type]


def test_a_key_belongs_to_one_secret_and_one_purpose() -> None:
    keys = {mask_key(secret, info) for secret in (KEY, KEY[::-1]) for info in (b"round 1", b"round 2")}
    assert len(keys) == 4
    for secret, info in ((KEY[1:], b"x"), (KEY, b"")):
        with pytest.raises(ValueError, match="derived"):
            mask_key(secret, info)


def test_a_vector_that_cannot_be_masked_in_place_is_refused() -> None:
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for vector in (np.zeros(4, np.int64), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2], frozen):
        with pytest.raises(ValueError, match="writable contiguous"):
            add_mask(vector, KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="32 bytes"):
        add_mask(np.zeros(4, np.uint32), KEY[:16])
