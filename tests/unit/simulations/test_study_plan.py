"""Re-scaling a population, sub-sampling it, and reading answers off a line."""

import math
from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.accounting.gaussian import mu_for
from backrow.simulations.pipeline import Prepared, people
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from backrow.simulations.study.intervals import Mean
from backrow.simulations.study.plan import Plan, Point, StandIn, crossing, stand_in
from backrow.simulations.study.shared import data_digest, subsample
from tests.unit.simulations.small_data import two_tastes

SCENARIO = Scenario.model_validate({"data": {"name": "ml-100k"}})


def prepared() -> Prepared:
    data = two_tastes()
    split = make_split(data, "last")
    return Prepared(data, split, people(SCENARIO, data, split.train, split.test))


@pytest.mark.parametrize("ratio", [0.1, 0.5, 2.0, 7.0])
def test_a_stand_in_sees_the_noise_that_more_or_fewer_devices_see(ratio: float) -> None:
    found = stand_in(3.0, 1e-5, ratio)
    assert found is not None
    assert mu_for(found.epsilon, found.delta) == pytest.approx(ratio * mu_for(3.0, 1e-5), rel=1e-6)


def test_as_many_devices_stand_for_themselves_and_very_many_see_no_noise() -> None:
    assert stand_in(3.0, 1e-5, 1.0) == StandIn(3.0, 1e-5)
    assert stand_in(3.0, 1e-5, 1000.0) is None
    with pytest.raises(ValueError, match="positive number"):
        stand_in(3.0, 1e-5, 0.0)


def test_an_answer_is_interpolated_in_the_logarithm() -> None:
    line = [(100.0, 0.04), (1_000.0, 0.06), (10_000.0, 0.07)]
    assert crossing(line, 0.05) == pytest.approx(math.sqrt(100 * 1_000))
    assert crossing(line, 0.06) == pytest.approx(1_000)
    assert crossing(line, 0.08) == math.inf
    assert crossing(line, 0.03) is None


def test_a_plan_answers_both_questions() -> None:
    def point(epsilon: float, devices: int, value: float) -> Point:
        return Point(epsilon, devices, None, Mean(value, None, None, None, 1))

    points = (point(1, 100, 0.02), point(1, 400, 0.04), point(4, 100, 0.05), point(4, 400, 0.06))
    found = Plan("d", "subspace", 1e-5, 400, points, (), 1.0, 0.07, 0.045, 0.03)
    assert found.devices_for(1) == math.inf
    assert found.devices_for(4) is None
    assert found.epsilon_for(100) == pytest.approx(math.exp(math.log(4) * 25 / 30))
    assert found.epsilon_for(400) == pytest.approx(4**0.25)
    assert found.as_dict()["devices_for"] == {"1": "above what was asked about", "4": "below what was asked about"}


def test_a_subsample_holds_the_histories_of_so_many_devices_and_nobody_elses() -> None:
    whole = prepared()
    part = subsample(whole, 20, seed=3)
    assert len(part.population) == len(part.split.test) == 20
    histories = [tuple(whole.population.history(slot).titles) for slot in range(len(whole.population))]
    drawn = [tuple(part.population.history(slot).titles) for slot in range(20)]
    places = [histories.index(history) for history in drawn]
    assert len(set(places)) == 20
    assert places == sorted(places)
    watched = part.split.train.matrix(20, part.split.titles)
    assert [tuple(watched.indices[watched.indptr[n] : watched.indptr[n + 1]]) for n in range(20)] == drawn
    assert np.array_equal(part.split.test, whole.split.test[places])


def test_subsamples_differ_by_seed_and_all_devices_are_the_population() -> None:
    whole = prepared()
    one, two = (subsample(whole, 20, seed).population.titles for seed in (1, 2))
    assert one.tolist() != two.tolist()
    assert subsample(whole, 60, 1).population.titles.tolist() == whole.population.titles.tolist()
    with pytest.raises(ValueError, match="cannot be drawn"):
        subsample(whole, 61, 1)


def test_a_subsample_of_a_sampled_population_asks_those_of_the_sample_that_were_drawn() -> None:
    whole = prepared()
    asked = np.arange(1, 60, 3)
    row = np.full(60, -1, dtype=np.int32)
    row[asked] = np.arange(len(asked))
    train = whole.split.train.take(row[whole.split.train.user] >= 0)
    split = replace(
        whole.split, train=replace(train, user=row[train.user]), test=whole.split.test[asked],
        validation=whole.split.validation[asked], negatives=None,
    )  # fmt: skip
    part = subsample(Prepared(whole.dataset, split, whole.population, asked), 30, seed=3)
    assert part.sample is not None
    assert 0 < len(part.sample) == len(part.split.test) < len(asked)
    people = {tuple(whole.population.history(slot).titles): slot for slot in range(60)}
    watched = part.split.train.matrix(len(part.sample), part.split.titles)
    for n, slot in enumerate(part.sample):
        history = tuple(part.population.history(slot).titles)
        assert tuple(watched.indices[watched.indptr[n] : watched.indptr[n + 1]]) == history
        assert people[history] in asked
        assert part.split.test[n] == whole.split.test[people[history]]


def test_data_is_named_by_what_is_learned_and_what_is_asked() -> None:
    whole = prepared()
    other = make_split(whole.dataset, "last", seed=1)  # other negatives
    assert data_digest(whole.dataset, whole.split) == data_digest(two_tastes(), make_split(two_tastes(), "last"))
    assert data_digest(whole.dataset, whole.split) != data_digest(whole.dataset, other)
    assert data_digest(whole.dataset, whole.split) != data_digest(two_tastes(seed=6), whole.split)
