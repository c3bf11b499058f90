"""A witness: a second party that watches a ledger grow and cosigns what it has seen. A process of its own.

It keeps its key and the last checkpoint it saw. A coordinator that shows different people different ledgers
would have to get every version past it.
"""

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from backrow.privacy.audit.evidence import read_key
from backrow.privacy.errors import SignatureError
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.files import CHECKPOINT, locked, read_files, write_durably
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.observer import View
from backrow.privacy.ledger.tree import leaf_hash
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.signing import SigningKey

KEY_FILE, PUBLIC_FILE = "witness.key", "witness.pub"


def cosign(run: Path, public_key: bytes, home: Path, name: str, now: int) -> tuple[VerifierKey, int]:
    """Check a ledger against what this witness saw last, remember it, and put a cosignature on its checkpoint.

    Args:
        run: folder with ledger.jsonl and checkpoint; nobody else may be writing there.
        public_key: the coordinator's, pinned, 32 bytes.
        home: the witness' own folder: its key, its public key for others, and one checkpoint for every ledger it
            watches.
        name: what the witness signs as, one word.
        now: Unix seconds.

    Returns:
        The witness' public key, for those who trust it; and how many entries it has cosigned.

    Raises:
        LedgerError and its kin: the ledger is damaged, in use, rolled back or forked; nothing is signed.
        SignatureError: it is another coordinator's.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = Signer(name, _key(home / KEY_FILE), Kind.COSIGNATURE)
    write_durably(home / PUBLIC_FILE, f"{signer.verifier}\n".encode())
    lock = locked(run)
    try:
        files = read_files(run)
        verify_files(files, public_key)
        note = Note.parse(files.checkpoint)
        origin = Checkpoint.parse(note.text).origin
        memory = home / f"{leaf_hash(origin.encode()).hex()[:32]}.checkpoint"
        kept = memory.read_bytes() if memory.exists() else None
        view = View.restore(VerifierKey(origin, public_key), kept)
        advanced = view.advance_by_leaves(tuple(map(leaf_hash, files.lines)), files.checkpoint)
        assert advanced.seen is not None
        # Remember before signing: a witness that forgets could be made to sign a fork.
        write_durably(memory, files.checkpoint)
        if not _has_signed(note, signer.verifier):
            signature = advanced.seen.cosign(signer, now)
            write_durably(run / CHECKPOINT, note.with_signature(signature).encode())
        return signer.verifier, advanced.size
    finally:
        os.close(lock)


def _has_signed(note: Note, witness: VerifierKey) -> bool:
    try:
        return bool(note.verified([witness]))
    except SignatureError:
        return False


def _key(path: Path) -> SigningKey:
    """The witness' key, made at its first start; readable by its owner only."""
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    return SigningKey(bytes.fromhex(path.read_text().strip()))


def witness(
    run: Annotated[Path, typer.Argument(metavar="RUN")],
    key: Annotated[Path, typer.Option(help="The coordinator's public key (coordinator.pub), pinned elsewhere.")],
    home: Annotated[Path, typer.Option(help="The witness' own folder; made at the first start.")] = Path("witness"),
    name: Annotated[str, typer.Option(help="What the witness signs as, one word.")] = "witness",
    every: Annotated[float, typer.Option(help="Look again every so many seconds; 0: once.", min=0)] = 0.0,
) -> None:
    """Watch a ledger grow, and cosign its checkpoint.

    RUN is a run folder. What the witness saw last is kept in its own folder; a ledger that does not extend it is
    not signed, and the command fails with the reason.
    """
    while True:
        public, entries = cosign(run, read_key(key.read_bytes()), home, name, int(time.time()))
        sys.stdout.write(f"cosigned {entries} entries as {public}\n")
        if every == 0:
            return
        time.sleep(every)
