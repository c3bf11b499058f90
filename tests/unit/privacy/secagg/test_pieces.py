"""Masked sums kept apart until the freeze: whoever has to leave takes along only those of her own piece."""

import numpy as np
import pytest

from backrow.privacy.secagg import pieces
from backrow.privacy.secagg.pieces import MOST, Pieces


def vector(device: int) -> np.ndarray:
    return np.array([2**device % 2**32, device], dtype=np.uint32)


def kept(devices: range) -> Pieces:
    made = Pieces(2)
    for device in devices:
        made.add([device], vector(device))
    return made


def test_everything_together_is_the_sum_modulo_2_to_the_32() -> None:
    made = Pieces(2)
    for _ in range(3):
        made.add([0, 1], np.array([2**31, 7], dtype=np.uint32))
    assert made.total().tolist() == [2**31, 21]


def test_who_leaves_takes_along_those_of_the_same_piece_and_nobody_else() -> None:
    made = Pieces(2)
    made.add([0, 1, 2], vector(1))
    made.add([3], vector(3))
    made.add([4], vector(4))
    assert made.leave_out([1, 4]) == {0, 1, 2, 4}
    assert made.devices == {3}
    assert made.total().tolist() == vector(3).tolist()


def test_nobody_leaves_where_nobody_has_to() -> None:
    made = kept(range(5))
    assert made.leave_out([9]) == frozenset()
    assert made.devices == set(range(5))


def test_of_a_thousand_pieces_so_few_are_kept_that_one_device_takes_along_few() -> None:
    made = kept(range(1000))
    assert len(made.devices) == 1000
    gone = made.leave_out([500])
    assert 500 in gone
    assert len(gone) <= 2 * -(-1000 // MOST)
    rest = [vector(device) for device in sorted(set(range(1000)) - gone)]
    assert made.total().tolist() == np.sum(rest, axis=0, dtype=np.uint32).tolist()


def test_vectors_too_long_to_be_kept_apart_are_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "BYTES", 8)
    made = kept(range(4))
    assert made.leave_out([0]) == {0, 1, 2, 3}
    assert made.total().tolist() == [0, 0]
