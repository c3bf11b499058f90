"""The frozen vectors of the secure sum, by two implementations that share no code."""

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.privacy.errors import BackrowError
from backrow.privacy.secagg import graph, masks, parameters, roster_tree, sealing, shamir
from tests.house import ROOT, imports
from tests.vectors import make_secagg, second_secagg
from tests.vectors.make_secagg import Coins
from tests.vectors.second_secagg import RefusedError, need, unhex

Case = dict[str, Any]

VECTORS: dict[str, list[Case]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "secagg").glob("*.json"))
}
EACH = [(kind, case) for kind, cases in VECTORS.items() for case in cases]


def mask(case: Case) -> None:
    vector = np.full(case["length"], case["start"], np.uint32)
    masks.add_mask(vector, unhex(case["key"]), subtract=case["subtract"])
    data = vector.astype("<u4").tobytes()
    need(data[:64].hex() == case["first"] and sha256(data).hexdigest() == case["sha256"], "mask")


def key(case: Case) -> None:
    need(masks.mask_key(unhex(case["shared"]), make_secagg.info(case)).hex() == case["key"], "key")


def agreement(case: Case) -> None:
    need(int(case["secret"], 16) < shamir.PRIME, "secret")
    pair = sealing.KeyPair(unhex(case["secret"]))
    need(pair.public.hex() == case["public"] and pair.exchange(unhex(case["peer"])).hex() == case["shared"], "keys")


def box(case: Case) -> None:
    opened = sealing.open_sealed(unhex(case["key"]), unhex(case["aad"]), unhex(case["box"]))
    need(opened.hex() == case["text"], "text")


def sharing(case: Case) -> None:
    coins = Coins([int(coin, 16) for coin in case["coins"]])
    shares = shamir.split(int(case["secret"], 16), case["threshold"], case["points"], coins)
    need(shares == tuple(int(share, 16) for share in case["shares"]) and not coins.left, "shares")


def combining(case: Case) -> None:
    secret = shamir.Interpolation(case["points"]).combine([int(value, 16) for value in case["values"]])
    need(secret == int(case["secret"], 16), "secret")


def neighbours(case: Case) -> None:
    rows = graph.all_neighbours(unhex(case["seed"]), case["devices"], case["neighbours"])
    need(make_secagg.listed(rows) == {"first": case["first"], "sha256": case["sha256"]}, "neighbours")


def gap(case: Case) -> None:
    survived = [position not in set(case["missing"]) for position in range(case["devices"])]
    graph.check_gaps(unhex(case["seed"]), survived, case["neighbours"], case["largest"])


def rule(case: Case) -> None:
    tolerance = parameters.Tolerance(case["adversaries"], case["dropouts"])
    found = parameters.neighbourhood(case["devices"], tolerance)
    need(found == parameters.Neighbourhood(case["neighbours"], case["threshold"]), "rule")
    need(parameters.largest_gap(case["devices"], tolerance, found.neighbours) == case["gap"], "gap")


def multiproof(case: Case) -> None:
    told = {int(position): unhex(data) for position, data in case["leaves"].items()}
    roster_tree.check(unhex(case["root"]), case["size"], told, [unhex(node) for node in case["proof"]])


OURS: dict[str, Callable[[Case], None]] = {
    "agreement": agreement,
    "combining": combining,
    "gaps": gap,
    "graph": neighbours,
    "keys": key,
    "masks": mask,
    "multiproof": multiproof,
    "parameters": rule,
    "sealing": box,
    "sharing": sharing,
}


def accepted(check: Callable[[Case], None], case: Case) -> bool:
    try:
        check(case)
    except (RefusedError, BackrowError, ValueError):
        return False
    return True


@pytest.mark.parametrize(("kind", "case"), EACH, ids=[f"{kind}-{case['name']}" for kind, case in EACH])
def test_ours_and_the_second_implementation_say_what_the_vector_says(kind: str, case: Case) -> None:
    assert accepted(OURS[kind], case) == case["valid"]
    assert accepted(second_secagg.CHECKS[kind], case) == case["valid"]


@pytest.mark.parametrize("kind", make_secagg.KINDS)
def test_the_frozen_vectors_are_those_that_the_script_makes(kind: str) -> None:
    assert (make_secagg.FOLDER / f"{kind}.json").read_text(encoding="utf-8") == make_secagg.text(kind)


def test_every_kind_is_checked_twice_and_holds_true_and_broken_vectors() -> None:
    assert VECTORS.keys() == OURS.keys() == second_secagg.CHECKS.keys() == make_secagg.KINDS.keys()
    for cases in VECTORS.values():
        assert {case["valid"] for case in cases} == {True, False}
        assert len({case["name"] for case in cases}) == len(cases)


def test_the_second_implementation_borrows_nothing_but_the_block_cipher() -> None:
    source = (ROOT / "tests/vectors/second_secagg.py").read_text(encoding="utf-8")
    borrowed = {name for name in imports(source) if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.rsplit(".", 1)[-1] for name in borrowed} == {
        "ciphers",
        "Cipher",
        "algorithms",
        "AES256",
        "modes",
        "ECB",
    }
