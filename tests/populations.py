"""Simulated populations on either engine, in runs whose transcripts can be compared; some owners may be missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backrow.client.answers import BLOCK
from backrow.client.app import make_client_app
from backrow.client.edge import SimulatedEdge
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.simulations.pipeline import Committed
from backrow.simulations.population import EdgeOpener, Population, device_name
from backrow.simulations.runner_flower import run_flower
from backrow.simulations.runner_inprocess import run_inprocess
from backrow.simulations.training import coordinator_key, epoch_key
from tests.transcripts import RecordedCoordinator, Transcript, files_in

NOW = 1_700_000_000


@dataclass(frozen=True, slots=True)
class OpenedWithout:
    """As `EdgeOpener`, for a population of which some owners never existed: no slot, no history, no row anywhere.

    Attributes:
        folder: of the population of the others.
        slots: theirs, ascending; the slots in between are nobody's.
    """

    folder: Path
    seed: int
    coordinator_key: bytes
    slots: tuple[int, ...]

    def __call__(self, partition: int, partitions: int) -> SimulatedEdge:
        population = Population.open(self.folder)
        rows = [row for row, slot in enumerate(self.slots) if (slot // BLOCK) % partitions == partition]
        rows = [row for row in rows if population.granted[row]]
        slots = [self.slots[row] for row in rows]

        def random(purpose: str, number: int, index: int) -> RandomSource:
            return SeededRandom(self.seed, purpose, number, index)

        histories = [population.history(row) for row in rows]
        return SimulatedEdge([device_name(slot) for slot in slots], slots, histories, self.coordinator_key, random)


def without(population: Population, gone: Sequence[int]) -> tuple[Population, tuple[int, ...]]:
    """The others, row by row, and their slots."""
    slots = tuple(slot for slot in range(len(population)) if slot not in gone)
    entries = np.concatenate([np.arange(population.starts[slot], population.starts[slot + 1]) for slot in slots])
    passed = np.concatenate([np.arange(population.passed_starts[s], population.passed_starts[s + 1]) for s in slots])
    kept = np.array(slots)
    return replace(
        population,
        starts=_starts(population.starts, kept),
        titles=population.titles[entries],
        weights=population.weights[entries],
        recent=population.recent[entries],
        order=None if population.order is None else population.order[entries],
        granted=population.granted[kept],
        fresh=population.fresh[kept],
        passed_starts=_starts(population.passed_starts, kept),
        passed=population.passed[passed],
    ), slots


def run_population(
    committed: Committed,
    population: Population,
    folder: Path,
    *,
    seed: int,
    gone: Sequence[int] = (),
    engine: str = "inprocess",
    nodes: int = 2,
) -> Transcript:
    """One run; `gone`: owners who do not exist."""
    settings, schedule, key = committed.settings, committed.schedule, coordinator_key(seed)
    rest, slots = without(population, gone)
    rest.write(folder / "population")
    run = folder / "run"
    run.mkdir()
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
    book = Book.begin(run, key, policy, schedule, settings.population, epoch_key(seed), lambda: NOW)
    coordinator = RecordedCoordinator(
        schedule, committed.program, book, Archive(run / "releases"), key,
        lambda number: SeededRandom(seed, "noise", number), lambda report: None, nodes,
    )  # fmt: skip
    if gone:
        opener: EdgeOpener | OpenedWithout = OpenedWithout(folder / "population", seed, key.public, slots)
    else:
        opener = EdgeOpener(folder / "population", seed, key.public)
    start = run_flower if engine == "flower" else run_inprocess
    start(make_server_app(coordinator, lambda outcome: None), make_client_app(opener), nodes)
    book.close()
    coordinator.transcript.files = files_in(run)
    return coordinator.transcript


def _starts(starts: np.ndarray, kept: np.ndarray) -> np.ndarray:
    lengths = np.diff(starts)[kept]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
