"""Devices and signed calls for tests."""

from pathlib import Path
from typing import Any

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.randomness import RandomSource, SeededRandom
from tests.builders import plan
from tests.unit.client.bundles import COORDINATOR, write_bundle
from tests.unit.client.growing import NOW, reserved

KEY = bytes(range(32))
TITLES = 30
POLICY = DevicePolicy(accept_trusted=True, accept_simulated=True, smallest_cohort=2)
WATCHED = [WatchEvent(EventKind.COMPLETE, 100 + n, f"t{n}") for n in (0, 4, 6, 9)]


def seeded() -> RandomSource:
    return SeededRandom(5)


def open_device(folder: Path, **changes: Any) -> Device:
    settings = {"coordinator_key": COORDINATOR.public, "policy": POLICY, "clock": lambda: NOW, "random": seeded}
    made: Device = Device.open(folder / "device", KEY, **{**settings, **changes})
    return made


def ready(folder: Path, **changes: Any) -> Device:
    """A device with a model, a history and consent."""
    device = open_device(folder, **changes)
    if not (folder / "bundle").exists():
        device.install(write_bundle(folder / "bundle"))
        for event in WATCHED:
            device.record(event)
    device.set_consent(True)
    return device


def round_call(
    query: Query = Query.POPULARITY,
    columns: int = 1,
    *,
    trainer: str = "",
    rows: int = TITLES,
    cohort: int = 50,
    tensors: dict[str, Any] | None = None,
    settings: dict[str, float] | None = None,
    at: int = NOW,
    **changes: Any,
) -> wire.RoundCall:
    asked = plan(query, rows, columns, **{"rounding": Rounding.DEVICE_STOCHASTIC, **changes})
    ids = [f"t{row}" for row in range(rows)]
    return wire.RoundCall(
        asked, trainer, cohort, ("a", "b"), tensors or {}, settings or {}, catalogue_digest(ids), reserved(asked, at)
    )


def signed(call: wire.Message) -> bytes:
    return wire.encode_signed(call, COORDINATOR)


def contribution(data: bytes | None) -> wire.Contribution:
    assert data is not None
    message = wire.decode(data)
    assert isinstance(message, wire.Contribution)
    return message


def titles(device: Device, count: int = TITLES) -> list[str]:
    return [pick.title for pick in device.recommend(count)]
