"""Makes the frozen vectors of the secure sum: `python -m tests.vectors.make_secagg` writes tests/vectors/secagg/.

A vector that changes is a protocol that changes: raise the version that `session.PROTOCOL` names before you run this.
Broken vectors are named after what is broken; every implementation must refuse them.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import graph, masks, parameters, roster_tree, sealing, shamir
from backrow.privacy.secagg.session import Session

FOLDER = Path(__file__).parent / "secagg"

Case = dict[str, Any]


def drawn(label: str, size: int = 32) -> bytes:
    return SeededRandom(2026, "secagg vectors", label).bytes(size)


def good(name: str, **fields: Any) -> Case:
    return {"name": name, "valid": True, **fields}


def broken(case: Case, name: str, **changed: Any) -> Case:
    assert changed
    assert any(case.get(key) != value for key, value in changed.items()), name
    return {**case, "name": name, "valid": False, **changed}


# -- masks and keys ----------------------------------------------------------------------------------------------


def masked(vector: NDArray[np.uint32]) -> Case:
    data = vector.astype("<u4").tobytes()
    return {"first": data[:64].hex(), "sha256": sha256(data).hexdigest()}


def mask_cases() -> list[Case]:
    def case(name: str, key: bytes, length: int, start: int, subtract: bool) -> Case:
        vector = np.full(length, start, np.uint32)
        masks.add_mask(vector, key, subtract=subtract)
        fields = {"key": key.hex(), "length": length, "start": start, "subtract": subtract}
        return good(name, **fields, **masked(vector))

    key = drawn("mask")
    whole = np.zeros(70_000, np.uint32)
    masks.add_mask(whole, key)
    stream = whole.astype("<u4").tobytes()
    plain = case("one mask", key, 70_000, 0, False)
    return [
        plain,
        case("a mask taken away", key, 70_000, 5, True),
        case("wrap-around", key, 33, 2**32 - 1, False),
        case("one coordinate", drawn("another mask"), 1, 7, False),
        case("key of zeros", bytes(32), 4, 0, False),
        broken(plain, "mask-in-big-endian", **masked(np.frombuffer(stream, ">u4").astype(np.uint32))),
        broken(plain, "mask-with-counter-from-one", **masked(np.append(whole[4:], whole[:4]))),
        broken(plain, "mask-subtracted-instead-of-added", **masked(np.uint32(0) - whole)),
        broken(plain, "mask-of-31-bits", **masked(whole >> np.uint32(1))),
        broken(
            plain, "mask-beginning-again-after-65536", **masked(np.append(whole[:65_536], whole[: 70_000 - 65_536]))
        ),
        broken(plain, "mask-of-another-key", key=drawn("another mask").hex()),
    ]


SESSION: Case = {
    "run": "köln-2026-11",
    "round": 7,
    "cohort": drawn("cohort").hex(),
    "question": drawn("question").hex(),
    "checkpoint": drawn("checkpoint").hex(),
    "coordinator": drawn("coordinator").hex(),
    "devices": 1_000,
    "minimum": 900,
    "dimension": 237_000,
    "adversaries": 0.05,
    "dropouts": 0.05,
}


def session(fields: Case) -> Session:
    return Session(
        fields["run"],
        fields["round"],
        *(bytes.fromhex(fields[name]) for name in ("cohort", "question", "checkpoint", "coordinator")),
        fields["devices"],
        fields["minimum"],
        fields["dimension"],
        parameters.Tolerance(fields["adversaries"], fields["dropouts"]),
    )


def info(case: Case) -> bytes:
    """As `Roster.info` makes it."""
    places = b"".join(place.to_bytes(4, "big") for place in case["positions"])
    return session(case["session"]).binding(case["label"]) + bytes.fromhex(case["roster"]) + places


def key_cases() -> list[Case]:
    def case(name: str, label: str, *positions: int) -> Case:
        fields = {"session": SESSION, "roster": drawn("roster").hex(), "label": label, "positions": list(positions)}
        shared = drawn("shared")
        return good(name, **fields, shared=shared.hex(), key=masks.mask_key(shared, info(fields)).hex())

    pair = case("key of a pair's mask", "pair", 3, 8)
    without_salt = HKDF(SHA256(), length=32, salt=None, info=info(pair)).derive(drawn("shared"))
    other = {
        "run": "koln-2026-11",
        "round": 8,
        "cohort": drawn("x").hex(),
        "question": drawn("x").hex(),
        "checkpoint": drawn("x").hex(),
        "coordinator": drawn("x").hex(),
        "minimum": 899,
        "dropouts": 0.0500001,
    }
    return [
        pair,
        case("key of an own mask", "self", 3),
        case("key of a box", "box", 8, 3),
        *(
            broken(pair, f"mask-key-with-wrong-{name}", session={**SESSION, name: value})
            for name, value in other.items()
        ),
        broken(pair, "mask-key-with-wrong-pair", positions=[3, 9]),
        broken(pair, "mask-key-with-swapped-pair", positions=[8, 3]),
        broken(pair, "mask-key-with-wrong-purpose", label="self"),
        broken(pair, "mask-key-with-wrong-roster", roster=drawn("x").hex()),
        broken(pair, "mask-key-of-another-secret", shared=drawn("x").hex()),
        broken(pair, "mask-key-without-salt", key=without_salt.hex()),
        broken(pair, "mask-key-cut-short", key=pair["key"][:32]),
    ]


def agreement_cases() -> list[Case]:
    one, other = (sealing.KeyPair.generate(SeededRandom(2026, name)) for name in ("one", "other"))
    case = good(
        "two devices",
        secret=one.secret.hex(),
        public=one.public.hex(),
        peer=other.public.hex(),
        shared=one.exchange(other.public).hex(),
    )
    back = good(
        "and back", secret=other.secret.hex(), public=other.public.hex(), peer=one.public.hex(), shared=case["shared"]
    )
    second = other.public[:31] + bytes([other.public[31] | 0x80])
    low = sorted(sealing._LOW_ORDER)
    return [
        case,
        back,
        broken(case, "key-in-its-second-spelling", peer=second.hex()),
        broken(case, "key-beyond-the-field", peer=(2**255 - 19 + 9).to_bytes(32, "little").hex()),
        *(
            broken(case, f"key-of-low-order-{number}", peer=point.to_bytes(32, "little").hex(), shared="00" * 32)
            for number, point in enumerate(low, 1)
        ),
        broken(case, "secret-of-another-pair", shared=drawn("x").hex()),
        broken(case, "public-key-of-another-device", public=other.public.hex()),
        broken(case, "secret-beyond-the-prime", secret=(shamir.PRIME + 1).to_bytes(32, "big").hex()),
    ]


def sealing_cases() -> list[Case]:
    def case(name: str, aad: bytes, text: bytes) -> Case:
        key = drawn("box")
        box = sealing.seal(key, aad, text)
        return good(name, key=key.hex(), aad=aad.hex(), text=text.hex(), box=box.hex())

    shares = case("two shares", b"from 3 to 8", drawn("shares", 64))
    box = bytes.fromhex(shares["box"])
    another_nonce = AESGCM(drawn("box")).encrypt(bytes(11) + b"\1", drawn("shares", 64), b"from 3 to 8")
    return [
        shares,
        case("nothing but a seal", b"", b""),
        case("a text of no whole blocks", b"a longer purpose than a block", b"seventeen bytes.."),
        broken(shares, "box-of-another-pair", aad=b"from 8 to 3".hex()),
        broken(shares, "box-under-another-key", key=drawn("x").hex()),
        broken(shares, "box-with-a-bit-changed", box=bytes([box[0] ^ 1, *box[1:]]).hex()),
        broken(shares, "box-with-a-bit-of-its-tag-changed", box=bytes([*box[:-1], box[-1] ^ 128]).hex()),
        broken(shares, "box-without-its-tag", box=box[:-16].hex()),
        broken(shares, "box-with-another-nonce", box=another_nonce.hex()),
    ]


# -- shares ------------------------------------------------------------------------------------------------------


class Coins:
    """A random source that hands out these numbers and keeps those that are `left`."""

    simulated = True

    def __init__(self, numbers: list[int]) -> None:
        self.left = list(numbers)

    def bytes(self, n: int) -> bytes:
        return self.left.pop(0).to_bytes(n, "big")

    def uint64(self, n: int) -> NDArray[np.uint64]:
        raise TypeError("shares are drawn as bytes, never as words")


def hexed(numbers: list[int] | tuple[int, ...]) -> list[str]:
    return [f"{number:064x}" for number in numbers]


def sharing_cases() -> list[Case]:
    def case(name: str, secret: int, threshold: int, points: list[int], coins: list[int]) -> Case:
        shares = hexed(shamir.split(secret, threshold, points, Coins(coins)))
        fields = {"secret": f"{secret:064x}", "threshold": threshold, "points": points}
        return good(name, **fields, coins=hexed(coins), shares=shares)

    source = SeededRandom(2026, "coins")
    coins = [shamir.draw(source) for _ in range(36)]
    secret = shamir.draw(source)
    five = case("three of five", secret, 3, [1, 2, 3, 4, 5], coins[:2])
    swapped = hexed(shamir.split(secret, 3, [1, 2, 3, 4, 5], Coins(coins[1::-1])))
    return [
        five,
        case("37 of 52", secret, 37, list(range(1, 53)), coins),
        case("largest numbers", shamir.PRIME - 1, 2, [1, shamir.PRIME - 1], [shamir.PRIME - 1]),
        case("nothing to hide", 0, 1, [1, 2], []),
        case("coins beyond the prime are passed over", 7, 2, [1, 2], [shamir.PRIME, 2**256 - 1, 5]),
        broken(five, "shares-of-another-secret", secret=f"{secret + 1:064x}"),
        broken(five, "shares-with-coefficients-in-another-order", shares=swapped),
        broken(five, "shares-in-another-order", shares=five["shares"][::-1]),
        broken(five, "shares-modulo-two-to-the-256", shares=[f"{int(s, 16) ^ 189:064x}" for s in five["shares"]]),
        broken(five, "share-at-zero", points=[0, 2, 3, 4, 5], shares=[five["secret"], *five["shares"][1:]]),
        broken(
            five,
            "point-given-twice",
            points=[1, 1, 3, 4, 5],
            shares=[five["shares"][0], *five["shares"][:1], *five["shares"][2:]],
        ),
        broken(five, "coins-of-another-split", coins=hexed(coins[2:4])),
    ]


def combining_cases() -> list[Case]:
    points = list(range(1, 53))
    source = SeededRandom(2026, "combining")
    secret, other = shamir.draw(source), shamir.draw(source)
    shares = shamir.split(secret, 37, points, source)
    others = shamir.split(other, 37, points, source)
    some = [points[i] for i in range(52) if i % 7][:37]
    assert len(some) == 37
    values = [shares[point - 1] for point in some]
    case = good("37 of 52", points=some, values=hexed(values), secret=f"{secret:064x}")
    small = good(
        "three of three",
        points=[9, 2, 40],
        values=hexed([7 + 5 * x + 3 * x * x for x in (9, 2, 40)]),
        secret=f"{7:064x}",
    )
    return [
        case,
        small,
        good("more than needed", points=points, values=hexed(shares), secret=f"{secret:064x}"),
        broken(case, "share-of-another-secret", values=hexed([*values[:-1], others[some[-1] - 1]])),
        broken(case, "share-of-another-holder", values=hexed([*values[:-2], values[-1], values[-2]])),
        broken(case, "one-share-too-few", points=some[:-1], values=hexed(values[:-1])),
        broken(case, "share-counted-twice", points=[*some[:-1], some[0]], values=hexed([*values[:-1], values[0]])),
        broken(case, "share-off-by-one", values=hexed([values[0] + 1, *values[1:]])),
        broken(
            small,
            "share-beyond-the-prime",
            values=hexed([small_value + shamir.PRIME for small_value in (7 + 5 * 9 + 3 * 81,)]) + small["values"][1:],
        ),
        broken(small, "share-at-zero", points=[0, 2, 40], values=[small["secret"], *small["values"][1:]]),
        broken(case, "another-secret", secret=f"{other:064x}"),
    ]


# -- graph, parameters, roster -----------------------------------------------------------------------------------


def listed(rows: NDArray[np.int64]) -> Case:
    return {"first": rows[0].tolist(), "sha256": sha256(rows.astype("<u4").tobytes()).hexdigest()}


def graph_cases() -> list[Case]:
    def case(name: str, devices: int, neighbours: int) -> Case:
        seed = drawn(f"graph of {devices}")
        rows = graph.all_neighbours(seed, devices, neighbours)
        return good(name, seed=seed.hex(), devices=devices, neighbours=neighbours, **listed(rows))

    ten = case("ten devices, four neighbours", 10, 4)
    order = graph.ring(drawn("graph of 10"), 10)
    by_roster = np.sort((np.arange(10)[:, None] + [-2, -1, 1, 2]) % 10)
    ahead = np.empty((10, 4), np.int64)
    ahead[order] = np.sort(order[(np.arange(10)[:, None] + [1, 2, 3, 4]) % 10])
    return [
        ten,
        case("a thousand devices, 52 neighbours", 1_000, 52),
        case("complete and even", 5, 4),
        case("complete and odd", 6, 5),
        case("a triangle", 3, 2),
        broken(ten, "graph-of-another-seed", seed=drawn("x").hex()),
        broken(ten, "graph-in-the-order-of-the-roster", **listed(by_roster)),
        broken(ten, "graph-with-neighbours-on-one-side", **listed(ahead)),
        broken(ten, "graph-with-an-odd-number-of-neighbours", neighbours=5),
        broken(ten, "graph-of-fewer-neighbours", neighbours=2),
    ]


def gap_cases() -> list[Case]:
    seed = drawn("graph with gaps")
    order = graph.ring(seed, 200).tolist()

    def case(name: str, missing: list[int]) -> Case:
        fields = {"seed": seed.hex(), "devices": 200, "neighbours": 30, "largest": 8}
        return good(name, **fields, missing=sorted(missing))

    scattered = case("every ninth of the ring", order[::9])
    return [
        scattered,
        case("nobody", []),
        case("as many in a row as may be", order[20:28]),
        case("two gaps, just far enough apart", [*order[20:28], *order[35:43]]),
        broken(scattered, "gap-of-nine-in-a-row", missing=sorted(order[20:29])),
        broken(scattered, "gap-with-survivors-in-between", missing=sorted([*order[20:24], *order[30:35]])),
        broken(scattered, "gap-where-the-ring-closes", missing=sorted([*order[-5:], *order[:4]])),
    ]


def parameter_cases() -> list[Case]:
    def case(devices: int, adversaries: float, dropouts: float) -> Case:
        tolerance = parameters.Tolerance(adversaries, dropouts)
        found = parameters.neighbourhood(devices, tolerance)
        rates = {"devices": devices, "adversaries": adversaries, "dropouts": dropouts}
        fields = {"neighbours": found.neighbours, "threshold": found.threshold}
        gap = parameters.largest_gap(devices, tolerance, found.neighbours)
        return good(f"{devices} devices, {adversaries} and {dropouts}", **rates, **fields, gap=gap)

    policy = [(3, 0.0, 0.0), (4, 0.0, 0.1), (20, 0.05, 0.05), (100, 0.05, 0.05), (1_000, 0.05, 0.05), (1_000, 0.1, 0.1)]
    odd = [(100, 0.07, 0.05), (1_000, 0.2, 0.0), (1_000, 0.0, 0.2), (10_000, 0.05, 0.05)]
    cases = [case(*each) for each in [*policy, *odd]]
    thousand = cases[4]
    third = {"adversaries": 0.33, "dropouts": 0.30}
    return [
        *cases,
        broken(thousand, "threshold-one-lower", threshold=36),
        broken(thousand, "threshold-one-higher", threshold=38),
        broken(thousand, "two-neighbours-fewer", neighbours=50, threshold=36),
        broken(thousand, "two-neighbours-more", neighbours=54, threshold=38),
        broken(thousand, "gap-one-larger", gap=12),
        broken(thousand, "a-third-adversaries-and-nearly-a-third-dropouts", **third, neighbours=998, threshold=680),
        broken(cases[3], "complete-graph-with-a-third-adversaries", **third, neighbours=99, threshold=67, gap=100),
        broken(cases[0], "sum-of-two", devices=2, neighbours=1, threshold=1, gap=2),
    ]


def multiproof_cases() -> list[Case]:
    def case(name: str, leaves: list[bytes], positions: list[int]) -> Case:
        tree = roster_tree.RosterTree(leaves)
        told = {str(position): leaves[position].hex() for position in positions}
        proof = [node.hex() for node in tree.prove(positions)]
        return good(name, size=len(leaves), root=tree.root.hex(), leaves=told, proof=proof)

    leaves = [drawn(f"leaf {number}", 160) for number in range(11)]
    two = case("two of eleven", leaves, [2, 9])
    nodes, told = two["proof"], two["leaves"]
    halves = [sha256(b"\0" + leaf).digest() for leaf in leaves[:2]]
    inner = sha256(b"\1" + halves[0] + halves[1]).hexdigest()
    thousand = [number.to_bytes(160, "big") for number in range(1_000)]
    return [
        two,
        case("one of eleven, the last", leaves, [10]),
        case("all of seven", leaves[:7], list(range(7))),
        case("a roster of one", leaves[:1], [0]),
        case("every eighty-third of a thousand", thousand, list(range(0, 1_000, 83))),
        broken(two, "leaf-with-a-bit-changed", leaves={**told, "2": f"{int(told['2'], 16) ^ 1:0320x}"}),
        broken(two, "leaf-at-another-position", leaves={"3": told["2"], "9": told["9"]}),
        broken(two, "leaves-swapped", leaves={"2": told["9"], "9": told["2"]}),
        broken(two, "leaf-beyond-the-roster", leaves={"2": told["2"], "11": told["9"]}),
        broken(two, "hash-with-a-bit-changed", proof=[f"{int(nodes[0], 16) ^ 1:064x}", *nodes[1:]]),
        broken(two, "hash-missing", proof=nodes[:-1]),
        broken(two, "hash-too-many", proof=[*nodes, "00" * 32]),
        broken(two, "hash-cut-short", proof=[*nodes[:-1], nodes[-1][:-2]]),
        broken(two, "hashes-from-right-to-left", proof=nodes[::-1]),
        broken(two, "roster-of-another-size", size=17),
        broken(two, "root-of-another-roster", root=roster_tree.root(leaves[:10]).hex()),
        broken(two, "nobody-to-prove", leaves={}, proof=[two["root"]]),
        {
            **good("", size=1, root=inner, leaves={"0": (halves[0] + halves[1]).hex()}, proof=[]),
            "name": "inner-hash-as-a-leaf",
            "valid": False,
        },
    ]


KINDS = {
    "agreement": agreement_cases,
    "combining": combining_cases,
    "gaps": gap_cases,
    "graph": graph_cases,
    "keys": key_cases,
    "masks": mask_cases,
    "multiproof": multiproof_cases,
    "parameters": parameter_cases,
    "sealing": sealing_cases,
    "sharing": sharing_cases,
}


def text(kind: str) -> str:
    """The file of a kind of vector: one case a line."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in KINDS[kind]())
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in KINDS:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")
