"""Random sources: keyed streams that never serve two uses."""

import copy
import hashlib
import hmac
import os
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from backrow.privacy.randomness import OsRandom, Purpose, RandomSource, SeededRandom


def by_hand(seed: bytes, info: bytes, blocks: int) -> bytes:
    """HKDF-SHA256 (RFC 5869) and AES-256-CTR from a zero counter, step by step."""
    extracted = hmac.new(b"backrow/randomness/1", seed, hashlib.sha256).digest()
    key = hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()
    counters = b"".join(number.to_bytes(16, "big") for number in range(blocks))
    return Cipher(AES256(key), ECB()).encryptor().update(counters)


def test_a_seeded_stream_is_aes_ctr_under_an_hkdf_key() -> None:
    seed, info = b"i\x01\0\0\0\x01", b"\x01" + b"s\x01\0\0\0a" + b"i\x01\0\0\0\x02"
    assert SeededRandom(1, "a", 2).bytes(64) == by_hand(seed, info, 4)


def test_seeded_streams_stay_what_they_are() -> None:
    # Frozen: runs with the same seed must give the same releases in every version.
    assert SeededRandom(1, "a", 2).bytes(16).hex() == "01331c0c00751bc8f0ad2030de0a07ff"
    assert SeededRandom(1, "a", 2).seed64() == 3443221577249800006


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), (2,)),
        ((0,), (-1,)),
        ((1, "ab"), (1, "a", "b")),
        ((1, "1"), (1, 1)),
        ((1, ""), (1,)),
        ((1, 255), (1, -1)),
        ((1, 2**64), (1, 0)),
        ((1, "a", "b"), (1, "b", "a")),
    ],
)
def test_different_seeds_or_labels_give_different_streams(
    one: tuple[int | str, ...], other: tuple[int | str, ...]
) -> None:
    assert SeededRandom(int(one[0]), *one[1:]).bytes(32) != SeededRandom(int(other[0]), *other[1:]).bytes(32)


def test_every_purpose_has_a_stream_of_its_own() -> None:
    streams = {SeededRandom(1, purpose).bytes(16) for purpose in Purpose}
    assert len(streams) == len(Purpose)


def test_bits_generator_and_seed_of_one_source_are_unrelated() -> None:
    source = SeededRandom(1, "a")
    stream = SeededRandom(1, "a").uint64(4)
    assert source.seed64() not in stream.tolist()
    assert not set(source.numpy().bit_generator.random_raw(4).tolist()) & set(stream.tolist())


def test_a_child_is_the_source_with_both_labels() -> None:
    parent = SeededRandom(3, "round")
    parent.bytes(100)
    assert parent.child(7, "x").bytes(32) == SeededRandom(3, "round", 7, "x").bytes(32)


def test_a_child_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat its parent"):
        SeededRandom(3).child()


def test_asking_for_the_generator_twice_gives_the_same_numbers() -> None:
    source = SeededRandom(3, "split")
    np.testing.assert_array_equal(source.numpy().random(5), source.numpy().random(5))


def test_portions_do_not_change_the_stream() -> None:
    whole, parts = SeededRandom(5), SeededRandom(5)
    assert whole.bytes(56) == parts.bytes(3) + parts.bytes(0) + parts.bytes(13) + parts.uint64(5).tobytes()


def test_numbers_are_little_endian_bytes_of_the_stream() -> None:
    expected = [int.from_bytes(SeededRandom(5).bytes(24)[at : at + 8], "little") for at in (0, 8, 16)]
    numbers = SeededRandom(5).uint64(3)
    assert numbers.dtype == np.uint64
    assert numbers.tolist() == expected


@pytest.mark.parametrize("label", [1.5, None, b"a"])
def test_labels_are_text_or_integers(label: object) -> None:
    with pytest.raises(TypeError):
        SeededRandom(1, label)  # type: ignore[arg-type]


def test_two_sources_of_the_system_differ() -> None:
    assert OsRandom().bytes(32) != OsRandom().bytes(32)


def test_only_a_seeded_source_is_stamped_simulated() -> None:
    sources: list[RandomSource] = [OsRandom(), SeededRandom(0)]
    assert [source.simulated for source in sources] == [False, True]


@pytest.mark.parametrize("source", [OsRandom(), SeededRandom(1)])
def test_a_source_cannot_be_copied_or_sent(source: RandomSource) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or sent"):
            attempt(source)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_does_not_repeat_its_parents_noise() -> None:
    source = OsRandom()
    source.bytes(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, source.bytes(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 32) != source.bytes(32)
