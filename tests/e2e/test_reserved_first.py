"""What must be on disk when: the reservation before the first message, the entry of a release before the next one."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from backrow.client.app import make_client_app
from backrow.client.secure import Memory
from backrow.privacy.ledger import store
from backrow.privacy.ledger.checkpoint import open_checkpoint
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.ledger.signed_entry import decode_entry
from backrow.privacy.ledger.verification import log_key, verify_files
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import IntArray
from backrow.server.app import make_server_app
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.settings import RunSettings, commit_schedule
from backrow.server.strategy import Coordinator
from backrow.simulations.engine import plain
from backrow.simulations.engine.edge import PopulationEdge
from backrow.simulations.runner_inprocess import run_inprocess
from tests.engine_worlds import KEY, generated, random

TITLES, ROUNDS = 40, 3
WORLD = generated(titles=TITLES)


class Watching:
    """An edge that looks into the coordinator's ledger when it is asked."""

    def __init__(self, edge: PopulationEdge, look: Callable[[], None]) -> None:
        self._edge, self._look = edge, look

    def enrol(self, call: bytes) -> bytes:
        return self._edge.enrol(call)

    def answer(self, call: bytes) -> bytes:
        self._look()
        return self._edge.answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        return self._edge.secure(call, memory)


def run(folder: Path) -> list[tuple[list[str], int]]:
    """Entries and size of the checkpoint on disk, whenever a cohort was asked; and at the end."""
    slots, found = np.flatnonzero(WORLD.granted), []
    local = {"sgd_learning_rate": 0.02, "sgd_batch": 8.0, "sgd_negatives": 2.0, "sgd_epochs": 1.0}
    settings = RunSettings(
        "run", "sgd", 8.0, 1e-5, TITLES, len(WORLD), len(slots), ROUNDS, 0.15, recent_share=0.0, evaluation_share=0.0,
        event=tuple(local.items()),
    )  # fmt: skip
    program = ModelProgram.start(settings, np.random.default_rng(0).normal(size=(TITLES, 5)))
    schedule = commit_schedule(settings, program.training_schema())
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
    book = Book.begin(folder, KEY, policy, schedule, settings.population, bytes(32), lambda: 1)

    def look() -> None:
        held = read_files(folder)
        size = open_checkpoint(held.checkpoint, log_key(held.checkpoint, KEY.public)).checkpoint.size
        found.append(([decode_entry(line).kind for line in held.lines], size))

    edge = Watching(PopulationEdge(WORLD, slots, KEY.public, random, using=plain), look)
    coordinator = Coordinator(
        schedule, program, book, Archive(folder / "releases"), KEY,
        lambda number: SeededRandom(1, "noise", number), lambda report: None,
    )  # fmt: skip
    run_inprocess(make_server_app(coordinator, lambda outcome: look()), make_client_app(lambda node, nodes: edge), 1)
    assert not coordinator.problems
    book.close()
    return found


def test_whenever_a_cohort_is_asked_its_reservation_is_on_disk_under_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = store.write_durably

    def slowly(path: Path, data: bytes) -> None:
        time.sleep(0.1)  # nobody may be quicker than the disk
        written(path, data)

    monkeypatch.setattr(store, "write_durably", slowly)
    found = run(tmp_path)
    asked, at_the_end = found[:-1], found[-1]
    beginning = ["policy", "schedule", "enrolment", "opt-outs"]
    for number, (kinds, size) in enumerate(asked):
        assert kinds == [*beginning, *["reserve", "release"] * number, "reserve"]
        assert size == len(kinds)
    assert at_the_end == ([*beginning, *["reserve", "release"] * len(asked)], len(beginning) + 2 * len(asked))
    verify_files(read_files(tmp_path), KEY.public)


def test_a_release_is_never_in_the_ledger_before_its_values_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, seen = Archive.keep, []

    def slowly(archive: Archive, number: int, noisy: IntArray) -> None:
        time.sleep(0.1)  # the entry is made meanwhile
        seen.append([decode_entry(line).kind for line in read_files(tmp_path).lines].count("release"))
        kept(archive, number, noisy)

    monkeypatch.setattr(Archive, "keep", slowly)
    run(tmp_path)
    assert seen == list(range(len(seen)))
    assert len(seen) > ROUNDS


def test_values_that_the_disk_refuses_leave_no_entry_that_speaks_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(archive: Archive, number: int, noisy: IntArray) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(Archive, "keep", refused)
    with pytest.raises(OSError, match="no space left"):
        run(tmp_path)
    kinds = [decode_entry(line).kind for line in read_files(tmp_path).lines]
    assert kinds == ["policy", "schedule", "enrolment", "opt-outs", "reserve"]
    verify_files(read_files(tmp_path), KEY.public)
