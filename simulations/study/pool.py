"""Tasks in worker processes, one BLAS thread each. A worker that dies loses its task, and no other."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from backrow.simulations.study.worker import receive, send

ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "ARROW_NUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Task:
    """One call.

    Attributes:
        function: of a module that the worker can import.
        arguments: picklable.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task has no result, in one sentence."""

    reason: str


def run_tasks(tasks: Sequence[Task], jobs: int, log: Path) -> Iterator[tuple[int, Any | Failure]]:
    """Yield (index, result or failure) as tasks end, in whatever order.

    Args:
        jobs: worker processes at a time, >= 1.
        log: file that takes what workers write to standard error.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    ended: SimpleQueue[tuple[int, Any | Failure]] = SimpleQueue()
    for index in range(len(tasks)):
        waiting.put(index)
    workers = [_Worker(log) for _ in range(min(jobs, len(tasks)))]

    def serve(worker: _Worker) -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except Empty:
                return
            ended.put((index, worker.ask(tasks[index])))

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for _ in tasks:
            yield ended.get()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that is started when it is needed, and again after it died."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def ask(self, task: Task) -> Any | Failure:
        if self._stopped:
            return Failure("the sweep was stopped")
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            send(process.stdin, (task.function, task.arguments))
            word, answer = receive(process.stdout)
        except (EOFError, OSError):
            self._process = None
            return Failure(_how(process.wait(), self._log))
        return answer if word == "done" else Failure(str(answer))

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "backrow.simulations.study.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **ONE_THREAD},
            )
        return self._process

    def stop(self) -> None:
        self._stopped = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _how(status: int, log: Path) -> str:
    if status == -signal.SIGKILL:
        return "its worker was killed (signal 9), as happens where memory runs out: try fewer jobs"
    named = f"signal {-status}" if status < 0 else f"status {status}"
    return f"its worker ended ({named}); what it said is in {log}"
