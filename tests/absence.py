"""Withholding consent against not being there: the two runs that must be the same bytes (CONSENT, tests (a) and (b)).

Whoever withdraws while a round is open is compared with a device that goes out of reach at that moment for good:
after the freeze its vector stays in that one sum, and both are missed alike.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backrow.client import Device, EventKind, WatchEvent
from backrow.privacy.consent import PlatformSignal, Purpose
from backrow.server.settings import RunSettings
from backrow.server.suppression import SuppressionList
from tests.hosted import IN_MEMORY, LISTS, NOW, Person, Streams, name_of, open_device, own_stream, run_devices
from tests.transcripts import Transcript, assert_same

Act = Callable[[Path, int, Device], Device]
"""What an owner does: folder, owner and device to the device as it is then."""


def nothing(folder: Path, owner: int, device: Device) -> Device:
    return device


def withdraw(folder: Path, owner: int, device: Device) -> Device:
    device.set_consent(False)
    return device


def waver(folder: Path, owner: int, device: Device) -> Device:
    for granted in (True, False, True, False):
        device.set_consent(granted)
    return device


def erase(folder: Path, owner: int, device: Device) -> Device:
    device.erase()
    return device


def withdraw_and_restart(folder: Path, owner: int, device: Device) -> Device:
    device.set_consent(False)
    device.close()
    return open_device(folder, owner)


def withdraw_and_go_on_watching(folder: Path, owner: int, device: Device) -> Device:
    device.set_consent(False)
    device.record(WatchEvent(EventKind.COMPLETE, NOW - 1, "catalogued-07"))
    assert len(device.recommend(3)) == 3
    return device


def withdraw_all(folder: Path, owner: int, device: Device) -> Device:
    device.withdraw_all()
    return device


def set_a_signal(folder: Path, owner: int, device: Device) -> Device:
    device.signals({PlatformSignal.GLOBAL_PRIVACY_CONTROL})
    device.signals(())
    return device


def withdraw_and_close(folder: Path, owner: int, device: Device) -> Device:
    """Its edge still asks it, and it can no longer say that it withholds."""
    device.set_consent(False)
    device.close()
    return device


def grant_something_else(folder: Path, owner: int, device: Device) -> Device:
    device.set_consent(True, Purpose.TRENDS)
    device.set_consent(False, Purpose.TRAIN)
    return device


def opt_out(folder: Path, owner: int, device: Device) -> Device:
    """The owner tells the coordinator; from here on the device is on the suppression list."""
    request = device.opt_out_request(name_of(owner))
    assert SuppressionList.open(folder / "run" / LISTS).add(request, {name_of(owner): device.identity}, NOW)
    return device


def opt_out_but_grant_here(folder: Path, owner: int, device: Device) -> Device:
    """The list says no, the device says yes: one of them is out of date."""
    opt_out(folder, owner, device)
    device.set_consent(True)
    return device


ACTS: tuple[Act, ...] = (
    withdraw, waver, erase, withdraw_and_restart, withdraw_and_go_on_watching, withdraw_all, set_a_signal,
    grant_something_else, withdraw_and_close,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Silence:
    """An owner withholds: from before the run if `since` is None, else from that step of that round on.

    Attributes:
        listed: the act tells the coordinator, so the device that goes out of reach has done it too (CONSENT, (b)).
    """

    owner: int
    act: Act = withdraw
    since: tuple[int, int] | None = None
    listed: bool = False


def outcome_of(
    people: Sequence[Person],
    silence: Silence,
    run: RunSettings,
    *,
    absent: bool,
    nodes: int = 2,
    streams: Callable[[], Streams] = lambda: own_stream,
    **build: Any,
) -> Transcript:
    """The run in which the owner withholds, or the one without the owner's device."""
    owner, name, since = silence.owner, name_of(silence.owner), silence.since
    waiting = [since] if since is not None else []

    with tempfile.TemporaryDirectory(prefix="backrow-absence-", dir=IN_MEMORY) as scratch:
        folder = Path(scratch)

        def happens(number: int, step: int, hosted: dict[str, Device]) -> None:
            if name in hosted and waiting and (number, step) >= waiting[0]:
                waiting.clear()
                silence_now(hosted)

        def before(devices: dict[str, Device]) -> None:
            if since is None and name in devices:
                silence_now(devices)

        def silence_now(devices: dict[str, Device]) -> None:
            if silence.listed or not absent:
                devices[name] = silence.act(folder, owner, devices[name])
            if absent:
                devices.pop(name).close()

        return run_devices(
            people, folder, settings=run, nodes=nodes, happens=happens, before=before, streams=streams(),
            never=owner if absent and since is None and not silence.listed else None, **build,
        )  # fmt: skip


def compare(people: Sequence[Person], silence: Silence, run: RunSettings, **build: Any) -> None:
    """Raises DifferentError if the coordinator's side can tell withholding from absence."""
    there, gone = (outcome_of(people, silence, run, absent=absent, **build) for absent in (False, True))
    assert_same(there, gone)
