"""Published Merkle tree vectors: transparency-dev's test data, and the eight-leaf tree of RFC 6962's first code."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from backrow.privacy.errors import ProofError
from backrow.privacy.ledger.tree import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
    verify_subtree,
)

LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""google/certificate-transparency, merkletree tests: entries of 0 to 8 leaves."""

COUNTS = {"inclusion": 98, "consistency": 98, "subtreeconsistency": 118}


@pytest.fixture(scope="module")
def vectors(vectors_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (vectors_dir / "merkle.jsonl").read_text().splitlines()]


def check(case: dict[str, Any]) -> None:
    def unbase(value: str | None) -> bytes:
        return base64.b64decode(value or "")

    proof = [unbase(node) for node in case["proof"] or ()]
    match case["name"].split("/")[0]:
        case "inclusion":
            verify_inclusion(case["leafIdx"], case["treeSize"], proof, unbase(case["leafHash"]), unbase(case["root"]))
        case "consistency":
            verify_consistency(case["size1"], case["size2"], proof, unbase(case["root1"]), unbase(case["root2"]))
        case "subtreeconsistency":
            roots = unbase(case["root1"]), unbase(case["root2"])
            verify_subtree(case["start"], case["end"], case["size"], proof, *roots)
        case other:
            pytest.fail(f"a new sort of vector: {other}")


def refused(case: dict[str, Any]) -> bool:
    try:
        check(case)
    except ProofError:
        return True
    return False


@pytest.mark.parametrize("sort", COUNTS)
def test_every_published_proof_is_accepted_or_refused_as_it_must(vectors: list[dict[str, Any]], sort: str) -> None:
    cases = [case for case in vectors if case["name"].startswith(f"{sort}/")]
    assert len(cases) == COUNTS[sort]
    assert {case["wantErr"] for case in cases} == {True, False}
    assert [case["name"] for case in cases if refused(case) != case["wantErr"]] == []


def test_no_published_case_is_left_out(vectors: list[dict[str, Any]]) -> None:
    assert len(vectors) == sum(COUNTS.values())


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots_of_up_to_eight_leaves(size: int) -> None:
    tree = Tree(leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES)
    assert tree.root(size).hex() == ROOTS[size]
    assert Tree(map(tree.leaf, range(size))).root().hex() == ROOTS[size]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Tree().root() == EMPTY_ROOT == bytes.fromhex(ROOTS[0])


def test_the_proofs_that_rfc_6962_lists_for_seven_leaves() -> None:
    # RFC 6962, section 2.1.3, with its names.
    leaves = [leaf_hash(bytes([number])) for number in range(7)]
    a, b, c, d, e, f, j = leaves
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 - the RFC's name
    tree = Tree(leaves)
    assert tree.root() == node_hash(k, l)
    assert tree.inclusion_proof(0) == [b, h, l]
    assert tree.inclusion_proof(3) == [c, g, l]
    assert tree.inclusion_proof(4) == [f, j, k]
    assert tree.inclusion_proof(6) == [i, k]
    assert tree.consistency_proof(3) == [c, d, g, l]
    assert tree.consistency_proof(4) == [l]
    assert tree.consistency_proof(6) == [i, j, k]
