"""One round of 100 Flower nodes, one device each: our secure sum beside Flower's SecAgg+, the same 237,000 numbers.

OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/secure_sum_flower.py   # 15 minutes; writes the page
.venv/bin/python benchmarks/secure_sum_flower.py --devices 20 --titles 3000 --no-ray   # printed only

Ours is the product: ClientApp with one simulated device a node, ServerApp with enrolment, ledger and release. Flower's
is its documented use: SecAggPlusWorkflow on FedAvg, secaggplus_mod around a NumPyClient. That interface is legacy, and
nothing but this comparison imports it.
"""

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backrow.simulations import telemetry as telemetry  # isort: skip  # before flwr
from flwr.app import Context, Message
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run

from backrow.client.app import make_client_app
from backrow.client.edge import SimulatedEdge
from backrow.client.history import RawHistory
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import Purpose, RandomSource, SeededRandom
from backrow.privacy.secagg.steps import MASK
from backrow.privacy.signing import SigningKey
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator
from backrow.simulations.population import device_name
from backrow.simulations.runner_flower import run_flower
from backrow.simulations.runner_inprocess import InProcessGrid, run_inprocess

RESULTS = Path(__file__).parent / "results"
KEY = SigningKey(bytes(range(32)))
PUBLIC = KEY.public
NEIGHBOURS, THRESHOLD = 16, 11
WATCHED = 60
RUNS = 5
COMMAND = "OPENBLAS_NUM_THREADS=1 python benchmarks/secure_sum_flower.py"
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """What both do. Goes to every node, wherever it runs.

    Attributes:
        devices: one for each node.
        titles: numbers in a vector.
        vanishing: so many devices say nothing when they should send their masked vector.
    """

    devices: int
    titles: int
    vanishing: int

    def watched(self, device: int) -> NDArray[np.int32]:
        """Titles of a device, ascending."""
        steps = np.arange(WATCHED) * (self.titles // WATCHED)
        return np.sort((7_919 * device + steps) % self.titles).astype(np.int32)

    def vector(self, device: int) -> FloatArray:
        """Its answer: norm 1, shape (titles,)."""
        answer = np.zeros(self.titles)
        answer[self.watched(device)] = WATCHED**-0.5
        return answer

    def vanishes(self, device: int) -> bool:
        """Every so many-th device."""
        return device % (self.devices // self.vanishing) == 1 if self.vanishing else False

    def total(self) -> FloatArray:
        """What the sum should be but for rounding."""
        return np.sum([self.vector(d) for d in range(self.devices) if not self.vanishes(d)], axis=0)

    def open_edge(self, partition: int, partitions: int) -> SimulatedEdge:
        """Our node."""
        titles = self.watched(partition)
        return SimulatedEdge(
            [device_name(partition)], [partition], [RawHistory(titles, np.ones(len(titles)))], PUBLIC, _random,
            lambda _, slot: MASK if self.vanishes(slot) else None,
        )  # fmt: skip

    def open_client(self, context: Context) -> Client:
        """Flower's node."""
        device = int(context.node_config["partition-id"])
        return Fixed(self.vector(device), self.vanishes(device)).to_client()


def _random(purpose: str, number: int, slot: int) -> RandomSource:
    return SeededRandom(0, purpose, number, slot)


class Fixed(NumPyClient):
    """A client whose update is given."""

    def __init__(self, vector: FloatArray, vanishes: bool) -> None:
        self._vector, self._vanishes = vector, vanishes

    def fit(
        self, parameters: list[NDArray[Any]], config: dict[str, Any]
    ) -> tuple[list[NDArray[Any]], int, dict[str, Any]]:
        """The update, with weight 1."""
        if self._vanishes:
            raise ConnectionError("gone")
        return [self._vector], 1, {}


@dataclass(slots=True)
class Measured:
    """One round.

    Attributes:
        wall, cpu: seconds of the round, Ray's start left out; processor time of this process.
        nodes: processor seconds of all nodes, where they are in this process.
        error: largest difference to the true sum.
        traffic: node to bytes to it and from it, where they are in this process.
    """

    wall: float = 0.0
    cpu: float = 0.0
    nodes: float = 0.0
    error: float = float("nan")
    traffic: dict[int, list[int]] = field(default_factory=dict)


class MeasuringGrid(InProcessGrid):
    """Our grid with Flower's ways: messages go through it as its bytes, and replies come in a list."""

    def __init__(self, client_app: ClientApp, nodes: int, measured: Measured) -> None:
        super().__init__(client_app, nodes)
        self.set_run(Run.create_empty(1))
        self._measured = measured

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return list(super().send_and_receive(messages, timeout=timeout))

    def _answer(self, message: Message) -> Message:
        both = self._measured.traffic.setdefault(message.metadata.dst_node_id, [0, 0])
        sent = message_to_proto(message).SerializeToString()
        started = time.process_time()
        reply = super()._answer(message_from_proto(ProtoMessage.FromString(sent)))
        answered = message_to_proto(reply).SerializeToString()
        self._measured.nodes += time.process_time() - started
        both[0] += len(sent)
        both[1] += len(answered)
        return message_from_proto(ProtoMessage.FromString(answered))


Round = Callable[[Work, Grid, Context], FloatArray]
"""Runs one round over a grid; the sum."""


def our_round(work: Work, grid: Grid, context: Context) -> FloatArray:
    """Enrolment, ledger, secure sum, release."""
    settings = RunSettings(
        "benchmark", "prior", None, 1e-5, titles=work.titles, population=work.devices, minimum=work.devices // 2,
        rounds=0, learning_rate=1.0, recent_share=0.0, evaluation_share=0.0, aggregation=Aggregation.SECURE,
        sentinels=0,
    )  # fmt: skip
    program = ModelProgram.start(settings, np.eye(2)[np.arange(work.titles) % 2])
    schedule = commit_schedule(settings, program.training_schema())
    with tempfile.TemporaryDirectory() as folder:
        policy = LedgerPolicy(None, settings.delta, settings.minimum, Stamp.SIMULATED)
        book = Book.begin(Path(folder), KEY, policy, schedule, work.devices, bytes(32), lambda: int(time.time()))
        archive = Archive(Path(folder) / "releases")
        coordinator = Coordinator(
            schedule, program, book, archive, KEY, lambda number: SeededRandom(0, Purpose.NOISE, number),
            lambda report: None, work.devices,
        )  # fmt: skip
        (release,) = coordinator.run(grid).releases
        book.close()
    return release.values.ravel()


def flowers_round(work: Work, grid: Grid, context: Context) -> FloatArray:
    """One round of FedAvg, whose mean times its weight is the sum. A node counts as its own neighbour."""
    stay = sum(not work.vanishes(device) for device in range(work.devices))
    strategy = FedAvg(
        fraction_evaluate=0.0, min_fit_clients=work.devices, min_available_clients=work.devices,
        initial_parameters=ndarrays_to_parameters([np.zeros(1)]),
    )  # fmt: skip
    legacy = LegacyContext(context, ServerConfig(num_rounds=1), strategy)
    secagg = SecAggPlusWorkflow(NEIGHBOURS + 1, THRESHOLD, max_weight=1.0, clipping_range=1.0)
    DefaultWorkflow(fit_workflow=secagg)(grid, legacy)
    (mean,) = next(iter(legacy.state.array_records.values())).to_numpy_ndarrays()
    return np.asarray(mean * stay)


def client_app(work: Work, run: Round) -> ClientApp:
    """The nodes of ours or of Flower's."""
    return make_client_app(work.open_edge) if run is our_round else ClientApp(work.open_client, [secaggplus_mod])


def measure(work: Work, run: Round, *, ray: bool = False) -> Measured:
    """One round over nodes in this process, or in Ray's actors."""
    measured, app = Measured(), ServerApp()
    nodes = client_app(work, run)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        here = grid if ray else MeasuringGrid(nodes, work.devices, measured)
        wall, cpu = time.perf_counter(), time.process_time()
        total = run(work, here, context)
        measured.wall, measured.cpu = time.perf_counter() - wall, time.process_time() - cpu
        measured.error = float(np.max(np.abs(total - work.total())))

    if ray:
        run_flower(app, nodes, work.devices)
    else:
        run_inprocess(app, nodes, work.devices)
    return measured


def both(work: Work, runs: int, *, ray: bool = False) -> list[tuple[Measured, Measured]]:
    """Ours and Flower's, taken in turn."""
    return [(measure(work, our_round, ray=ray), measure(work, flowers_round, ray=ray)) for _ in range(runs)]


def rows(work: Work, pairs: Sequence[tuple[Measured, Measured]]) -> str:
    """A table row for ours, one for Flower's and one for the medians of their ratios."""
    names, lines = ("ours", "SecAgg+"), []
    both_figures = [[figures(work, one) for one in each] for each in zip(*pairs, strict=True)]
    for name, each, runs in zip(names, both_figures, zip(*pairs, strict=True), strict=True):
        wall, cpu, node, server, to, back = (statistics.median(values) for values in zip(*each, strict=True))
        error = max(one.error for one in runs)
        figured = f"{wall:.1f} | {cpu:.1f} | {node:.0f} | {server:.2f} | {to:,.0f} | {back:,.0f} | {error:.0e}"
        lines.append(f"| {work.titles:,} | {work.vanishing} | {name} | {figured} |")
    ratios = zip(*(np.divide(theirs, ours) for ours, theirs in zip(*both_figures, strict=True)), strict=True)
    return "\n".join([*lines, f"| | | ratio | {' | '.join(f'{statistics.median(each):.1f}' for each in ratios)} | |"])


def figures(work: Work, one: Measured) -> list[float]:
    """Wall and processor seconds, a node's milliseconds, the coordinator's seconds, bytes to a node and from it."""
    to, back = max(one.traffic.values(), key=sum)
    return [one.wall, one.cpu, 1000 * one.nodes / work.devices, one.cpu - one.nodes, to, back]


def page(table: str, actors: str) -> str:
    """The page."""
    return f"""# The secure sum beside Flower's SecAgg+

`{COMMAND}` on {platform.machine()},
{os.cpu_count()} cores shared with other work (load {os.getloadavg()[0]:.1f} at the end), Python
{platform.python_version()}, flwr {version("flwr")}. One round of 100 Flower nodes, one device each: the same vectors
of d numbers, the same rule ({NEIGHBOURS} neighbours, {THRESHOLD} shares give a secret), and the same nodes vanish when
they should send their masked vector. No model is sent and no noise added.

Ours is the whole product: enrolment, ledger on disk, five steps, release. Theirs is their documented use:
`SecAggPlusWorkflow` on FedAvg, `secaggplus_mod` around a `NumPyClient`.

In one process (`simulations/runner_inprocess.py`), every message written and read as on Flower's wire; medians of
{RUNS} rounds taken in turn, ratios within each pair. Processor seconds of everything, of that a node's and the rest:

| d | vanish | | wall s | CPU s | node ms | coordinator s | bytes to a node | bytes from it | error |
|---|---|---|---|---|---|---|---|---|---|
{table}

In Flower's simulation (two Ray actors), one round each, Ray's start left out; wall seconds:

| d | ours | SecAgg+ | ratio |
|---|---|---|---|
{actors}

Why: SecAgg+ splits and joins secrets with Shamir in plain Python and agrees on keys by P-384; its masks are 8-byte
numbers of a Mersenne twister, where ours are 4-byte words of AES-CTR. Where it has less to do: four exchanges to our
six (enrolment and countersignatures), which counts where every message starts a process, as in Flower's deployment;
and it signs nothing, which costs our device a signature check for each neighbour and each countersignature. *Error* is
the largest difference to the true sum and all of it rounding: its grid is finer here (2^-21), ours no finer than a
round with noise has use for.

What the time buys is not the same: SecAgg+ folds each secret to 32 bits before it masks, its keys are not signed, and
a client gives both secrets of a peer to a server that calls it active once and dead once. What ours promises:
[docs/secure-sum.md](../../docs/secure-sum.md).
"""


def main() -> None:
    """Both, in this process and in Ray's actors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--titles", type=int, default=237_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--no-ray", action="store_true", help="in this process only")
    asked = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    works = [
        Work(asked.devices, asked.titles, 0),
        Work(asked.devices, asked.titles, asked.devices // 20),
        Work(asked.devices, 1_000, 0),
    ]
    table = []
    for work in works:
        table.append(rows(work, both(work, asked.runs)))
        print(table[-1], flush=True)
    rayed = [] if asked.no_ray else [(work, both(work, 1, ray=True)[0]) for work in (works[0], works[2])]
    actors = "\n".join(
        f"| {work.titles:,} | {ours.wall:.0f} | {theirs.wall:.0f} | {theirs.wall / ours.wall:.1f} |"
        for work, (ours, theirs) in rayed
    )
    print(actors)
    if (asked.devices, asked.titles, asked.runs, asked.no_ray) == (100, 237_000, RUNS, False):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "secure-sum-flower.md").write_text(page("\n".join(table), actors), encoding="utf-8")


if __name__ == "__main__":
    main()
