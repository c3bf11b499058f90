"""A simulated population: a folder of memory-mapped arrays that any process can open a part of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from backrow.client.edge import Edge, SimulatedEdge
from backrow.client.history import RawHistory
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.names import Names
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.secagg.steps import ADVERTISE, MASK, UNMASK
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall
from backrow.simulations.consents import STEADY, Changes, Owners, consents_at, in_reach, in_time
from backrow.simulations.engine.shard import block_size

_PART = 1 << 22
"""Entries of histories read at a time."""
_HEADER = 4096
"""A .npy file's header is shorter."""
_DIGITS = 8
"""Of a slot, in a pseudonym."""
_ARRAYS = (
    "starts",
    "titles",
    "weights",
    "recent",
    "granted",
    "fresh",
    "passed_starts",
    "passed",
    "opted_out",
    "children",
)
_ORDER = "order"


@dataclass(frozen=True, slots=True)
class Population:
    """Histories of all enrolled devices, device by device.

    Attributes:
        starts: shape (devices + 1,), where each device's entries start.
        titles: catalogue rows, ascending and distinct within a device.
        weights: confidence weights, > 0.
        recent: watched within the public recency window.
        granted: shape (devices,), whether the owner grants contributions, at the start.
        fresh: shape (devices,), catalogue row of the title held out for evaluation; -1: none.
        passed_starts: shape (devices + 1,), where each device's entries of `passed` start.
        passed: catalogue rows known to the owner that do not count.
        opted_out, children: shape (devices,), who never grants: on the coordinator's list, or a child profile.
        order: shape (entries,), within each device the places of its entries, the one watched first in front; None:
            nothing is known of the order.
    """

    starts: NDArray[np.int64]
    titles: NDArray[np.int32]
    weights: NDArray[np.float64]
    recent: NDArray[np.bool_]
    granted: NDArray[np.bool_]
    fresh: NDArray[np.int32]
    passed_starts: NDArray[np.int64]
    passed: NDArray[np.int32]
    opted_out: NDArray[np.bool_]
    children: NDArray[np.bool_]
    order: NDArray[np.int32] | None = None

    @property
    def owners(self) -> Owners:
        """What they say at the start."""
        return Owners(self.granted, self.opted_out, self.children)

    def __len__(self) -> int:
        return len(self.granted)

    def history(self, slot: int) -> RawHistory:
        """The raw history of one device."""
        part = slice(self.starts[slot], self.starts[slot + 1])
        passed = self.passed[self.passed_starts[slot] : self.passed_starts[slot + 1]]
        fresh = int(self.fresh[slot])
        order = None if self.order is None else self.order[part]
        return RawHistory(
            self.titles[part], self.weights[part], self.recent[part], fresh if fresh >= 0 else None, passed, order
        )

    def title_counts(self, titles: int) -> NDArray[np.int64]:
        """How many devices have watched each title, shape (titles,); ground truth, read in parts."""
        counts = np.zeros(titles, dtype=np.int64)
        for first in range(0, len(self.titles), _PART):
            counts += np.bincount(self.titles[first : first + _PART], minlength=titles)
        return counts

    def write(self, folder: Path) -> None:
        """Write as plain .npy files; the folder must not exist. What lies in a file already is linked, not copied."""
        folder.mkdir(parents=True)
        for name in _ARRAYS if self.order is None else (*_ARRAYS, _ORDER):
            array, path = getattr(self, name), folder / f"{name}.npy"
            if (file := _whole_file(array)) is not None:
                path.symlink_to(file)
            else:
                np.save(path, array[:1] if array.strides == (0,) else array)

    @classmethod
    def open(cls, folder: Path) -> "Population":
        """Open without reading: arrays are memory-mapped. A single weight stands for all."""
        kept = (*_ARRAYS, _ORDER) if (folder / f"{_ORDER}.npy").exists() else _ARRAYS
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in kept}
        if len(arrays["weights"]) == 1:
            arrays["weights"] = np.broadcast_to(arrays["weights"], arrays["titles"].shape)
        return cls(**arrays)


def _whole_file(array: NDArray[Any]) -> Path | None:
    """The .npy file that an array is the memory-mapped content of."""
    if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
        return None
    path = Path(array.filename)
    return path.resolve() if array.offset + array.nbytes == path.stat().st_size and array.offset < _HEADER else None


@dataclass(frozen=True, slots=True)
class EdgeOpener:
    """Opens one node's edge in whatever process Flower runs it. Picklable: holds no data.

    Attributes:
        folder: of the population.
        seed: of the run.
        coordinator_key: pinned public key.
        dropouts: share of devices that vanish at some step of every secure sum.
        changes: of consent and reach, from round to round.
        draws: names the run's own randomness, as `own_draws`.
        workers: threads that compute whole cohorts; 0: device by device.
    """

    folder: Path
    seed: int
    coordinator_key: bytes
    dropouts: float = 0.0
    changes: Changes = STEADY
    draws: str = ""
    workers: int = 0

    def __call__(self, partition: int, partitions: int) -> Edge:
        """The edge of one node: whole blocks, dealt round robin. One BLAS thread, for determinism."""
        threadpool_limits(1)
        if self.changes.any:
            return ChangingEdge(
                lambda number, answers: _open(self, partition, partitions, number, answers), self.coordinator_key
            )
        return _open(self, partition, partitions, 1)


