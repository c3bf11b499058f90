"""An edge over a shard of a population that answers for its whole cohort at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from backrow.client.edge import SimulatedEdge, expect
from backrow.client.secure import Memory
from backrow.client.training.sgd import device_seeds
from backrow.privacy import wire
from backrow.privacy.errors import CohortError
from backrow.privacy.randomness import RandomSource
from backrow.simulations.engine.compute import Draws, add_answers, whole_cohorts
from backrow.simulations.engine.shard import Shard, Slots, block_size
from backrow.simulations.population import Population, device_name, device_names


def _nobody(number: int, slot: int) -> None:
    """Every device stays."""


@dataclass(frozen=True)
class PopulationEdge:
    """As `SimulatedEdge` over the same devices; sums in the clear are computed together.

    What the engine does not know (secure sums, Opacus) goes device by device, as there.

    Attributes:
        population: memory-mapped; only what invited devices need is read.
        slots: of the devices that grant, ascending, shape (devices,).
        coordinator_key: pinned public key.
        random: (purpose, round, block or slot) to a source; simulated.
        workers: threads; no sum depends on how many.
        vanishing: as `SimulatedEdge`.
        users: own factors that devices keep from round to round, shape (devices of the population, columns), zero
            where there are none yet; the trainer `sgd` changes them in place. None: solved anew in every round.
        using: module of kernels; None: compiled ones where numba is installed.
    """

    population: Population
    slots: NDArray[np.int64]
    coordinator_key: bytes
    random: Callable[[str, int, int], RandomSource]
    workers: int = 1
    vanishing: Callable[[int, int], int | None] = _nobody
    users: NDArray[np.float64] | None = None
    using: ModuleType | None = None

    def enrol(self, call: bytes) -> bytes:
        request = expect(wire.decode_signed(call, self.coordinator_key), wire.EnrolCall)
        if request.identities:
            return self.one_by_one.enrol(call)
        return wire.encode(wire.EnrolReply(request.run_id, device_names(self.slots)))

    def answer(self, call: bytes) -> bytes:
        request = expect(wire.decode_signed(call, self.coordinator_key), wire.RoundCall)
        plan = request.plan
        if not whole_cohorts(plan, request.trainer):
            return self.one_by_one.answer(call)
        invited = self._invited(request.devices)
        kept = None if self.users is None else self.users[invited]
        draws = Draws(device_seeds(self.random("seeds", plan.round, 0), invited), kept)
        size = block_size(len(self.population))
        total, _ = add_answers(request, self._shard, invited, draws, size, self.workers, self.using)
        if self.users is not None:
            self.users[invited] = kept
        return wire.encode(wire.BlindSum(plan.run_id, plan.round, plan.query.query, len(invited), total))

    def secure(self, call: bytes, memory: Memory) -> bytes:
        return self.one_by_one.secure(call, memory)

    @cached_property
    def one_by_one(self) -> SimulatedEdge:
        """The same devices, each with its history in memory."""
        slots = [int(slot) for slot in self.slots]
        histories = [self.population.history(slot) for slot in slots]
        names = [device_name(slot) for slot in slots]
        return SimulatedEdge(names, slots, histories, self.coordinator_key, self.random, self.vanishing)

    @cached_property
    def _shard(self) -> Shard:
        return Shard.of(self.population)

    def _invited(self, names: Sequence[str]) -> Slots:
        """Slots of those of the named devices that are hosted here, ascending.

        Raises:
            CohortError: a device is named twice.
        """
        asked = np.sort(slots_of(names))
        if len(asked) > 1 and np.any(asked[1:] == asked[:-1]):
            raise CohortError("a device is named twice in one cohort: its data would count twice; the call is refused")
        if not len(self.slots):
            return asked[:0]
        places = np.minimum(np.searchsorted(self.slots, asked), len(self.slots) - 1)
        return np.asarray(asked[self.slots[places] == asked])


def slots_of(names: Sequence[str]) -> Slots:
    """Enrolment slots by `device_name`, in order; a name of another form is nobody's: -1 and less, each its own."""
    packed = getattr(names, "packed", None)
    if packed is None:
        packed = np.array([name.encode() for name in names], dtype=np.bytes_)
    width = len(device_name(0))
    if packed.dtype.itemsize == width and len(packed):
        digits = packed.view(np.uint8).reshape(-1, width)
        numbers = digits[:, 1:] - np.uint8(ord("0"))  # what is below wraps around
        if numbers.max() <= 9 and (digits[:, 0] == ord("d")).all():
            # A product of float64, which is exact below 2^53, is the quickest.
            return (numbers.astype(np.float64) @ 10.0 ** np.arange(width - 2, -1, -1)).astype(np.int64)
    slots = np.empty(len(packed), dtype=np.int64)
    strangers: dict[bytes, int] = {}
    for place, name in enumerate(packed.tolist()):
        number = name[1:].decode(errors="replace")
        known = len(number) < 18 and number.isascii() and number.isdigit() and device_name(int(number)).encode() == name
        slots[place] = int(number) if known else strangers.setdefault(name, -1 - len(strangers))
    return slots
