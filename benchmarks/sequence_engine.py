"""Trainer `sequence` for whole cohorts on MovieLens 1M: clients per second against devices one by one, and whole runs.

.venv/bin/python benchmarks/sequence_engine.py          # some three minutes; writes the page
.venv/bin/python benchmarks/sequence_engine.py --quick  # MovieLens 100K, once, printed only
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
from machine import processor
from threadpoolctl import threadpool_limits

from backrow.client.answers import answer_block, split_blocks
from backrow.privacy.plan import Aggregation, Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query, QuerySchema, evaluation_schema
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import RoundCall
from backrow.server.programs.sequence import COLUMNS, DECAY, WINDOW
from backrow.simulations.engine import compiled, plain
from backrow.simulations.engine.compute import Draws, add_answers
from backrow.simulations.engine.shard import Shard, block_size
from backrow.simulations.pipeline import prepare
from backrow.simulations.population import Population
from backrow.simulations.scenario import Scenario

RESULTS, COMMAND = Path(__file__).parent / "results", "python benchmarks/sequence_engine.py"
SETTINGS = {"decay": DECAY, "window": float(WINDOW), "columns": float(COLUMNS)}
SENTINELS = 128


@dataclass
class Rates:
    """Clients per second of processor time, one list of runs for each way."""

    alone: list[float]
    compiled: list[float]
    plain: list[float]
    two: list[float]
    apart: list[float]

    def line(self, name: str) -> str:
        ratio = statistics.median(one / other for one, other in zip(self.compiled, self.alone, strict=True))
        two = statistics.median(self.two)
        found = [f"{statistics.median(each):,.0f}" for each in (self.alone, self.plain, self.compiled)]
        return f"| {name} | {' | '.join(found)} | {ratio:.1f} | {two:.2f} | {max(self.apart):.1e} |"


def call(kind: Query, population: Population, titles: int) -> RoundCall:
    """A round's question, or an evaluation of a model of two embeddings; random, as speed does not depend on them."""
    draw = np.random.default_rng(1)
    query = QuerySchema(Query.SEQUENCE, titles + SENTINELS, COLUMNS, 1.0, sentinels=SENTINELS)
    tensors = {"embedding": draw.normal(size=(query.rows, COLUMNS))}
    if kind is Query.EVAL:
        query, shape = evaluation_schema(), (titles, 2 * COLUMNS)
        popularity = draw.exponential(50.0, size=(titles, 1))
        tensors = {"embedding": draw.normal(size=shape), "factors": draw.normal(size=shape), "popularity": popularity}
    plan = RoundPlan(
        run_id="benchmark", round=1, query=query, aggregation=Aggregation.TRUSTED, noise=Noise.ONCE,
        rounding=Rounding.BLOCK_NEAREST, scale=2.0**34, noise_multiplier=1.0, population=len(population), minimum=1,
        simulated=True,
    )  # fmt: skip
    return RoundCall(plan, "sequence", len(population), (), tensors, SETTINGS)


def alone(asked: RoundCall, population: Population) -> np.ndarray:
    """The integer sum of the devices' own answers."""
    slots = list(range(len(population)))
    total = np.zeros((asked.plan.query.rows, asked.plan.query.columns), dtype=np.int64)
    for _, members in split_blocks(slots):
        total += answer_block(asked, [population.history(slot) for slot in members], SeededRandom(1))
    return total


def together(asked: RoundCall, population: Population, using: ModuleType, workers: int = 1) -> np.ndarray:
    slots = np.arange(len(population))
    draws = Draws(np.zeros(len(slots), dtype=np.uint64))
    return add_answers(asked, Shard.of(population), slots, draws, block_size(len(slots)), workers, using)[0]


