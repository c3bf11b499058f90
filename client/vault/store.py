"""The encrypted local history: one SQLite file, every row sealed, every change in one durable transaction.

What the file shows without the key: how many events there are, in which order and about how long each is,
how many notes, and when the file changed. What is detected: rows changed, moved, removed, repeated, put
back from an older copy or brought from another vault; a damaged file. What is not: a whole old copy put
in the place of the file (together with its -wal), which is a true vault of an earlier day.
"""

import os
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from backrow.client.events import WatchEvent
from backrow.client.vault.codec import decode_event, encode_event
from backrow.client.vault.files import check_file, connect, create_file, translated, unlink_all
from backrow.client.vault.sealing import (
    DESTROYED,
    DIGEST_BYTES,
    LABEL_BYTES,
    Entropy,
    Sealer,
    check_host_key,
    new_header,
    open_header,
)
from backrow.privacy.errors import DamagedVaultError, VaultError

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = """
CREATE TABLE header (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), sealed BLOB NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE notes (label BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
"""
_HEAD_PLACE = b"head"
_HEAD = struct.Struct(f">QQQ{DIGEST_BYTES}s")
_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Head:
    """What must be true of all rows together; sealed with every change.

    Attributes:
        events, notes: rows of each table.
        next: id of the next event.
        digest: sum over all rows of `Sealer.digest`, modulo 2^256.
    """

    events: int = 0
    notes: int = 0
    next: int = 1
    digest: int = 0

    def sealed(self, sealer: Sealer) -> bytes:
        digest = (self.digest % (1 << 8 * DIGEST_BYTES)).to_bytes(DIGEST_BYTES, "big")
        return sealer.seal(_HEAD_PLACE, _HEAD.pack(self.events, self.notes, self.next, digest))


