from hashlib import sha256

import numpy as np
import pytest

from backrow.privacy.errors import SurvivorsError
from backrow.privacy.secagg.graph import all_neighbours, check_gaps, neighbours_of, ring
from backrow.privacy.secagg.parameters import Tolerance, largest_gap

SEED = bytes(range(32))


def connected(nodes: set[int], rows: np.ndarray) -> bool:
    """Whether these nodes are joined through one another."""
    reached, ahead = set[int](), [min(nodes)]
    while ahead:
        node = ahead.pop()
        if node not in reached:
            reached.add(node)
            ahead += [int(other) for other in rows[node] if int(other) in nodes]
    return reached == nodes


def test_the_ring_holds_every_position_once_and_depends_on_every_bit_of_the_seed() -> None:
    orders = {tuple(ring((int.from_bytes(SEED, "big") ^ 1 << bit).to_bytes(32, "big"), 50)) for bit in range(256)}
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(orders) == 256


def test_neighbours_are_the_nearest_on_both_sides_of_the_ring() -> None:
    order = ring(SEED, 20).tolist()
    place = order.index(3)
    near = [order[(place + step) % 20] for step in (-2, -1, 1, 2)]
    assert neighbours_of(SEED, 20, 4, 3) == tuple(sorted(near))


@pytest.mark.parametrize(("devices", "neighbours"), [(4, 3), (5, 4), (12, 11)])
def test_in_a_complete_graph_everybody_is_everybodys_neighbour(devices: int, neighbours: int) -> None:
    for position, row in enumerate(all_neighbours(SEED, devices, neighbours).tolist()):
        assert row == [other for other in range(devices) if other != position]


@pytest.mark.parametrize("neighbours", [-2, 0, 1, 3, 20, 22])
def test_a_graph_that_cannot_be_is_refused(neighbours: int) -> None:
    with pytest.raises(ValueError, match="no graph joins"):
        all_neighbours(SEED, 20, neighbours)


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ring(SEED[1:], 20)
    with pytest.raises(ValueError, match="at least 3"):
        ring(SEED, 2)
    for position in (-1, 20):
        with pytest.raises(ValueError, match="no position"):
            neighbours_of(SEED, 20, 4, position)


def test_a_cut_that_every_neighbourhood_tolerates_is_refused() -> None:
    # Two places where t - k/2 adversaries happen to stand within k/2; the coordinator says the rest there vanished.
    devices, k, t = 1_000, 52, 37
    order, rows, half = ring(SEED, devices), all_neighbours(SEED, devices, k), k // 2
    near = t - half
    adversaries = {int(order[start + step]) for start in (100, 600) for step in range(near)}
    vanished = {int(order[start + step]) for start in (100, 600) for step in range(near, half)}
    survived = [position not in vanished for position in range(devices)]
    honest = {position for position in range(devices) if survived[position]} - adversaries
    assert all(sum(survived[other] for other in rows[position]) >= t for position in honest)
    assert not connected(honest, rows)
    with pytest.raises(SurvivorsError, match="come apart"):
        check_gaps(SEED, survived, k, largest_gap(devices, Tolerance(), k))


def test_a_gap_at_the_limit_passes_and_one_more_is_refused_where_the_ring_closes_too() -> None:
    order = ring(SEED, 40)
    for start in (0, 5, 37):
        survived = np.ones(40, bool)
        survived[order[np.arange(start, start + 4) % 40]] = False
        check_gaps(SEED, survived.tolist(), 10, 4)
        with pytest.raises(SurvivorsError, match="4 of 5 devices in a row are missing, 3 may"):
            check_gaps(SEED, survived.tolist(), 10, 3)


def test_gaps_are_those_found_by_looking_at_every_stretch() -> None:
    for case in range(40):
        bits = sha256(bytes([case])).digest()
        devices, half = 9 + case % 20, 2 + case % 3
        survived = [bool(byte & 3) for byte in bits[:devices]]
        order = ring(SEED, devices).tolist()
        most = max(
            sum(not survived[order[(start + step) % devices]] for step in range(half)) for start in range(devices)
        )
        check_gaps(SEED, survived, 2 * half, most)
        if most:
            with pytest.raises(SurvivorsError, match=f"{most} of {half}"):
                check_gaps(SEED, survived, 2 * half, most - 1)
