"""Whole cohorts at once, on workload W1: clients per second against pfl and FedJAX, and where a round's time goes.

.venv/bin/python benchmarks/population_engine.py --peers DIR [--pfl PYTHON] [--fedjax PYTHON]

DIR holds w1data.py, w1_pfl.py and w1_fedjax.py (they are copied before they run, as they write beside themselves);
PYTHON is the interpreter of a virtual environment with that peer. Writes benchmarks/results/population-engine.md.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from backrow.client.app import make_client_app
from backrow.client.secure import Memory
from backrow.client.training.base import TrainingCall
from backrow.client.training.sgd import SgdTrainer, device_seeds
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.plan import RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
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
from backrow.simulations.engine import compiled, plain
from backrow.simulations.engine.compute import Draws, add_answers
from backrow.simulations.engine.edge import PopulationEdge
from backrow.simulations.engine.shard import Shard, block_size
from backrow.simulations.population import Population
from backrow.simulations.runner_inprocess import run_inprocess

RESULTS = Path(__file__).parent / "results"
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
    hosted: dict[int, PopulationEdge] = {}

    def at(round_number: int) -> PopulationEdge:
        if round_number not in hosted:
            hosted.clear()
            present = world.cohort(round_number)
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
    users, total, norms = world.users[slots], np.zeros_like(world.factors), np.empty(len(slots))
    seeds, factors = device_seeds(draws("seeds", number, 0), slots), world.factors.view()
    factors.flags.writeable = False  # as it comes from a message: the same machine code
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
        "w1", 1, commit_schema(world), 1.0, 2.0**40, Rounding.BLOCK_NEAREST, *_places(), len(world.population), 1, True
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


def commit_schema(world: World) -> Any:
    from backrow.privacy.queries import QuerySchema

    return QuerySchema(Query.GRADIENT, len(world.factors), COLUMNS, CLIP)


def _places() -> tuple[Any, Any]:
    from backrow.privacy.plan import Aggregation, Noise

    return Noise.ONCE, Aggregation.TRUSTED


def peer(python: str | None, script: Path, *words: str) -> tuple[float | None, float | None]:
    """Clients per second, and per second of processor, that a peer's script prints; None: not asked for."""
    if python is None:
        return None, None
    done = subprocess.run(
        [python, str(script), *words], cwd=script.parent, capture_output=True, text=True, check=True, env=quiet()
    )
    found = re.search(r"clients/s median ([0-9.]+) .*per-cpu-s ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found.group(1)), float(found.group(2))


def quiet() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--peers", type=Path, required=True)
    asked.add_argument("--pfl")
    asked.add_argument("--fedjax")
    asked.add_argument("--runs", type=int, default=5)
    told = asked.parse_args()
    threadpool_limits(1)
    with tempfile.TemporaryDirectory(prefix="backrow-peers-") as scratch:
        place = Path(scratch)
        for script in told.peers.glob("*.py"):
            shutil.copy(script, place)
        sys.path.insert(0, str(place))
        import w1data

        one, many = world(w1data, 1, w1data.COHORT), world(w1data, 10, 10_000)
        difference, decided, clipped = equality(one)
        assert difference <= 1e-6, (difference, decided)
        assert decided == 0, (difference, decided)
        rows: list[dict[str, float | None]] = []
        for run in range(-1, told.runs):  # the first one warms up
            row = measure(one, many, run, told, place)
            print({name: None if value is None else round(value, 4) for name, value in row.items()}, flush=True)
            rows += [row] if run >= 0 else []
    text = report(rows, difference, clipped)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "population-engine.md").write_text(text, encoding="utf-8")
    print(text)


