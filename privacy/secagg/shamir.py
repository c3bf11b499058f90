"""Shamir's sharing of numbers below a 256-bit prime: any `threshold` shares give the secret, fewer give nothing."""

import math
from collections.abc import Sequence

from backrow.privacy.randomness import RandomSource

PRIME = 2**256 - 189
"""The largest prime below 2^256. Secrets and shares are below it, so 32 bytes hold each."""
SHARE_BYTES = 32


def draw(random: RandomSource) -> int:
    """A uniform number below PRIME: the next 32 bytes, big-endian, passed over while they are too large."""
    while (number := int.from_bytes(random.bytes(SHARE_BYTES), "big")) >= PRIME:
        pass
    return number


def split(secret: int, threshold: int, points: Sequence[int], random: RandomSource) -> tuple[int, ...]:
    """One share for each point: values there of a random polynomial whose value at 0 is the secret.

    Args:
        secret: 0 <= secret < PRIME.
        threshold: how many shares give the secret back, 1 <= threshold <= number of points.
        points: one for each holder, different, 1 <= point < PRIME.
        random: threshold - 1 coefficients are drawn, the one of x first.

    Guarantees: fewer shares than the threshold have the same joint law whatever the secret is.

    Raises:
        ValueError: an argument is out of range.
    Source: Shamir 1979, "How to share a secret".
    """
    _check_points(points)
    if not 0 <= secret < PRIME:
        raise ValueError("a secret that can be shared is a number from 0 to PRIME - 1")
    if not 1 <= threshold <= len(points):
        raise ValueError(f"{len(points)} shares cannot have the threshold {threshold}")
    coefficients = [draw(random) for _ in range(threshold - 1)][::-1]
    shares = []
    for point in points:
        value = 0
        for coefficient in coefficients:
            value = (value + coefficient) * point % PRIME
        shares.append((value + secret) % PRIME)
    return tuple(shares)


class Interpolation:
    """Gives secrets back from shares at the same points: the weights are computed once. The coordinator runs it.

    Args:
        points: as many as the threshold, or more; different, 1 <= point < PRIME.

    Raises:
        ValueError: no point, a point twice, or out of range.
    """

    __slots__ = ("_weights",)

    def __init__(self, points: Sequence[int]) -> None:
        _check_points(points)
        if not points:
            raise ValueError("no share gives no secret")
        # Weight i is product of x_j over product of (x_j - x_i), both over all j but i.
        below = [math.prod(other - point for other in points if other != point) % PRIME for point in points]
        everything = math.prod(points) % PRIME
        self._weights = [
            everything * inverse % PRIME
            for inverse in _inverses([point * product % PRIME for point, product in zip(points, below, strict=True)])
        ]

    def combine(self, values: Sequence[int]) -> int:
        """The secret whose shares at the points have these values, in the order of the points.

        One false value changes the secret to anything: check what comes out against a commitment.

        Raises:
            ValueError: another number of values than of points, or a value is no share.
        """
        if any(not 0 <= value < PRIME for value in values):
            raise ValueError("a share is a number from 0 to PRIME - 1")
        return sum(weight * value for weight, value in zip(self._weights, values, strict=True)) % PRIME


def _check_points(points: Sequence[int]) -> None:
    if len(set(points)) != len(points) or any(not 1 <= point < PRIME for point in points):
        raise ValueError("the points of shares are different numbers from 1 to PRIME - 1")


def _inverses(numbers: list[int]) -> list[int]:
    """Inverses modulo PRIME, for the price of one and three products each (Montgomery)."""
    products = [1]
    for number in numbers:
        products.append(products[-1] * number % PRIME)
    inverse = pow(products[-1], -1, PRIME)
    found = []
    for number, before in zip(reversed(numbers), reversed(products[:-1]), strict=True):
        found.append(inverse * before % PRIME)
        inverse = inverse * number % PRIME
    return found[::-1]
