"""What an auditor names on a command line, read: keys, files, and the audit that they make."""

from collections.abc import Sequence
from pathlib import Path

from backrow.privacy.audit.evidence import Lists, read_key, read_seen
from backrow.privacy.audit.model import Report
from backrow.privacy.errors import LedgerError


def audited(
    run: Path,
    key: str | None = None,
    production: bool = False,
    lists: Path | None = None,
    seen: Sequence[Path] = (),
    bundle: Path | None = None,
) -> Report:
    """`verify`, with files still to be read.

    Raises:
        LedgerError and its kin: what the auditor brought cannot be read or understood.
    """
    from backrow.privacy.audit.verify import verify

    return verify(
        run,
        None if key is None else key_of(key),
        production,
        None if lists is None else Lists.parse(bytes_of(lists)),
        [read_seen(path) for path in seen],
        bundle,
    )


def key_of(word: str) -> bytes:
    """A public key: the word itself (hex, a vkey), or the name of a file that holds one.

    Raises:
        NoteError: it is none.
    """
    path = Path(word)
    try:
        held = path.is_file()
    except (OSError, ValueError):
        held = False
    return read_key(bytes_of(path) if held else word.encode())


def bytes_of(path: Path) -> bytes:
    """A file.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise LedgerError(f"{path} cannot be read ({problem.strerror}): check the path") from None
