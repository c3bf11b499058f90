"""Late answers: invited, spent, and not in the sum; the same on any number of nodes and both kinds of edges."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from backrow.privacy.audit.verify import verify
from backrow.simulations.runner import run
from backrow.simulations.scenario import Scenario
from tests.e2e.test_study import VIEWERS, write_views

ROUNDS = {"noise": "once", "aggregation": "trusted", "epsilon": 8.0}


def scenario(folder: Path, **changes: object) -> Scenario:
    cohort = {"availability": "by-hour", "round_hours": 6.0, "stragglers": 0.2, "minimum": 5}
    table = {
        "trainer": "gradient",
        "data": {"path": str(folder / "views.csv")},
        "privacy": ROUNDS,
        "model": {"rounds": 3},
        "evaluation": {"baselines": ["popularity"], "protocols": ["full"]},
        "nodes": changes.pop("nodes", 1),
        "cohort": cohort | {"whole": False} | changes,
    }
    return Scenario.model_validate(table)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("late")
    write_views(place / "views.csv")
    run(scenario(place), place / "one", baselines=False)
    return place


def test_late_answers_do_not_count_and_their_budget_is_spent(folder: Path) -> None:
    rounds = pq.read_table(folder / "one" / "metrics.parquet").to_pylist()
    assert all(row["outcome"] == "released" for row in rounds)
    assert all(0.5 * row["invited"] < row["participants"] < row["invited"] for row in rounds)
    assert len({row["invited"] for row in rounds}) > 2  # by the hour
    assert max(row["invited"] for row in rounds) > 2 * min(row["invited"] for row in rounds)
    assert all(row["invited"] <= VIEWERS for row in rounds)
    report = verify(folder / "one", bytes.fromhex((folder / "one" / "coordinator.pub").read_text()))
    assert report.passed


def test_the_results_say_how_many_came_too_late(folder: Path) -> None:
    text = (folder / "one" / "results.json").read_text()
    assert "answers came too late and did not count" in text


@pytest.mark.long
def test_in_a_secure_sum_an_answer_that_comes_too_late_is_one_that_did_not_come(folder: Path) -> None:
    table = scenario(folder, availability="always", stragglers=0.1, minimum=60).model_dump(mode="json")
    table |= {"privacy": {"aggregation": "secure", "epsilon": 8.0, "dropouts": 0.3}, "trainer": "subspace", "model": {}}
    run(Scenario.model_validate(table), folder / "secure", baselines=False)
    rounds = pq.read_table(folder / "secure" / "metrics.parquet").to_pylist()
    assert all(row["outcome"] == "released" for row in rounds)
    assert all(60 <= row["participants"] < row["invited"] == VIEWERS for row in rounds)


def test_it_does_not_hang_on_the_number_of_nodes(folder: Path) -> None:
    run(scenario(folder, nodes=3), folder / "three", baselines=False)
    one, three = (sorted((folder / name / "releases").iterdir()) for name in ("one", "three"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in three]
