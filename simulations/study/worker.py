"""One worker process: takes pickled tasks from its parent, one at a time, and answers each. Ends with its parent."""

import os
import pickle
import struct
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any

from backrow.privacy.errors import BackrowError

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], value: object) -> None:
    """Write one message."""
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message that this program wrote.

    Raises:
        EOFError: the other side is gone.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    return pickle.loads(data)


def main() -> None:
    """Answer ("done", value) or ("failed", sentence) to every (function, arguments)."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    tasks: SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        function, arguments = tasks.get()
        try:
            answer = ("done", function(*arguments))
        except Exception as problem:
            kind = "" if isinstance(problem, BackrowError) else f"{type(problem).__name__}: "
            answer = ("failed", f"{kind}{problem}")
        send(answers, answer)


def _listen(stream: IO[bytes], tasks: "SimpleQueue[Any]") -> None:
    while True:
        try:
            tasks.put(receive(stream))
        except EOFError:
            os._exit(0)  # the parent is gone: nobody waits for what is being computed


if __name__ == "__main__":
    main()
