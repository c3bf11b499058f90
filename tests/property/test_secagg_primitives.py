"""Shares, masks, graphs and proofs of the secure sum, for any input."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import RosterError, UnsafeCohortError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.graph import all_neighbours, neighbours_of
from backrow.privacy.secagg.masks import add_mask, from_ring, mask_key, to_ring
from backrow.privacy.secagg.parameters import Tolerance, neighbourhood
from backrow.privacy.secagg.roster_tree import check, prove, root
from backrow.privacy.secagg.shamir import PRIME, Interpolation, split
from tests.vectors.make_secagg import Coins

SECRETS = st.integers(0, PRIME - 1) | st.sampled_from([0, 1, PRIME - 1])
SEEDS = st.binary(min_size=32, max_size=32)
RANDOM = st.integers().map(lambda seed: SeededRandom(seed, "shamir"))
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """A secret, a threshold and points."""
    points = draw(st.lists(st.integers(1, 60) | st.integers(1, PRIME - 1), min_size=1, max_size=12, unique=True))
    return draw(SECRETS), draw(st.integers(1, len(points))), points


@settings(deadline=None)
@given(sharings(), RANDOM, st.data())
def test_any_shares_as_many_as_the_threshold_give_the_secret(
    sharing: tuple[int, int, list[int]], random: SeededRandom, data: st.DataObject
) -> None:
    secret, threshold, points = sharing
    shares = dict(zip(points, split(secret, threshold, points, random), strict=True))
    some = data.draw(st.permutations(points))[: data.draw(st.integers(threshold, len(points)))]
    assert Interpolation(some).combine([shares[point] for point in some]) == secret


def polynomial(values: dict[int, int]) -> list[int]:
    """Coefficients, lowest first, of the polynomial of least degree with these values (Newton)."""
    found, product = [0] * len(values), [1] + [0] * len(values)
    for count, (point, value) in enumerate(values.items()):
        at = [pow(point, power, PRIME) for power in range(len(values) + 1)]
        rest = value - sum(c * x for c, x in zip(found, at, strict=False))
        factor = rest * pow(sum(c * x for c, x in zip(product, at, strict=True)), -1, PRIME)
        found = [(c + factor * d) % PRIME for c, d in zip(found, product, strict=False)]
        if count + 1 < len(values):
            product = [(low - point * same) % PRIME for low, same in zip([0, *product], product, strict=False)]
    return found


@settings(deadline=None)
@given(sharings(), SECRETS, RANDOM, st.data())
def test_fewer_shares_fit_every_secret_with_one_choice_of_coins_each(
    sharing: tuple[int, int, list[int]], other: int, random: SeededRandom, data: st.DataObject
) -> None:
    secret, threshold, points = sharing
    shares = split(secret, threshold, points, random)
    held = data.draw(st.permutations(range(len(points))))[: threshold - 1]
    _, *coins = polynomial({0: other} | {points[i]: shares[i] for i in held})
    again = split(other, threshold, points, Coins(coins))
    assert [again[i] for i in held] == [shares[i] for i in held]
    assert other == secret or again != shares


@settings(deadline=None)
@given(st.lists(INT32, min_size=1, max_size=40), SEEDS, st.integers(2, 6))
def test_masks_cancel_over_any_set_of_pairs(numbers: list[int], secret: bytes, devices: int) -> None:
    parts = [
        to_ring(np.array(numbers, np.int64)),
        *(to_ring(np.zeros(len(numbers), np.int64)) for _ in range(devices - 1)),
    ]
    for low in range(devices):
        for high in range(low + 1, devices):
            key = mask_key(secret, bytes([low, high]))
            add_mask(parts[low], key)
            add_mask(parts[high], key, subtract=True)
    assert from_ring(np.sum(parts, axis=0, dtype=np.uint32)).tolist() == numbers


@given(st.lists(INT32, max_size=40))
def test_the_ring_gives_back_every_number_it_takes(numbers: list[int]) -> None:
    assert from_ring(to_ring(np.array(numbers, np.int64))).tolist() == numbers


@settings(deadline=None)
@given(SEEDS, st.integers(3, 60), st.data())
def test_every_graph_is_regular_mutual_and_without_loops(seed: bytes, devices: int, data: st.DataObject) -> None:
    neighbours = data.draw(st.sampled_from([*range(2, devices, 2), devices - 1]))
    rows = all_neighbours(seed, devices, neighbours).tolist()
    for position, row in enumerate(rows):
        assert len(row) == neighbours
        assert row == sorted(set(row) - {position})
        assert all(position in rows[other] for other in row)
    position = data.draw(st.integers(0, devices - 1))
    assert neighbours_of(seed, devices, neighbours, position) == tuple(rows[position])


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 3000), st.floats(0, 0.3), st.floats(0, 0.2))
def test_a_threshold_is_always_more_than_half_of_the_neighbours(
    devices: int, adversaries: float, dropouts: float
) -> None:
    try:
        found = neighbourhood(devices, Tolerance(adversaries, dropouts))
    except UnsafeCohortError:
        return
    assert found.neighbours < devices
    assert found.neighbours // 2 < found.threshold <= found.neighbours


@st.composite
def rosters(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Leaves and some of their positions."""
    leaves = draw(st.lists(st.binary(max_size=4), min_size=1, max_size=40))
    return leaves, draw(st.lists(st.integers(0, len(leaves) - 1), min_size=1, unique=True))


@settings(deadline=None)
@given(rosters())
def test_every_true_proof_is_accepted(roster: tuple[list[bytes], list[int]]) -> None:
    leaves, positions = roster
    check(root(leaves), len(leaves), {position: leaves[position] for position in positions}, prove(leaves, positions))


@settings(deadline=None, max_examples=40)
@given(rosters())
def test_a_proof_root_or_leaf_with_any_byte_changed_is_refused(roster: tuple[list[bytes], list[int]]) -> None:
    leaves, positions = roster
    told, proof, top = {position: leaves[position] for position in positions}, prove(leaves, positions), root(leaves)

    def refused(top: bytes, told: dict[int, bytes], proof: list[bytes]) -> None:
        with pytest.raises(RosterError):
            check(top, len(leaves), told, proof)

    def changed(data: bytes, at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]

    for at in range(32):
        refused(changed(top, at), told, proof)
        for place, node in enumerate(proof):
            refused(top, told, [*proof[:place], changed(node, at), *proof[place + 1 :]])
    for position, leaf in told.items():
        for at in range(len(leaf)):
            refused(top, {**told, position: changed(leaf, at)}, proof)
        refused(top, {**told, position: leaf + b"x"}, proof)
    refused(top, told, [*proof, bytes(32)])
    for place in range(len(proof)):
        refused(top, told, [*proof[:place], *proof[place + 1 :]])


@settings(deadline=None)
@given(rosters(), st.data())
def test_a_leaf_told_at_another_place_is_refused(roster: tuple[list[bytes], list[int]], data: st.DataObject) -> None:
    leaves, positions = roster
    other = data.draw(st.integers(0, len(leaves) - 1))
    assume(leaves[other] != leaves[positions[0]])
    told = {position: leaves[position] for position in positions} | {other: leaves[positions[0]]}
    with pytest.raises(RosterError):
        check(root(leaves), len(leaves), told, prove(leaves, told))
