"""Which trainer a scenario takes that names none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.simulations.choice import choice_of, with_trainer
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.population import Population
from backrow.simulations.runner import run
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from tests.unit.simulations.small_data import two_tastes

MUCH = {"epsilon": 8.0, "aggregation": "trusted"}


def scenario(privacy: dict[str, Any] = MUCH, **given: Any) -> Scenario:
    table = {"data": {"name": "ml-100k"}, "privacy": privacy, "evaluation": {"baselines": [], "protocols": ["full"]}}
    return Scenario.model_validate(table | given)


def world(made: Scenario) -> tuple[Dataset, Population]:
    data = two_tastes()
    return data, people(made, data, make_split(data, "last").train)


def test_a_named_trainer_is_kept_and_needs_no_reason() -> None:
    made = scenario(trainer="subspace")
    assert with_trainer(made, *world(made)) == (made, "")


def test_one_that_is_left_out_is_chosen_by_whether_the_order_is_known() -> None:
    made = scenario()
    data, population = world(made)
    assert made.trainer == "auto"
    assert choice_of(made, data, population).trainer == "sequence"
    assert choice_of(made, replace(data, ordered=False), population).trainer == "gradient"
    assert choice_of(made, data, replace(population, order=None)).trainer == "gradient"
    declared = scenario(data={"name": "ml-100k", "order": "unknown"})
    assert choice_of(declared, *world(declared)).trainer == "gradient"


@pytest.mark.parametrize("signals", ["interactions", "events"])
def test_an_order_that_is_declared_unknown_is_kept_from_the_devices(signals: str) -> None:
    assert world(scenario(data={"name": "ml-100k", "signals": signals}))[1].order is not None
    assert world(scenario(data={"name": "ml-100k", "signals": signals, "order": "unknown"}))[1].order is None


def test_the_choice_does_not_hang_on_what_anybody_watched() -> None:
    made = scenario()
    data, population = world(made)
    other = replace(data, interactions=replace(data.interactions, timestamp=data.interactions.timestamp * 0))
    shuffled = replace(population, titles=np.ascontiguousarray(population.titles[::-1]))
    assert choice_of(made, other, shuffled) == choice_of(made, data, population)


@pytest.mark.parametrize(("time", "ordered"), [("2024-01-05", False), ("1704412800", True)])
def test_a_file_with_whole_days_declares_that_it_knows_no_order(tmp_path: Path, time: str, ordered: bool) -> None:
    rows = "\n".join(f"u{n % 4},i{n},{time}" for n in range(12))
    (tmp_path / "seen.csv").write_text(f"user,item,timestamp\n{rows}\n")
    assert load(str(tmp_path / "seen.csv")).ordered is ordered


@pytest.mark.parametrize(("privacy", "trainer"), [(MUCH, "sequence"), ({**MUCH, "epsilon": 0.05}, "prior")])
def test_a_run_says_which_trainer_it_took_and_why(tmp_path: Path, privacy: dict[str, Any], trainer: str) -> None:
    made = scenario(privacy)
    data = two_tastes()
    split = make_split(data, "last")
    prepared = Prepared(data, split, people(made, data, split.train, split.test))
    results = run(made, tmp_path / "run", prepared=prepared)
    assert results.rows[0].trainer == trainer
    assert f"trainer {trainer}, by the public rule: {commit(made, prepared).chosen}" in results.notes
    assert {row.trainer for row in results.rows if row.model == "backrow, no privacy"} == {"sequence"}
    assert any(row.model == "prior" for row in results.rows) is (trainer != "prior")


def test_a_run_with_a_named_trainer_says_nothing_of_a_rule(tmp_path: Path) -> None:
    made = scenario(trainer="prior")
    data = two_tastes()
    split = make_split(data, "last")
    prepared = Prepared(data, split, people(made, data, split.train, split.test))
    notes = run(made, tmp_path / "run", prepared=prepared, baselines=False).notes
    assert not any("by the public rule" in note for note in notes)
