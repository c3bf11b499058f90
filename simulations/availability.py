"""Which devices are idle and on line at which hour, and whose answers come too late. Ground truth of the simulator."""

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.randomness import SeededRandom

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DAY = 24.0
LEAST, MOST, PEAK = 0.2, 0.8, 2.0
"""Share of devices within reach at the worst and the best local hour, and that hour: at night, charging and idle.

Four times as many at the best hour as at the worst: Bonawitz et al. 2019, "Towards federated learning at scale", 9.
"""
ZONES = 4
"""Time zones, an hour apart, that devices are spread over evenly."""


def share_at(hour: FloatArray | float) -> FloatArray:
    """Share of devices within reach at a local hour, LEAST..MOST."""
    swing = np.cos(2 * np.pi * (np.asarray(hour) - PEAK) / DAY)
    return np.asarray((MOST + LEAST) / 2 + (MOST - LEAST) / 2 * swing)


def hour_of(number: int, round_hours: float) -> float:
    """Hour of the day, in the first zone, at which a round begins; round 1 begins at midnight."""
    return ((number - 1) * round_hours) % DAY


def reachable(devices: int, seed: int, number: int, round_hours: float) -> BoolArray:
    """Which devices are within reach in a round; shape (devices,). A device's draws stand at its slot.

    Args:
        round_hours: hours from one round to the next, > 0.
    """
    zone = SeededRandom(seed, "zone").numpy().random(devices)
    draw = SeededRandom(seed, "hour", number).numpy().random(devices)
    return np.asarray(draw < share_at(hour_of(number, round_hours) + np.floor(zone * ZONES)))


def least_share(rounds: int, round_hours: float) -> float:
    """The smallest share of devices to expect within reach in any of so many rounds."""
    hours = np.array([hour_of(number, round_hours) for number in range(1, rounds + 1)])
    return float(share_at(hours[:, None] + np.arange(ZONES)).mean(axis=1).min())


def late(devices: int, seed: int, number: int, share: float) -> BoolArray:
    """Whose answer misses the deadline of a round; shape (devices,). It does not count, and its budget is spent.

    Args:
        share: of devices, in [0, 1); each is late or not for itself, in every round anew.
    """
    return np.asarray(SeededRandom(seed, "late", number).numpy().random(devices) < share)
