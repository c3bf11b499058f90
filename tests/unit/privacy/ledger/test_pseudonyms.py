"""Lists without names: nobody in both, and absence that an owner can prove."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import OptOutError, ProofError
from backrow.privacy.ledger.pseudonyms import (
    EMPTY,
    AbsenceProof,
    Commitment,
    Neighbour,
    PseudonymList,
    check_disjoint,
    check_list,
    key_commitment,
    keyed_hash,
    keyed_hashes,
)
from backrow.privacy.ledger.tree import EMPTY_ROOT, Tree, leaf_hash
from backrow.privacy.names import Names

NAMES = st.sets(st.text(min_size=1, max_size=5), max_size=12)
LISTED = PseudonymList(bytes(32), [f"device-{i}" for i in range(9)])
ABSENT = keyed_hash(bytes(32), "somebody else")
PROOF = LISTED.prove_absence(ABSENT)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 9, 4_095, 5_001])
def test_many_are_hashed_and_committed_to_as_few_are(size: int) -> None:
    names, key = [f"device-{place}" for place in range(size)], bytes(range(32))
    hashes = [keyed_hash(key, name) for name in names]
    assert keyed_hashes(key, names) == b"".join(hashes)
    root = Tree(map(leaf_hash, sorted(hashes))).root()
    assert PseudonymList(key, Names.of(names)).commitment == Commitment(size, root)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_two_lists_pass_exactly_if_nobody_is_in_both(first: set[str], second: set[str]) -> None:
    lists = PseudonymList(bytes(32), first), PseudonymList(bytes(32), second)
    if first & second:
        with pytest.raises(OptOutError, match=f"{len(first & second)} devices"):
            check_disjoint(*lists)
    else:
        check_disjoint(*lists)


@settings(deadline=None)
@given(NAMES, st.text(min_size=1, max_size=5))
def test_absence_is_proved_exactly_of_who_is_absent(names: set[str], other: str) -> None:
    listed, digest = PseudonymList(bytes(32), names), keyed_hash(bytes(32), other)
    if other in names:
        with pytest.raises(OptOutError, match="is in the list"):
            listed.prove_absence(digest)
    else:
        listed.prove_absence(digest).verify(digest, listed.commitment)


@settings(deadline=None)
@given(NAMES.filter(lambda names: len(names) > 1), st.data())
def test_no_pair_of_entries_proves_the_absence_of_a_member(names: set[str], data: st.DataObject) -> None:
    listed = PseudonymList(bytes(32), names)
    member = keyed_hash(bytes(32), data.draw(st.sampled_from(sorted(names))))
    hashes = sorted(listed.hashes)
    tree = listed._tree

    def neighbour(index: int | None) -> Neighbour | None:
        return None if index is None else Neighbour(index, hashes[index], tuple(tree.inclusion_proof(index)))

    pair = data.draw(st.tuples(*[st.none() | st.integers(0, len(hashes) - 1)] * 2))
    with pytest.raises(ProofError):
        AbsenceProof(*map(neighbour, pair)).verify(member, listed.commitment)


def test_order_does_not_matter_and_doubles_are_refused() -> None:
    assert PseudonymList(bytes(32), ["b", "a"]).commitment == PseudonymList(bytes(32), ["a", "b"]).commitment
    with pytest.raises(ValueError, match="named twice"):
        PseudonymList(bytes(32), ["a", "b", "a"])


def test_the_list_of_nobody_has_a_commitment() -> None:
    empty = PseudonymList(bytes(32), [])
    assert empty.commitment == EMPTY == Commitment(0, EMPTY_ROOT)
    empty.prove_absence(ABSENT).verify(ABSENT, EMPTY)
    with pytest.raises(ProofError):
        AbsenceProof(None, None).verify(ABSENT, Commitment(0, bytes(32)))


def test_an_auditor_sees_whether_the_lists_are_the_committed_ones() -> None:
    names = [f"device-{i}" for i in range(9)]
    check_list(PseudonymList(bytes(32), names), LISTED.commitment)
    for key, other in ((bytes(32), names[1:]), (bytes(32), [*names, "x"]), (b"k" * 32, names)):
        with pytest.raises(OptOutError, match="not the one"):
            check_list(PseudonymList(key, other), LISTED.commitment)


def test_lists_under_different_keys_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different keys never meet"):
        check_disjoint(PseudonymList(bytes(32), ["a"]), PseudonymList(b"k" * 32, ["a"]))


def test_another_key_gives_other_hashes_and_another_commitment() -> None:
    assert keyed_hash(bytes(32), "a") != keyed_hash(b"k" * 32, "a")
    assert key_commitment(bytes(32)) != key_commitment(b"k" * 32)
    assert key_commitment(bytes(32)) != keyed_hash(bytes(32), "")


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_a_key_has_its_length(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keyed_hash(key, "a")


def test_the_sample_proof_has_two_neighbours() -> None:
    assert PROOF.before is not None
    assert PROOF.after is not None
    PROOF.verify(ABSENT, LISTED.commitment)


def bent_proofs() -> list[tuple[AbsenceProof, bytes, Commitment]]:
    before, after, committed = PROOF.before, PROOF.after, LISTED.commitment
    assert before is not None
    assert after is not None
    wider = LISTED._neighbour(after.index + 1)
    return [
        (AbsenceProof(None, after), ABSENT, committed),
        (AbsenceProof(before, None), ABSENT, committed),
        (AbsenceProof(None, None), ABSENT, committed),
        (AbsenceProof(after, before), ABSENT, committed),
        (AbsenceProof(before, wider), ABSENT, committed),
        (AbsenceProof(before, replace(after, hash=bytes(32))), ABSENT, committed),
        (AbsenceProof(before, replace(after, index=after.index + 1)), ABSENT, committed),
        (AbsenceProof(before, replace(after, proof=after.proof[1:])), ABSENT, committed),
        (PROOF, before.hash, committed),
        (PROOF, after.hash, committed),
        (PROOF, bytes(32), committed),
        (PROOF, b"\xff" * 32, committed),
        (PROOF, b"", committed),
        (PROOF, ABSENT, replace(committed, root=bytes(32))),
        (PROOF, ABSENT, replace(committed, size=0)),
    ]


@pytest.mark.parametrize("case", range(15))
def test_a_bent_proof_of_absence_is_refused(case: int) -> None:
    proof, digest, committed = bent_proofs()[case]
    with pytest.raises(ProofError):
        proof.verify(digest, committed)


def test_a_digest_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LISTED.prove_absence(b"short")
