"""A whole secure sum by the second implementation: every message again, from the coins tossed. No code of ours."""

import struct
from hashlib import sha256, sha512

from tests.vectors.second_secagg import (
    Case,
    P,
    Q,
    add_mask,
    binding,
    check_multiproof,
    derive,
    gcm,
    leaf,
    need,
    neighbours,
    parameters,
    unhex,
    wanting,
    x25519,
)

Messages = dict[str, bytes]
Point = tuple[int, int]

# -- Ed25519, RFC 8032 section 5.1 -------------------------------------------------------------------------------

D = -121665 * pow(121666, -1, P) % P
L = 2**252 + 27742317777372353535851937790883648493
BASE = 15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P) % P


def plus(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    slope = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + slope, -1, P)
    return x % P, (y1 * y2 + x1 * x2) * pow(1 - slope, -1, P) % P


def times(number: int, point: Point) -> bytes:
    """The encoded product."""
    total = 0, 1
    while number:
        if number & 1:
            total = plus(total, point)
        point, number = plus(point, point), number >> 1
    return (total[1] | (total[0] & 1) << 255).to_bytes(32, "little")


def expanded(seed: bytes) -> tuple[int, bytes]:
    digest = sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & ~7 & (2**254 - 1) | 2**254, digest[32:]


def verifying_key(seed: bytes) -> bytes:
    return times(expanded(seed)[0], BASE)


def sign(seed: bytes, context: str, payload: bytes) -> bytes:
    """As `privacy/signing.py`: context with its length in front."""
    message = len(context).to_bytes(2, "big") + context.encode() + payload
    scalar, prefix = expanded(seed)
    nonce = int.from_bytes(sha512(prefix + message).digest(), "little") % L
    first = times(nonce, BASE)
    challenge = int.from_bytes(sha512(first + verifying_key(seed) + message).digest(), "little")
    return first + ((nonce + challenge * scalar) % L).to_bytes(32, "little")


# -- the run -----------------------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def bits(flags: list[bool]) -> bytes:
    text = "".join("1" if flag else "0" for flag in flags)
    return bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text), 8))


