import pytest

from backrow.privacy.errors import RosterError
from backrow.privacy.ledger.tree import Tree, leaf_hash, node_hash
from backrow.privacy.secagg.graph import all_neighbours
from backrow.privacy.secagg.roster_tree import RosterTree, check, prove, root

LEAVES = [bytes([number]) * 160 for number in range(11)]
A, B, C, D, E, F, G = (leaf_hash(leaf) for leaf in LEAVES[:7])


@pytest.mark.parametrize("size", range(1, 12))
def test_the_root_is_that_of_the_ledgers_tree(size: int) -> None:
    assert root(LEAVES[:size]) == Tree(leaf_hash(leaf) for leaf in LEAVES[:size]).root()


def test_a_proof_holds_the_highest_subtrees_without_a_wanted_leaf_from_left_to_right() -> None:
    assert prove(LEAVES[:7], [5, 2]) == [node_hash(A, B), D, E, G]
    assert prove(LEAVES[:7], range(7)) == []
    assert prove(LEAVES[:1], [0]) == []


@pytest.mark.parametrize("position", range(11))
def test_for_a_single_leaf_it_is_as_long_as_the_ledgers(position: int) -> None:
    tree = Tree(leaf_hash(leaf) for leaf in LEAVES)
    assert sorted(prove(LEAVES, [position])) == sorted(tree.inclusion_proof(position))


def test_a_roster_of_a_thousand_with_52_neighbours_is_proved_in_seven_kilobytes() -> None:
    leaves = [number.to_bytes(160, "big") for number in range(1_000)]
    tree, rows = RosterTree(leaves), all_neighbours(bytes(32), 1_000, 52)
    proofs = [tree.prove([position, *row]) for position, row in enumerate(rows.tolist())]
    assert max(32 * len(proof) for proof in proofs) <= 7_200
    check(tree.root, 1_000, {position: leaves[position] for position in (9, *rows[9].tolist())}, proofs[9])


@pytest.mark.parametrize("positions", [[], [-1], [11], [0, 11]])
def test_there_is_no_proof_for_what_is_not_there(positions: list[int]) -> None:
    with pytest.raises(ValueError, match="positions from 0 to 10"):
        prove(LEAVES, positions)
    with pytest.raises(RosterError, match="no such positions"):
        check(root(LEAVES), 11, dict.fromkeys(positions, b""), [])


def test_an_empty_roster_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one"):
        root([])


def test_what_is_wrong_with_a_proof_is_named() -> None:
    leaves, proof = {2: LEAVES[2], 5: LEAVES[5]}, prove(LEAVES, [2, 5])
    check(root(LEAVES), 11, leaves, proof)
    for broken, problem in (
        (proof[:-1], "too short"),
        ([], "too short"),
        ([*proof, bytes(32)], "too long"),
        ([*proof[:-1], proof[-1][:31]], "32 bytes"),
        (proof[::-1], "not on the roster"),
    ):
        with pytest.raises(RosterError, match=problem):
            check(root(LEAVES), 11, leaves, broken)


def test_a_leaf_at_another_position_or_in_a_tree_of_another_size_is_refused() -> None:
    proof = prove(LEAVES[:8], [2])
    check(root(LEAVES[:8]), 8, {2: LEAVES[2]}, proof)
    for size, leaves in ((8, {3: LEAVES[2]}), (8, {6: LEAVES[2]}), (4, {2: LEAVES[2]}), (9, {2: LEAVES[2]})):
        with pytest.raises(RosterError):
            check(root(LEAVES[:8]), size, leaves, proof)


def test_a_hash_inside_the_tree_does_not_pass_for_a_leaf() -> None:
    inner = A + B
    with pytest.raises(RosterError):
        check(root(LEAVES[:2]), 1, {0: inner}, [])
