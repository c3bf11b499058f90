"""The vault's file on disk: made in one step, private, checked before SQLite touches it, removed whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backrow.privacy.errors import DamagedVaultError, VaultError

if TYPE_CHECKING:  # loaded with the first vault: edges and simulations that open none do without it
    import sqlite3

APPLICATION_ID = 0x42_4B_52_57
"""`BKRW`, at the place where SQLite keeps an application's mark."""
_APPLICATION_ID_AT = slice(68, 72)
_SQLITE_MAGIC = b"SQLite format 3\x00"
_MODE = 0o600
_BESIDE = ("-wal", "-journal", "-shm")

_PASSING = {
    "SQLITE_BUSY": "it is in use by another process: close it there first",
    "SQLITE_LOCKED": "it is in use by another process: close it there first",
    "SQLITE_FULL": "the disk is full; nothing was recorded: free some space",
    "SQLITE_IOERR": "the disk refused to read or write; nothing was recorded: check the disk",
    "SQLITE_CANTOPEN": "it cannot be opened: check that its folder exists and may be written",
    "SQLITE_READONLY": "it cannot be written: check the permissions of the file and its folder",
    "SQLITE_PERM": "it cannot be written: check the permissions of the file and its folder",
    "SQLITE_NOMEM": "memory is used up; nothing was recorded",
}
"""SQLite's primary results that say nothing about the file's content."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into sentences.

    Raises:
        DamagedVaultError: SQLite does not find what was written.
        VaultError: the file is busy, or cannot be read or written at this moment.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as problem:
        result = getattr(problem, "sqlite_errorname", "")  # primary result, perhaps with a detail: SQLITE_IOERR_WRITE
        primary = "_".join(result.split("_")[:2])
        if primary in _PASSING and result != "SQLITE_IOERR_SHORT_READ":
            raise VaultError(f"the vault {path.name} was not used: {_PASSING[primary]}") from None
        raise DamagedVaultError(
            f"the vault {path.name} is damaged and cannot be read: restore it, or remove it to start anew"
        ) from None
    except OSError as problem:
        raise VaultError(
            f"the vault {path} was not used ({problem.strerror or problem}): check its folder and permissions"
        ) from None


def create_file(path: Path, draft: Path, schema: str, header: bytes, head: bytes) -> None:
    """Write an empty vault to `draft` and put it at `path` in one step, unless another process was faster.

    Raises:
        VaultError: the folder does not exist or cannot be written.
    """
    with translated(path):
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, _MODE))
        try:
            _fill(draft, schema, header, head)
            for suffix in _BESIDE:  # left by a vault removed by hand; SQLite would read them into ours
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            _publish(draft, path)
        finally:
            unlink_all(draft)


def check_file(path: Path) -> None:
    """See that this is a vault before SQLite may write to it, and that only its owner can read it.

    Raises:
        DamagedVaultError: it is something else.
        VaultError: it cannot be read.
    """
    with translated(path), path.open("rb") as file:
        start = file.read(100)
    if start[: len(_SQLITE_MAGIC)] != _SQLITE_MAGIC or start[_APPLICATION_ID_AT] != APPLICATION_ID.to_bytes(4, "big"):
        raise DamagedVaultError(
            f"{path.name} is not a backrow vault, or its beginning is damaged: restore it, or choose another place"
        )
    with translated(path):
        if path.stat().st_mode & 0o777 != _MODE:
            path.chmod(_MODE)


def connect(path: Path) -> "sqlite3.Connection":
    """Open the file for this process alone. Raises sqlite3.Error: use inside `translated`."""
    import sqlite3

    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=1.0, isolation_level=None, check_same_thread=False
    )
    try:
        # Exclusive: a second process is told so instead of writing beside us, and no -shm file is needed.
        for pragma in ("locking_mode = EXCLUSIVE", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY",
                       "trusted_schema = OFF", "cell_size_check = ON", "cache_size = -512"):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def unlink_all(path: Path) -> None:
    """Remove a vault and what SQLite keeps beside it."""
    for suffix in (*_BESIDE, ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _sync_folder(path.parent)


def _fill(draft: Path, schema: str, header: bytes, head: bytes) -> None:
    import sqlite3

    connection = sqlite3.connect(draft, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(schema)
        connection.execute("INSERT INTO header VALUES (1, ?)", (header,))
        connection.execute("INSERT INTO head VALUES (1, ?)", (head,))
        # Only now: so the wrapped key is in one page of one file, and an erase overwrites its only copy.
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename, never replaces a vault
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        draft.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