def subtree(leaves: list[bytes], start: int, level: int) -> bytes:
    nodes = leaves[start : start + 2**level]
    while len(nodes) > 1:
        pairs = [nodes[at : at + 2] for at in range(0, len(nodes), 2)]
        nodes = [sha256(b"\1" + b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    return nodes[0]


def polynomial(coefficients: list[bytes], point: int) -> bytes:
    values = [int.from_bytes(each, "big") for each in coefficients]
    return (sum(value * point**power for power, value in enumerate(values)) % Q).to_bytes(32, "big")


class Second:
    """The run, from its case: identities, coins, answers and who vanished before which step."""

    def __init__(self, case: Case) -> None:
        self.session, self.dropped = case["session"], case["dropped"]
        self.seeds = {name: unhex(seed) for name, seed in case["identities"].items()}
        self.coins = {name: [unhex(coin) for coin in coins] for name, coins in case["coins"].items()}
        self.answers, self.coordinator = case["answers"], unhex(case["coordinator"])
        self.public = {name: verifying_key(seed) for name, seed in self.seeds.items()}
        self.cohort = sorted(self.seeds, key=self.public.__getitem__)
        self.sent: dict[int, Messages] = {1: dict.fromkeys(self.seeds, b"")}
        self.replies: dict[int, Messages] = {}

    def there(self, step: int) -> list[str]:
        return [name for name in self.cohort if self.dropped.get(name, 6) > step]

    def info(self, label: str, *places: int) -> bytes:
        return binding(self.session, label) + self.roster + b"".join(map(number, places))

    def near(self, name: str, some: list[str]) -> list[str]:
        return [self.names[place] for place in self.rows[self.place[name]] if self.names[place] in some]

    def everybody_near(self, name: str) -> list[str]:
        return self.near(name, self.names)

    def advertise(self) -> None:
        nine = number(9)[::-1].ljust(32, b"\0")
        self.adverts = {}
        for name in self.there(1):
            keys = self.public[name] + x25519(self.coins[name][0], nine) + x25519(self.coins[name][1], nine)
            payload = binding(self.session, "advertise") + keys
            self.adverts[name] = keys + sign(self.seeds[name], "backrow/secagg-advertise/1", payload)
        self.replies[1] = {name: b"\1\1" + advert for name, advert in self.adverts.items()}

    def seat(self) -> None:
        leaves = [leaf(self.public[name]) for name in self.cohort]
        depth = len(leaves).bit_length()
        listed = b"".join(len(name).to_bytes(2, "big") + name.encode() for name in self.cohort)
        root, named = subtree(leaves, 0, depth), sha256(listed).digest()
        cohort = sha256(b"backrow/secagg-cohort/1" + number(len(leaves)) + root + named).hexdigest()
        need(cohort == self.session["cohort"], "the committed cohort")
        self.names = self.there(1)
        self.place = {name: place for place, name in enumerate(self.names)}
        present = bits([name in self.names for name in self.cohort])
        counted = [leaf(self.adverts[name]) for name in self.names]
        keys = subtree(counted, 0, len(counted).bit_length())
        self.roster = sha256(binding(self.session, "roster") + present + keys).digest()
        size, rates = len(self.names), (self.session["adversaries"], self.session["dropouts"])
        need(rates == (0.05, 0.05) and len(leaves) <= 20, "one adversary and one who vanishes")
        count, self.threshold = parameters(size, 1, 1)
        self.rows = neighbours(sha256(binding(self.session, "graph") + self.roster).digest(), size, count)
        self.sent[2] = {}
        for name in self.names:
            near = self.everybody_near(name)
            places = [self.cohort.index(each) for each in [name, *near]]
            proof = b"".join(subtree(leaves, start, level) for start, level in wanting(places, len(leaves)))
            own = self.own_proof(name, counted, keys)
            head = number(places[0]) + count.to_bytes(2, "big") + bytes([len(own)]) + root + named + keys + present
            listed = b"".join(self.adverts[each] for each in near)
            self.sent[2][name] = b"\1\2" + head + listed + b"".join(own) + proof

    def own_proof(self, name: str, counted: list[bytes], keys: bytes) -> list[bytes]:
        """That a device's advertisement is under this root, checked as the device must."""
        place, size = self.place[name], len(counted)
        proof = [subtree(counted, start, level) for start, level in wanting([place], size)]
        told = {"leaves": {str(place): self.adverts[name].hex()}, "proof": [node.hex() for node in proof]}
        check_multiproof({"root": keys.hex(), "size": size} | told)
        return proof

    def key(self, one: str, other: str, use: int, info: bytes) -> bytes:
        """Key between two devices; use 0: mask, 1: box."""
        peer = self.adverts[other][32 * (use + 1) : 32 * (use + 2)]
        return derive(x25519(self.coins[one][use], peer), info)

    def share(self) -> None:
        self.boxes, self.shares, self.replies[2] = {}, {}, {}
        for name in self.there(2):
            mask, _, seed, *coefficients = self.coins[name]
            half = self.threshold - 1
            need(len(coefficients) == 2 * half, "as many coins as are tossed")
            for point, other in enumerate(self.everybody_near(name), 1):
                parts = polynomial([seed, *coefficients[:half]], point), polynomial([mask, *coefficients[half:]], point)
                self.shares[name, other] = parts
                info = self.info("box", self.place[name], self.place[other])
                self.boxes[name, other] = gcm(self.key(name, other, 1, info), info, b"".join(parts))
            commitment = sha256(self.info("commitment", self.place[name]) + seed).digest()
            sealed = b"".join(self.boxes[name, other] for other in self.everybody_near(name))
            self.replies[2][name] = b"\1\3" + commitment + sealed

    def mask(self) -> None:
        self.shared, self.sent[3], self.replies[3] = self.there(2), {}, {}
        for name in self.shared:
            flags = bits([other in self.shared for other in self.everybody_near(name)])
            near = self.near(name, self.shared)
            self.sent[3][name] = b"\1\4" + flags + b"".join(self.boxes[other, name] for other in near)
            if name in self.there(3):
                vector = add_mask(
                    self.answers[name], derive(self.coins[name][2], self.info("self", self.place[name])), 1
                )
                for other in near:
                    places = sorted((self.place[name], self.place[other]))
                    sign_of = 1 if places[0] == self.place[name] else -1
                    vector = add_mask(vector, self.key(name, other, 0, self.info("pair", *places)), sign_of)
                data = struct.pack(f"<{len(vector)}I", *vector)
                self.replies[3][name] = b"\1\5" + binding(self.session, "masked") + data

    def agree(self) -> None:
        self.alive = self.there(3)
        survivors = bits([name in self.alive for name in self.names])
        payload = self.info("survivors") + survivors
        signature = sign(self.coordinator, "backrow/secagg-freeze/1", payload)
        self.sent[4] = dict.fromkeys(self.alive, b"\1\6" + survivors + signature)
        agreed = {name: sign(self.seeds[name], "backrow/secagg-agree/1", payload) for name in self.there(4)}
        self.replies[4] = {name: b"\1\7" + signature for name, signature in agreed.items()}
        self.sent[5] = {}
        for name in agreed:
            signers = self.near(name, list(agreed))[: self.threshold]
            flags = bits([other in signers for other in self.everybody_near(name)])
            self.sent[5][name] = b"\1\10" + flags + b"".join(agreed[other] for other in signers)

    def unmask(self) -> None:
        self.replies[5] = {}
        for name in self.there(5):
            shares = [self.shares[other, name][other not in self.alive] for other in self.near(name, self.shared)]
            self.replies[5][name] = b"\1\11" + b"".join(shares)
        exact = [sum(column) for column in zip(*(self.answers[name] for name in self.alive), strict=True)]
        self.total = [(total + 2**31) % 2**32 - 2**31 for total in exact]


def computed(case: Case) -> Second:
    """Every message of the run, and its sum."""
    second = Second(case)
    second.advertise()
    second.seat()
    second.share()
    second.mask()
    second.agree()
    second.unmask()
    return second


def compare(case: Case, second: Second) -> None:
    """Return if the run has these messages and this sum, else raise `RefusedError`."""
    for kind, ours in (("sent", second.sent), ("replies", second.replies)):
        for step in range(1, 6):
            told = {name: unhex(data) for name, data in case[kind][str(step)].items()}
            need(told == ours[step], f"{kind} at step {step}")
    need(case["sum"] == second.total and case["survivors"] == sorted(second.alive), "the sum")
