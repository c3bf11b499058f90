"""Contexts of whole cohorts: those of client/sequence.py, scaled to the clip norm as each device scales its own."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from backrow.client.sequence import Memory, context_of, contexts
from backrow.privacy.errors import NonFiniteUpdateError
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.wire import RoundCall
from backrow.simulations.engine import compute, plain
from backrow.simulations.engine.compute import Draws, add_answers, whole_cohorts
from backrow.simulations.engine.shard import Shard
from backrow.simulations.population import Population
from tests.engine_worlds import generated, integers, one_by_one, question, whole

pytestmark = pytest.mark.xdist_group("engine")  # kernels are compiled once

TITLES = 60
WORLD = generated(titles=TITLES)
SLOTS = np.flatnonzero(WORLD.granted)
UNORDERED = replace(WORLD, order=None)


@pytest.fixture(params=["compiled", "plain"])
def using(request: pytest.FixtureRequest) -> ModuleType:
    """Kernels in machine code, and those of an installation without numba."""
    if request.param == "plain":
        return plain
    pytest.importorskip("numba")
    return compute.kernels()


def asked(window: int = 5, decay: float = 0.7, *, fine: bool = True) -> RoundCall:
    call = question("sequence", TITLES, len(WORLD), fine=fine)
    return replace(call, settings={**call.settings, "window": float(window), "decay": decay})


def summed(
    call: RoundCall, population: Population, slots: np.ndarray, using: ModuleType
) -> tuple[np.ndarray, np.ndarray]:
    return add_answers(call, Shard.of(population), slots, Draws(np.zeros(len(slots), np.uint64)), 64, 1, using)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("population", [WORLD, UNORDERED], ids=["ordered", "unordered"])
@pytest.mark.parametrize(("window", "decay"), [(1, 1.0), (5, 1.0), (13, 0.7), (1024, 0.99)])
def test_any_window_looks_back_as_far_as_a_device_does(
    population: Population, window: int, decay: float, using: ModuleType
) -> None:
    call, slots = asked(window, decay), SLOTS[::4]
    alone = integers(one_by_one(population, slots).answer, call, slots)
    assert apart(summed(call, population, slots, using)[0], alone) <= 1e-6


@pytest.mark.parametrize("population", [WORLD, UNORDERED], ids=["ordered", "unordered"])
def test_the_same_devices_answer_nothing_and_all_others_have_the_length_of_their_contexts(
    population: Population, using: ModuleType
) -> None:
    call = asked()
    _, norms = summed(call, population, SLOTS, using)
    lengths = []
    for slot in SLOTS.tolist():
        history = population.history(slot)
        weights = history.weights if history.order is None else history.weights[history.order]
        made = contexts(call.tensors["embedding"], history, Memory.of(call.settings))[:-1]
        lengths.append(np.linalg.norm(weights[:, None] * made))
    assert norms == pytest.approx(lengths, rel=1e-9, abs=0)
    assert 0 < np.count_nonzero(norms == 0) < len(norms) / 2  # those who watched nothing, or one title


def test_every_answer_fills_the_clip_norm_and_none_exceeds_it(using: ModuleType) -> None:
    call = asked()
    query, scale = call.plan.query, call.plan.scale
    for slot in SLOTS[:60]:
        total, norms = summed(call, WORLD, np.array([slot]), using)
        length = np.linalg.norm(total.astype(np.float64))
        assert length <= integer_sensitivity(query.clip_norm, query.dimension, scale, Rounding.DEVICE_NEAREST)
        assert length == pytest.approx(scale * query.clip_norm if norms[0] else 0.0, rel=1e-9)


def test_a_title_answers_with_what_was_watched_before_it_and_not_after(using: ModuleType) -> None:
    no, nobody = np.zeros(1, dtype=np.bool_), np.full(1, -1, dtype=np.int32)
    population = Population(
        np.array([0, 3]), np.array([4, 7, 9], dtype=np.int32), np.ones(3), np.zeros(3, dtype=np.bool_), ~no, nobody,
        np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int32), no, no, np.array([1, 2, 0], dtype=np.int32),
    )  # fmt: skip
    call = asked(window=1)
    total, _ = summed(call, population, np.array([0]), using)  # 7, then 9, then 4
    embedding = call.tensors["embedding"]
    for title, before in ((9, 7), (4, 9)):
        unit = embedding[before] / np.linalg.norm(embedding[before])
        assert total[title] / call.plan.scale == pytest.approx(unit / np.sqrt(2), abs=1e-9)
    assert np.flatnonzero(total.any(axis=1)).tolist() == [4, 9]


def test_a_population_in_mapped_files_keeps_its_order(using: ModuleType, tmp_path: Path) -> None:
    call = asked(fine=False)
    for name, population in (("ordered", WORLD), ("unordered", UNORDERED)):
        population.write(tmp_path / name)
        mapped, _ = summed(call, Population.open(tmp_path / name), SLOTS, using)
        assert np.array_equal(mapped, summed(call, population, SLOTS, using)[0])
    assert apart(mapped, summed(call, WORLD, SLOTS, using)[0]) > 0.1  # order decides something


@pytest.mark.parametrize("population", [WORLD, UNORDERED], ids=["ordered", "unordered"])
def test_the_bits_do_not_depend_on_who_shares_the_work(population: Population, using: ModuleType) -> None:
    call = asked(fine=False)
    together, _ = summed(call, population, SLOTS, using)
    parts = sum(summed(call, population, part, using)[0] for part in np.array_split(SLOTS, 7))
    assert np.array_equal(together, parts)


@pytest.mark.parametrize("broken", ["outside", "twice", "negative"])
def test_an_order_that_names_a_title_twice_or_none_is_refused(broken: str, using: ModuleType) -> None:
    assert WORLD.order is not None
    order, first = WORLD.order.copy(), int(WORLD.starts[SLOTS[5]])
    order[first] = {"outside": 10**6, "twice": order[first + 1], "negative": -1}[broken]
    with pytest.raises(NonFiniteUpdateError, match="check the watch histories"):
        summed(asked(), replace(WORLD, order=order), SLOTS, using)


@pytest.mark.parametrize("population", [WORLD, UNORDERED], ids=["ordered", "unordered"])
def test_the_context_of_now_is_the_devices_own(population: Population, using: ModuleType) -> None:
    call, shard = question("eval-sequence", TITLES, len(WORLD)), Shard.of(population)
    memory, embedding = Memory.of(call.settings), call.tensors["embedding"]
    heavy = memory.decay ** np.arange(memory.window)
    users = np.empty((len(SLOTS), embedding.shape[1]))
    history = (shard.starts, shard.titles, shard.weights, shard.order)
    using.now(SLOTS, *history, embedding, heavy, memory.columns, users)
    alone = [context_of(embedding, population.history(int(slot)), memory) for slot in SLOTS]
    assert users == pytest.approx(np.array(alone), rel=1e-9, abs=1e-12)


def test_an_embedding_that_does_not_fit_is_refused(using: ModuleType) -> None:
    call = asked()
    with pytest.raises(ValueError, match="as many rows and columns"):
        summed(replace(call, tensors={"embedding": np.ones((TITLES, 5))}), WORLD, SLOTS, using)
    with pytest.raises(ValueError, match="window"):
        summed(asked(window=0), WORLD, SLOTS, using)
    there = question("eval-sequence", TITLES, len(WORLD))
    other = replace(there, tensors={**there.tensors, "embedding": np.ones((TITLES, 3))})
    with pytest.raises(ValueError, match="does not fit"):
        summed(other, WORLD, SLOTS, using)


def test_secure_sums_of_contexts_go_device_by_device() -> None:
    call = asked(fine=False)
    alone = replace(call.plan, rounding=Rounding.DEVICE_STOCHASTIC, scale=2.0**10)
    assert whole_cohorts(call.plan, "sequence")
    assert not whole_cohorts(alone, "sequence")
    there = replace(call, plan=alone)
    assert np.array_equal(
        integers(whole(WORLD, SLOTS).answer, there, SLOTS), integers(one_by_one(WORLD, SLOTS).answer, there, SLOTS)
    )
