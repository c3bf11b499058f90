"""Whole cohorts at once: what the devices' own trainers answer, and the same bits however the work is split."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from backrow.client.training.base import TrainingCall
from backrow.client.training.registry import trainer_for
from backrow.client.training.sgd import device_seeds
from backrow.privacy import wire
from backrow.privacy.errors import CohortError, NonFiniteUpdateError
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.consents import Changes
from backrow.simulations.engine import compute, plain, plain_sgd
from backrow.simulations.engine.compute import Draws, add_answers, whole_cohorts
from backrow.simulations.engine.edge import PopulationEdge, slots_of
from backrow.simulations.engine.shard import LARGEST_BLOCK, Shard, block_size, split
from backrow.simulations.pipeline import prepare
from backrow.simulations.population import ChangingEdge, EdgeOpener, Population, device_name
from backrow.simulations.scenario import Scenario
from tests.engine_worlds import KEY, SEED, asked, generated, integers, one_by_one, question, random, whole

pytestmark = pytest.mark.xdist_group("engine")  # kernels are compiled once

TITLES = 60
TRAINERS = ("popularity", "recent", "subspace", "gradient", "sgd", "sequence", "eval", "eval-sequence")
WORLD = generated(titles=TITLES)
SLOTS = np.flatnonzero(WORLD.granted)


@pytest.fixture(params=["compiled", "plain"])
def using(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Kernels in machine code, and those of an installation without numba."""
    if request.param == "plain":
        monkeypatch.setattr(compute, "kernels", lambda: plain)
        return plain
    pytest.importorskip("numba")
    return compute.kernels()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def norms_of(call: wire.RoundCall, population: Population, slots: np.ndarray) -> np.ndarray:
    """Of each device's answer before it is clipped, by its own trainer."""
    query = replace(call.plan.query, clip_norm=1e6)
    made = TrainingCall(
        replace(call.plan, query=query, scale=1.0),
        call.tensors,
        call.settings,
        device_seeds(random("seeds", 4, 0), slots),
    )
    histories = [population.history(int(slot)) for slot in slots]
    block = trainer_for(query.query, call.trainer).answer(made, histories, SeededRandom(0))
    return np.array([np.linalg.norm(block.device(row).values) for row in range(len(slots))])


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_sum_is_that_of_the_devices_one_by_one(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    together = integers(whole(WORLD, SLOTS).answer, call, SLOTS)
    assert apart(together, integers(one_by_one(WORLD, SLOTS).answer, call, SLOTS)) <= 1e-6


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_sum_has_the_same_bits_for_one_worker_and_two(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    one, two = (integers(whole(WORLD, SLOTS, workers).answer, call, SLOTS) for workers in (1, 2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("trainer", ["subspace", "gradient", "sgd"])
def test_the_same_devices_are_clipped(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    draws = Draws(device_seeds(random("seeds", 4, 0), SLOTS))
    _, norms = add_answers(call, Shard.of(WORLD), SLOTS, draws, 64, 1)
    alone = norms_of(call, WORLD, SLOTS)
    assert norms == pytest.approx(alone, rel=1e-9, abs=1e-9)
    clipped = alone > call.plan.query.clip_norm
    assert np.array_equal(norms > call.plan.query.clip_norm, clipped)
    assert 0.1 < clipped.mean() < 0.9  # the clip norm decides something


@pytest.mark.parametrize("trainer", TRAINERS)
def test_nodes_that_share_the_devices_add_up_to_the_same_bits(trainer: str, tmp_path: Path) -> None:
    WORLD.write(tmp_path / "population")
    call, sums = question(trainer, TITLES, len(WORLD), fine=False), []
    for nodes in (1, 4, 8):
        opener = EdgeOpener(tmp_path / "population", SEED, KEY.public, workers=2)
        replies = [wire.decode(opener(node, nodes).answer(asked(call, SLOTS))) for node in range(nodes)]
        assert sum(reply.participants for reply in replies) == len(SLOTS)
        sums.append(sum(reply.values for reply in replies))
    assert np.array_equal(sums[0], sums[1])
    assert np.array_equal(sums[0], sums[2])


def test_histories_are_mapped_once_however_often_devices_come_and_go_and_anew_if_they_were_written_anew(
    tmp_path: Path,
) -> None:
    folder, changes = tmp_path / "population", Changes(offline=0.3)
    WORLD.write(folder)

    def titles(number: int, seed: int = SEED) -> np.ndarray:
        edge = EdgeOpener(folder, seed, KEY.public, workers=1, changes=changes)(0, 1)
        assert isinstance(edge, ChangingEdge)
        now = edge.at(number, False)
        assert isinstance(now, PopulationEdge)
        return now.population.titles

    assert np.shares_memory(titles(1), titles(2))
    for file in folder.iterdir():
        file.rename(file.with_suffix(".old"))
        file.write_bytes(file.with_suffix(".old").read_bytes())
    assert not np.shares_memory(titles(1), titles(1, SEED + 1))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_on_movielens_the_sum_is_that_of_the_devices_one_by_one(trainer: str, data_dir: Path) -> None:
    pytest.importorskip("numba")
    made = Scenario.model_validate({"data": {"name": "ml-100k"}})
    prepared = prepare(made)
    population, slots = prepared.population, np.arange(0, len(prepared.population), 3)
    call = question(trainer, len(prepared.dataset.catalogue.ids), len(population), columns=16)
    together = integers(whole(population, slots).answer, call, slots)
    assert apart(together, integers(one_by_one(population, slots).answer, call, slots)) <= 1e-6


def test_a_device_that_needs_much_memory_copies_its_rows_and_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    call, draws = question("sgd", TITLES, len(WORLD)), Draws(device_seeds(random("seeds", 4, 0), SLOTS))
    side_by_side, norms = add_answers(call, Shard.of(WORLD), SLOTS, draws, 64, 1, plain)
    monkeypatch.setattr(plain_sgd, "_LARGEST", 0)
    copied, others = add_answers(call, Shard.of(WORLD), SLOTS, draws, 64, 1, plain)
    assert apart(side_by_side, copied) <= 1e-9
    assert norms == pytest.approx(others, rel=1e-12)


def test_own_factors_that_are_kept_are_those_the_device_would_keep(using: ModuleType) -> None:
    call = question("sgd", TITLES, len(WORLD))
    users = np.random.default_rng(0).normal(size=(len(WORLD), 6)) * 0.1
    users[SLOTS[5]] = 0  # none yet
    seeds = device_seeds(random("seeds", 4, 0), SLOTS)
    alone = TrainingCall(call.plan, call.tensors, call.settings, seeds, users[SLOTS])
    block = trainer_for(call.plan.query.query, "sgd").answer(
        alone, [WORLD.history(int(slot)) for slot in SLOTS], SeededRandom(0)
    )
    edge = replace(whole(WORLD, SLOTS), users=users)
    together = integers(edge.answer, call, SLOTS)
    assert apart(together, block.total() * call.plan.scale) <= 1e-6
    assert users[SLOTS] == pytest.approx(alone.users, rel=1e-9, abs=1e-12)


def test_what_the_engine_does_not_know_is_answered_device_by_device() -> None:
    call = question("gradient", TITLES, len(WORLD))
    rounded = replace(call.plan, rounding=Rounding.DEVICE_STOCHASTIC, scale=2.0**10)
    assert whole_cohorts(call.plan, "gradient")
    for plan, trainer in (
        (call.plan, "opacus-event"),
        (replace(call.plan, noise=Noise.BLOCK), "opacus"),
        (rounded, "gradient"),
        (replace(rounded, aggregation=Aggregation.SECURE), "gradient"),
        (replace(call.plan, scale=2.0**45, noise_multiplier=0.0), "gradient"),  # beyond the whole numbers of float64
    ):
        assert not whole_cohorts(plan, trainer)
    there = replace(call, plan=rounded)
    alone = integers(one_by_one(WORLD, SLOTS).answer, there, SLOTS)
    assert np.array_equal(integers(whole(WORLD, SLOTS).answer, there, SLOTS), alone)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_history_of_another_catalogue_is_refused(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES - 1, len(WORLD))
    with pytest.raises(NonFiniteUpdateError, match="does not have"):
        whole(WORLD, SLOTS).answer(asked(call, SLOTS))


@pytest.mark.parametrize("trainer", ["subspace", "gradient", "sgd", "sequence"])
def test_a_model_that_is_not_finite_is_refused(trainer: str, using: ModuleType) -> None:
    call = question(trainer, TITLES, len(WORLD))
    name = next(iter(call.tensors))
    huge = {**call.tensors, name: call.tensors[name] * 1e200}
    with pytest.raises((NonFiniteUpdateError, np.linalg.LinAlgError)), np.errstate(all="ignore"):
        add_answers(replace(call, tensors=huge), Shard.of(WORLD), SLOTS, Draws(np.zeros(len(SLOTS), np.uint64)), 64, 1)


def test_a_device_named_twice_is_refused_and_a_stranger_is_not_there() -> None:
    call, edge = question("popularity", TITLES, len(WORLD)), whole(WORLD, SLOTS)
    one = device_name(int(SLOTS[0]))
    twice = wire.encode_signed(replace(call, devices=(one, one)), KEY)
    with pytest.raises(CohortError, match="twice"):
        edge.answer(twice)
    strangers = (one, "somebody", "d00000299x", device_name(10**7))
    reply = wire.decode(edge.answer(wire.encode_signed(replace(call, devices=strangers), KEY)))
    assert reply.participants == 1


def test_slots_are_read_from_names_and_other_names_are_nobodys() -> None:
    assert slots_of([device_name(slot) for slot in (0, 7, 12_345_678)]).tolist() == [0, 7, 12_345_678]
    assert slots_of(["x", device_name(3), "d3", "d+0000003", "x"]).tolist() == [-1, 3, -2, -3, -1]
    assert slots_of([]).tolist() == []


def test_blocks_grow_with_the_population_and_never_depend_on_the_cohort() -> None:
    assert [block_size(devices) for devices in (1, 943, 6_040, 8_192, 100_000, 10**6, 10**8)] == [
        64, 64, 64, 128, 1_024, LARGEST_BLOCK, LARGEST_BLOCK,
    ]  # fmt: skip
    parts = split(np.array([3, 63, 64, 200]), 64)
    assert [part.tolist() for part in parts] == [[3, 63], [64], [200]]
