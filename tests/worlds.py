"""A schedule (`schedules`) on real devices, without noise: each has watched one title of its own, so that a released
sum says who is in it, and how often.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from backrow.client import Device, DevicePolicy
from backrow.client.app import make_client_app
from backrow.client.edge import DeviceEdge
from backrow.privacy import wire
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation
from backrow.privacy.plan import Schedule as Rounds
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire_secure import SecureCall
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.server.settings import commit_schedule
from backrow.server.strategy import Coordinator, Outcome, unpack
from backrow.server.suppression import SuppressionList
from backrow.simulations.runner_inprocess import run_inprocess
from tests.hosted import (
    ANSWER,
    ENROL,
    FEATURES,
    IN_MEMORY,
    KEY,
    LISTS,
    NOW,
    PUBLIC,
    TITLES,
    TRUSTED,
    Person,
    name_of,
    own_stream,
    settle,
    watched,
)  # fmt: skip
from tests.schedules import DROPOUTS, OWNERS, ROUNDS, Does, Moment, Part, Schedule, expected, node_of
from tests.transcripts import RecordingGrid, Transcript

T = TypeVar("T")
EXTRA, MISSING = "against the owner's word", "lost"
FIRST_NODE = 2
"""Its id in one process."""
POLICY = DevicePolicy(
    largest_mu=math.inf, smallest_cohort=2, adversaries=0.0, largest_epsilon=math.inf, accept_trusted=True,
    accept_simulated=True,
)  # fmt: skip
IN_THE_CLEAR = replace(TRUSTED, trainer="prior", epsilon=None, population=OWNERS, rounds=0, dropouts=DROPOUTS)
MASKED = replace(IN_THE_CLEAR, run_id="secure", aggregation=Aggregation.SECURE, minimum=3)


@dataclass(slots=True)
class World:
    """Real devices, and what happens to them as the coordinator's messages pass.

    Attributes:
        unasked: (round, step, owner) where a device gave an answer that its owner did not allow.
    """

    folder: Path
    schedule: Schedule
    devices: dict[int, Device]
    away: set[int] = field(default_factory=set)
    now: tuple[int, int] = (0, ENROL)
    due: list[tuple[Moment, int, Does]] = field(default_factory=list)
    unasked: list[tuple[int, int, int]] = field(default_factory=list)

    def pass_time(self, part: Part) -> None:
        while self.due and self.due[0][0] <= (*self.now, part):
            _, owner, does = self.due.pop(0)
            self.let(owner, does)

    def let(self, owner: int, does: Does) -> None:
        device, enrolled = self.devices[owner], {name_of(owner): self.devices[owner].identity}
        opt_outs = SuppressionList.open(self.folder / "run" / LISTS)
        match does:
            case Does.GRANT | Does.WITHDRAW:
                device.set_consent(does is Does.GRANT)
            case Does.WITHDRAW_ALL:
                device.withdraw_all()
            case Does.OPT_OUT:
                opt_outs.add(device.opt_out_request(name_of(owner)), enrolled, NOW)
            case Does.LIFT if name_of(owner) in opt_outs.opted_out:
                opt_outs.add(device.opt_in_request(), enrolled, NOW)
            case Does.LEAVE:
                self.away.add(owner)
            case Does.RETURN:
                self.away.discard(owner)
            case Does.RESTART:
                device.close()
                self.devices[owner] = open_device(self.folder, owner)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Line:
    """Between an edge and one device: it may be out of reach, and messages may be lost."""

    world: World
    owner: int

    def consent_for(self, purpose: Purpose) -> bool:
        return self._over(lambda device: device.consent_for(purpose))

    def apply_opt_out(self, statement: bytes) -> bool:
        news = list[bool]()
        self._over(lambda device: news.append(device.apply_opt_out(statement)))
        return news[0]

    @property
    def identity(self) -> bytes:
        return self.world.devices[self.owner].identity

    def take_part(self, call: bytes) -> bytes | None:
        return self._over(lambda device: device.take_part(call))

    def _over(self, ask: Callable[[Device], T]) -> T:
        lost = self.world.schedule.loses(*self.world.now, name_of(self.owner))
        if self.owner in self.world.away or False in lost:
            raise RefusedCallError("the device is out of reach")
        device = self.world.devices[self.owner]
        reply = ask(device)
        if reply and not device.consent:
            self.world.unasked.append((*self.world.now, self.owner))
        if True in lost:
            raise RefusedCallError("its reply was lost")
        return reply


class EventfulGrid(RecordingGrid):
    """Time passes with the messages between coordinator and edges, and some of them are lost."""

    def __init__(self, grid: Grid, world: World) -> None:
        super().__init__(grid, Transcript())
        self._world = world

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        asked, world = sorted(messages, key=lambda message: message.metadata.dst_node_id), self._world
        if not asked:
            return
        world.now = after(world.now, asked[0])
        world.pass_time(Part.BEFORE)
        for message in asked:
            node = message.metadata.dst_node_id - FIRST_NODE
            if node > 0:
                world.pass_time(Part.MIDST)
            lost = world.schedule.loses(*world.now, node_of(node))
            if False not in lost:
                replies = list(super().send_and_receive([message], timeout=timeout))
                if not lost:
                    yield from replies
        world.pass_time(Part.AFTER)


def after(now: tuple[int, int], message: Message) -> tuple[int, int]:
    """Round and step that this message begins."""
    kind = message.metadata.message_type
    if kind == wire.ENROL_ACTION:
        return now[0] + 1, ENROL
    if kind == wire.ANSWER_ACTION:
        return now[0], ANSWER
    call = wire.decode(unpack(message.content))
    assert isinstance(call, SecureCall)
    return call.round, call.step


class EventfulCoordinator(Coordinator):
    """A coordinator on an `EventfulGrid`."""

    world: World

    def run(self, grid: Grid) -> Outcome:
        return super().run(EventfulGrid(grid, self.world))


def open_device(folder: Path, owner: int) -> Device:
    """An owner's device, as it is or new."""
    return Device.open(
        folder / name_of(owner),
        bytes([owner + 1]) * 32,
        coordinator_key=PUBLIC,
        policy=POLICY,
        clock=lambda: NOW,
        random=own_stream(owner),
    )


