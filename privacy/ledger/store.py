"""The ledger on disk: `ledger.jsonl`, one entry a line, and `checkpoint`. Runs on the coordinator, one writer.

An append is done when it returns: the lines are written and synced, then a new checkpoint replaces the old
one in one step. What a crash leaves, at any byte, `recovery` puts right when the ledger is opened.

Lines that are on disk are never forgotten, with or without their checkpoint: so whoever has something else to do may
have the checkpoint written meanwhile (`settled=False`), and `settle` before the ledger is shown to anybody.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from backrow.privacy.errors import ClockError, DamagedLedgerError, LedgerError
from backrow.privacy.ledger.checkpoint import Checkpoint, open_checkpoint
from backrow.privacy.ledger.entries import Body
from backrow.privacy.ledger.files import (
    CHECKPOINT,
    LEDGER,
    lines_of,
    locked,
    sync_folder,
    write_all,
    write_durably,
)
from backrow.privacy.ledger.keys import VerifierKey
from backrow.privacy.ledger.note import Note, Signature, Signer
from backrow.privacy.ledger.proof import ConsistencyProof, TlogProof
from backrow.privacy.ledger.recovery import Repair, recover
from backrow.privacy.ledger.signed_entry import Receipt, SignedEntry, decode_entry, receipt_for, sign_line
from backrow.privacy.ledger.tree import Tree
from backrow.privacy.ledger.verification import log_key
from backrow.privacy.signing import SigningKey


class Ledger:
    """An open ledger. Make it with `create` or `open`; close it, or use it as a context.

    Attributes:
        repair: what opening it had to put right; None if nothing.
    """

    def __init__(self, folder: Path, signer: Signer, lock: int) -> None:
        self._folder = folder
        self._signer = signer
        self._lock = lock
        self._tree = Tree()
        self._time = 0
        self._note = b""
        self._file: FileIO | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._unsettled: Future[None] | None = None
        self.repair: Repair | None = None

    @classmethod
    def create(cls, folder: Path, origin: str, key: SigningKey) -> "Ledger":
        """Begin a ledger.

        Args:
            folder: must exist and hold no ledger.
            origin: identity of the ledger, one word, never used for another.
            key: the coordinator's.

        Raises:
            LedgerError: there is a ledger, or the folder cannot be written.
            LedgerInUseError: another process is at it.
        """
        ledger = cls(folder, Signer(origin, key), locked(folder))
        try:
            if (folder / LEDGER).exists():
                raise LedgerError(f"{folder} holds a ledger: it is opened, never begun again; or use a new folder")
            if (folder / CHECKPOINT).exists() and _checkpoint((folder / CHECKPOINT).read_bytes()).size:
                raise DamagedLedgerError(f"{folder} holds a checkpoint without its ledger: restore {LEDGER}")
            # The checkpoint first: a ledger without one is damaged, a checkpoint without a ledger a false start.
            ledger._sign()
            ledger._file = FileIO(folder / LEDGER, "xb")
            sync_folder(folder)
        except OSError as problem:
            ledger.close()
            raise LedgerError(f"no ledger can be begun in {folder}: {problem.strerror or problem}") from None
        except BaseException:
            ledger.close()
            raise
        return ledger

    @classmethod
    def open(cls, folder: Path, key: SigningKey, time: int) -> "Ledger":
        """Go on with a ledger; verify it, and repair what a crash left (see `recovery`).

        Args:
            key: the coordinator's, the same as ever.
            time: Unix seconds, for the record of a repair.

        Raises:
            DamagedLedgerError: entries of the checkpoint are missing or changed, or strange lines follow.
            NoteError, SignatureError, MalformedEntryError, UnknownEntryError, ClockError: see `verify_files`.
            LedgerError: there is no ledger, or it cannot be read or written.
            LedgerInUseError: another process is at it.
        """
        lock = locked(folder)
        try:
            note = (folder / CHECKPOINT).read_bytes() if (folder / CHECKPOINT).exists() else b""
            if not note or not (folder / LEDGER).exists():
                raise DamagedLedgerError(f"{folder} holds no ledger with a checkpoint: restore both files")
            signed = open_checkpoint(note, log_key(note, key.public))
            ledger = cls(folder, Signer(signed.checkpoint.origin, key), lock)
            recovered = recover(folder / LEDGER, signed.checkpoint, ledger._signer, time)
            ledger._tree, ledger._time, ledger._note = recovered.tree, recovered.time, note
            ledger.repair = recovered.repair
            if ledger.repair is not None:
                ledger._sign()
            ledger._file = FileIO(folder / LEDGER, "ab")
        except OSError as problem:
            os.close(lock)
            raise LedgerError(f"the ledger in {folder} cannot be opened: {problem.strerror or problem}") from None
        except BaseException:
            os.close(lock)
            raise
        return ledger

    @property
    def log(self) -> VerifierKey:
        """The public key of the log, with its name."""
        return self._signer.verifier

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._tree.size

    @property
    def time(self) -> int:
        """Time of the last entry; none may be older."""
        return self._time

    @property
    def checkpoint(self) -> bytes:
        """The signed note over all entries, with the cosignatures that were added to it."""
        return self._note

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """Hashes of all entries, for `View.advance_by_leaves`."""
        return tuple(map(self._tree.leaf, range(self.size)))

    def append(
        self, body: Body, time: int, *, settled: bool = True, after: Callable[[], object] = lambda: None
    ) -> Receipt:
        """Add one entry; it is on disk, under a signed checkpoint, when this returns.

        Args:
            time: Unix seconds, not before the last entry's.
            settled: False: it is on disk when this returns, and its checkpoint is on the way; see `settle`.
            after: called when the line is made, before it is written: waits for what must be on disk before it. What
                it raises is raised, and nothing was written.

        Raises:
            as `append_all`.
        """
        return self.append_all([body], time, settled=settled, after=after)[0]

    def append_all(
        self, bodies: Sequence[Body], time: int, *, settled: bool = True, after: Callable[[], object] = lambda: None
    ) -> tuple[Receipt, ...]:
        """Add entries together, with one checkpoint.

        If the process dies meanwhile, the first of them may be found when the ledger is opened again, and not
        the others: whoever needs all must look, after a repair.

        Raises:
            ClockError: `time` is before the last entry's; nothing was written.
            ValueError: an entry cannot be written; nothing was.
            LedgerError: the ledger is closed, or the disk refused: open it again before anything else.
        """
        if self._file is None:
            raise LedgerError("the ledger is closed: open it again, which also repairs an unfinished entry")
        self.settle()
        if time < self._time:
            raise ClockError(f"the clock runs {self._time - time} s behind the last entry: set it; nothing was written")
        signed = [
            sign_line(self._signer.key, self._signer.name, index, time, body)
            for index, body in enumerate(bodies, start=self.size)
        ]
        receipts = tuple(receipt_for(entry, line) for entry, line in signed)
        after()
        try:
            write_all(self._file, b"".join(line + b"\n" for _, line in signed))
            os.fsync(self._file.fileno())
            for receipt in receipts:
                self._tree.append(receipt.leaf)
            self._time = time
            if settled:
                self._sign()
            else:
                self._sign_aside()
        except BaseException as problem:
            self._give_up(problem)
        return receipts

    def settle(self) -> None:
        """Wait until the checkpoint over all entries is on disk.

        Raises:
            LedgerError: the disk refused: open the ledger again before anything else.
        """
        pending, self._unsettled = self._unsettled, None
        if pending is not None:
            try:
                pending.result()
            except BaseException as problem:
                self._give_up(problem)

    def entries(self) -> Iterator[SignedEntry]:
        """All entries, read from the file."""
        with (self._folder / LEDGER).open("rb") as file:
            for line, _ in zip(lines_of(file), range(self.size), strict=False):
                yield decode_entry(line.removesuffix(b"\n"))

    def inclusion_proof(self, index: int) -> TlogProof:
        """Portable proof that an entry is in the ledger.

        Raises:
            ValueError: there is no such entry.
        """
        return TlogProof(index, tuple(self._tree.inclusion_proof(index)), self._note)

    def consistency_proof(self, old_size: int) -> ConsistencyProof:
        """What an observer who has seen `old_size` entries asks for.

        Raises:
            ValueError: there never were so many.
        """
        return ConsistencyProof(old_size, tuple(self._tree.consistency_proof(old_size)), self._note)

    def add_cosignature(self, signature: Signature, witness: VerifierKey) -> None:
        """Keep a witness' cosignature with the present checkpoint.

        Raises:
            SignatureError: it is not this witness' over this checkpoint (an entry may have come since).
            LedgerError: the ledger is closed.
        """
        if self._file is None:
            raise LedgerError("the ledger is closed: open it again")
        self.settle()
        note = Note.parse(self._note).with_signature(signature)
        note.verified([witness])
        write_durably(self._folder / CHECKPOINT, note.encode())
        self._note = note.encode()

    def close(self) -> None:
        """Let others open it. Nothing is written but a checkpoint that is on its way."""
        if self._writer is not None:
            self._writer.shutdown()
            self._writer = None
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sign(self) -> None:
        note = self._signed()
        write_durably(self._folder / CHECKPOINT, note)
        self._note = note

    def _sign_aside(self) -> None:
        """As `_sign`; the checkpoint is written by a thread, one at a time."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="backrow-ledger")
        self._note = self._signed()
        self._unsettled = self._writer.submit(write_durably, self._folder / CHECKPOINT, self._note)

    def _signed(self) -> bytes:
        return Checkpoint(self._signer.name, self.size, self._tree.root()).sign(self._signer).encode()

    def _give_up(self, problem: BaseException) -> NoReturn:
        self.close()  # what is on disk is known again only after the ledger was opened anew
        if isinstance(problem, OSError):
            raise LedgerError(f"the ledger was not written ({problem.strerror}): open it again") from None
        raise problem


def _checkpoint(note: bytes) -> Checkpoint:
    return Checkpoint.parse(Note.parse(note).text)
