"""Proofs in files: an entry is in the log, the log has only grown."""

from dataclasses import replace

import pytest

from backrow.privacy.errors import NoteError, ProofError, SignatureError
from backrow.privacy.ledger.proof import ConsistencyProof, TlogProof
from backrow.privacy.ledger.tree import EMPTY_ROOT
from tests.unit.privacy.ledger.samples import LOG, OTHER_KEY, WITNESS, note_of, tree_of

TEXTS = [f"entry {i}" for i in range(11)]
TREE = tree_of(TEXTS)
NOTE = note_of(TREE)


def proof(index: int, size: int = 11) -> TlogProof:
    return TlogProof(index, tuple(TREE.inclusion_proof(index, size)), note_of(TREE, size))


@pytest.mark.parametrize("index", range(11))
def test_a_proof_goes_through_its_file_and_verifies(index: int) -> None:
    again = TlogProof.parse(proof(index).encode())
    assert again == proof(index)
    assert again.verify(TEXTS[index].encode(), LOG).checkpoint.size == 11


def test_extra_data_travels_along_unauthenticated() -> None:
    carried = replace(proof(3), extra=b"\x00anything")
    assert TlogProof.parse(carried.encode()) == carried
    replace(carried, extra=b"").verify(b"entry 3", LOG)


def test_a_proof_is_for_one_entry_at_one_place_of_one_log() -> None:
    with pytest.raises(ProofError):
        proof(3).verify(b"entry 4", LOG)
    with pytest.raises(ProofError):
        replace(proof(3), index=4).verify(b"entry 3", LOG)
    with pytest.raises(ProofError):
        replace(proof(3), checkpoint=note_of(TREE, 10)).verify(b"entry 3", LOG)
    with pytest.raises(SignatureError):
        replace(proof(3), checkpoint=note_of(TREE, key=OTHER_KEY)).verify(b"entry 3", LOG)
    with pytest.raises(SignatureError, match="1 must"):
        proof(3).verify(b"entry 3", LOG, [WITNESS.verifier], quorum=1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c2sp.org/tlog-proof@v1", b"c2sp.org/tlog-proof@v2"),
        (b"index 3\n", b""),
        (b"index 3\n", b"index 03\n"),
        (b"index 3\n", b"index -3\n"),
        (b"index 3\n", b"index 3 \n"),
        (b"index 3\n", b"index 3\nextra AAAA\n"),
        (b"index 3\n", b"extra ?\nindex 3\n"),
        (b"index 3\n", b"index 3\nAAAA\n"),
        (b"index 3\n", b"index 3\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63),
        (b"\n\n", b"\n"),
        (b"index", "ındex".encode()),
    ],
)
def test_a_damaged_proof_file_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(NoteError):
        TlogProof.parse(proof(3).encode().replace(old, new, 1) if old != b"\n\n" else b"no blank line\n")


def test_an_oversized_proof_is_refused_unread() -> None:
    with pytest.raises(NoteError, match="at most"):
        TlogProof.parse(proof(3).encode() + b"x" * 2**21)


@pytest.mark.parametrize("old", range(12))
def test_consistency_goes_through_its_file_and_verifies(old: int) -> None:
    made = ConsistencyProof(old, tuple(TREE.consistency_proof(old)), NOTE)
    again = ConsistencyProof.parse(made.encode())
    assert again == made
    again.verify(TREE.root(old), 11, TREE.root())
    with pytest.raises(ProofError):
        again.verify(tree_of(["another past", *TEXTS[1:old]]).root(), 11, TREE.root())


def test_nothing_is_proved_from_the_empty_log_on() -> None:
    with pytest.raises(ProofError, match="nothing to prove"):
        ConsistencyProof(0, (TREE.leaf(0),), NOTE).verify(EMPTY_ROOT, 11, TREE.root())
