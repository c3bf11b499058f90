"""Portable proofs convince whoever has the public key, and nobody of anything else."""

from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.proofs import check_proof, prove_absence, prove_entry
from backrow.privacy.errors import BackrowError, LedgerError, OptOutError, ProofError, SignatureError
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.proof import TlogProof
from backrow.privacy.ledger.pseudonyms import keyed_hash
from tests.ledgers import EPOCH_KEY, INVITED, KEY, OPT_OUTS, OPTED_OUT, OTHER_KEY, RELEASE, RESERVE, honest, note_of

LINES = honest().lines()
NOTE = note_of(LINES)
LISTS = Lists((EPOCH_KEY,), {RELEASE: INVITED}, {OPT_OUTS: OPTED_OUT})


@pytest.mark.parametrize("index", range(len(LINES)))
def test_every_entry_can_be_proved(index: int) -> None:
    proved = check_proof(prove_entry(LINES, NOTE, index).encode(), KEY.public)
    assert proved.entry.encode() + b"\n" == LINES[index]
    assert proved.checkpoint.checkpoint.size == len(LINES)


def test_a_proof_convinces_nobody_who_pinned_another_key() -> None:
    with pytest.raises(SignatureError):
        check_proof(prove_entry(LINES, NOTE, RELEASE).encode(), OTHER_KEY.public)


def test_a_proof_with_another_entry_inside_proves_nothing() -> None:
    honest_proof = prove_entry(LINES, NOTE, RELEASE)
    forged = TlogProof(RELEASE, honest_proof.hashes, NOTE, LINES[RESERVE].removesuffix(b"\n"))
    with pytest.raises(ProofError):
        check_proof(forged.encode(), KEY.public)
    with pytest.raises(ProofError, match="does not hold its entry"):
        check_proof(TlogProof(RELEASE, honest_proof.hashes, NOTE).encode(), KEY.public)


def test_an_owner_proves_that_she_was_not_invited() -> None:
    proof = prove_absence(LINES, NOTE, RELEASE, LISTS, "device-of-alice")
    proved = check_proof(proof, KEY.public)
    assert isinstance(proved.entry.body, ReleaseEntry)
    assert proved.absent == keyed_hash(EPOCH_KEY, "device-of-alice")


def test_an_owner_proves_that_she_has_not_opted_out() -> None:
    assert check_proof(prove_absence(LINES, NOTE, OPT_OUTS, LISTS, INVITED[0]), KEY.public).absent


def test_no_absence_is_proved_of_who_is_there() -> None:
    with pytest.raises(OptOutError):
        prove_absence(LINES, NOTE, RELEASE, LISTS, INVITED[0])


def test_no_absence_is_proved_from_another_list_or_key() -> None:
    shorter = Lists((EPOCH_KEY,), {RELEASE: INVITED[1:]})
    for lists in (shorter, Lists((b"x" * 32,), {RELEASE: INVITED}), Lists((EPOCH_KEY,))):
        with pytest.raises(LedgerError):
            prove_absence(LINES, NOTE, RELEASE, lists, "device-of-alice")


def test_an_entry_without_people_has_no_absence() -> None:
    with pytest.raises(LedgerError):
        prove_absence(LINES, NOTE, RESERVE, LISTS, "device-of-alice")


@pytest.mark.parametrize("place", range(0, 4000, 97))
def test_a_changed_proof_of_absence_proves_nothing(place: int) -> None:
    proof = prove_absence(LINES, NOTE, RELEASE, LISTS, "device-of-alice")
    at = place % len(proof)
    changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
    with pytest.raises(BackrowError):
        check_proof(changed, KEY.public)


@pytest.mark.parametrize("data", [b"", b"{}", b"{", b"c2sp.org/tlog-proof@v1\n", b"\xff" * 100])
def test_what_is_no_proof_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BackrowError):
        check_proof(data, KEY.public)
