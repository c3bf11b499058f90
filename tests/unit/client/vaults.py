"""Writing, reading and tampering with vaults in tests."""

import sqlite3
from pathlib import Path
from typing import Any

from backrow.client.events import EventKind, WatchEvent
from backrow.client.vault.store import Vault

KEY = bytes(range(32))


def plays(count: int, first: int = 0) -> list[WatchEvent]:
    return [WatchEvent(EventKind.PLAY, 1000 + n, f"title-{n}") for n in range(first, first + count)]


def write(path: Path, events: list[WatchEvent]) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(events)


def read(path: Path) -> list[WatchEvent]:
    with Vault.open(path, KEY) as vault:
        return list(vault.events())


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def look(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    values = [row[0] for row in connection.execute(query)]
    connection.close()
    return values
