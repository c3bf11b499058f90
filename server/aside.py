"""Threads for what a round can do meanwhile: while its nodes train, and while the disk writes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Result = TypeVar("Result")


class Aside:
    """Does two things at a time, beside its user. Use it as a context: it ends when all is done."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="backrow-aside")

    def do(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin; what is returned waits for the result, or raises what the work raised."""
        return self._threads.submit(work).result

    def __enter__(self) -> "Aside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
