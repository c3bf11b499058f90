"""The tree against the definitions of RFC 9162, written down as they stand there."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import ProofError
from backrow.privacy.ledger.tree import (
    EMPTY_ROOT,
    Tree,
    implied_roots,
    leaf_hash,
    node_hash,
    sha256,
    verify_consistency,
    verify_inclusion,
    verify_subtree,
)

Leaves = list[bytes]
LEAVES = st.lists(st.binary(max_size=3), max_size=70).map(lambda entries: [leaf_hash(entry) for entry in entries])
SOME = LEAVES.filter(bool)


def split(leaves: Leaves) -> int:
    power = 1
    while 2 * power < len(leaves):
        power *= 2
    return power


def mth(leaves: Leaves) -> bytes:
    """RFC 9162, 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    k = split(leaves)
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: Leaves) -> Leaves:
    """RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(leaves)
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Leaves, known: bool) -> Leaves:
    """RFC 9162, 2.1.4.1."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(leaves)
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


@settings(deadline=None)
@given(LEAVES, st.data())
def test_every_prefix_has_the_root_of_the_definition(leaves: Leaves, data: st.DataObject) -> None:
    tree, size = Tree(leaves), data.draw(st.integers(0, len(leaves)))
    assert tree.size == len(leaves)
    assert tree.root(size) == mth(leaves[:size])


@settings(deadline=None)
@given(SOME, st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_verify(leaves: Leaves, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    proof = Tree(leaves).inclusion_proof(index, size)
    assert proof == path(index, leaves[:size])
    verify_inclusion(index, size, proof, leaves[index], mth(leaves[:size]))


@settings(deadline=None)
@given(SOME, st.data())
def test_consistency_proofs_are_those_of_the_definition_and_verify(leaves: Leaves, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    old = data.draw(st.integers(1, size))
    proof = Tree(leaves).consistency_proof(old, size)
    assert proof == subproof(old, leaves[:size], True)
    verify_consistency(old, size, proof, mth(leaves[:old]), mth(leaves[:size]))


@settings(deadline=None)
@given(SOME, st.integers(0, 6), st.data())
def test_every_aligned_range_is_a_subtree_that_can_be_proved(leaves: Leaves, height: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(leaves) - 1)) >> height << height
    end = data.draw(st.integers(start + 1, min(len(leaves), start + (1 << height))))
    proof, roots = Tree(leaves).subtree_proof(start, end), (mth(leaves[start:end]), mth(leaves))
    verify_subtree(start, end, len(leaves), proof, *roots)
    assert implied_roots(start, end, len(leaves), proof, roots[0]) == roots


@settings(deadline=None)
@given(SOME, st.data())
def test_a_proof_with_one_bit_changed_is_refused(leaves: Leaves, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = Tree(leaves).inclusion_proof(index)
    assume(proof)
    place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    proof[place] = (int.from_bytes(proof[place], "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(ProofError):
        verify_inclusion(index, len(leaves), proof, leaves[index], mth(leaves))


@settings(deadline=None)
@given(SOME, SOME, st.data())
def test_no_proof_makes_a_changed_past_consistent(past: Leaves, future: Leaves, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(past) - 1))
    other = [*past[:place], leaf_hash(b"another entry"), *past[place + 1 :], *future]
    for proof in (Tree(other).consistency_proof(len(past)), Tree(past + future).consistency_proof(len(past))):
        with pytest.raises(ProofError):
            verify_consistency(len(past), len(other), proof, mth(past), mth(other))


@settings(deadline=None)
@given(st.integers(-3, 70), st.integers(-3, 70), st.integers(-3, 70), st.lists(st.binary(min_size=32, max_size=32)))
def test_nonsense_is_refused_in_words(start: int, end: int, size: int, proof: Leaves) -> None:
    for verify in (
        lambda: verify_subtree(start, end, size, proof, sha256(b"a"), sha256(b"b")),
        lambda: verify_inclusion(start, size, proof, sha256(b"a"), sha256(b"b")),
        lambda: verify_consistency(start, size, proof, sha256(b"a"), sha256(b"b")),
    ):
        with pytest.raises(ProofError):
            verify()


@settings(deadline=None)
@given(LEAVES, st.integers(-2, 80), st.integers(-2, 80))
def test_a_tree_refuses_what_it_does_not_hold(leaves: Leaves, index: int, size: int) -> None:
    tree = Tree(leaves)
    if not 0 <= size <= len(leaves):
        with pytest.raises(ValueError, match="this tree has"):
            tree.root(size)
    if not 0 <= index < size <= len(leaves):
        with pytest.raises(ValueError, match="this tree has"):
            tree.inclusion_proof(index, size)


def test_the_empty_past_needs_no_proof_and_has_none_to_verify() -> None:
    tree = Tree([leaf_hash(b"x")])
    assert tree.consistency_proof(0) == []
    with pytest.raises(ProofError, match="nothing to prove"):
        verify_consistency(0, 1, [], EMPTY_ROOT, tree.root())


def test_a_range_that_is_no_subtree_is_neither_proved_nor_verified() -> None:
    tree = Tree(leaf_hash(bytes([i])) for i in range(8))
    for start, end in ((1, 3), (2, 5), (2, 6), (4, 4), (5, 4), (-1, 1), (6, 9)):
        with pytest.raises(ValueError, match="is no subtree"):
            tree.subtree_proof(start, end)
        with pytest.raises(ProofError, match=r"is no subtree|no entries"):
            verify_subtree(start, end, 8, [], tree.root(), tree.root())


def test_a_hash_of_another_length_is_named_as_damage() -> None:
    tree = Tree(leaf_hash(bytes([i])) for i in range(2))
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(0, 2, [tree.leaf(1)[:31]], tree.leaf(0), tree.root())
    with pytest.raises(ValueError, match="32 bytes"):
        tree.append(b"short")
