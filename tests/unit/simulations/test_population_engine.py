"""Whole cohorts at once: what the devices' own trainers answer, and the same bits however the work is split."""

from types import ModuleType

import numpy as np
import pytest

from backrow.simulations.engine import compute, plain
from tests.engine_worlds import generated, integers, one_by_one, question, whole

TITLES = 60
TRAINERS = ("popularity", "recent", "subspace", "gradient", "sgd")
WORLD = generated(titles=TITLES)
SLOTS = np.flatnonzero(WORLD.granted)


@pytest.fixture(params=["compiled", "plain"])
def using(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param == "plain":
        monkeypatch.setattr(compute, "kernels", lambda: plain)
        return plain
    pytest.importorskip("numba")
    return compute.kernels()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_sum_is_that_of_the_devices_one_by_one(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    together = integers(whole(WORLD, SLOTS).answer, call, SLOTS)
    alone = integers(one_by_one(WORLD, SLOTS).answer, call, SLOTS)
    assert np.linalg.norm(together - alone) <= 1e-6 * np.linalg.norm(alone)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_sum_has_the_same_bits_for_one_worker_and_two(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    one, two = (integers(whole(WORLD, SLOTS, workers).answer, call, SLOTS) for workers in (1, 2))
    assert np.array_equal(one, two)