@dataclass(frozen=True, slots=True)
class ChangingEdge:
    """An edge whose devices come and go between rounds; to the coordinator it is one.

    Attributes:
        at: (round, whether it answers) to the edge as it is then; who is late enrols, and does not answer.
        coordinator_key: pinned public key.
    """

    at: Callable[[int, bool], Edge]
    coordinator_key: bytes

    def enrol(self, call: bytes) -> bytes:
        """Which devices grant, and are in reach, in the round that the call is before."""
        message = wire.decode_signed(call, self.coordinator_key)
        return self.at(message.round if isinstance(message, wire.EnrolCall) else 1, False).enrol(call)

    def answer(self, call: bytes) -> bytes:
        """The sum over those of them who are asked."""
        message = wire.decode_signed(call, self.coordinator_key)
        return self.at(message.plan.round if isinstance(message, wire.RoundCall) else 1, True).answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        """One step of a secure sum."""
        message = wire.decode(call)
        return self.at(message.round if isinstance(message, SecureCall) else 1, False).secure(call, memory)


@lru_cache(maxsize=2)
def _mapped(folder: Path, written: int) -> Population:
    """A population, mapped once for all edges of this process.

    Args:
        written: when; a file that was written anew is opened anew.
    """
    return Population.open(folder)


@lru_cache(maxsize=16)
def _open(opener: EdgeOpener, partition: int, partitions: int, number: int, answers: bool = False) -> Edge:
    population = _mapped(opener.folder, (opener.folder / f"{_ARRAYS[0]}.npy").stat().st_mtime_ns)
    owners, changes = population.owners, opener.changes
    present = consents_at(owners, opener.seed, changes, number)
    present = present & in_reach(len(present), opener.seed, changes, number)
    punctual = in_time(len(present), opener.seed, changes, number)
    if answers:
        present = present & punctual
    slots = hosted_slots(present, partition, partitions)

    def random(purpose: str, number: int, index: int) -> RandomSource:
        if purpose == "identity":
            return SeededRandom(opener.seed, purpose, number, index)
        return own_draws(opener.seed, opener.draws, purpose, number, index)

    def vanishing(number: int, slot: int) -> int | None:
        gone = vanishing_step(opener.seed, opener.dropouts, number, slot)
        # In a secure sum a masked answer that comes too late is one that did not come.
        return gone if punctual[slot] else min(MASK, gone or MASK)

    if opener.workers:
        from backrow.simulations.engine.edge import PopulationEdge

        return PopulationEdge(population, slots, opener.coordinator_key, random, opener.workers, vanishing)
    mine = slots.tolist()
    return SimulatedEdge(
        [device_name(slot) for slot in mine],
        mine,
        [population.history(slot) for slot in mine],
        opener.coordinator_key,
        random,
        vanishing,
    )


def own_draws(seed: int, run: str, *labels: str | int) -> RandomSource:
    """A stream of one run among those that share a seed.

    Args:
        run: "" for the first run of a scenario; the id of one that repeats it for other devices.
    """
    return SeededRandom(seed, *labels) if not run else SeededRandom(seed, "run", run, *labels)


def vanishing_step(seed: int, dropouts: float, number: int, slot: int) -> int | None:
    """At which step of a round's secure sum a device vanishes; None: it stays."""
    if not dropouts:
        return None
    draw = SeededRandom(seed, "dropout", number, slot).numpy()
    return int(draw.integers(ADVERTISE, UNMASK + 1)) if draw.random() < dropouts else None


def hosted_slots(granted: NDArray[np.bool_], partition: int, partitions: int) -> NDArray[np.int64]:
    """Slots of the devices of one node that grant, ascending: blocks partition, partition + partitions, ..."""
    slots = np.arange(len(granted))
    mine = (slots // block_size(len(granted))) % partitions == partition
    return np.asarray(slots[mine & granted])


def device_key(seed: int, slot: int) -> SigningKey:
    """The identity key that a simulated device has at its edge."""
    return SigningKey(SeededRandom(seed, "identity", 0, slot).bytes(32))


def device_name(slot: int) -> str:
    """Pseudonym of a simulated device; sorts like its slot."""
    return f"d{slot:0{_DIGITS}d}"


def device_names(slots: NDArray[np.int64]) -> Names:
    """`device_name` of many slots at once, in their order."""
    rows = np.empty((len(slots), 1 + _DIGITS), dtype=np.uint8)
    rows[:, 0] = ord("d")
    rest = np.asarray(slots, dtype=np.int64)
    for place in range(_DIGITS, 0, -1):
        rest, digit = np.divmod(rest, 10)
        rows[:, place] = digit + ord("0")
    if rest.any():
        raise ValueError(f"a slot has at most {_DIGITS} digits")
    return Names(rows.view(f"S{1 + _DIGITS}").ravel())
