"""Real devices with vaults behind edges at fixed places, in simulated rounds that can be repeated to the bit.

Every device draws its randomness from a stream of its own, by call; clocks stand still; N is the plan's. So one
device's absence changes nothing but what its presence would have changed.
"""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from flwr.clientapp import ClientApp

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.client.app import make_client_app
from backrow.client.edge import DeviceEdge
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.ledger.parts import Purpose, Stamp
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.suppression import SuppressionList
from backrow.simulations.runner_inprocess import run_inprocess
from tests.transcripts import RecordedCoordinator, Transcript, files_in

KEY = SigningKey(bytes(range(32)))
NOW = 1_700_000_000
ENROLLED = 8
"""N: it stands in the plan, whoever is there."""
TITLES = [
    {"id": f"catalogued-{n:02}", "name": f"Title {n}", "genres": ["Even", "Odd"][n % 2 :][:1], "year": 1990}
    for n in range(12)
]
FEATURES = np.array([[n % 2 == 0, n % 2 == 1] for n in range(12)], dtype=float)
PUBLIC = KEY.public
POLICY = DevicePolicy(
    largest_mu=100.0,
    smallest_cohort=2,
    adversaries=0.0,
    largest_epsilon=1e6,
    accept_trusted=True,
    accept_simulated=True,
)
TRUSTED = RunSettings(
    "trusted", "gradient", 8.0, 1e-5, titles=12, population=ENROLLED, minimum=2, rounds=1, learning_rate=1.0,
    recent_share=0.0, adversaries=0.0, dropouts=0.15, hosted=False, sentinels=8,
    catalogue=catalogue_digest([str(title["id"]) for title in TITLES]),
)  # fmt: skip
SECURE = replace(TRUSTED, run_id="secure", aggregation=Aggregation.SECURE, shares=True, minimum=3)

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where test devices may keep their vaults if a test opens hundreds: every change of one waits for the disk."""

LISTS = "lists"
"""Folder of the suppression list, in the run folder."""

ENROL, ANSWER = 0, 1
"""Steps of a round at which something may happen; those of a secure sum after ENROL are 1 to 5."""

Streams = Callable[[int], Callable[[], RandomSource]]
Wrap = Callable[[ClientApp, Sequence[DeviceEdge]], ClientApp]
Happens = Callable[[int, int, dict[str, Device]], None]
"""(round, step, the devices of this edge), before the edge hears of the step."""


@dataclass(frozen=True, slots=True)
class Person:
    """An owner: what was watched, and whether contributions are granted."""

    watched: tuple[WatchEvent, ...]
    grants: bool = True


def watched(titles: Sequence[int]) -> tuple[WatchEvent, ...]:
    """Titles watched to the end, by number."""
    return tuple(
        WatchEvent(EventKind.COMPLETE, NOW - 1000 + at, str(TITLES[title]["id"])) for at, title in enumerate(titles)
    )


def own_stream(owner: int) -> Callable[[], RandomSource]:
    """A stream for every call of every device."""
    calls = itertools.count()
    return lambda: SeededRandom(5, "device", owner, next(calls))


def name_of(owner: int) -> str:
    """The pseudonym."""
    return f"device{owner}"


def open_device(folder: Path, owner: int, streams: Streams = own_stream) -> Device:
    """An owner's device, as it is or new."""
    return Device.open(
        folder / name_of(owner),
        bytes([owner + 1]) * 32,
        coordinator_key=PUBLIC,
        policy=POLICY,
        clock=lambda: NOW,
        random=streams(owner),
    )


def settle(device: Device, person: Person, bundle: Path) -> None:
    """A device in use: a model, a history, an identity, the owner's word."""
    device.install(bundle)
    for event in person.watched:
        device.record(event)
    assert len(device.identity) == 32  # a host may ask for it at any time
    if person.grants:
        device.set_consent(True)


class PlacedEdge(DeviceEdge):
    """Counts rounds, and lets something happen to its devices before each step."""

    def __init__(self, devices: dict[str, Device], happens: Happens) -> None:
        super().__init__(devices, PUBLIC)
        self.hosted, self._happens, self.round = devices, happens, 0

    def enrol(self, call: bytes) -> bytes:
        self.round += 1
        self._happens(self.round, ENROL, self.hosted)
        return super().enrol(call)

    def answer(self, call: bytes) -> bytes:
        self._happens(self.round, ANSWER, self.hosted)
        return super().answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        message = wire.decode(call)
        assert isinstance(message, SecureCall)
        self._happens(self.round, message.step, self.hosted)
        return super().secure(call, memory)


def coordinator_of(
    settings: RunSettings, folder: Path, nodes: int, purposes: tuple[Purpose, ...] | None = None
) -> RecordedCoordinator:
    """A coordinator at the start of a run whose noise, clock and key can be repeated; keeps its run in `folder`."""
    folder.mkdir(parents=True)
    program = ModelProgram.start(settings, FEATURES)
    schedule = commit_schedule(settings, program.training_schema() if settings.rounds else None)
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
    book = Book.begin(folder, KEY, policy, schedule, settings.population, bytes(32), lambda: NOW, purposes=purposes)

    def noise(number: int) -> RandomSource:
        return SeededRandom(5, "noise", number)

    return RecordedCoordinator(
        schedule, program, book, Archive(folder / "releases"), KEY, noise, lambda report: None, nodes,
        suppression=SuppressionList.create(folder / LISTS),
    )  # fmt: skip


def run_devices(
    people: Sequence[Person],
    folder: Path,
    *,
    settings: RunSettings,
    nodes: int = 2,
    never: int | None = None,
    happens: Happens = lambda number, step, hosted: None,
    before: Callable[[dict[str, Device]], None] = lambda devices: None,
    edge: type[PlacedEdge] = PlacedEdge,
    streams: Streams = own_stream,
    plan: Callable[[RunSettings, Mapping[str, Device]], RunSettings] = lambda settings, devices: settings,
    wrap: Wrap = lambda app, edges: app,
    purposes: tuple[Purpose, ...] | None = None,
) -> Transcript:
    """One run in this process; owner n sits behind node n modulo the number of nodes.

    Args:
        never: this owner has no device at all.
        before: happens to the devices before the first round.
        purposes: of the rounds; None: all train.
        edge, streams, plan, wrap: for builds that leak: what else edges do, whence devices draw, what the run's
            settings become in view of its devices, and what is around the ClientApp.
    """
    with ExitStack() as stack:
        bundle = folder / "first"
        write_first_bundle(bundle, ModelProgram.start(settings, FEATURES).metadata, TITLES, settings.run_id, KEY)
        devices: dict[str, Device] = {}
        for owner, person in enumerate(people):
            if owner != never:
                device = open_device(folder, owner, streams)
                stack.callback(device.close)
                settle(device, person, bundle)
                devices[name_of(owner)] = device
        coordinator = coordinator_of(plan(settings, devices), folder / "run", nodes, purposes)
        before(devices)
        edges = []
        for node in range(nodes):
            mine = [name_of(owner) for owner in range(node, len(people), nodes)]
            edges.append(edge({name: devices[name] for name in mine if name in devices}, happens))
        client_app = wrap(make_client_app(lambda partition, _: edges[partition]), edges)
        run_inprocess(make_server_app(coordinator, lambda outcome: None), client_app, nodes)
        coordinator.book.close()
        for hosted in edges:
            for each in hosted.hosted.values():
                each.close()  # some were opened again meanwhile
    coordinator.transcript.files = files_in(folder / "run")
    return coordinator.transcript
