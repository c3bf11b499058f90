"""What an auditor names on a command line: options that commands share, and the files behind them, read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from backrow.privacy.audit.evidence import LISTS, Lists, Witnesses, read_key, read_seen
from backrow.privacy.audit.model import Report
from backrow.privacy.consent import read_opt_out
from backrow.privacy.errors import LedgerError
from backrow.privacy.ledger.keys import VerifierKey

Run = Annotated[Path, typer.Argument(metavar="RUN_OR_LEDGER", help="A run folder, or a ledger.jsonl.")]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="The coordinator's public key, from somewhere else than the run: hex, a vkey, or a file."
    ),
]
Pseudonyms = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keys and pseudonym lists that the coordinator handed over. [default: RUN/auditor/lists.json]",
    ),
]

Operator = Annotated[
    Path | None,
    typer.Option(metavar="FILE.toml", help="What no ledger can know, in the operator's own words."),
]
SeenPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--seen", metavar="PATH", help="A checkpoint (or folder) that somebody else has kept; may be repeated."
    ),
]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="FOLDER", help="A model bundle. [default: RUN/bundle]")
]
ReleasesFolder = Annotated[
    Path | None, typer.Option("--releases", metavar="FOLDER", help="The released integers. [default: RUN/releases]")
]
WitnessKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--witness-key",
        metavar="VKEY",
        help="Key of a witness you trust, as `backrow witness` prints it, or its file; may be repeated.",
    ),
]
Demanded = Annotated[
    int, typer.Option("--witnesses", metavar="N", min=0, help="How many of them must have cosigned the checkpoint.")
]
Receipts = Annotated[
    list[Path] | None,
    typer.Option(
        "--receipt",
        metavar="FILE",
        help="A signed opt-out that its owner has kept: with the lists, shows whether it was heeded; may be repeated.",
    ),
]


def audited(
    run: Path,
    key: str | None = None,
    production: bool = False,
    lists: Path | None = None,
    seen: Sequence[Path] | None = None,
    bundle: Path | None = None,
    releases: Path | None = None,
    witness_keys: Sequence[str] | None = None,
    demanded: int = 0,
    receipts: Sequence[Path] | None = None,
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
        lists_of(run, lists),
        [read_seen(path) for path in seen or ()],
        bundle,
        Witnesses(tuple(map(witness_of, witness_keys or ())), demanded),
        releases,
        [read_opt_out(bytes_of(path)) for path in receipts or ()],
    )


def lists_of(run: Path, named: Path | None) -> Lists | None:
    """The lists that were named, or those of a simulation, which lie in its run folder; None if there are none.

    Raises:
        LedgerError: they cannot be read.
    """
    path = named or run / LISTS
    return Lists.parse(bytes_of(path)) if named or path.is_file() else None


def key_of(word: str) -> bytes:
    """A public key: the word itself (hex, a vkey), or the name of a file that holds one.

    Raises:
        NoteError: it is none.
    """
    return read_key(_held(word))


def witness_of(word: str) -> VerifierKey:
    """A witness' key: a vkey, or the name of a file that holds one.

    Raises:
        NoteError: it is none.
    """
    return VerifierKey.parse(_held(word).decode(errors="replace").strip())


def _held(word: str) -> bytes:
    """What a file of this name holds, or the word itself."""
    path = Path(word)
    try:
        held = path.is_file()
    except (OSError, ValueError):
        held = False
    return bytes_of(path) if held else word.encode()


def bytes_of(path: Path) -> bytes:
    """A file.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise LedgerError(f"{path} cannot be read ({problem.strerror}): check the path") from None
