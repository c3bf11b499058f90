import pytest

from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.shamir import PRIME, Interpolation, draw, split
from tests.vectors.make_secagg import Coins


def is_prime(number: int) -> bool:
    """Miller and Rabin, 40 bases: a composite passes with chance 2^-80."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        x = pow(base, odd, number)
        if x not in (1, number - 1) and all((x := x * x % number) != number - 1 for _ in range(twos - 1)):
            return False
    return True


def test_the_prime_is_the_largest_below_two_to_the_256() -> None:
    assert PRIME == 2**256 - 189
    assert is_prime(PRIME)
    assert not any(is_prime(number) for number in range(PRIME + 1, 2**256))


def test_numbers_beyond_the_prime_are_passed_over() -> None:
    assert draw(Coins([PRIME, 2**256 - 1, PRIME - 1])) == PRIME - 1


def test_shares_are_values_of_the_drawn_polynomial() -> None:
    # 7 + 5 x + 3 x^2
    assert split(7, 3, (1, 2, 10), Coins([5, 3])) == (15, 29, 357)
    assert Interpolation((1, 2, 10)).combine((15, 29, 357)) == 7


def test_a_threshold_of_one_shares_the_secret_itself() -> None:
    assert split(9, 1, (1, 2), SeededRandom(0)) == (9, 9)
    assert Interpolation((2,)).combine((9,)) == 9


def test_one_false_share_gives_another_secret() -> None:
    shares = list(split(123, 4, range(1, 8), SeededRandom(1)))
    shares[2] = (shares[2] + 1) % PRIME
    assert Interpolation((1, 2, 3, 4)).combine(shares[:4]) != 123
    assert Interpolation((4, 5, 6, 7)).combine(shares[3:]) == 123


@pytest.mark.parametrize("secret", [-1, PRIME])
def test_a_secret_beyond_the_field_is_refused(secret: int) -> None:
    with pytest.raises(ValueError, match="PRIME - 1"):
        split(secret, 2, (1, 2), SeededRandom(2))


@pytest.mark.parametrize("threshold", [-1, 0, 3])
def test_a_threshold_that_the_shares_cannot_have_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold"):
        split(1, threshold, (1, 2), SeededRandom(3))


@pytest.mark.parametrize("points", [(0, 1), (1, 1), (1, PRIME), (-1, 2)])
def test_the_point_zero_points_twice_and_points_beyond_the_field_are_refused(points: tuple[int, int]) -> None:
    # At zero the share would be the secret.
    with pytest.raises(ValueError, match="points of shares"):
        split(1, 2, points, SeededRandom(4))
    with pytest.raises(ValueError, match="points of shares"):
        Interpolation(points)


def test_what_is_no_share_is_refused() -> None:
    for values in ((1, PRIME), (1, -1), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"share is a number|zip"):
            Interpolation((1, 2)).combine(values)
    with pytest.raises(ValueError, match="no share"):
        Interpolation(())
