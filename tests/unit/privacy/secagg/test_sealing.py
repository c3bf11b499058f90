import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from backrow.privacy.errors import TamperedError, WeakKeyError
from backrow.privacy.randomness import OsRandom, SeededRandom
from backrow.privacy.secagg.sealing import SEAL_BYTES, KeyPair, check_public_key, open_sealed, seal
from backrow.privacy.secagg.shamir import PRIME

P = 2**255 - 19
ORDER_8 = [
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
"""As printed in Bernstein's Curve25519 validation advice, next to 0, 1 and -1."""


def spelled(number: int) -> bytes:
    return number.to_bytes(32, "little")


def low_order(number: int) -> bool:
    """Whether any product with this point is zero, as the library says it."""
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(spelled(number)))
    except ValueError:
        return True
    return False


def test_both_sides_agree_and_nobody_else() -> None:
    one, other, third = (KeyPair.generate(SeededRandom(1, label)) for label in "abc")
    assert one.exchange(other.public) == other.exchange(one.public)
    assert one.exchange(other.public) != one.exchange(third.public)


def test_the_key_agreement_is_that_of_rfc_7748() -> None:
    # Section 6.1.
    alice = KeyPair(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert alice.exchange(bob.public).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_a_secret_key_can_be_shared() -> None:
    pairs = [KeyPair.generate(OsRandom()) for _ in range(20)]
    assert all(int.from_bytes(pair.secret, "big") < PRIME for pair in pairs)
    assert all(KeyPair(pair.secret).public == pair.public for pair in pairs)
    assert len({pair.public for pair in pairs}) == 20


@pytest.mark.parametrize("number", [0, 1, P - 1, *ORDER_8])
def test_a_key_of_low_order_is_refused(number: int) -> None:
    assert low_order(number)
    with pytest.raises(WeakKeyError, match="low order"):
        KeyPair.generate(SeededRandom(2)).exchange(spelled(number))


def test_no_other_small_number_is_of_low_order() -> None:
    for number in [*range(2, 300), *range(P - 300, P - 1)]:
        assert not low_order(number)
        check_public_key(spelled(number))


@pytest.mark.parametrize("number", [P, P + 1, P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_a_key_spelled_in_a_second_way_is_refused(number: int) -> None:
    with pytest.raises(WeakKeyError, match="second way"):
        check_public_key(spelled(number))


def test_the_library_would_take_the_second_spelling_for_the_same_key() -> None:
    pair, peer = (KeyPair.generate(SeededRandom(3, label)) for label in "ab")
    other = peer.public[:31] + bytes([peer.public[31] | 0x80])
    key = X25519PrivateKey.from_private_bytes(pair.secret)
    assert key.exchange(X25519PublicKey.from_public_bytes(other)) == pair.exchange(peer.public)


def test_keys_of_another_length_are_refused() -> None:
    with pytest.raises(WeakKeyError, match="32 bytes"):
        check_public_key(bytes(31))
    with pytest.raises(ValueError, match="32 bytes"):
        KeyPair(bytes(33))
    for use in (seal, open_sealed):
        with pytest.raises(ValueError, match="32 bytes"):
            use(bytes(16), b"", bytes(40))


def test_a_key_pair_cannot_be_printed() -> None:
    pair = KeyPair.generate(SeededRandom(4))
    assert pair.secret.hex() not in f"{pair!r} {pair}"


def test_a_box_opens_only_with_its_key_and_purpose_and_unchanged() -> None:
    key, box = bytes(range(32)), seal(bytes(range(32)), b"from 1 to 2", b"two shares")
    assert len(box) == len(b"two shares") + SEAL_BYTES
    assert open_sealed(key, b"from 1 to 2", box) == b"two shares"
    changed = [box[:at] + bytes([box[at] ^ 1]) + box[at + 1 :] for at in range(len(box))]
    for wrong in (
        (key[::-1], b"from 1 to 2", box),
        (key, b"from 2 to 1", box),
        *((key, b"from 1 to 2", c) for c in changed),
    ):
        with pytest.raises(TamperedError, match="nothing of it is used"):
            open_sealed(*wrong)


@pytest.mark.parametrize("length", [0, 15])
def test_a_box_shorter_than_its_seal_is_no_box(length: int) -> None:
    with pytest.raises(TamperedError):
        open_sealed(bytes(32), b"", bytes(length))
