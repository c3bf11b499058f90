"""A second, tiny secure sum that shares no code with ours: only the AES block cipher is borrowed.

`check(kind, case)` returns if a vector is true and raises `RefusedError` if it is not. Slow and not for use. A new kind
of vector is a function of one case (hex for bytes and large numbers) and a line in `CHECKS`.
"""

import hmac
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from hashlib import sha256
from itertools import accumulate
from math import ceil, comb
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

Case = dict[str, Any]

Q = 2**256 - 189
P = 2**255 - 19


class RefusedError(Exception):
    """The vector is not true."""


def need(holds: bool, what: str) -> None:
    if not holds:
        raise RefusedError(what)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def big(text: str) -> int:
    return int(text, 16)


# -- keys and masks ----------------------------------------------------------------------------------------------


def aes(key: bytes, blocks: bytes) -> bytes:
    return Cipher(AES256(key), ECB()).encryptor().update(blocks)


def counters(first: int, size: int) -> bytes:
    return b"".join((first + i).to_bytes(16, "big") for i in range((size + 15) // 16))


def keystream(key: bytes, size: int, first: int = 0) -> bytes:
    return aes(key, counters(first, size))[:size]


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def derive(shared: bytes, info: bytes) -> bytes:
    """HKDF-SHA256, one block (RFC 5869)."""
    extracted = hmac.digest(b"backrow/secagg-key/1", shared, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def add_mask(vector: list[int], key: bytes, sign: int) -> list[int]:
    words = struct.unpack(f"<{len(vector)}I", keystream(key, 4 * len(vector)))
    return [(number + sign * word) % 2**32 for number, word in zip(vector, words, strict=True)]


def check_mask(case: Case) -> None:
    start = [case["start"]] * case["length"]
    masked = add_mask(start, unhex(case["key"]), -1 if case["subtract"] else 1)
    data = struct.pack(f"<{len(masked)}I", *masked)
    need(data[:64] == unhex(case["first"]), "the first 16 coordinates")
    need(sha256(data).hexdigest() == case["sha256"], "all coordinates")


def binding(session: Case, label: str) -> bytes:
    """32 bytes that stand for a session and a purpose."""

    def prefixed(text: str) -> bytes:
        return len(text.encode()).to_bytes(2, "big") + text.encode()

    digests = b"".join(unhex(session[name]) for name in ("cohort", "question", "checkpoint", "coordinator"))
    counts = struct.pack(">III", session["devices"], session["minimum"], session["dimension"])
    rates = struct.pack(">dd", session["adversaries"], session["dropouts"])
    encoded = prefixed(session["run"]) + struct.pack(">Q", session["round"]) + digests + counts + rates
    return sha256(prefixed("backrow/secagg/1") + prefixed(label) + encoded).digest()


def check_key(case: Case) -> None:
    places = b"".join(place.to_bytes(4, "big") for place in case["positions"])
    info = binding(case["session"], case["label"]) + unhex(case["roster"]) + places
    need(derive(unhex(case["shared"]), info) == unhex(case["key"]), "the derived key")


def x25519(secret: bytes, public: bytes) -> bytes:
    """RFC 7748, section 5; refuses second spellings and what gives zero."""
    scalar = int.from_bytes(secret, "little") & ~7 & (2**254 - 1) | 2**254
    u = int.from_bytes(public, "little")
    need(u < P, "a key in its second spelling")
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in range(254, -1, -1):
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, e = d * a % P, c * b % P, (a * a - b * b) % P
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = a * a * b * b % P, e * (a * a + 121665 * e) % P
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    shared = x2 * pow(z2, P - 2, P) % P
    need(shared != 0, "a key of low order")
    return shared.to_bytes(32, "little")


def check_agreement(case: Case) -> None:
    secret = unhex(case["secret"])
    need(int.from_bytes(secret, "big") < Q, "a secret that cannot be shared")
    need(x25519(secret, (9).to_bytes(32, "little")) == unhex(case["public"]), "the public key")
    need(x25519(secret, unhex(case["peer"])) == unhex(case["shared"]), "the shared secret")


def gcm(key: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """NIST SP 800-38D with a nonce of twelve zeros."""
    subkey = int.from_bytes(aes(key, bytes(16)), "big")
    sealed = xor(plaintext, keystream(key, len(plaintext), first=2))
    lengths = struct.pack(">QQ", 8 * len(aad), 8 * len(sealed))
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, sealed)) + lengths
    tag = 0
    for at in range(0, len(padded), 16):
        tag ^= int.from_bytes(padded[at : at + 16], "big")
        product, power = 0, subkey
        for bit in range(127, -1, -1):
            product ^= power * (tag >> bit & 1)
            power = power >> 1 ^ (0xE1 << 120) * (power & 1)
        tag = product
    return sealed + xor(tag.to_bytes(16, "big"), keystream(key, 16, first=1))


def check_box(case: Case) -> None:
    made = gcm(unhex(case["key"]), unhex(case["aad"]), unhex(case["text"]))
    need(made == unhex(case["box"]), "the sealed box")


# -- shares ------------------------------------------------------------------------------------------------------


def check_sharing(case: Case) -> None:
    coins = [coin for coin in map(big, case["coins"]) if coin < Q][: case["threshold"] - 1]
    need(len(coins) == case["threshold"] - 1, "as many coins as coefficients")
    points, polynomial = case["points"], [big(case["secret"]), *coins]
    need(0 not in points and len(set(points)) == len(points) >= case["threshold"] >= 1, "points and threshold")
    shares = [sum(c * point**power for power, c in enumerate(polynomial)) % Q for point in points]
    need(shares == [big(share) for share in case["shares"]], "the shares")


def check_combining(case: Case) -> None:
    points, values = case["points"], [big(value) for value in case["values"]]
    need(0 not in points and len(set(points)) == len(points) == len(values) > 0, "points of shares")
    need(all(value < Q for value in values), "a share beyond the prime")
    secret = 0
    for one, value in zip(points, values, strict=True):
        for other in points:
            if other != one:
                value = value * other * pow(other - one, -1, Q) % Q
        secret = (secret + value) % Q
    need(secret == big(case["secret"]), "the secret")


# -- graph and parameters ----------------------------------------------------------------------------------------


def ring(seed: bytes, devices: int) -> list[int]:
    draws = struct.unpack(f"<{devices}Q", keystream(seed, 8 * devices))
    return sorted(range(devices), key=lambda position: (draws[position], position))


def neighbours(seed: bytes, devices: int, count: int) -> list[list[int]]:
    need(count == devices - 1 or (count % 2 == 0 and 2 <= count < devices), "a graph that can be")
    place = {position: index for index, position in enumerate(ring(seed, devices))}

    def near(one: int, other: int) -> bool:
        steps = abs(place[one] - place[other])
        return min(steps, devices - steps) <= count // 2 or count == devices - 1

    return [[other for other in range(devices) if other != one and near(one, other)] for one in range(devices)]


def check_graph(case: Case) -> None:
    rows = neighbours(unhex(case["seed"]), case["devices"], case["neighbours"])
    need(rows[0] == case["first"], "the neighbours of the first position")
    listed = b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)
    need(sha256(listed).hexdigest() == case["sha256"], "all neighbours")


def check_gap(case: Case) -> None:
    order, missing = ring(unhex(case["seed"]), case["devices"]), set(case["missing"])
    for start in range(len(order)):
        row = [order[(start + step) % len(order)] for step in range(case["neighbours"] // 2)]
        need(len(missing.intersection(row)) <= case["largest"], "a gap")


@cache
def tails(others: int, marked: int, drawn: int) -> list[Fraction]:
    """P[at least a marked among those drawn], for a = 0 .. drawn + 1."""
    ways = [comb(marked, a) * comb(others - marked, drawn - a) for a in range(drawn + 1)]
    return [Fraction(way, comb(others, drawn)) for way in accumulate([0, *reversed(ways)])][::-1]


def marked(devices: int, rate: float) -> int:
    return ceil(Fraction(str(rate)) * devices)


def largest_gap(devices: int, gone: int, count: int) -> int:
    if count == devices - 1:
        return devices
    return (
        next(a for a, tail in enumerate(tails(devices - 1, gone, count // 2)) if devices * tail <= Fraction(1, 2**20))
        - 1
    )


def keeps_the_rule(devices: int, adversaries: int, gone: int, count: int, threshold: int) -> bool:
    bad, lost = tails(devices - 1, adversaries, count), tails(devices - 1, gone, count)
    if devices * bad[max(0, 2 * threshold - count)] > Fraction(1, 2**40):
        return False
    if devices * lost[count - threshold + 1] > Fraction(1, 2**20):
        return False
    held = max(count // 2 - largest_gap(devices, gone, count), threshold - count // 2)
    return count == devices - 1 or comb(devices, 2) * bad[2 * held] <= Fraction(1, 2**40)


def candidates(devices: int) -> Iterator[tuple[int, int]]:
    for count in [*range(2, min(devices - 1, 513), 2), devices - 1]:
        yield from ((count, threshold) for threshold in range(count // 2 + 1, count + 1) if count <= 512)


def parameters(devices: int, adversaries: int, gone: int) -> tuple[int, int]:
    need(devices >= 3 and 2 * (adversaries + gone) <= devices, "a cohort worth asking")
    for count, threshold in candidates(devices):
        if keeps_the_rule(devices, adversaries, gone, count, threshold):
            return count, threshold
    raise RefusedError("no graph keeps the rule")


def check_parameters(case: Case) -> None:
    devices, gone = case["devices"], marked(case["devices"], case["dropouts"])
    found = parameters(devices, marked(devices, case["adversaries"]), gone)
    need(found == (case["neighbours"], case["threshold"]), "neighbours and threshold")
    need(largest_gap(devices, gone, found[0]) == case["gap"], "the largest gap")


# -- roster ------------------------------------------------------------------------------------------------------


def leaf(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def levels(nodes: set[int], size: int) -> Iterator[tuple[int, set[int], int]]:
    """Level by level: its number, the nodes that are known there, and how many there are."""
    level = 0
    while size > 1:
        yield level, nodes, size
        level, nodes, size = level + 1, {node // 2 for node in nodes}, (size + 1) // 2


def wanting(positions: Iterable[int], size: int) -> list[tuple[int, int]]:
    """First leaf and level of every subtree that a proof must give, from left to right."""
    missing = [
        ((node ^ 1) << level, level)
        for level, nodes, width in levels(set(positions), size)
        for node in nodes
        if node ^ 1 < width and node ^ 1 not in nodes
    ]
    return sorted(missing)


def check_multiproof(case: Case) -> None:
    told = {int(position): leaf(unhex(data)) for position, data in case["leaves"].items()}
    size, proof = case["size"], [unhex(node) for node in case["proof"]]
    need(bool(told) and all(0 <= position < size for position in told), "positions in the tree")
    gaps = wanting(told, size)
    need(len(gaps) == len(proof) and all(len(node) == 32 for node in proof), "the length of the proof")
    given = {(level, start >> level): node for (start, level), node in zip(gaps, proof, strict=True)}
    nodes = dict(told)
    for level, _, width in levels(set(told), size):
        nodes |= {place: node for (at, place), node in given.items() if at == level}
        parents = {}
        for place in {node // 2 for node in nodes}:
            left, right = nodes[2 * place], nodes.get(2 * place + 1)
            need(right is not None or 2 * place + 1 == width, "a hash that is missing")
            parents[place] = left if right is None else sha256(b"\1" + left + right).digest()
        nodes = parents
    need(nodes[0] == unhex(case["root"]), "the root")


CHECKS: dict[str, Callable[[Case], None]] = {
    "agreement": check_agreement,
    "combining": check_combining,
    "gaps": check_gap,
    "graph": check_graph,
    "keys": check_key,
    "masks": check_mask,
    "multiproof": check_multiproof,
    "parameters": check_parameters,
    "sealing": check_box,
    "sharing": check_sharing,
}


def check(kind: str, case: Case) -> None:
    """Return if the vector is true, else raise `RefusedError`."""
    CHECKS[kind](case)