def run_schedule(
    schedule: Schedule, edge: type[DeviceEdge] = DeviceEdge
) -> tuple[list[frozenset[int] | None], list[tuple[int, int, int]]]:
    """Who is in the released sum of every round that was opened (None: nothing was released), and `World.unasked`."""
    settings = schedule.run
    with tempfile.TemporaryDirectory(prefix="backrow-effect-", dir=IN_MEMORY) as scratch, ExitStack() as stack:
        folder = Path(scratch)
        program = ModelProgram.start(settings, FEATURES)
        write_first_bundle(folder / "first", program.metadata, TITLES, settings.run_id, KEY)
        world = World(folder, schedule, {}, due=list(schedule.events))
        stack.callback(lambda: [device.close() for device in world.devices.values()])
        for owner, grants in enumerate(schedule.grants):
            world.devices[owner] = open_device(folder, owner)
            settle(world.devices[owner], Person(watched([owner]), grants), folder / "first")
        counts = commit_schedule(settings, None).rounds[0]
        rounds = Rounds(
            settings.run_id, tuple(replace(counts, round=n) for n in range(1, ROUNDS + 1)), None, settings.delta
        )
        (folder / "run").mkdir()
        policy = LedgerPolicy(None, settings.delta, settings.minimum, Stamp.SIMULATED)
        book = Book.begin(folder / "run", KEY, policy, rounds, OWNERS, bytes(32), lambda: NOW)
        stack.callback(book.close)
        coordinator = EventfulCoordinator(
            rounds, program, book, Archive(folder / "run" / "releases"), KEY, lambda n: SeededRandom(5, "noise", n),
            lambda report: None, schedule.nodes, suppression=SuppressionList.create(folder / "run" / LISTS),
        )  # fmt: skip
        coordinator.world = world
        edges = [
            edge({name_of(owner): Line(world, owner) for owner in range(node, OWNERS, schedule.nodes)}, PUBLIC)
            for node in range(schedule.nodes)
        ]
        client_app = make_client_app(lambda partition, _: edges[partition])
        outcomes = list[Outcome]()
        run_inprocess(make_server_app(coordinator, outcomes.append), client_app, schedule.nodes)
        sums = {release.plan.round: who_is_in(release.values, release.participants) for release in outcomes[0].releases}
        return [sums.get(report.plan.round) for report in outcomes[0].reports], world.unasked


def who_is_in(values: wire.FloatArray, participants: int) -> frozenset[int]:
    """Owners whose title was counted; each once, and nothing else was."""
    who = frozenset(int(row) for row in np.flatnonzero(values[:, 0] > 0.5))
    once = np.isin(np.arange(len(values)), list(who)).astype(float)
    assert np.allclose(values[:, 0], once, atol=0.01)
    assert participants == len(who)
    return who


def wrongs(schedule: Schedule, edge: type[DeviceEdge] = DeviceEdge) -> list[str]:
    """Run it, compare every round with the model, and say what is wrong."""
    demanded, (came, unasked) = expected(schedule), run_schedule(schedule, edge)
    found = [f"{EXTRA}: device {owner} sent something in round {n}, step {step}" for n, step, owner in unasked]
    if len(came) != len(demanded):
        found.append(f"{MISSING if len(came) < len(demanded) else EXTRA}: {len(came)} rounds, not {len(demanded)}")
    for number, (wanted, who) in enumerate(zip(demanded, came, strict=False), start=1):
        if who is None:
            found += [f"{MISSING}: the sum of round {number}"] if wanted.released else []
            continue
        found += [f"{EXTRA}: the sum of round {number}"] if wanted.released is False else []
        found += [f"{EXTRA}: device {owner} in the sum of round {number}" for owner in sorted(who - wanted.who)]
        found += [f"{MISSING}: device {owner} in the sum of round {number}" for owner in sorted(wanted.who - who)]
    return found
