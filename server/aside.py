"""Threads for what a round can do meanwhile: while its nodes train, and while the disk writes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import TypeVar

Result = TypeVar("Result")

HEAD_START = 0.004
"""Seconds in which nodes of this process read their question: until they train they need the interpreter's lock."""


class Aside:
    """Does two things at a time, beside its user. Use it as a context: it ends when all is done."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="backrow-aside")

    def do(self, work: Callable[[], Result], head_start: float = 0.0) -> Callable[[], Result]:
        """Begin; what is returned waits for the result, or raises what the work raised.

        Args:
            head_start: seconds that the user's own work goes first; less if the result is waited for before.
        """
        wanted = Event()

        def later() -> Result:
            wanted.wait(head_start)
            return work()

        done = self._threads.submit(later)

        def result() -> Result:
            wanted.set()
            return done.result()

        return result

    def __enter__(self) -> "Aside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
