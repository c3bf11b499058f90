"""Real devices in rounds by secure sum, behind Flower nodes: production noise, vaults, default trust in nobody."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.client.app import make_client_app
from backrow.client.edge import DeviceEdge
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.files import LEDGER
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.ledger.signed_entry import decode_entry
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import OsRandom
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire_secure import SecureCall
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator, Outcome
from backrow.simulations.runner_inprocess import run_inprocess

KEY = SigningKey(bytes(range(32)))
OWNERS = 14
TITLES = [
    {"id": f"t{n}", "name": f"Title {n}", "genres": ["Even" if n % 2 == 0 else "Odd"], "year": 1990} for n in range(20)
]
FEATURES = np.array([[n % 2 == 0, n % 2 == 1] for n in range(20)], dtype=float)
NOW = 1_700_000_000
POLICY = DevicePolicy(largest_mu=5.0, smallest_cohort=5)
SETTINGS = RunSettings(
    "masked", "gradient", 8.0, 1e-5, titles=20, population=OWNERS, minimum=11, rounds=1, learning_rate=1.0,
    recent_share=0.0, aggregation=Aggregation.SECURE, shares=True, simulated=False, hosted=False,
    adversaries=0.05, dropouts=0.1, catalogue=catalogue_digest([title["id"] for title in TITLES]),
)  # fmt: skip

Tamper = Callable[[SecureCall, dict[str, Device]], set[str] | None]


def open_device(folder: Path, owner: int) -> Device:
    return Device.open(
        folder / f"device{owner}",
        bytes([owner]) * 32,
        coordinator_key=KEY.public,
        policy=POLICY,
        clock=lambda: NOW,
    )


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[dict[str, Device]]:
    """Fourteen owners: half watch even titles, half odd ones; number 0 withholds."""
    write_first_bundle(
        tmp_path / "first", ModelProgram.start(SETTINGS, FEATURES).metadata, TITLES, SETTINGS.run_id, KEY
    )
    made = {}
    for owner in range(OWNERS):
        device = open_device(tmp_path, owner)
        device.install(tmp_path / "first")
        for step in range(6):
            title = f"t{(2 * step + 2 * owner + owner % 2) % 20}"
            device.record(WatchEvent(EventKind.COMPLETE, NOW - 1000 + step, title))
        device.set_consent(owner != 0)
        made[f"device{owner}"] = device
    yield made
    for device in made.values():
        device.close()


class WatchedEdge(DeviceEdge):
    """Before each step something happens to the devices; those that it names are out of reach."""

    def __init__(self, devices: dict[str, Device], tamper: Tamper) -> None:
        super().__init__(devices, KEY.public)
        self._all, self._tamper = devices, tamper

    def secure(self, call: bytes, memory: Memory) -> bytes:
        message = wire.decode(call)
        assert isinstance(message, SecureCall)
        away = self._tamper(message, self._all) or set()
        reached = {name: part for name, part in message.parts.items() if name not in away}
        return super().secure(wire.encode(replace(message, parts=reached)), memory)


def nothing(call: SecureCall, devices: dict[str, Device]) -> None:
    """Every device stays as it is."""


def train(
    devices: dict[str, Device], folder: Path, *, tamper: Tamper = nothing, settings: RunSettings = SETTINGS
) -> tuple[Coordinator, Outcome]:
    """One production run over three Flower nodes; neighbours of one device sit behind all of them."""
    program = ModelProgram.start(settings, FEATURES)
    schedule = commit_schedule(settings, program.training_schema())
    folder.mkdir()
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.PRODUCTION)
    book = Book.begin(folder, KEY, policy, schedule, settings.population, bytes(32), lambda: NOW)
    archive = Archive(folder / "releases")
    coordinator = Coordinator(schedule, program, book, archive, KEY, lambda _: OsRandom(), lambda _: None, 3)
    outcomes: list[Outcome] = []
    names = sorted(devices)
    edges = [WatchedEdge({name: devices[name] for name in names[part::3]}, tamper) for part in range(3)]
    client_app = make_client_app(lambda partition, _: edges[partition])
    run_inprocess(make_server_app(coordinator, outcomes.append), client_app, 3)
    book.close()
    return coordinator, outcomes[0]


def test_devices_that_trust_nobody_train_by_secure_sum(devices: dict[str, Device], tmp_path: Path) -> None:
    coordinator, outcome = train(devices, tmp_path / "run")
    assert coordinator.problems == []
    assert [report.outcome for report in outcome.reports] == ["released"] * 2
    assert [report.participants for report in outcome.reports] == [13, 13]
    assert [report.masked for report in outcome.reports] == [13, 13]
    lines = (tmp_path / "run" / LEDGER).read_bytes().splitlines()
    releases = [body for line in lines if isinstance(body := decode_entry(line).body, ReleaseEntry)]
    assert [(entry.crowd.neighbours, entry.crowd.threshold) for entry in releases] == [(6, 4), (6, 4)]
    assert all(device.spent.releases == 2 for name, device in devices.items() if name != "device0")
    assert devices["device0"].spent.releases == 0


def test_the_sum_is_near_the_devices_true_counts(devices: dict[str, Device], tmp_path: Path) -> None:
    """Six titles of weight 1 / sqrt 6 each; the noise is smaller than the sum of all counts many times."""
    settings = replace(SETTINGS, run_id="loud", epsilon=30.0, popularity_share=0.9, minimum=13)
    loud = DevicePolicy(largest_mu=100.0, smallest_cohort=5, largest_epsilon=1000.0)
    for device in devices.values():
        device._policy = device._contributor._policy = device._spending._policy = loud
    _, outcome = train(devices, tmp_path / "run", settings=settings)
    release = outcome.releases[0]
    truth = 13 * 6 / np.sqrt(6)
    # The sum of 20 counts has standard deviation sqrt(20) noise scales; six of them are one in 500 million.
    assert abs(release.values.sum() - truth) < 6 * np.sqrt(20 * 14 / 13) * 1.2 * release.plan.noise_scale
    assert 6 * np.sqrt(20) * release.plan.noise_scale < truth / 2


@pytest.mark.parametrize("step", [ADVERTISE, SHARE, MASK, AGREE, UNMASK])
def test_a_device_that_withdraws_before_any_step_is_not_missed(
    devices: dict[str, Device], tmp_path: Path, step: int
) -> None:
    def withdraw(call: SecureCall, hosted: dict[str, Device]) -> None:
        if call.step == step and "device3" in hosted:
            hosted["device3"].set_consent(False)

    _, outcome = train(devices, tmp_path / "run", tamper=withdraw)
    assert [report.outcome for report in outcome.reports] == ["released"] * 2
    # A vector that is in the frozen sum cannot be taken out of it again; it never counts after that.
    assert [report.participants for report in outcome.reports] == [12 if step <= MASK else 13, 12]


@pytest.mark.parametrize("step", [SHARE, MASK, AGREE, UNMASK])
def test_a_device_restarted_between_two_steps_goes_on(devices: dict[str, Device], tmp_path: Path, step: int) -> None:
    def restart(call: SecureCall, hosted: dict[str, Device]) -> None:
        if call.step == step and "device4" in hosted:
            hosted["device4"].close()
            hosted["device4"] = devices["device4"] = open_device(tmp_path, 4)

    class Restarting(WatchedEdge):
        def secure(self, call: bytes, memory: Memory) -> bytes:
            reply = super().secure(call, memory)
            self._devices = self._all
            return reply

    _, outcome = train(devices, tmp_path / "run", tamper=restart)
    assert [report.outcome for report in outcome.reports] == ["released"] * 2
    assert [report.participants for report in outcome.reports] == [13, 13]


def test_a_round_that_loses_too_many_is_void_and_the_next_one_works(devices: dict[str, Device], tmp_path: Path) -> None:
    def leave(call: SecureCall, hosted: dict[str, Device]) -> set[str]:
        return {f"device{owner}" for owner in range(1, 5)} if call.round == 1 and call.step >= MASK else set()

    coordinator, outcome = train(devices, tmp_path / "run", tamper=leave)
    void, released = outcome.reports
    assert void.outcome == "9 devices gave a vector, 11 are needed"
    assert released.outcome == "released"
    assert void.participants == 0
    assert coordinator.book.closed[0].receipt is None
    assert void.spent is not None
    assert void.spent > 0
    assert coordinator.book.closed[1].plan.round == 2


def test_a_killed_edge_costs_its_devices_and_no_one_else(devices: dict[str, Device], tmp_path: Path) -> None:
    def die(call: SecureCall, hosted: dict[str, Device]) -> None:
        if call.step == AGREE and call.round == 1 and "device13" in hosted:
            raise RuntimeError("the edge's process was killed")

    coordinator, outcome = train(devices, tmp_path / "run", tamper=die, settings=replace(SETTINGS, minimum=8))
    assert any("failed" in problem for problem in coordinator.problems)
    assert outcome.reports[1].outcome == "released"
