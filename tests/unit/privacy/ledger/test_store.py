"""The ledger on disk: durable when it returns, one writer, and never another past."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from backrow.privacy.errors import (
    ClockError,
    DamagedLedgerError,
    LedgerError,
    LedgerInUseError,
    SignatureError,
)
from backrow.privacy.ledger import files, store
from backrow.privacy.ledger.checkpoint import open_checkpoint
from backrow.privacy.ledger.entries import FindingEntry
from backrow.privacy.ledger.files import CHECKPOINT, LEDGER, read_files
from backrow.privacy.ledger.recovery import UNFINISHED
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.ledger.tree import verify_consistency
from backrow.privacy.ledger.verification import verify_files
from tests.unit.privacy.ledger.samples import BODIES, KEY, LOG, ORIGIN, OTHER_KEY, WITNESS, filled, lines

LATER = 2000


def test_an_entry_is_on_disk_under_a_signed_checkpoint_when_append_returns(tmp_path: Path) -> None:
    with filled(tmp_path, 3) as ledger:
        receipt = ledger.append(BODIES[3], 1003)
        held = read_files(tmp_path)
        assert held.lines == tuple(lines(4))
        assert held.checkpoint == ledger.checkpoint
        assert open_checkpoint(held.checkpoint, LOG).checkpoint.size == 4
        assert (receipt.index, receipt.entry.body) == (3, BODIES[3])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/fd")
def test_every_append_is_synced_before_its_checkpoint_replaces_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watch_fsync(handle: int) -> None:
        done.append("sync " + Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def watch_replace(self: Path, target: Path) -> Path:
        done.append(f"replace {target.name}")
        return replace(self, target)

    with filled(tmp_path, 1) as ledger:
        monkeypatch.setattr(os, "fsync", watch_fsync)
        monkeypatch.setattr(Path, "replace", watch_replace)
        ledger.append(BODIES[1], 1001)
    assert done == [f"sync {LEDGER}", f"sync .{CHECKPOINT}", f"replace {CHECKPOINT}", f"sync {tmp_path.name}"]


def test_a_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    filled(tmp_path, 4).close()
    with Ledger.open(tmp_path, KEY, LATER) as ledger:
        assert ledger.repair is None
        assert (ledger.size, ledger.time) == (4, 1003)
        assert ledger.append(BODIES[4], 1004).index == 4
        assert [entry.body for entry in ledger.entries()] == list(BODIES[:5])
    assert read_files(tmp_path).lines == tuple(lines(5))


def test_entries_together_are_the_same_as_one_by_one(tmp_path: Path) -> None:
    with Ledger.create(tmp_path, ORIGIN, KEY) as ledger:
        receipts = ledger.append_all(BODIES, 1000)
        assert [receipt.index for receipt in receipts] == list(range(len(BODIES)))
        assert len({receipt.entry.time for receipt in receipts}) == 1
        assert ledger.leaves == tuple(receipt.leaf for receipt in receipts)
    verify_files(read_files(tmp_path), KEY.public)


def test_the_empty_ledger_is_a_ledger(tmp_path: Path) -> None:
    Ledger.create(tmp_path, ORIGIN, KEY).close()
    assert verify_files(read_files(tmp_path), KEY.public).entries == ()
    with Ledger.open(tmp_path, KEY, LATER) as ledger:
        assert (ledger.size, ledger.time, ledger.repair) == (0, 0, None)
        ledger.append(BODIES[0], 5)


def test_a_ledger_is_never_begun_twice(tmp_path: Path) -> None:
    filled(tmp_path, 2).close()
    before = read_files(tmp_path)
    with pytest.raises(LedgerError, match="never begun again"):
        Ledger.create(tmp_path, ORIGIN, KEY)
    (tmp_path / LEDGER).unlink()
    with pytest.raises(DamagedLedgerError, match="without its ledger"):
        Ledger.create(tmp_path, ORIGIN, KEY)
    assert (tmp_path / CHECKPOINT).read_bytes() == before.checkpoint


def test_a_false_start_can_be_begun_again(tmp_path: Path) -> None:
    Ledger.create(tmp_path, ORIGIN, KEY).close()
    (tmp_path / LEDGER).unlink()  # as if the process had died between the two files
    with Ledger.create(tmp_path, ORIGIN, KEY) as ledger:
        assert ledger.size == 0
    assert (tmp_path / LEDGER).exists()


def test_one_ledger_has_one_writer(tmp_path: Path) -> None:
    with filled(tmp_path, 1):
        with pytest.raises(LedgerInUseError, match="another process"):
            Ledger.open(tmp_path, KEY, LATER)
        code = (
            "import sys; from pathlib import Path; from backrow.privacy.ledger.store import Ledger\n"
            "from backrow.privacy.errors import LedgerInUseError; from backrow.privacy.signing import SigningKey\n"
            "try: Ledger.open(Path(sys.argv[1]), SigningKey(b'k' * 32), 2000)\n"
            "except LedgerInUseError: sys.exit(7)"
        )
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 7
        read_files(tmp_path)  # reading needs no lock
    Ledger.open(tmp_path, KEY, LATER).close()


@pytest.mark.parametrize("folder", ["missing", LEDGER])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / LEDGER).touch()
    for use in (lambda: Ledger.create(tmp_path / folder, ORIGIN, KEY), lambda: Ledger.open(tmp_path / folder, KEY, 0)):
        with pytest.raises(LedgerError):
            use()


@pytest.mark.parametrize("name", [LEDGER, CHECKPOINT])
def test_a_ledger_with_a_file_missing_is_damaged(tmp_path: Path, name: str) -> None:
    filled(tmp_path, 2).close()
    (tmp_path / name).unlink()
    with pytest.raises(DamagedLedgerError):
        Ledger.open(tmp_path, KEY, LATER)
    with pytest.raises(DamagedLedgerError, match="restore it"):
        read_files(tmp_path)


def test_another_key_cannot_go_on_with_a_ledger(tmp_path: Path) -> None:
    filled(tmp_path, 2).close()
    with pytest.raises(SignatureError):
        Ledger.open(tmp_path, OTHER_KEY, LATER)


def test_time_does_not_run_backwards_and_a_refusal_writes_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, 3) as ledger:
        before = read_files(tmp_path)
        with pytest.raises(ClockError, match="2 s behind"):
            ledger.append(BODIES[3], 1000)
        assert read_files(tmp_path) == before
        ledger.append(BODIES[3], 1002)


def test_what_cannot_be_written_writes_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, 3) as ledger:
        before = read_files(tmp_path)
        surrogate = FindingEntry("found", (), "\ud800")
        with pytest.raises(ValueError, match="surrogates"):
            ledger.append_all([BODIES[3], surrogate], 1003)
        assert read_files(tmp_path) == before
        ledger.append(BODIES[3], 1003)


def test_a_closed_ledger_writes_nothing(tmp_path: Path) -> None:
    ledger = filled(tmp_path, 1)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.append(BODIES[1], 1001)
    with pytest.raises(LedgerError, match="closed"):
        ledger.add_cosignature(WITNESS.sign("x\n", time=1), WITNESS.verifier)


def test_proofs_from_the_ledger_verify(tmp_path: Path) -> None:
    with filled(tmp_path) as ledger:
        for index, line in enumerate(lines()):
            assert ledger.inclusion_proof(index).verify(line, ledger.log).checkpoint.size == len(BODIES)
        older = verify_files(read_files(tmp_path), KEY.public).tree
        for size in range(len(BODIES) + 1):
            ledger.consistency_proof(size).verify(older.root(size), len(BODIES), older.root())
        with pytest.raises(ValueError, match="this tree has"):
            ledger.inclusion_proof(len(BODIES))


def test_a_cosignature_stays_with_its_checkpoint_until_the_next_entry(tmp_path: Path) -> None:
    with filled(tmp_path, 2) as ledger:
        old = open_checkpoint(ledger.checkpoint, ledger.log)
        ledger.add_cosignature(old.cosign(WITNESS, time=1500), WITNESS.verifier)
        cosigned = read_files(tmp_path).checkpoint
        assert len(open_checkpoint(cosigned, ledger.log, [WITNESS.verifier], quorum=1).cosignatures) == 1
        ledger.append(BODIES[2], 1600)
        with pytest.raises(SignatureError):
            ledger.add_cosignature(old.cosign(WITNESS, time=1700), WITNESS.verifier)


def test_an_entry_whose_checkpoint_is_on_its_way_is_on_disk_and_kept_if_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, written = threading.Event(), store.write_durably

    def held_up(path: Path, data: bytes) -> None:
        assert go.wait(60)
        written(path, data)

    with filled(tmp_path, 3) as ledger:
        old = (tmp_path / CHECKPOINT).read_bytes()
        monkeypatch.setattr(store, "write_durably", held_up)
        ledger.append(BODIES[3], 1003, settled=False)
        assert read_files(tmp_path).lines == tuple(lines(4))
        assert (tmp_path / CHECKPOINT).read_bytes() == old != ledger.checkpoint
        as_if_dead = tmp_path / "as if dead"
        as_if_dead.mkdir()
        for name in (LEDGER, CHECKPOINT):
            shutil.copy(tmp_path / name, as_if_dead)
        promised = open_checkpoint(ledger.checkpoint, LOG).checkpoint
        go.set()
        ledger.settle()
        assert (tmp_path / CHECKPOINT).read_bytes() == ledger.checkpoint
    with Ledger.open(as_if_dead, KEY, LATER) as again:
        assert again.repair is not None
        assert again.repair.kept == (3,)
        proof = again.consistency_proof(promised.size)  # whoever was shown the checkpoint finds it continued
        later = open_checkpoint(again.checkpoint, LOG).checkpoint
        verify_consistency(promised.size, later.size, proof.hashes, promised.root, later.root)


def fail_at(count: int, problem: BaseException) -> Callable[..., None]:
    calls = iter(range(count))

    def fail(*_: object) -> None:
        if next(calls, None) is None:
            raise problem

    return fail


STEPS = 6
"""Of one append: write lines, sync, write draft, sync, replace, sync folder."""


def append(ledger: Ledger, number: int, *, settled: bool) -> None:
    ledger.append(BODIES[number], 1000 + number, settled=settled)
    if not settled:
        ledger.settle()


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("step", range(STEPS + 1))
def test_whichever_step_of_an_append_fails_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, settled: bool
) -> None:
    ledger = filled(tmp_path, 3)
    fail = fail_at(step, OSError(28, "No space left on device"))
    fsync, replace, write_all = os.fsync, Path.replace, files.write_all

    def failing_write(file: FileIO, data: bytes) -> None:
        try:
            fail()
        except OSError:
            write_all(file, data[: len(data) // 2])
            raise
        write_all(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: (fail(), fsync(handle)))
        patched.setattr(Path, "replace", lambda path, target: (fail(), replace(path, target)))
        for module in (files, store):
            patched.setattr(module, "write_all", failing_write)
        if step < STEPS:
            with pytest.raises(LedgerError, match="No space left"):
                append(ledger, 3, settled=settled)
            with pytest.raises(LedgerError, match="closed"):
                append(ledger, 4, settled=settled)
        else:
            append(ledger, 3, settled=settled)
    ledger.close()
    with Ledger.open(tmp_path, KEY, LATER) as again:
        kinds = [entry.kind for entry in again.entries() if entry.kind != "finding"]
        assert kinds in (["policy", "schedule", "enrolment"], ["policy", "schedule", "enrolment", "opt-outs"])
        assert (again.repair is None) == (step in (5, 6))
    verify_files(read_files(tmp_path), KEY.public)


WRITER = """
import sys
from pathlib import Path
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.signing import SigningKey
from tests.unit.privacy.ledger.samples import BODIES