class Vault:
    """An open vault. One process holds a vault at a time; its threads may share it. Cannot be printed."""

    __slots__ = ("_connection", "_lock", "_path", "_sealer")

    def __init__(self, path: Path, connection: "sqlite3.Connection", sealer: Sealer) -> None:
        """Use `Vault.open`."""
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._sealer = sealer
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: str | os.PathLike[str], key: bytes, *, entropy: Entropy = os.urandom) -> Self:
        """Open the vault at `path`, or create an empty one if there is no file. Checks every row.

        Args:
            path: the file; its folder must exist. Created and kept with permissions 0600.
            key: 32 bytes that the host application keeps in the platform's key store.
            entropy: the source of keys and nonces.

        Raises:
            WrongKeyError: the vault was written with another key.
            DamagedVaultError: the file is not a vault, or not what was written.
            VaultError: it is in use by another process, or cannot be read or written.
            ValueError: the key is not 32 bytes.
        """
        check_host_key(key)
        place = Path(path).absolute()
        while True:
            if not place.exists():
                header, sealer = new_header(key, entropy)
                draft = place.with_name(f".{place.name}.{entropy(8).hex()}.new")
                create_file(place, draft, _SCHEMA, header, _Head().sealed(sealer))
            check_file(place)
            with translated(place):
                connection = connect(place)
            try:
                with translated(place):
                    found = _single(connection, "SELECT bytes FROM header")
                    if found != DESTROYED:
                        vault = cls(place, connection, open_header(found, key, entropy))
                        vault._check_rows()
                        return vault
            except BaseException:
                connection.close()
                raise
            connection.close()
            with translated(place):
                unlink_all(place)  # an erase was cut off after the key was destroyed: finish it

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self._path.parent

    def append(self, event: WatchEvent) -> None:
        """Record one event; it is on disk when this returns.

        Raises:
            ValueError: it is not an event that can be kept.
            VaultError: it could not be written; nothing was recorded.
        """
        self.extend([event])

    def extend(self, events: Iterable[WatchEvent]) -> None:
        """Record events in one transaction: all of them or none. Raises: as `append`."""
        plain = [encode_event(event) for event in events]
        with self._change() as (connection, head):
            rows, digest = [], head.digest
            for number, data in enumerate(plain, start=head.next):
                place = _event_place(number)
                rows.append((number, self._sealer.seal(place, data)))
                digest += self._sealer.digest(place, rows[-1][1])
            connection.executemany("INSERT INTO events VALUES (?, ?)", rows)
            self._write_head(_Head(head.events + len(rows), head.notes, head.next + len(rows), digest))

    def events(self) -> Iterator[WatchEvent]:
        """All events in the order they were recorded, read a few at a time.

        Raises:
            DamagedVaultError: a row is not what was written.
            VaultError: the vault is closed.
        """
        last = 0
        while True:
            with self._reading() as connection:
                query = "SELECT id, sealed FROM events WHERE id > ? ORDER BY id LIMIT ?"
                rows = connection.execute(query, (last, _BATCH)).fetchall()
            for number, sealed in rows:
                yield decode_event(self._sealer.open(_event_place(number), sealed))
                last = number
            if len(rows) < _BATCH:
                return

    def note(self, name: str) -> bytes | None:
        """What was last kept under this name, or None. Names and values are hidden in the file."""
        label = self._sealer.label(name)
        with self._reading() as connection:
            row = connection.execute("SELECT sealed FROM notes WHERE label = ?", (label,)).fetchone()
        return None if row is None else self._sealer.open(_note_place(label), row[0])

    def keep_note(self, name: str, value: bytes) -> None:
        """Keep a few bytes under a name, replacing what was there; on disk when this returns."""
        self.keep_notes({name: value})

    def keep_notes(self, values: Mapping[str, bytes]) -> None:
        """Keep several notes in one transaction: all of them or none."""
        with self._change() as (connection, head):
            notes, digest = head.notes, head.digest
            for name, value in values.items():
                label = self._sealer.label(name)
                place = _note_place(label)
                sealed = self._sealer.seal(place, value)
                digest, notes = digest + self._sealer.digest(place, sealed), notes + 1
                row = connection.execute("SELECT sealed FROM notes WHERE label = ?", (label,)).fetchone()
                if row is not None:
                    digest, notes = digest - self._sealer.digest(place, row[0]), notes - 1
                connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (label, sealed))
            self._write_head(_Head(head.events, notes, head.next, digest))

    def erase(self) -> None:
        """Destroy the data key, then the rows, then the file. The vault is closed afterwards.

        Guarantees: once the key is overwritten, nothing in the file or in copies of it made later can be read,
        even if the process dies before the file is gone. Copies made earlier, and flash memory that keeps old
        blocks, still hold the key wrapped by the host's key: a host that must cover them destroys its own key.
        """
        with self._lock:
            with self._transaction() as connection:
                connection.execute("UPDATE header SET bytes = ?", (DESTROYED,))
                for table in ("head", "events", "notes"):
                    connection.execute(f"DELETE FROM {table}")
            with translated(self._path):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.close()
                unlink_all(self._path)

    def close(self) -> None:
        """Let go of the file. Closing twice does nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __len__(self) -> int:
        with self._reading():
            return self._read_head().events

    def __bool__(self) -> bool:
        return True  # an empty vault is a vault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<Vault: not printable>"

    def _check_rows(self) -> None:
        """Compare all rows with the sealed head.

        Raises:
            DamagedVaultError: they differ.
        """
        with self._reading() as connection:
            head, digest, events, notes = self._read_head(), 0, 0, 0
            for number, sealed in connection.execute("SELECT id, sealed FROM events"):
                digest, events = digest + self._term(_event_place(number), sealed), events + 1
            for label, sealed in connection.execute("SELECT label, sealed FROM notes"):
                digest, notes = digest + self._term(_note_place(label), sealed), notes + 1
        if (events, notes, digest % (1 << 8 * DIGEST_BYTES)) != (head.events, head.notes, head.digest):
            raise DamagedVaultError(
                "entries of the vault were changed, removed or put back: restore the file, or remove it"
            )

    def _term(self, place: bytes, sealed: object) -> int:
        return self._sealer.digest(place, sealed) if isinstance(sealed, bytes) else 0

    def _read_head(self) -> _Head:
        assert self._connection is not None
        plain = self._sealer.open(_HEAD_PLACE, _single(self._connection, "SELECT sealed FROM head"))
        events, notes, following, digest = _HEAD.unpack(plain)
        return _Head(events, notes, following, int.from_bytes(digest, "big"))

    def _write_head(self, head: _Head) -> None:
        assert self._connection is not None
        self._connection.execute("UPDATE head SET sealed = ?", (head.sealed(self._sealer),))

    @contextmanager
    def _reading(self) -> "Iterator[sqlite3.Connection]":
        with self._lock, translated(self._path):
            if self._connection is None:
                raise VaultError("the vault is closed: open it again")
            yield self._connection

    @contextmanager
    def _transaction(self) -> "Iterator[sqlite3.Connection]":
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _change(self) -> "Iterator[tuple[sqlite3.Connection, _Head]]":
        """A transaction with the head as it is on disk: nothing is remembered that a failure could make untrue."""
        with self._transaction() as connection:
            yield connection, self._read_head()


def _single(connection: "sqlite3.Connection", query: str) -> object:
    rows = connection.execute(query).fetchmany(2)
    return rows[0][0] if len(rows) == 1 else None


def _event_place(number: object) -> bytes:
    if isinstance(number, int) and 0 < number < 1 << 63:
        return b"event" + number.to_bytes(8, "big")
    return b"nowhere"


def _note_place(label: object) -> bytes:
    if isinstance(label, bytes) and len(label) == LABEL_BYTES:
        return b"note" + label
    return b"nowhere"
