"""The released integers on disk, so that a run can go on after a crash. Nothing in it is without its noise."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from backrow.privacy.errors import BookError
from backrow.privacy.ledger.files import write_durably
from backrow.privacy.wire import IntArray


class Archive:
    """One file per release in a folder; written before its ledger entry, removed if the round ends void."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def keep(self, number: int, noisy: IntArray) -> None:
        """Keep the noisy integers of a round, durably."""
        write_durably(self._path(number), np.ascontiguousarray(noisy, dtype="<i8").reshape(-1).view(np.uint8).data)

    def load(self, number: int, digest: str, shape: tuple[int, int]) -> IntArray:
        """What was kept of a released round.

        Raises:
            BookError: it is missing, or not what the ledger recorded.
        """
        try:
            data = self._path(number).read_bytes()
        except OSError:
            raise BookError(f"the release of round {number} is missing: restore {self._path(number)}") from None
        if sha256(data).hexdigest() != digest:
            raise BookError(f"the release of round {number} is not what the ledger recorded: restore its file")
        return np.frombuffer(data, "<i8").reshape(shape).astype(np.int64)

    def forget(self, number: int) -> None:
        """Remove what an unfinished round left."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:04d}.i8"