def taken(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - wall, time.process_time() - cpu


def rates(asked: RoundCall, population: Population, runs: int) -> Rates:
    found = Rates([], [], [], [], [])
    together(asked, population, compiled)  # compiles
    for _ in range(runs):
        own, _, cpu = taken(lambda: alone(asked, population))
        found.alone.append(len(population) / cpu)
        one, wall, cpu = taken(lambda: together(asked, population, compiled))
        found.compiled.append(len(population) / cpu)
        two, both, _ = taken(lambda: together(asked, population, compiled, 2))
        found.two.append(wall / both)
        slow, _, cpu = taken(lambda: together(asked, population, plain))
        found.plain.append(len(population) / cpu)
        assert np.array_equal(one, two)
        found.apart += [float(np.linalg.norm(each - own) / np.linalg.norm(own)) for each in (one, slow)]
    return found


def repeated(population: Population, copies: int, folder: Path) -> None:
    """The same histories, so many times, in files."""
    entries = np.diff(population.starts)
    no = np.zeros(copies * len(population), dtype=np.bool_)
    assert population.order is not None
    Population(
        np.concatenate([[0], np.cumsum(np.tile(entries, copies))]), np.tile(population.titles, copies),
        np.tile(population.weights, copies), np.tile(population.recent, copies), ~no,
        np.full(len(no), -1, dtype=np.int32), np.zeros(len(no) + 1, dtype=np.int64), np.zeros(0, dtype=np.int32),
        no, no, np.tile(population.order, copies),
    ).write(folder)  # fmt: skip


@contextmanager
def watched(most: list[int]) -> Iterator[None]:
    """Own memory of this process while something runs: its growth, bytes, at most."""
    start, over = _own(), threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            most[0] = max(most[0], _own() - start)

    thread = threading.Thread(target=look)
    thread.start()
    yield
    over.set()
    thread.join()


def _own() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def memory(population: Population, titles: int) -> list[tuple[int, int]]:
    """Devices, and what answering for all of them takes beyond their histories, in a process of its own."""
    found = []
    for copies in (1, 4, 10):
        with tempfile.TemporaryDirectory() as folder:
            repeated(population, copies, Path(folder) / "population")
            command = [sys.executable, __file__, "--child", f"{folder}/population", str(titles)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append((copies * len(population), int(said)))
    return found


def child(folder: Path, titles: int) -> None:
    """Prints by how much its own memory grew."""
    population, most = Population.open(folder), [0]
    asked, shard = call(Query.SEQUENCE, population, titles), Shard.of(population)
    none = Draws(np.zeros(1, dtype=np.uint64))
    add_answers(asked, shard, np.zeros(1, dtype=np.int64), none, 64, 1, compiled)  # compiles
    with watched(most):
        together(asked, population, compiled)
    print(most[0])


def whole_run(data: str, *words: str) -> tuple[float, float]:
    """Seconds of `backrow simulate` at epsilon 3, by the clock and of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "run.toml"
        scenario.write_text(f'seed = 1\ntrainer = "sequence"\n[data]\nname = "{data}"\n[privacy]\nepsilon = 3.0\n')
        command = [str(Path(sys.executable).parent / "backrow"), "simulate", str(scenario), "--no-baselines"]
        command += ["--set", "privacy.aggregation=trusted", "--set", "privacy.noise=once"]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*command, *words, "--out", f"{folder}/run"], check=True, capture_output=True)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    told = asked.parse_args()
    if told.child:
        child(Path(told.child[0]), int(told.child[1]))
        return
    data, runs = ("ml-100k", 1) if told.quick else ("ml-1m", 5)
    threadpool_limits(1)
    prepared = prepare(Scenario.model_validate({"data": {"name": data}}))
    population, titles = prepared.population, len(prepared.dataset.catalogue.ids)
    question, evaluation = (call(kind, population, titles) for kind in (Query.SEQUENCE, Query.EVAL))
    unordered = replace(population, order=None)
    lines = [
        rates(question, population, runs).line("contexts in the order of watching"),
        rates(question, unordered, runs).line("contexts without an order"),
        rates(evaluation, population, runs).line("evaluation by contexts"),
    ]
    print("\n".join(lines), flush=True)
    grown = memory(population, titles)
    pairs = [(whole_run(data, "--set", "cohort.whole=false"), whole_run(data)) for _ in range(min(runs, 3))]
    text = page(lines, grown, pairs, data, len(population), len(population.titles))
    if not told.quick:
        (RESULTS / "sequence-engine.md").write_text(text, encoding="utf-8")
    print(text)


def page(
    lines: list[str],
    grown: list[tuple[int, int]],
    pairs: list[tuple[tuple[float, float], tuple[float, float]]],
    data: str,
    devices: int,
    events: int,
) -> str:
    table = "\n".join(lines)
    kept = "\n".join(f"| {many:,} | {size / 2**20:.1f} |" for many, size in grown)
    (old_wall, old_cpu), (wall, cpu) = (
        [statistics.median(pair[way][kind] for pair in pairs) for kind in (0, 1)] for way in (0, 1)
    )
    return f"""# Whole cohorts for the trainer sequence

`{COMMAND}` on {processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end (1 would be
an idle machine running this alone). {data}: {devices:,} devices, {events:,} events, {COLUMNS} columns, window {WINDOW}.
Everybody answers once. Clients per second of processor time, one worker; medians of interleaved runs, ratios within a
run. *two workers*: how many times as fast by the clock. *apart*: largest relative L2 difference of integer sums, at a
scale of 2^34, to the devices one by one; asked 1e-6.

| | one by one | without numba | compiled | compiled over one by one | two workers | apart |
|---|---|---|---|---|---|---|
{table}

Memory beyond mapped histories while the compiled kernel answers for all, in a process of its own: a sum and its
integers, scratch as long as the longest history, and some 20 bytes for each device (slot, seed, norm). The same
histories again and again:

| devices | MiB |
|---|---|
{kept}

`backrow simulate`, epsilon 3, trusted, noise once, no baselines, everything from start to report:

| | seconds | of the processor |
|---|---|---|
| device by device (`cohort.whole = false`) | {old_wall:.1f} | {old_cpu:.1f} |
| whole cohorts | {wall:.1f} | {cpu:.1f} |
"""


if __name__ == "__main__":
    main()
