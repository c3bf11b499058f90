"""A coordinator killed at any step goes on: nothing is spent twice, nothing reserved is hidden."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from backrow.client.edge import SimulatedEdge
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.errors import DataError
from backrow.privacy.ledger.entries import ReleaseEntry, ReserveEntry, VoidEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.wire_secure import SecureCall
from backrow.simulations.runner import resume, run, unfinished_name
from backrow.simulations.scenario import Scenario
from tests.house import ROOT

ROUNDS = 2
RELEASES = ROUNDS + 3
"""Two counts, the training rounds and the evaluation."""


class KilledError(BaseException):
    """What a kill looks like from inside: nothing catches it on purpose."""


@pytest.fixture
def views(tmp_path: Path) -> Path:
    draw = np.random.default_rng(7)
    rows = [f"u{viewer},t{title},{at}" for viewer in range(120) for at, title in enumerate(draw.permutation(40)[:9])]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return tmp_path / "views.csv"


def scenario(views: Path, aggregation: str = "trusted") -> Scenario:
    return Scenario.model_validate(
        {
            "seed": 3,
            "data": {"path": str(views)},
            "model": {"rounds": ROUNDS},
            "privacy": {"aggregation": aggregation},
        }
    )


def rounds_of(folder: Path) -> dict[int, str]:
    """Round to the digest of its release, or "void"; checks the ledger's signatures, places and root."""
    key = bytes.fromhex((folder / "coordinator.pub").read_text())
    bodies = [entry.body for entry in verify_files(read_files(folder), key).entries]
    reserved = [body.plan.round for body in bodies if isinstance(body, ReserveEntry)]
    assert reserved == sorted(set(reserved)), "a round was reserved twice"
    ended: dict[int, str] = {}
    for body in bodies:
        if isinstance(body, ReleaseEntry):
            ended[body.plan.round] = body.values.hex()
        elif isinstance(body, VoidEntry):
            reserve = bodies[body.reserve]
            assert isinstance(reserve, ReserveEntry)
            ended[reserve.plan.round] = "void"
    assert sorted(ended) == reserved, "a reservation has no end"
    spent = [body.cumulative.epsilon for body in bodies if isinstance(body, ReserveEntry)]
    assert max(epsilon for epsilon in spent if epsilon is not None) <= 3.0
    return ended


def test_a_run_killed_at_any_durable_step_goes_on(views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(scenario(views), tmp_path / "whole", baselines=False)
    whole = rounds_of(tmp_path / "whole")
    synced = 0

    def count(handle: int) -> None:  # a killed process loses nothing that it wrote: the disk need not be waited for
        nonlocal synced
        synced += 1

    monkeypatch.setattr(os, "fsync", count)
    run(scenario(views), tmp_path / "counted", baselines=False)
    steps, seen = synced, set()
    assert steps > 4 * RELEASES
    for step in range(1, steps + 1):
        left = step

        def kill(handle: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KilledError

        folder = tmp_path / f"killed-{step}"
        monkeypatch.setattr(os, "fsync", kill)
        with pytest.raises(KilledError):
            run(scenario(views), folder, baselines=False)
        monkeypatch.setattr(os, "fsync", count)
        if unfinished_name(folder).exists():
            resume(scenario(views), folder, baselines=False)
            ended = rounds_of(folder)
            voided = {number for number, digest in ended.items() if digest == "void"}
            seen.add(len(voided))
            assert len(voided) <= 1
            assert len(ended) == RELEASES
            # Up to the kill it is the run that was never killed; what was open then is not asked again.
            first = min(voided, default=RELEASES + 1)
            assert {n: d for n, d in ended.items() if n < first} == {n: d for n, d in whole.items() if n < first}
        shutil.rmtree(folder, ignore_errors=True)
    assert seen == {0, 1}


@pytest.mark.parametrize("step", [ADVERTISE, SHARE, MASK, AGREE, UNMASK])
def test_a_run_killed_within_a_secure_sum_goes_on_without_that_round(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    relayed, killed = SimulatedEdge.secure, RELEASES - 1

    def kill(edge: SimulatedEdge, data: bytes, memory: Memory) -> bytes:
        call = wire.decode(data)
        assert isinstance(call, SecureCall)
        if (call.round, call.step) == (killed, step):
            raise KilledError
        return relayed(edge, data, memory)

    few = tmp_path / "few.csv"
    few.write_text("\n".join(views.read_text().splitlines()[: 1 + 9 * 24]) + "\n")
    monkeypatch.setattr(SimulatedEdge, "secure", kill)
    with pytest.raises(KilledError):
        run(scenario(few, "secure"), tmp_path / "run", baselines=False)
    monkeypatch.setattr(SimulatedEdge, "secure", relayed)
    resume(scenario(few, "secure"), tmp_path / "run", baselines=False)
    ended = rounds_of(tmp_path / "run")
    assert len(ended) == RELEASES
    assert [number for number, digest in ended.items() if digest == "void"] == [killed]


def test_data_that_changed_under_a_resumed_run_is_noticed(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.fsync, 12

    def kill(handle: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KilledError
        real(handle)

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KilledError):
        run(scenario(views), tmp_path / "run", baselines=False)
    monkeypatch.setattr(os, "fsync", real)
    whole = views.read_text()
    views.write_text(whole.replace("u5,", "u6,", 1))
    before = {path: path.read_bytes() for path in (tmp_path / "run.unfinished").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="has changed since this run began"):
        resume(scenario(views), tmp_path / "run", baselines=False)
    assert {path: path.read_bytes() for path in before} == before
    views.write_text(whole)
    resume(scenario(views), tmp_path / "run", baselines=False)
    assert len(rounds_of(tmp_path / "run")) == RELEASES


def test_a_run_killed_for_real_again_and_again_comes_to_its_end(views: Path, tmp_path: Path) -> None:
    backrow = [str(Path(sys.executable).parent / "backrow"), "simulate"]
    command = [*backrow, str(ROOT / "examples/ml-100k.toml"), "--data", str(views), "--no-baselines"]
    command += [
        "--set",
        "model.rounds=30",
        "--set",
        "privacy.aggregation=trusted",
        "--set",
        "privacy.noise=once",
        "--out",
        str(tmp_path / "run"),
    ]
    draw, kills = random.Random(5), 0
    for attempt in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        ledger = tmp_path / "run.unfinished" / "ledger.jsonl"
        before = ledger.stat().st_size if ledger.exists() else 0
        give_up = time.monotonic() + 60
        while process.poll() is None and (not ledger.exists() or ledger.stat().st_size <= before):
            assert time.monotonic() < give_up
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1))
        if attempt < 4 and process.poll() is None:
            process.kill()
            kills += 1
        said = process.communicate()[1].decode()
        if (tmp_path / "run").exists():
            break
        assert process.returncode == -9, said
        command = [*backrow, "--resume", str(tmp_path / "run"), "--no-baselines"]
    assert kills >= 2
    ended = rounds_of(tmp_path / "run")
    assert len(ended) == 33
    assert (tmp_path / "run" / "report.html").exists()
    assert list(ended.values()).count("void") <= kills
