"""Rare titles, times and searches are planted in histories and looked for in everything that a run leaves behind.

Searched: every byte that devices hand out and that passes between edges and coordinator, in either direction; what
Flower keeps for its nodes; logs and standard output; the run folder; on Ray its folder and Flower's; the devices' own
folders but for the installed bundle, which names the public catalogue. What is not looked for, and why: `plants`.
"""

import base64
import itertools
import logging
import struct
from pathlib import Path

import pytest

from backrow.client import Device
from backrow.client.secure import Memory
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import BackrowError
from backrow.privacy.randomness import SeededRandom
from backrow.server.settings import RunSettings
from tests.hosted import (
    SECURE,
    TRUSTED,
    PlacedEdge,
    open_device,
    run_devices,
)
from tests.planted import KNOWN, PLANTS, RARE, TIMES, WORDS, Keeping, people, vaults
from tests.plants import LONG, Found, all_logs, find, forms_of
from tests.transcripts import Transcript, files_in


class Overheard:
    """A device, and every byte that it hands out."""

    def __init__(self, device: Device, heard: list[bytes]) -> None:
        self._device, self._heard = device, heard

    def consent_for(self, purpose: Purpose) -> bool:
        return self._device.consent_for(purpose)

    def apply_opt_out(self, statement: bytes) -> bool:
        return self._device.apply_opt_out(statement)

    @property
    def identity(self) -> bytes:
        return self._device.identity

    def take_part(self, call: bytes) -> bytes | None:
        try:
            said = self._device.take_part(call)
        except BackrowError as problem:
            self._heard.append(str(problem).encode())
            raise
        self._heard.append(said or b"")
        return said


def search(
    settings: RunSettings, folder: Path, edge: type[PlacedEdge] = PlacedEdge
) -> tuple[list[Found], dict[str, int], Transcript]:
    """A run in this process; what was found of the plants, and how many bytes were searched where."""
    heard: list[bytes] = []

    class Listening(edge):  # type: ignore[misc, valid-type]
        def __init__(self, devices: dict[str, Device], happens: object) -> None:
            super().__init__(devices, happens)
            self._devices = {name: Overheard(device, heard) for name, device in devices.items()}

    with all_logs() as logs:
        transcript = run_devices(
            people(), folder, settings=settings, edge=Listening, wrap=lambda app, _: Keeping(app, folder / "kept")
        )
    places = {f"passed: {name}": data for name, data in transcript.everything().items()}
    places |= {f"heard: {number}": data for number, data in enumerate(heard)}
    places |= {f"run: {name}": data for name, data in files_in(folder / "run").items()}
    places |= {f"kept: {name}": data for name, data in files_in(folder / "kept").items()}
    places["logs"] = logs.getvalue().encode()
    found = find(PLANTS, places)
    return found + find(PLANTS, vaults(folder), shortest=LONG), sizes(places), transcript


def sizes(places: dict[str, bytes]) -> dict[str, int]:
    kinds = itertools.groupby(sorted(places), key=lambda name: name.partition(":")[0])
    return {kind: sum(len(places[name]) for name in names) for kind, names in kinds}


@pytest.mark.parametrize("settings", [TRUSTED, SECURE], ids=lambda settings: settings.run_id)
def test_nothing_planted_in_a_history_is_found_in_anything_that_a_run_leaves_behind(
    settings: RunSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, searched, transcript = search(settings, tmp_path)
    assert found == []
    assert sum(" released " in told for told in transcript.told) == settings.rounds + 1
    assert find(PLANTS, dict(zip("oe", (text.encode() for text in capfd.readouterr()), strict=True))) == []
    assert searched["passed"] > 4_000
    assert searched["heard"] > 4_000
    assert searched["run"] > 4_000
    assert (searched["kept"] > 1_000) is (settings is SECURE)  # a trusted edge remembers nothing


def test_the_plants_are_in_the_history_of_a_device_that_takes_part(tmp_path: Path) -> None:
    search(TRUSTED, tmp_path)
    with open_device(tmp_path, 0) as device:
        kept = list(device._history.events())
        assert device.spent.releases == 2
        assert {event.title for event in kept} == {RARE, KNOWN, None}
        assert {event.query for event in kept if event.query} == set(WORDS)
    assert {each.plant for each in find(PLANTS, files_in(tmp_path / "first"))} == {KNOWN}


def test_every_form_of_every_plant_is_found_in_the_middle_of_other_bytes() -> None:
    noise = SeededRandom(5, "noise").bytes(100_000)
    assert find(PLANTS, {"noise": noise}) == []
    for plant in PLANTS:
        for form, needle in forms_of(plant).items():
            assert Found(plant, form, "there") in find([plant], {"there": noise + needle + noise}), form
        raw = str(plant).encode()
        for shift in range(9):
            coded = base64.b64encode(b"x" * shift + raw + b"y" * shift)
            assert any(each.form.startswith(("base64", "decimal, base64")) for each in find([plant], {"there": coded}))


class Adds(PlacedEdge):
    """Says the rare title beside its reply, in base64."""

    def enrol(self, call: bytes) -> bytes:
        return super().enrol(call) + base64.b64encode(b"seen: " + RARE.encode())


class Remembers(PlacedEdge):
    """Leaves the time of an event in what Flower keeps."""

    def secure(self, call: bytes, memory: Memory) -> bytes:
        memory.put("last seen", struct.pack("<i", TIMES[1]))
        return super().secure(call, memory)


class Logs(PlacedEdge):
    """Logs what was searched for."""

    def enrol(self, call: bytes) -> bytes:
        logging.getLogger("backrow.edge").debug("last searched: %s", WORDS[1])
        return super().enrol(call)


class Fails(PlacedEdge):
    """Goes wrong once, and says at what."""

    def enrol(self, call: bytes) -> bytes:
        raise BackrowError(f"cannot weigh {KNOWN}")


@pytest.mark.parametrize(
    ("edge", "plant", "place"),
    [(Adds, RARE, "passed"), (Remembers, TIMES[1], "kept"), (Logs, WORDS[1], "logs"), (Fails, KNOWN, "passed")],
    ids=["beside a reply", "in Flower's state", "in a log", "in an error"],
)
def test_an_edge_that_leaks_a_plant_is_found(
    edge: type[PlacedEdge], plant: str | int, place: str, tmp_path: Path
) -> None:
    found, _, _ = search(SECURE, tmp_path, edge)
    assert (plant, place) in {(each.plant, each.place.partition(":")[0]) for each in found}


def test_an_edge_that_breaks_down_over_a_title_says_only_that_it_broke_down(tmp_path: Path) -> None:
    class Breaks(PlacedEdge):
        def enrol(self, call: bytes) -> bytes:
            raise KeyError(KNOWN, TIMES[0])

    found, _, transcript = search(SECURE, tmp_path, Breaks)
    assert found == []
    assert any("the edge failed (KeyError)" in told for told in transcript.told)


def test_a_file_in_the_run_folder_that_leaks_a_plant_is_found(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"at": [TIMES[0]], "title": [RARE]}), tmp_path / "metrics.parquet")
    found = {(each.plant, each.form) for each in find(PLANTS, files_in(tmp_path)) if each.place.endswith("(read)")}
    assert {(TIMES[0], "decimal, as it is"), (RARE, "as it is")} <= found
