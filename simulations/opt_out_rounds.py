"""Rounds of real devices in secure sums, of whose coordinator's side every byte is kept. For `opt_out`.

All as in production, but for the seeds, which let the same rounds be run again.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from backrow.client import Device
from backrow.client.app import make_client_app
from backrow.client.edge import DeviceEdge, Edge, HostedDevice
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator, Outcome, RoundReport
from backrow.server.suppression import COORDINATOR, SuppressionList, keep_enrolled, read_enrolled
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.population import device_name
from backrow.simulations.runner_inprocess import run_inprocess
from backrow.simulations.training import keep_lists

SEED, OWNERS, NODES = 5, 12, 2
HER = 0
"""Her place among the owners; the first viewer of the data."""
WITHDRAWS, TELLS = 2, 3
"""Rounds: in the one she withdraws, on her device alone; before the other she tells the coordinator."""
EPSILON, DELTA = 3.0, 1e-5
MINIMUM = 9


@dataclass(slots=True)
class Hers:
    """Her device, as its edge sees it.

    Attributes:
        decides: happens once, when the first call of round `WITHDRAWS` arrives.
        unplugged: out of reach from now on.
        asked: rounds of the calls that arrived.
    """

    device: Device
    decides: Callable[["Hers"], None]
    unplugged: bool = False
    asked: list[int] = field(default_factory=list)

    def consent_for(self, purpose: Purpose) -> bool:
        return self._plugged().consent_for(purpose)

    def apply_opt_out(self, statement: bytes) -> bool:
        return self._plugged().apply_opt_out(statement)

    @property
    def identity(self) -> bytes:
        return self._plugged().identity

    def take_part(self, call: bytes) -> bytes | None:
        message = wire.decode(call)
        assert isinstance(message, SecureCall)
        if message.round == WITHDRAWS and WITHDRAWS not in self.asked:
            self.decides(self)
        self.asked.append(message.round)
        return self._plugged().take_part(call)

    def _plugged(self) -> Device:
        if self.unplugged:
            raise RefusedCallError("the device is unplugged")
        return self.device


@dataclass(slots=True)
class Line:
    """An edge, and every byte between it and the coordinator."""

    edge: Edge
    node: int
    passed: dict[str, bytes]

    def enrol(self, call: bytes) -> bytes:
        return self._pass(call, self.edge.enrol(call))

    def answer(self, call: bytes) -> bytes:
        return self._pass(call, self.edge.answer(call))

    def secure(self, call: bytes, memory: Memory) -> bytes:
        return self._pass(call, self.edge.secure(call, memory))

    def _pass(self, call: bytes, reply: bytes) -> bytes:
        for way, data in (("call", call), ("reply", reply)):
            self.passed[f"message {len(self.passed) + 1}, {way}, node {self.node}"] = data
        return reply


@dataclass(slots=True)
class Rounds:
    """The same rounds with her device as it is, or otherwise.

    Args:
        devices: of all owners, by pseudonym.
        folder: the run's; made.
        decides: as `Hers`.
        request: gives her opt-out, after round `WITHDRAWS`.
    """

    devices: dict[str, Device]
    folder: Path
    dataset: Dataset
    key: SigningKey
    now: int
    decides: Callable[[Hers], None]
    request: Callable[[], bytes]
    after: Callable[[RoundReport, Hers], None] = lambda report, hers: None

    def run(self) -> dict[str, bytes]:
        """Every byte between edges and coordinator, and what the coordinator keeps, by name."""
        settings, passed = settings_of(self.dataset), dict[str, bytes]()
        program = ModelProgram.start(settings, self.dataset.catalogue.features())
        schedule = commit_schedule(settings, program.training_schema())
        policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
        self.folder.mkdir(parents=True)
        place, epoch = self.folder / COORDINATOR, SeededRandom(SEED, "opt-out-epoch").bytes(32)
        suppression = SuppressionList.create(place)
        keep_enrolled(place, {name: device.identity for name, device in self.devices.items()})
        hers = Hers(self.devices[device_name(HER)], self.decides)
        hosted: dict[str, HostedDevice] = {**self.devices, device_name(HER): hers}

        def observe(report: RoundReport) -> None:
            self.after(report, hers)
            if report.plan.round + 1 == TELLS:  # what `backrow opt-out` does with the file that an owner sends
                SuppressionList.open(place).add(self.request(), read_enrolled(place), self.now)

        with ExitStack() as stack:
            clock, archive = (lambda: self.now), Archive(self.folder / "releases")
            book = Book.begin(self.folder, self.key, policy, schedule, settings.population, epoch, clock, suppression)
            stack.callback(book.close)
            coordinator = Coordinator(
                schedule, program, book, archive, self.key, lambda number: SeededRandom(SEED, "opt-out-noise", number),
                observe, NODES, suppression=suppression,
            )  # fmt: skip
            names = sorted(hosted)
            lines = [
                Line(DeviceEdge({name: hosted[name] for name in names[node::NODES]}, self.key.public), node, passed)
                for node in range(NODES)
            ]
            outcomes = list[Outcome]()
            run_inprocess(
                make_server_app(coordinator, outcomes.append), make_client_app(lambda node, _: lines[node]), NODES
            )
            keep_lists(self.folder, book, epoch, suppression)
        files = {str(path.relative_to(self.folder)): path for path in sorted(self.folder.rglob("*")) if path.is_file()}
        return passed | {f"file {name}": path.read_bytes() for name, path in files.items()}


def settings_of(dataset: Dataset) -> RunSettings:
    """Three questions: what is popular, what lately, and one step of training."""
    ids = dataset.catalogue.ids
    return RunSettings(
        "opt-out", "gradient", EPSILON, DELTA, titles=len(ids), population=OWNERS, minimum=MINIMUM, rounds=1,
        learning_rate=1.0, recent_share=0.1, aggregation=Aggregation.SECURE, shares=True, hosted=False,
        adversaries=0.05, dropouts=0.1, sentinels=512, catalogue=catalogue_digest(ids),
    )  # fmt: skip
