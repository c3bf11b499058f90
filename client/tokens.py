"""Grants as small files beside the vault: a grant holds only while its file is there.

Removing a file needs no space, so a withdrawal takes effect, and stays in effect after a restart, on a disk too full
to write that down. The file says nothing by itself: it must match the signed record in the vault.
"""

import os
from pathlib import Path

from backrow.privacy.consent import Purpose
from backrow.privacy.errors import VaultError
from backrow.privacy.ledger.tree import sha256

_DOMAIN = b"backrow/grant-token/1\x00"
BYTES = 32


def token_of(grant: bytes) -> bytes:
    """What the file of a signed grant holds, 32 bytes."""
    return sha256(_DOMAIN + grant)


class Tokens:
    """The files of one device, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, purpose: Purpose, token: bytes) -> bool:
        """Whether the file is there and holds exactly this."""
        try:
            with self._path(purpose).open("rb") as file:
                return file.read(BYTES + 1) == token
        except OSError:
            return False  # what cannot be read grants nothing

    def put(self, purpose: Purpose, token: bytes) -> None:
        """On disk when this returns.

        Raises:
            VaultError: it could not be written; whatever is left of it matches nothing.
        """
        try:
            handle = os.open(self._path(purpose), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(token)
                file.flush()
                os.fsync(file.fileno())
            self._sync()
        except OSError as problem:
            raise VaultError(f"the grant could not be written ({problem.strerror}): it does not hold") from None

    def drop(self, purpose: Purpose) -> None:
        """Gone from the disk when this returns.

        Raises:
            VaultError: the disk refuses even that.
        """
        path = self._path(purpose)
        try:
            try:
                path.unlink(missing_ok=True)
            except OSError:  # a folder that may not be changed, with files that may
                os.truncate(path, 0)
            self._sync()
        except OSError as problem:
            raise VaultError(f"the grant's file could not be removed ({problem.strerror})") from None

    def _path(self, purpose: Purpose) -> Path:
        return self._folder / f"{purpose.value}.grant"

    def _sync(self) -> None:
        if os.name == "posix":
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
