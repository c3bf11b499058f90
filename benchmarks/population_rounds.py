"""Ours, for `population_engine.py`: workload W1 in whole rounds, by the bare kernel, and checked against devices."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np

from backrow.client.app import make_client_app
from backrow.client.secure import Memory
from backrow.client.training.base import TrainingCall
from backrow.client.training.sgd import SgdTrainer, device_seeds
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire import RoundCall
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator, RoundReport
from backrow.server.suppression import SuppressionList
from backrow.simulations.engine import compiled
from backrow.simulations.engine.compute import Draws, add_answers
from backrow.simulations.engine.edge import PopulationEdge
from backrow.simulations.engine.shard import Shard, aligned, block_size
from backrow.simulations.population import Population
from backrow.simulations.runner_inprocess import run_inprocess

KEY, SEED = SigningKey(bytes(range(32))), 1
RATE, CLIP, BATCH, NEGATIVES, COLUMNS = 0.02, 0.15, 32, 4, 32
LOCAL = {"sgd_learning_rate": RATE, "sgd_batch": 32.0, "sgd_negatives": 4.0, "sgd_epochs": 1.0}
NUMBERS = {"alpha0": 0.4, "ridge": 0.1, **LOCAL}


@dataclass(frozen=True, slots=True)
class World:
    """W1: its population, item factors, own factors by device, and who is there in a round."""

    population: Population
    factors: np.ndarray
    users: np.ndarray
    cohort: Callable[[int], np.ndarray]


def world(w1: ModuleType, copies: int, size: int) -> World:
    """W1 with its population repeated, and cohorts of `size`."""
    starts, titles = w1.make()
    titles = titles.copy()
    for low, high in pairwise(starts):
        titles[low:high].sort()
    lengths = np.tile(np.diff(starts), copies)
    devices, entries = len(lengths), int(lengths.sum())
    no = np.zeros(devices, dtype=np.bool_)
    population = Population(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.tile(titles, copies).astype(np.int32),
        np.ones(entries), np.zeros(entries, dtype=np.bool_), ~no, np.full(devices, -1, dtype=np.int32),
        np.zeros(devices + 1, dtype=np.int64), np.zeros(0, dtype=np.int32), no, no,
    )  # fmt: skip
    factors, users = w1.init()
    return World(
        population, factors.astype(np.float64), np.tile(users.astype(np.float64), (copies, 1)),
        lambda number: np.sort(w1.cohort(number, devices, size)),
    )  # fmt: skip


def draws(purpose: str, number: int, index: int) -> RandomSource:
    return SeededRandom(SEED, purpose, number, index)


def rounds(world: World, size: int, number: int, workers: int = 1, using: ModuleType = compiled) -> tuple[float, float]:
    """Median seconds of whole rounds (consent, ledger, question, training, noise, ledger, step); and of processor."""
    population, users = world.population, world.users.copy()
    settings = RunSettings(
        "w1", "sgd", 8.0, 1e-5, len(world.factors), len(population), size, number + 1, CLIP, recent_share=0.0,
        evaluation_share=0.0, event=tuple(LOCAL.items()),
    )  # fmt: skip
    features = np.random.default_rng(0).normal(size=(len(world.factors), COLUMNS - 1))
    program = ModelProgram.start(settings, features)
    schedule = commit_schedule(settings, program.training_schema())
    there = [world.cohort(each) for each in range(len(schedule.rounds) + 1)]  # as for pfl: drawn before the clock runs
    hosted: dict[int, PopulationEdge] = {}

    def at(round_number: int) -> PopulationEdge:
        if round_number not in hosted:
            hosted.clear()
            present = there[round_number]
            hosted[round_number] = PopulationEdge(
                population, present, KEY.public, draws, workers, users=users, using=using
            )
        return hosted[round_number]

    seconds: list[float] = []
    worked: list[float] = []

    def observe(report: RoundReport) -> None:
        assert (report.outcome, report.participants) == ("released", size), report
        if report.plan.query.query is Query.GRADIENT:
            seconds.append(report.seconds)
        worked.append(time.process_time())

    with tempfile.TemporaryDirectory(prefix="backrow-benchmark-") as scratch:
        folder = Path(scratch)
        suppression = SuppressionList.create(folder / "coordinator")
        policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
        book = Book.begin(
            folder, KEY, policy, schedule, settings.population, bytes(32), lambda: int(time.time()), suppression
        )
        coordinator = Coordinator(
            schedule, program, book, Archive(folder / "releases"), KEY,
            lambda number: SeededRandom(SEED, "noise", number), observe, suppression=suppression,
        )  # fmt: skip
        edge = Today(at)
        run_inprocess(
            make_server_app(coordinator, lambda outcome: None), make_client_app(lambda partition, nodes: edge), 1
        )
        book.close()
        assert not coordinator.problems, coordinator.problems
    return statistics.median(seconds[1:]), statistics.median(np.diff(worked)[1:].tolist())


class Today:
    """An edge whose cohort is another one in every round: whoever is in reach when the coordinator asks."""

    def __init__(self, at: Callable[[int], PopulationEdge]) -> None:
        self._at, self._number = at, 0

    def enrol(self, call: bytes) -> bytes:
        self._number += 1
        return self._at(self._number).enrol(call)

    def answer(self, call: bytes) -> bytes:
        return self._at(self._number).answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        return self._at(self._number).secure(call, memory)


def bare(world: World, number: int) -> tuple[float, float]:
    """Seconds of the kernel alone on one cohort; and of processor."""
    slots, history = world.cohort(number), Shard.of(world.population)
    users, total, norms = world.users[slots], aligned(world.factors.shape), np.empty(len(slots))
    seeds, factors = device_seeds(draws("seeds", number, 0), slots), aligned(world.factors.shape)
    factors[:] = world.factors
    factors.flags.writeable = False  # as the engine hands it over: the same machine code
    started, began = time.perf_counter(), time.process_time()
    compiled.sgd(
        slots, seeds, history.starts, history.titles, history.weights, factors, users, RATE, BATCH, NEGATIVES, 1,
        CLIP, 2.0**27, total, norms,
    )  # fmt: skip
    return time.perf_counter() - started, time.process_time() - began


def equality(world: World) -> tuple[float, int, int]:
    """Relative L2 difference of engine and devices one by one; clip decisions that differ, and how many clip."""
    slots = world.cohort(1)[:256]
    made = RoundPlan(
        "w1", 1, QuerySchema(Query.GRADIENT, len(world.factors), COLUMNS, CLIP), 1.0, 2.0**40, Rounding.BLOCK_NEAREST,
        Noise.ONCE, Aggregation.TRUSTED, len(world.population), 1, True,
    )  # fmt: skip
    call = RoundCall(made, "sgd", len(slots), (), {"factors": world.factors}, NUMBERS)
    seeds = device_seeds(draws("seeds", 1, 0), slots)
    shard, size = Shard.of(world.population), block_size(len(world.population))
    together, norms = add_answers(call, shard, slots, Draws(seeds, world.users[slots]), size, 1)
    two, _ = add_answers(call, shard, slots, Draws(seeds, world.users[slots]), size, 2)
    assert np.array_equal(together, two)
    histories = [world.population.history(int(slot)) for slot in slots]
    asked = TrainingCall(made, call.tensors, NUMBERS, seeds, world.users[slots].copy())
    block = SgdTrainer().answer(asked, histories, SeededRandom(0))
    lengths = np.array([np.linalg.norm(block.rows[a:b]) for a, b in zip(block.starts, block.starts[1:], strict=False)])
    clipped = lengths > CLIP * (1 - 1e-9)
    alone = block.total() * made.scale
    return (
        float(np.linalg.norm(together - alone) / np.linalg.norm(alone)),
        int(np.sum(clipped != (norms > CLIP * (1 - 1e-9)))),
        int(clipped.sum()),
    )
