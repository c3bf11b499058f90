"""Enrolment asks for one purpose, and hands an owner's opt-out to her own edge before anything else."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backrow.client import Device
from backrow.privacy import wire
from backrow.privacy.consent import Purpose
from backrow.privacy.ledger import parts
from backrow.server.hosting import Hosting
from backrow.server.settings import RunSettings
from backrow.server.suppression import SuppressionList
from tests.hosted import (
    ENROL,
    IN_MEMORY,
    LISTS,
    NOW,
    SECURE,
    TRUSTED,
    Person,
    PlacedEdge,
    name_of,
    open_device,
    run_devices,
    watched,
)
from tests.transcripts import SENT, Transcript, assert_same

PEOPLE = [Person(watched([owner, owner + 1, owner + 3])) for owner in range(7)]
HER, NODES = 3, 3
BOTH = pytest.mark.parametrize(
    "run", [replace(TRUSTED, rounds=3), replace(SECURE, rounds=3)], ids=lambda run: run.run_id
)


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="backrow-enrolment-", dir=IN_MEMORY) as folder:
        yield Path(folder)


@dataclass
class Returns:
    """She opts out in round 2 and is out of reach; in round 3 an old copy of her device is put back, which grants."""

    folder: Path
    comes_back: bool = True
    request: bytes = b""
    granting: list[bool] = field(default_factory=list)

    def __call__(self, number: int, step: int, hosted: dict[str, Device]) -> None:
        name, home = name_of(HER), self.folder / name_of(HER)
        if step != ENROL or (name not in hosted and number != 3) or len(self.granting) > 1:
            return
        if number == 1:
            hosted[name].close()
            shutil.copytree(home, self.folder / "backup")
            hosted[name] = open_device(self.folder, HER)
        elif number == 2:
            device = hosted.pop(name)
            self.request = device.opt_out_request(name)
            lists = SuppressionList.open(self.folder / "run" / LISTS)
            assert lists.add(self.request, {name: device.identity}, NOW)
            device.close()
        elif number == 3 and self.comes_back and self.mine(hosted):
            shutil.rmtree(home)
            (self.folder / "backup").rename(home)
            hosted[name] = open_device(self.folder, HER)
            self.granting.append(hosted[name].consent)
        elif number == 4 and name in hosted:
            self.granting.append(hosted[name].consent)

    @staticmethod
    def mine(hosted: dict[str, Device]) -> bool:
        return name_of(HER - NODES) in hosted


def returned(run: RunSettings, folder: Path, comes_back: bool = True) -> tuple[Returns, Transcript]:
    folder.mkdir()
    happens = Returns(folder, comes_back)
    return happens, run_devices(PEOPLE, folder, settings=run, nodes=NODES, happens=happens)


def named_in(transcript: Transcript, statement: bytes) -> list[tuple[int, int]]:
    """(enrolment, node) of the calls that hold a statement, enrolments counted from 1."""
    enrolments = [batch for batch in transcript.exchanges if batch and batch[0].kind == wire.ENROL_ACTION]
    return [
        (number, each.node)
        for number, batch in enumerate(enrolments, start=1)
        for each in batch
        if statement.hex().encode() in each.content
    ]


@BOTH
def test_an_old_copy_that_comes_back_withdraws_before_its_first_word_and_is_one_that_stays_away_to_the_byte(
    run: RunSettings, scratch: Path
) -> None:
    happens, there = returned(run, scratch / "there")
    _, gone = returned(run, scratch / "gone", comes_back=False)
    assert happens.granting == [True, False]  # as it was put back, and after the enrolment of round 3
    assert_same(there, gone)


@BOTH
def test_only_the_edge_that_she_was_behind_hears_of_her_opt_out(run: RunSettings, scratch: Path) -> None:
    happens, transcript = returned(run, scratch / "run")
    (node,) = {node for _, node in named_in(transcript, happens.request)}
    assert named_in(transcript, happens.request) == [(number, node) for number in (3, 4)]
    home = sorted(each.node for each in transcript.exchanges[0] if each.direction == SENT)[HER % NODES]
    assert node == home


@BOTH
def test_a_coordinator_that_does_not_hand_it_over_is_caught(
    run: RunSettings, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hosting, "of", lambda hosting, devices: {})
    happens, there = returned(run, scratch / "there")
    _, gone = returned(run, scratch / "gone", comes_back=False)
    assert happens.granting == [True, True]
    with pytest.raises(AssertionError, match="what came"):
        assert_same(there, gone)


def test_a_device_behind_several_edges_is_behind_the_one_that_named_it_last_or_none() -> None:
    hosting = Hosting()
    hosting.heard({1: wire.EnrolReply("run", ("a", "b")), 2: wire.EnrolReply("run", ("c",))})
    hosting.heard({1: wire.EnrolReply("run", ("b",)), 2: wire.EnrolReply("run", ("a",))})
    assert hosting.of(["a", "b", "c", "d"]) == {1: ["b"], 2: ["a", "c"]}
    hosting.heard({1: wire.EnrolReply("run", ()), 2: wire.EnrolReply("run", ())})
    assert hosting.of(["a", "b", "c", "d"]) == {1: ["b"], 2: ["c"]}


def test_an_edge_is_remembered_for_everybody_it_ever_named_however_long_their_names() -> None:
    hosting, ever = Hosting(), set[str]()
    for names in ((), ("m", "x"), ("a", "x"), ("a-longer-name", "m", "z"), ("m",), ()):
        hosting.heard({1: wire.EnrolReply("run", names)})
        ever.update(names)
        assert hosting.of(["a", "a-longer", "a-longer-name", "m", "x", "y", "z"]) == ({1: sorted(ever)} if ever else {})


class Listens(PlacedEdge):
    """Keeps what it says at enrolment."""

    heard: list[wire.Message]

    def enrol(self, call: bytes) -> bytes:
        reply = super().enrol(call)
        self.heard.append(wire.decode(reply))
        return reply


@BOTH
def test_a_round_asks_those_who_allow_what_it_was_reserved_for(
    run: RunSettings, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = list[wire.Message]()
    monkeypatch.setattr(Listens, "heard", heard, raising=False)

    def before(devices: dict[str, Device]) -> None:
        for owner in range(5):  # 5 and 6 train only
            devices[name_of(owner)].set_consent(True, Purpose.TRENDS)
        devices[name_of(0)].set_consent(False, Purpose.TRAIN)

    purposes = (parts.Purpose.TRENDS, parts.Purpose.TRAIN)
    transcript = run_devices(
        PEOPLE, scratch, settings=replace(run, rounds=1), nodes=1, before=before, edge=Listens, purposes=purposes
    )
    enrolled = [list(reply.devices) for reply in heard if isinstance(reply, wire.EnrolReply)]
    assert enrolled == [[name_of(owner) for owner in range(5)], [name_of(owner) for owner in range(1, 7)]]
    assert b'"purpose":"trends"' in transcript.files["ledger.jsonl"]
    assert any("released" in told for told in transcript.told)
