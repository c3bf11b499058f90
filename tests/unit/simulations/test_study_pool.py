"""Tasks in worker processes: one that fails or dies loses no other."""

import math
import os
import signal
import time
from pathlib import Path

import pytest

from backrow.simulations.study.pool import Failure, Task, run_tasks


def results(tasks: list[Task], jobs: int, folder: Path) -> list[object]:
    found = dict(run_tasks(tasks, jobs, folder / "log"))
    return [found[index] for index in range(len(tasks))]


def test_a_task_that_raises_and_one_whose_worker_dies_lose_no_other(tmp_path: Path) -> None:
    tasks = [Task(math.sqrt, (-1.0,)), Task(os._exit, (3,)), Task(math.sqrt, (4.0,)), Task(os.abort, ())]
    raised, died, done, aborted = results(tasks, 1, tmp_path)
    assert isinstance(raised, Failure)
    assert "ValueError" in raised.reason
    assert isinstance(died, Failure)
    assert "status 3" in died.reason
    assert done == 2.0
    assert isinstance(aborted, Failure)
    assert f"signal {int(signal.SIGABRT)}" in aborted.reason


def test_a_killed_worker_is_said_to_lack_memory(tmp_path: Path) -> None:
    tasks = [Task(signal.raise_signal, (signal.SIGKILL,))]
    (killed,) = results(tasks, 1, tmp_path)
    assert isinstance(killed, Failure)
    assert "memory runs out" in killed.reason


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    assert results([Task(print, ("hello",)), Task(math.sqrt, (9.0,))], 1, tmp_path) == [None, 3.0]
    assert "hello" in (tmp_path / "log").read_text()


def test_a_worker_uses_one_thread(tmp_path: Path) -> None:
    assert results([Task(os.getenv, ("OPENBLAS_NUM_THREADS",))], 1, tmp_path) == ["1"]


def test_workers_end_with_whoever_stops_listening(tmp_path: Path) -> None:
    running = run_tasks([Task(os.getpid, ()), Task(time.sleep, (60,))], 1, tmp_path / "log")
    _, worker = next(running)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
