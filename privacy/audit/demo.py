"""The demonstration: tamper with copies of a ledger, audit each, and see whether the fault is named. Runs offline."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backrow.privacy.audit.evidence import LISTS, POLICY, PUBLIC_KEY, RELEASES, Lists, Seen, Witnesses, open_lines
from backrow.privacy.audit.findings import Finding
from backrow.privacy.audit.forgery import Copy
from backrow.privacy.audit.tamper import TAMPERINGS, Tampering
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import LedgerError
from backrow.privacy.ledger.files import CHECKPOINT, LEDGER
from backrow.privacy.ledger.signed_entry import decode_entry
from backrow.privacy.signing import SigningKey

_KEPT = "kept"
"""Not the name under which an audit looks for them: most copies are audited as a ledger alone."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One tampering and what the audit made of it.

    Attributes:
        finding: the gravest; None if nothing was found, or nothing could be done.
        possible: the ledger has what is needed for it.
    """

    tampering: Tampering
    finding: Finding | None
    possible: bool

    @property
    def caught(self) -> bool:
        """Found, under the right name; or there was nothing to tamper with."""
        return not self.possible or (self.finding is not None and self.finding.fault is self.tampering.fault)


def tamper_demo(
    run: Path, folder: Path, right: SigningKey, wrong: SigningKey, observe: Callable[[Attempt], None] = lambda _: None
) -> tuple[Attempt, ...]:
    """Tamper with copies of a run's ledger in an empty folder.

    Args:
        run: a run folder or ledger; nothing in it is changed.
        folder: for the copies.
        right, wrong: two fresh keys: the one plays the coordinator's, the other a stranger's.
        observe: told of every attempt.

    Raises:
        LedgerError: the ledger does not verify as it is, so that nothing could be shown.
    """
    report = verify(run)
    if not report.passed:
        raise LedgerError(f"the ledger is not sound to begin with ({report.findings[0]}): see `backrow audit verify`")
    with open_lines(run) as lines:
        entries = tuple(decode_entry(line.removesuffix(b"\n")) for line in lines)
    source = run if run.is_dir() else run.parent
    kept = source / RELEASES
    secret = Lists.parse((source / LISTS).read_bytes()) if (source / LISTS).is_file() else None
    honest = Copy.of(entries, right, wrong, kept if any(kept.glob("*")) else None, secret)
    if honest.kept is not None:
        shutil.copytree(kept, folder / _KEPT)
    if (source / POLICY).is_file():
        shutil.copy(source / POLICY, folder / POLICY)
    (folder / PUBLIC_KEY).write_text(right.public.hex() + "\n", encoding="ascii")
    seen = Seen("the checkpoint that a witness kept", honest.note)
    attempts = []
    for tampering in TAMPERINGS:
        attempts.append(_attempt(tampering, honest, folder, run.is_dir(), seen))
        observe(attempts[-1])
    return tuple(attempts)


def _attempt(tampering: Tampering, honest: Copy, folder: Path, whole: bool, seen: Seen) -> Attempt:
    copy = tampering.apply(honest)
    if copy is None:
        return Attempt(tampering, None, False)
    (folder / LEDGER).write_bytes(b"".join(copy.lines))
    (folder / CHECKPOINT).write_bytes(copy.note)
    where = folder if whole else folder / LEDGER
    witnesses = Witnesses((honest.witness.verifier,), 1) if tampering.witnessed else Witnesses()
    with _changed(folder / _KEPT, copy):
        report = verify(
            where,
            honest.right.public,
            lists=copy.lists,
            seen=(seen,) if tampering.seen else (),
            witnesses=witnesses,
            releases=folder / _KEPT if tampering.kept else None,
        )
    return Attempt(tampering, report.findings[0] if report.findings else None, True)


@contextmanager
def _changed(folder: Path, copy: Copy) -> Iterator[None]:
    """The copied integers as a copy has them, for a while."""
    for name, data in copy.changed.items():
        (folder / name).unlink()
        if data is not None:
            (folder / name).write_bytes(data)
    try:
        yield
    finally:
        for name in copy.changed:
            assert copy.kept is not None
            shutil.copy(copy.kept / name, folder / name)
