"""One round of 100 Flower nodes, for `secure_sum_flower.py`: ours, and Flower's SecAgg+ as it is documented."""

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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

KEY = SigningKey(bytes(range(32)))
PUBLIC = KEY.public
NEIGHBOURS, THRESHOLD = 16, 11
WATCHED = 60
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
