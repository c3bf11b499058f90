"""A witness signs only a ledger that has grown from what it saw before."""

import shutil
from pathlib import Path

import pytest

from backrow.privacy.audit.witness import cosign
from backrow.privacy.errors import ForkError, LedgerInUseError, RollbackError, SignatureError
from backrow.privacy.ledger.checkpoint import open_checkpoint
from backrow.privacy.ledger.entries import EnrolmentEntry
from backrow.privacy.ledger.keys import VerifierKey
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.signing import SigningKey

KEY = SigningKey(bytes(range(32)))
LOG = VerifierKey("backrow/run", KEY.public)


def grow(folder: Path, *devices: int) -> None:
    """Begin or go on with a ledger; one entry for each number."""
    exists = (folder / "ledger.jsonl").exists()
    folder.mkdir(exist_ok=True)
    with Ledger.open(folder, KEY, 1) if exists else Ledger.create(folder, "backrow/run", KEY) as ledger:
        for number in devices:
            ledger.append(EnrolmentEntry(number, bytes(32)), 1)


def test_a_growing_ledger_is_cosigned_again_and_again(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        grow(tmp_path / "run", step)
        witness, entries = cosign(tmp_path / "run", KEY.public, tmp_path / "home", "eve", 50 + step)
        signed = open_checkpoint((tmp_path / "run" / "checkpoint").read_bytes(), LOG, [witness], quorum=1)
        assert entries == signed.checkpoint.size == step
        assert [signature.time for signature in signed.cosignatures] == [50 + step]
    assert (tmp_path / "home" / "witness.key").stat().st_mode & 0o077 == 0


def test_signing_twice_adds_nothing(tmp_path: Path) -> None:
    grow(tmp_path / "run", 1)
    cosign(tmp_path / "run", KEY.public, tmp_path / "home", "eve", 50)
    before = (tmp_path / "run" / "checkpoint").read_bytes()
    cosign(tmp_path / "run", KEY.public, tmp_path / "home", "eve", 60)
    assert (tmp_path / "run" / "checkpoint").read_bytes() == before


def test_a_rollback_and_a_fork_are_not_signed(tmp_path: Path) -> None:
    grow(tmp_path / "run", 1)
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    grow(tmp_path / "run", 2)
    cosign(tmp_path / "run", KEY.public, tmp_path / "home", "eve", 50)
    with pytest.raises(RollbackError):
        cosign(tmp_path / "old", KEY.public, tmp_path / "home", "eve", 60)
    grow(tmp_path / "old", 7, 8)
    with pytest.raises(ForkError):
        cosign(tmp_path / "old", KEY.public, tmp_path / "home", "eve", 70)
    assert b"eve" not in (tmp_path / "old" / "checkpoint").read_bytes()


def test_another_coordinators_ledger_and_one_in_use_are_refused(tmp_path: Path) -> None:
    grow(tmp_path / "run", 1)
    with pytest.raises(SignatureError):
        cosign(tmp_path / "run", SigningKey(bytes(32)).public, tmp_path / "home", "eve", 50)
    with Ledger.open(tmp_path / "run", KEY, 2), pytest.raises(LedgerInUseError):
        cosign(tmp_path / "run", KEY.public, tmp_path / "home", "eve", 50)
