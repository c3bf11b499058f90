"""Files, folders and locks of a ledger. What they hold is not judged here."""

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from backrow.privacy.errors import DamagedLedgerError, LedgerError, LedgerInUseError
from backrow.privacy.ledger.canonical import LARGEST_LINE
from backrow.privacy.ledger.verification import LedgerFiles

LEDGER, CHECKPOINT = "ledger.jsonl", "checkpoint"


def read_files(folder: Path) -> LedgerFiles:
    """Everything in the files of a ledger, to be verified. Changes nothing.

    Raises:
        DamagedLedgerError: a file is missing or cannot be read, or a line is longer than any entry.
    """
    try:
        with (folder / LEDGER).open("rb") as file:
            lines = list(lines_of(file))
        note = (folder / CHECKPOINT).read_bytes()
    except OSError as problem:
        raise DamagedLedgerError(f"{problem.filename} cannot be read ({problem.strerror}): restore it") from None
    tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
    return LedgerFiles(tuple(line[:-1] for line in lines), tail, note)


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Replace a file in one step; it is on disk when this returns."""
    draft = path.with_name(f".{path.name}")
    with FileIO(draft, "wb") as file:
        write_all(file, data)
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their newlines; the last may have none.

    Raises:
        DamagedLedgerError: a line is longer than any entry.
    """
    while line := file.readline(LARGEST_LINE + 2):
        if len(line) > LARGEST_LINE + 1:
            raise DamagedLedgerError(f"a line is longer than {LARGEST_LINE} bytes: this is not a ledger, or is damaged")
        yield line


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write every byte; the file is not buffered."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def locked(folder: Path) -> int:
    """Lock a folder for one writer; the lock ends when the handle is closed or the process dies.

    Raises:
        LedgerInUseError: another process holds it.
        LedgerError: there is no such folder, or this system has no such lock (only POSIX systems have).
    """
    try:
        import fcntl
    except ImportError:
        raise LedgerError("a ledger is written on POSIX systems only; here it can be read and verified") from None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as problem:
        raise LedgerError(f"the folder {folder} cannot be opened: {problem.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise LedgerInUseError(f"another process writes the ledger in {folder}: wait until it has ended") from None
    return handle
