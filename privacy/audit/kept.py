"""The released integers kept beside a ledger, against the releases that it records. Reading only.

A coordinator keeps the noisy integers of every release, so that it can go on after a crash (server/archive.py): one
file a round, little-endian int64, rows x columns of its plan, the sentinel rows last. Nothing in them is without noise.
"""

from pathlib import Path

import numpy as np

from backrow.privacy.audit.findings import MOST_ALIKE, Fault, Findings, counted
from backrow.privacy.audit.model import Kept
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.tree import sha256

_BYTES = 8
"""Of one integer."""


def file_name(number: int) -> str:
    """Where the integers of a round are kept."""
    return f"{number:04d}.i8"


class KeptValues:
    """Compares every release as it passes; keeps no integers.

    Args:
        folder: with a file a release; None if there is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._releases = 0
        self._missing: list[int] = []
        self._compared: set[int] = set()
        self._changed: list[tuple[int, int]] = []
        self._shown: list[int] = []

    def check(self, signed: SignedEntry, index: int) -> None:
        """Compare one entry; what is wrong is said at the end."""
        if not isinstance(signed.body, ReleaseEntry):
            return
        self._releases += 1
        entry, number = signed.body, signed.body.plan.round
        data = self._read(entry)
        if data is None:
            self._missing.append(index)
        elif sha256(data) != entry.values:
            self._changed.append((index, number))
        else:
            self._compared.add(number)
            if not _ends_with(data, entry):
                self._shown.append(index)

    def finish(self, found: Findings) -> Kept:
        """Name what differs, and what is missing where other files are there."""
        for index, number in self._changed:
            if number in self._compared:  # the file is of another run's round with this number
                self._missing.append(index)
                continue
            found.add(
                Fault.CHANGED_VALUES,
                f"The integers kept in {file_name(number)} are not those whose hash entry {index} records: the file "
                "was changed, or the entry is about other numbers than were released.",
                index,
            )
        for index in self._shown:
            found.add(
                Fault.OTHER_SENTINELS,
                f"Entry {index} shows other noise measurements than the integers that it released end with: what was "
                "measured is not what went out.",
                index,
            )
        there = self._releases - len(self._missing)
        if there and self._missing:
            first = sorted(self._missing)
            found.add(
                Fault.MISSING_VALUES,
                f"The integers of {counted(there, 'release is', 'releases are')} kept, those of {len(first)} are not, "
                f"from entry {first[0]} on: files were taken out.",
                *first[:MOST_ALIKE],
            )
        return Kept(self._folder is not None, self._releases, there)

    def _read(self, entry: ReleaseEntry) -> bytes | None:
        """The file of a release; None if there is none, nothing if its size alone shows that it is another."""
        if self._folder is None:
            return None
        path = self._folder / file_name(entry.plan.round)
        try:
            return path.read_bytes() if path.stat().st_size == entry.plan.query.dimension * _BYTES else b""
        except OSError:
            return None


def _ends_with(data: bytes, entry: ReleaseEntry) -> bool:
    """Whether the integers are as many as the plan says, and end with the sentinels that the entry shows."""
    plan = entry.plan
    if len(data) != plan.query.dimension * _BYTES:
        return False
    integers = np.frombuffer(data, "<i8").reshape(plan.query.rows, plan.query.columns)
    return tuple(integers[plan.query.titles :].ravel().tolist()) == entry.sentinels
