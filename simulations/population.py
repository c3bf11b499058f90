"""A simulated population: a folder of memory-mapped arrays that any process can open a part of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backrow.client.answers import BLOCK
from backrow.client.edge import SimulatedEdge
from backrow.client.history import RawHistory
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.wire_secure import ADVERTISE, UNMASK

_ARRAYS = ("starts", "titles", "weights", "recent", "granted", "fresh", "passed_starts", "passed")


@dataclass(frozen=True, slots=True)
class Population:
    """Histories of all enrolled devices, device by device.

    Attributes:
        starts: shape (devices + 1,), where each device's entries start.
        titles: catalogue rows, ascending and distinct within a device.
        weights: confidence weights, > 0.
        recent: watched within the public recency window.
        granted: shape (devices,), whether the owner grants contributions.
        fresh: shape (devices,), catalogue row of the title held out for evaluation; -1: none.
        passed_starts: shape (devices + 1,), where each device's entries of `passed` start.
        passed: catalogue rows known to the owner that do not count.
    """

    starts: NDArray[np.int64]
    titles: NDArray[np.int32]
    weights: NDArray[np.float64]
    recent: NDArray[np.bool_]
    granted: NDArray[np.bool_]
    fresh: NDArray[np.int32]
    passed_starts: NDArray[np.int64]
    passed: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.granted)

    def history(self, slot: int) -> RawHistory:
        """The raw history of one device."""
        part = slice(self.starts[slot], self.starts[slot + 1])
        passed = self.passed[self.passed_starts[slot] : self.passed_starts[slot + 1]]
        fresh = int(self.fresh[slot])
        return RawHistory(
            self.titles[part], self.weights[part], self.recent[part], fresh if fresh >= 0 else None, passed
        )

    def write(self, folder: Path) -> None:
        """Write as plain .npy files; the folder must not exist."""
        folder.mkdir(parents=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> "Population":
        """Open without reading: arrays are memory-mapped."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS))


@dataclass(frozen=True, slots=True)
class EdgeOpener:
    """Opens one node's edge in whatever process Flower runs it. Picklable: holds no data.

    Attributes:
        folder: of the population.
        seed: of the run.
        coordinator_key: pinned public key.
        dropouts: share of devices that vanish at some step of every secure sum.
    """

    folder: Path
    seed: int
    coordinator_key: bytes
    dropouts: float = 0.0

    def __call__(self, partition: int, partitions: int) -> SimulatedEdge:
        """The edge of one node: whole blocks, dealt round robin. One BLAS thread, for determinism."""
        threadpool_limits(1)
        return _open(self, partition, partitions)


@lru_cache(maxsize=16)
def _open(opener: EdgeOpener, partition: int, partitions: int) -> SimulatedEdge:
    population = Population.open(opener.folder)
    slots = hosted_slots(population.granted, partition, partitions)

    def random(purpose: str, number: int, index: int) -> RandomSource:
        return SeededRandom(opener.seed, purpose, number, index)

    return SimulatedEdge(
        [device_name(slot) for slot in slots],
        slots,
        [population.history(slot) for slot in slots],
        opener.coordinator_key,
        random,
        lambda number, slot: vanishing_step(opener.seed, opener.dropouts, number, slot),
    )


def vanishing_step(seed: int, dropouts: float, number: int, slot: int) -> int | None:
    """At which step of a round's secure sum a device vanishes; None: it stays."""
    if not dropouts:
        return None
    draw = SeededRandom(seed, "dropout", number, slot).numpy()
    return int(draw.integers(ADVERTISE, UNMASK + 1)) if draw.random() < dropouts else None


def hosted_slots(granted: NDArray[np.bool_], partition: int, partitions: int) -> Sequence[int]:
    """Slots of the granting devices of one node, ascending: blocks partition, partition + partitions, ..."""
    slots = np.arange(len(granted))
    mine = (slots // BLOCK) % partitions == partition
    return [int(slot) for slot in slots[mine & granted]]


def device_name(slot: int) -> str:
    """Pseudonym of a simulated device; sorts like its slot."""
    return f"d{slot:08d}"
