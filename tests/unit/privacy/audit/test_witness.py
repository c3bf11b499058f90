"""A witness signs only a ledger that has grown from what it saw before."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backrow.privacy.audit.cli import app
from backrow.privacy.audit.evidence import Witnesses
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.verify import verify
from backrow.privacy.audit.witness import cosign
from backrow.privacy.errors import ForkError, LedgerError, LedgerInUseError, RollbackError, SignatureError
from backrow.privacy.ledger.checkpoint import open_checkpoint
from backrow.privacy.ledger.entries import EnrolmentEntry
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.signing import SigningKey
from tests import ledgers

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
    assert VerifierKey.parse((tmp_path / "home" / "witness.pub").read_text().strip()) == witness
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


def verified(folder: Path, *words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify", str(folder), "--key", ledgers.KEY.public.hex(), *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(re.sub("[\u2500-\u257f]", " ", result.output).split())


def test_the_audit_says_how_many_witnesses_stand_behind_a_checkpoint(tmp_path: Path) -> None:
    run = ledgers.write(tmp_path / "run", ledgers.honest())
    assert "nobody but the coordinator has signed it" in verified(run)[1]
    for name in ("eve", "ann"):
        cosign(run, ledgers.KEY.public, tmp_path / name, name, 1_700_000_500)
    eve, ann = (("--witness-key", tmp_path / name / "witness.pub") for name in ("eve", "ann"))
    assert "names whose keys are not at hand: eve, ann" in verified(run)[1]
    code, text = verified(run, *eve, "--witnesses", 1)
    assert code == 0
    assert "1 independent witness stands behind this checkpoint: eve" in text
    assert "2 independent witnesses stand behind this checkpoint: eve, ann" in verified(run, *eve, *ann)[1]


def test_too_few_witnesses_are_a_fault_only_if_more_are_demanded(tmp_path: Path) -> None:
    run = ledgers.write(tmp_path / "run", ledgers.honest())
    stranger = ("--witness-key", Signer("ida", KEY, Kind.COSIGNATURE).verifier)
    assert verified(run, *stranger)[0] == 0
    code, text = verified(run, *stranger, "--witnesses", 1)
    assert code == Fault.WITNESSES.exit_code
    assert "0 witnesses have cosigned the checkpoint, 1 must" in text


def test_one_key_under_two_names_is_one_witness(tmp_path: Path) -> None:
    run = ledgers.write(tmp_path / "run", ledgers.honest())
    note = Note.parse((run / "checkpoint").read_bytes())
    signers = [Signer(name, KEY, Kind.COSIGNATURE) for name in ("eve", "ann")]
    for signer in signers:
        note = note.with_signature(signer.sign(note.text, 50))
    (run / "checkpoint").write_bytes(note.encode())
    report = verify(run, ledgers.KEY.public, witnesses=Witnesses(tuple(signer.verifier for signer in signers), 1))
    assert report.passed
    assert [each.name for each in report.witnesses] == ["eve"]
    with pytest.raises(LedgerError, match="at least as many"):
        Witnesses(tuple(signer.verifier for signer in signers), 2)


def test_a_coordinator_is_no_witness_of_its_own(tmp_path: Path) -> None:
    run = ledgers.write(tmp_path / "run", ledgers.honest())
    own = Signer("eve", ledgers.KEY, Kind.COSIGNATURE).verifier
    with pytest.raises(LedgerError, match="coordinator's own key"):
        verify(run, ledgers.KEY.public, witnesses=Witnesses((own,)))
    with pytest.raises(LedgerError, match="backrow witness"):
        Witnesses((LOG,))