folder, key = Path(sys.argv[1]), SigningKey(b"k" * 32)
begin = not (folder / "ledger.jsonl").exists()
with Ledger.create(folder, "backrow/test", key) if begin else Ledger.open(folder, key, 2000) as ledger:
    print("open", ledger.size, flush=True)
    while True:
        receipts = ledger.append_all([BODIES[5]] * (1 + ledger.size % 3), 2000, settled=bool(ledger.size % 2))
        print(receipts[-1].index, flush=True)
"""


@pytest.mark.parametrize("run", range(8))
def test_a_writer_killed_at_any_moment_loses_nothing_that_it_had_acknowledged(tmp_path: Path, run: int) -> None:
    acknowledged = -1
    for milliseconds in (3 * run, 41 + 7 * run):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            opened = writer.stdout.readline()
            assert opened.startswith("open")
            time.sleep(milliseconds / 1000)
            writer.send_signal(signal.SIGKILL)
            indices = [int(line) for line in writer.stdout.read().splitlines() if line.isdigit()]
        acknowledged = max([acknowledged, *indices])
        before = read_files(tmp_path)
        with Ledger.open(tmp_path, KEY, LATER) as ledger:
            assert ledger.size > acknowledged
            whole = before.tail == b"" and len(before.lines) == open_checkpoint(before.checkpoint, LOG).checkpoint.size
            assert (ledger.repair is None) == whole
            bodies = [entry.body for entry in ledger.entries()]
        found = [body for body in bodies if isinstance(body, FindingEntry)]
        assert all(body.finding == UNFINISHED for body in found)
        assert len(bodies) == len(before.lines) + (not whole)
        verify_files(read_files(tmp_path), KEY.public)
