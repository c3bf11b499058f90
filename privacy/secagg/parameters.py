"""How many neighbours a device has and how many of them a secret needs. Every device computes it by itself.

Derivation: docs/secure-sum.md, "How many neighbours".
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from backrow.privacy.errors import UnsafeCohortError

SECURITY_BITS = 40
"""A contribution is exposed, or a sum comes apart, with chance 2^-40 at most each, union over the cohort."""
CORRECTNESS_BITS = 20
"""Drop-outs by chance leave somebody too few neighbours, or too large a gap, with chance 2^-20 at most each."""
MOST_NEIGHBOURS = 512
"""Larger neighbourhoods are refused: a device would send and receive more for them than for its vector."""
FEWEST_DEVICES = 3
"""In a sum of two, each device would know the other's contribution."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a round must stand, as fractions of its cohort: read as the decimal numbers that they are written as.

    Attributes:
        adversaries: devices that work with the coordinator, and show it everything they know.
        dropouts: devices that vanish.
    """

    adversaries: float = 0.05
    dropouts: float = 0.05

    def __post_init__(self) -> None:
        parts = self.adversaries, self.dropouts
        if not (all(math.isfinite(part) and part >= 0 for part in parts) and sum(map(_exact, parts)) < 1):
            raise ValueError(f"adversaries and drop-outs are fractions >= 0 of a cohort, below 1 in all, got {parts}")

    def counts(self, devices: int) -> tuple[int, int]:
        """Adversaries and drop-outs among so many devices, each rounded up."""
        return math.ceil(_exact(self.adversaries) * devices), math.ceil(_exact(self.dropouts) * devices)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Attributes: `neighbours` k of each device; `threshold` t, how many of their shares give a secret."""

    neighbours: int
    threshold: int


def neighbourhood(devices: int, tolerance: Tolerance) -> Neighbourhood:
    """Fewest neighbours, then the lowest threshold, that keep the rule. Devices and the coordinator run it.

    With A adversaries and D drop-outs among the k neighbours of a device in a random graph of n devices:
    n P[A >= 2t - k] <= 2^-40 and n P[D > k - t] <= 2^-20, and who survives stays connected with chance 1 - 2^-40
    if devices refuse survivors with a gap beyond `largest_gap`. k is even; if no even k below n - 1 will do,
    everybody is everybody's neighbour, k = n - 1, whatever its parity. Whole numbers only: every machine agrees.

    Args:
        devices: n, how many are on the roster.
        tolerance: from the device's own pinned policy.

    Raises:
        UnsafeCohortError: no graph keeps the rule, or only one of more than 512 neighbours, or fewer than half of
            the cohort would be both honest and present, or there are fewer than 3 devices.
    Source: Bell et al. 2020, "Secure single-server aggregation with (poly)logarithmic overhead", semi-malicious.
    """
    if devices < FEWEST_DEVICES:
        raise UnsafeCohortError(f"a secure sum of {devices} devices hides nobody: ask at least {FEWEST_DEVICES}")
    adversaries, dropouts = tolerance.counts(devices)
    rates = f"{tolerance.adversaries:.0%} adversaries and {tolerance.dropouts:.0%} drop-outs"
    if 2 * (adversaries + dropouts) > devices:
        raise UnsafeCohortError(
            f"with {rates}, fewer than half of {devices} devices may be honest and present: "
            "tolerate less, or ask a cohort that is worth more trust"
        )
    for neighbours in _candidates(devices):
        exposing = _least_unlikely(devices, adversaries, neighbours, devices, SECURITY_BITS)
        spare = _least_unlikely(devices, dropouts, neighbours, devices, CORRECTNESS_BITS) - 1
        threshold = (neighbours + exposing + 1) // 2  # the smallest with 2t - k >= exposing
        if neighbours < devices - 1:
            # A cut takes two gaps, and in each as many adversaries as `held`; or the threshold must forbid it.
            cutting = _least_unlikely(devices, adversaries, neighbours, math.comb(devices, 2), SECURITY_BITS)
            held = neighbours // 2 - largest_gap(devices, tolerance, neighbours)
            if 2 * held < cutting:
                threshold = max(threshold, (neighbours + cutting + 1) // 2)
        if threshold <= neighbours - spare:
            return Neighbourhood(neighbours, threshold)
    raise UnsafeCohortError(
        f"{devices} devices cannot stand {rates} with at most {MOST_NEIGHBOURS} neighbours each: "
        "tolerate less, or ask another number of devices"
    )


def largest_gap(devices: int, tolerance: Tolerance, neighbours: int) -> int:
    """How many of k / 2 places in a row on the ring may be without a survivor (`graph.check_gaps`).

    Drop-outs within the tolerance that come by chance exceed it anywhere with chance 2^-20 at most. A coordinator
    that says who dropped out could otherwise cut the ring in two where adversaries stand close together.

    Args:
        devices: n, how many are on the roster.
        tolerance: from the device's own pinned policy.
        neighbours: k, from `neighbourhood`; in a complete graph every gap is allowed.
    """
    if neighbours == devices - 1:
        return devices
    _, dropouts = tolerance.counts(devices)
    return _least_unlikely(devices, dropouts, neighbours // 2, devices, CORRECTNESS_BITS) - 1


def _least_unlikely(devices: int, marked: int, drawn: int, union: int, bits: int) -> int:
    """Smallest a with union P[X >= a] <= 2^-bits, for X marked devices among those drawn from devices - 1.

    Exact: the tail of the hypergeometric law as a whole number of draws, summed from its far end.
    """
    others, budget = devices - 1, math.comb(devices - 1, drawn) // (union << bits)
    most, fewest = min(marked, drawn), max(0, drawn - (others - marked))
    ways = math.comb(marked, most) * math.comb(others - marked, drawn - most)
    for count in range(most, fewest - 1, -1):
        budget -= ways
        if budget < 0:
            return count + 1
        ways = ways * count * (others - marked - drawn + count) // ((marked - count + 1) * (drawn - count + 1))
    raise AssertionError("all draws together are unlikely")


def _candidates(devices: int) -> list[int]:
    """Even numbers of neighbours, then the complete graph."""
    even = range(2, min(devices - 1, MOST_NEIGHBOURS + 1), 2)
    return [*even, *([devices - 1] if devices - 1 <= MOST_NEIGHBOURS else [])]


def _exact(rate: float) -> Fraction:
    # 0.07 is a little more than 7/100; the policy means 7/100.
    return Fraction(repr(float(rate)))
