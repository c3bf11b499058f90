"""Real devices, each with its own vault, behind Flower nodes: from watch events to recommendations.

Nothing here is simulated: noise comes from the operating system's entropy, plans claim production.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.client.app import make_client_app
from backrow.client.edge import DeviceEdge
from backrow.privacy.accounting.claim import claim
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.randomness import OsRandom
from backrow.privacy.signing import SigningKey
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_bundle, write_first_bundle
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator, Outcome
from backrow.simulations.runner_inprocess import run_inprocess
from tests.builders import BEGINNING

KEY = SigningKey(bytes(range(32)))
TITLES = [
    {"id": f"t{n}", "name": f"Title {n}", "genres": ["Even" if n % 2 == 0 else "Odd"], "year": 1990} for n in range(20)
]
FEATURES = np.array([[n % 2 == 0, n % 2 == 1] for n in range(20)], dtype=float)
NOW = 1_700_000_000
POLICY = DevicePolicy(largest_mu=5.0, smallest_cohort=2, accept_trusted=True, largest_epsilon=20.0)
SETTINGS = RunSettings(
    "living-room", "gradient", 8.0, 1e-5, titles=20, population=12, minimum=5, rounds=2, learning_rate=1.0,
    simulated=False, hosted=False, catalogue=catalogue_digest([title["id"] for title in TITLES]),
)  # fmt: skip


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[dict[str, Device]]:
    """Twelve owners: half watch even titles, half odd ones; number 0 withholds, number 11 watches nothing."""
    program = ModelProgram.start(SETTINGS, FEATURES)
    write_first_bundle(tmp_path / "first", program.metadata, TITLES, SETTINGS.run_id, KEY)
    made = {}
    for owner in range(12):
        device = Device.open(
            tmp_path / f"device{owner}",
            bytes([owner]) * 32,
            coordinator_key=KEY.public,
            policy=POLICY,
            clock=lambda: NOW,
        )
        device.install(tmp_path / "first")
        for step in range(0 if owner == 11 else 6):
            device.record(
                WatchEvent(EventKind.COMPLETE, NOW - 1000 + step, f"t{(2 * step + 2 * owner + owner % 2) % 20}")
            )
        device.set_consent(owner != 0)
        made[f"device{owner}"] = device
    yield made
    for device in made.values():
        device.close()


def train(devices: dict[str, Device], folder: Path, settings: RunSettings = SETTINGS) -> tuple[Coordinator, Outcome]:
    """One production run over three Flower nodes with four devices each."""
    names = sorted(devices)
    program = ModelProgram.start(settings, FEATURES)
    schedule = commit_schedule(settings, program.training_schema())
    folder.mkdir()
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.PRODUCTION)
    book = Book.begin(folder, KEY, policy, schedule, settings.population, bytes(32), lambda: NOW)
    archive = Archive(folder / "releases")
    coordinator = Coordinator(schedule, program, book, archive, KEY, lambda _: OsRandom(), lambda _: None, 3)
    outcomes: list[Outcome] = []

    def edge(partition: int, partitions: int) -> DeviceEdge:
        return DeviceEdge({name: devices[name] for name in names[partition::partitions]}, KEY.public)

    run_inprocess(make_server_app(coordinator, outcomes.append), make_client_app(edge), 3)
    return coordinator, outcomes[0]


def test_devices_train_a_model_and_recommend_from_it(devices: dict[str, Device], tmp_path: Path) -> None:
    coordinator, outcome = train(devices, tmp_path / "run")
    assert coordinator.problems == []
    assert [report.outcome for report in outcome.reports] == ["released"] * 4
    assert {report.participants for report in outcome.reports} == {11}
    spent = claim(coordinator.schedule)
    assert not spent.simulated
    assert spent.epsilon is not None
    assert spent.epsilon <= 8

    write_bundle(tmp_path / "bundle", outcome.program.model(), TITLES, outcome.releases, spent, KEY)
    for name, device in devices.items():
        device.install(tmp_path / "bundle")
        picks = device.recommend(5)
        watched = {event.title for event in device._history.events()}
        assert len(picks) == 5, name
        assert watched.isdisjoint(pick.title for pick in picks)
        assert all(pick.reason for pick in picks)


def test_two_production_runs_never_draw_the_same_noise(devices: dict[str, Device], tmp_path: Path) -> None:
    _, one = train(devices, tmp_path / "one")
    _, two = train(devices, tmp_path / "two", replace(SETTINGS, run_id="again"))
    assert not np.array_equal(one.releases[0].values, two.releases[0].values)


def test_a_device_answers_a_round_once_even_if_the_coordinator_repeats_the_run(
    devices: dict[str, Device], tmp_path: Path
) -> None:
    train(devices, tmp_path / "one")
    coordinator, outcome = train(devices, tmp_path / "again")
    assert outcome.releases == ()
    assert [report.outcome for report in outcome.reports] == ["0 devices took part, the minimum is 5"] * 4
    assert coordinator.problems == []


def test_devices_that_all_withhold_stop_the_run_before_anything_is_reserved(
    devices: dict[str, Device], tmp_path: Path
) -> None:
    for device in devices.values():
        device.set_consent(False)
    _, outcome = train(devices, tmp_path / "run")
    assert outcome.releases == ()
    assert outcome.stopped is not None
    assert "smallest cohort allowed" in outcome.stopped
    assert len((tmp_path / "run" / "ledger.jsonl").read_text().splitlines()) == BEGINNING


def test_a_device_with_the_default_policy_refuses_a_trusted_edge(devices: dict[str, Device], tmp_path: Path) -> None:
    from backrow.privacy import wire

    program = ModelProgram.start(SETTINGS, FEATURES)
    plan = commit_schedule(SETTINGS, program.training_schema()).rounds[0]
    call = wire.encode_signed(wire.RoundCall(plan, "", 500, ("d",), {}, {}), KEY)
    with Device.open(tmp_path / "careful", bytes(32), coordinator_key=KEY.public, clock=lambda: NOW) as careful:
        assert careful.take_part(call) is None
        careful.set_consent(True)
        with pytest.raises(RefusedCallError, match="in the clear"):
            careful.take_part(call)
