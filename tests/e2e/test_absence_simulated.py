"""Owners of a simulated population who withhold, and the same population in which their slots are nobody's."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backrow.simulations.pipeline import Prepared, commit, prepare
from backrow.simulations.scenario import Scenario
from tests import populations
from tests.populations import run_population
from tests.transcripts import DifferentError, assert_same
from tests.unit.simulations.small_data import two_tastes

SEED, OWNERS = 3, 70
"""Two blocks: 64 owners at the first node, the others at the second."""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = two_tastes(OWNERS, 24)
    seen = dataset.interactions
    rows = zip(seen.user, seen.title, seen.timestamp, strict=True)
    lines = [f"{dataset.viewers[user]},{dataset.catalogue.ids[title]},{at}" for user, title, at in rows]
    path = tmp_path_factory.mktemp("views") / "views.csv"
    path.write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
    return path


def scenario(views: Path, aggregation: str, trainer: str, **cohort: float) -> Scenario:
    return Scenario.model_validate(
        {
            "seed": SEED,
            "trainer": trainer,
            "data": {"path": str(views)},
            "model": {"rounds": 1},
            "privacy": {"aggregation": aggregation},
            "cohort": {"minimum": 20, **cohort},
        }
    )


def compare(made: Scenario, prepared: Prepared, gone: list[int], *, engine: str = "inprocess", nodes: int = 2) -> None:
    """Raises DifferentError if the coordinator's side can tell owners who withhold from slots without an owner."""
    committed = commit(made, prepared)
    transcripts = []
    for missing in ([], gone):
        with tempfile.TemporaryDirectory(prefix="backrow-absence-") as scratch:
            done = run_population(
                committed, prepared.population, Path(scratch), seed=SEED, gone=missing, engine=engine, nodes=nodes
            )
            transcripts.append(done)
    assert any(" released " in told for told in transcripts[0].told)
    assert_same(*transcripts, anywhere=engine == "flower")


def granting_but(prepared: Prepared, withholding: list[int]) -> Prepared:
    granted = np.ones(OWNERS, dtype=np.bool_)
    granted[withholding] = False
    return replace(prepared, population=replace(prepared.population, granted=granted))


SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SLOTS = st.lists(st.integers(0, OWNERS - 1), unique=True, min_size=1, max_size=12)


@settings(SLOW, max_examples=6)
@given(SLOTS, st.data(), st.sampled_from(["sequence", "gradient", "subspace", "opacus"]), st.integers(1, 3))
def test_trusted_edges_say_the_same_of_owners_who_withhold_and_of_slots_without_an_owner(
    views: Path, withholding: list[int], data: st.DataObject, trainer: str, nodes: int
) -> None:
    made = scenario(views, "trusted", trainer)
    gone = data.draw(st.lists(st.sampled_from(withholding), unique=True, min_size=1))
    compare(made, granting_but(prepare(made), withholding), gone, nodes=nodes)


@settings(SLOW, max_examples=2)
@given(SLOTS, st.data())
def test_secure_sums_say_the_same_of_owners_who_withhold_and_of_slots_without_an_owner(
    views: Path, withholding: list[int], data: st.DataObject
) -> None:
    made = scenario(views, "secure", "prior")
    gone = data.draw(st.lists(st.sampled_from(withholding), unique=True, min_size=1))
    compare(made, granting_but(prepare(made), withholding), gone)


@pytest.mark.long
@settings(SLOW, max_examples=25)
@given(SLOTS, st.sampled_from(["trusted", "secure"]), st.sampled_from(["gradient", "subspace", "prior"]))
def test_many_populations_say_the_same_of_owners_who_withhold_and_of_slots_without_an_owner(
    views: Path, withholding: list[int], aggregation: str, trainer: str
) -> None:
    made = scenario(views, aggregation, trainer)
    compare(made, granting_but(prepare(made), withholding), withholding)


def withheld(prepared: Prepared) -> list[int]:
    return [int(slot) for slot in np.flatnonzero(~prepared.population.granted)]


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_on_ray_whoever_the_scenario_withholds_is_a_slot_without_an_owner(views: Path, aggregation: str) -> None:
    from ray import cloudpickle

    made = scenario(views, aggregation, "prior", withheld=0.2)
    prepared = prepare(made)
    assert 5 < len(withheld(prepared)) < 30
    cloudpickle.register_pickle_by_value(sys.modules[populations.__name__])  # Ray's workers know no tests
    try:
        compare(made, prepared, withheld(prepared), engine="flower")
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[populations.__name__])


@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_an_owner_who_grants_is_not_a_slot_without_an_owner(views: Path, aggregation: str) -> None:
    made = scenario(views, aggregation, "prior", withheld=0.2)
    prepared = prepare(made)
    granting = int(np.flatnonzero(prepared.population.granted)[0])
    with pytest.raises(DifferentError):
        compare(made, prepared, [granting])
