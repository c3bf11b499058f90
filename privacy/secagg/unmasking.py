"""How the coordinator recovers secrets from shares, and takes the masks out of the sum.

Nothing that comes out is used unless it fits what its owner had committed to before: a false share is found, or
the round is void.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import VoidRoundError
from backrow.privacy.secagg.device import commitment
from backrow.privacy.secagg.masks import add_mask, mask_key
from backrow.privacy.secagg.roster import Roster
from backrow.privacy.secagg.sealing import KeyPair
from backrow.privacy.secagg.shamir import SHARE_BYTES, Interpolation

Uint32Array = NDArray[np.uint32]

MOST_FALSE = 2
"""So many false shares among those for one secret are found by leaving holders out."""


@dataclass(slots=True)
class Recovery:
    """Recovers secrets one after the other and remembers whose shares did not fit.

    Attributes:
        threshold: how many shares give a secret.
        left_out: positions of the holders without whom a secret came out that had not come out with them. No proof
            against them: others may have made up shares whose errors cancel. They are asked last from then on.
    """

    threshold: int
    left_out: set[int] = field(default_factory=set)
    _weights: dict[tuple[int, ...], Interpolation] = field(default_factory=dict)

    def secret(self, shares: Mapping[int, tuple[int, int]], owned: Callable[[bytes], bool]) -> bytes:
        """The secret, 32 bytes, that passes `owned`.

        Args:
            shares: position of each holder to its point and share.
            owned: whether a secret is the one that its owner committed to.

        Raises:
            VoidRoundError: too few shares, or more than two are false.
        """
        if len(shares) < self.threshold:
            raise VoidRoundError(f"{len(shares)} shares of a secret came back, {self.threshold} are needed")
        ordered = sorted(shares, key=lambda holder: (holder in self.left_out, shares[holder][0]))
        for without in _without(len(ordered), self.threshold):
            used = [holder for place, holder in enumerate(ordered) if place not in without][: self.threshold]
            secret = self._combine([shares[holder] for holder in used])
            if owned(secret):
                self.left_out.update(ordered[place] for place in without)
                return secret
        raise VoidRoundError("shares of a secret are false and it cannot be recovered: the sum would be garbage")

    def _combine(self, shares: list[tuple[int, int]]) -> bytes:
        shares.sort()
        points = tuple(point for point, _ in shares)
        if points not in self._weights:
            self._weights[points] = Interpolation(points)
        return self._weights[points].combine([value for _, value in shares]).to_bytes(SHARE_BYTES, "big")


def seed_fits(roster: Roster, position: int, committed: bytes) -> Callable[[bytes], bool]:
    """Whether a seed is the one this device committed to."""
    return lambda seed: commitment(roster, position, seed) == committed


def key_fits(public: bytes) -> Callable[[bytes], bool]:
    """Whether a secret key is the one of this public key."""
    return lambda secret: KeyPair(secret).public == public


def remove_own_mask(total: Uint32Array, roster: Roster, position: int, seed: bytes) -> None:
    """Take a survivor's self-mask out of the sum, in place."""
    add_mask(total, mask_key(seed, roster.info("self", position)), subtract=True)


def remove_pair_masks(
    total: Uint32Array, roster: Roster, position: int, secret: bytes, survivors: Mapping[int, bytes]
) -> None:
    """Take the masks that survivors share with a vanished neighbour out of the sum, in place.

    Args:
        position: of the one that vanished; `secret` is its mask key.
        survivors: position of each surviving neighbour to its public mask key.
    """
    mask = KeyPair(secret)
    for other, public in survivors.items():
        key = mask_key(mask.exchange(public), roster.pair_info(position, other))
        add_mask(total, key, subtract=position > other)


def _without(shares: int, threshold: int) -> Iterator[tuple[int, ...]]:
    """Which places to leave out, fewest first, while enough are left."""
    for count in range(min(MOST_FALSE, shares - threshold) + 1):
        yield from combinations(range(threshold + count), count)