def measure(one: World, many: World, run: int, told: argparse.Namespace, place: Path) -> dict[str, float | None]:
    """One of everything, one after the other."""
    cohort, large = len(one.cohort(1)), len(many.cohort(1))
    row: dict[str, float | None] = {}

    def compare(name: str, found: tuple[float, float], devices: int, other: tuple[float, float] | None = None) -> None:
        for clock, kind in enumerate(("", " cpu")):
            row[name + kind] = devices / found[clock]
            if other is not None:
                row[f"{name} over kernel{kind}"] = found[clock] / other[clock]

    kernels = [bare(one, 3 + number) for number in range(9)]
    kernel = statistics.median(wall for wall, _ in kernels), statistics.median(cpu for _, cpu in kernels)
    compare("kernel", kernel, cohort)
    whole = rounds(one, cohort, 9)
    compare("whole", whole, cohort, kernel)
    sampler, entries = IntegerGaussian(2.0**24), one.factors.size + 4096
    began = time.process_time()
    for _ in range(9):
        sampler.sample(SeededRandom(run), entries)
    row["noise"] = (time.process_time() - began) / 9 / whole[1]
    compare("plain", rounds(one, cohort, 1, using=plain), cohort)
    single = rounds(many, large, 3)
    bares = [bare(many, 3 + number) for number in range(3)]
    compare("large", single, large, (statistics.median(w for w, _ in bares), statistics.median(c for _, c in bares)))
    row["two workers"] = single[0] / rounds(many, large, 3, 2)[0]
    peers = {"pfl": (told.pfl, "w1_pfl.py", "1", "1", "dense"), "fedjax": (told.fedjax, "w1_fedjax.py", "2")}
    for name, (python, script, *words) in peers.items():
        rates = peer(python if run >= 0 else None, place / script, *words, str(cohort))
        for rate, kind in zip(rates, ("", " cpu"), strict=True):
            row[name + kind] = rate
            for ours in ("whole", "plain"):
                mine = row[ours + kind]
                row[f"{ours} over {name}{kind}"] = None if rate is None or mine is None else mine / rate
    return row


def report(rows: list[dict[str, float | None]], difference: float, clipped: int) -> str:
    def middle(name: str, digits: int = 1) -> str:
        found = [value for row in rows if (value := row[name]) is not None]
        return f"{statistics.median(found):,.{digits}f}" if found else "not measured"

    def both(name: str, digits: int = 1) -> str:
        return f"{middle(name, digits)} | {middle(name + ' cpu', digits)}"

    load = os.getloadavg()[0]
    return f"""# Whole cohorts at once

`python benchmarks/population_engine.py --peers DIR --pfl PYTHON --fedjax PYTHON` on {processor()}, {os.cpu_count()}
cores, load {load:.1f} at the end (1 would be an idle machine running this alone), {len(rows)} interleaved runs; every
figure is a median over runs, ratios are medians of the ratios within a run.

Scope: one processor core unless said otherwise, no accelerator; matrix factorization only. The engine exploits that a
device touches few titles; the peers are general and move the dense item table. Workload W1: 6,040 devices, 3,706
titles, 1 M events, 32 factors; a round asks 1,000 devices for one epoch of mini-batches of 32 watched titles with 4
fresh negatives each, own factors kept on the device, item change clipped to .15, sampling of events inside the timing.
Our rounds are whole: signed calls, enrolment with consents and the list of opt-outs, reservation and release in the
ledger (synced to disk), integer noise on all rows and {4096:,} sentinels, accounting, the model's step.

Equality first: relative L2 difference to the devices' own trainer {difference:.1e} (asked 1e-6), the same devices
clipped ({clipped} of 256), the same bits for one worker and two.

| | by the clock | by processor time | asked |
|---|---|---|---|
| whole round, clients per second | {both("whole", 0)} | |
| pfl 0.6.0, clients per second | {both("pfl", 0)} | |
| FedJAX 0.0.17, clients per second | {both("fedjax", 0)} | |
| over pfl | {both("whole over pfl")} | 60 |
| over FedJAX | {both("whole over fedjax")} | 25 |
| bare kernel, clients per second | {both("kernel", 0)} | |
| whole round over bare kernel, cohort 1,000 | {both("whole over kernel", 2)} | 1.3 |
| the same, cohort 10,000 (population repeated ten times) | {both("large over kernel", 2)} | |
| two workers over one, cohort 10,000 | {middle("two workers", 2)} | | 1.6 |
| integer noise, share of a whole round of 1,000 | | {middle("noise", 3)} | .2 |
| without numba, clients per second | {both("plain", 0)} | |
| without numba, over pfl | {both("plain over pfl")} | 6 |

What a whole round adds to the kernel hardly depends on the cohort: signatures over a megabyte of model, hashes of who
took part, noise on every row, an epsilon, and about nine waits for the disk. By processor time those waits, and other
programs on the machine, do not count.
"""


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "this machine"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "this machine")


if __name__ == "__main__":
    main()
