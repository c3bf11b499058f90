"""Both engines, any number of nodes: the same aggregates and releases, bit for bit, on MovieLens 100K."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.verification import verify_files
from backrow.simulations.pipeline import Prepared, commit, people, prepare
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import coordinator_key, train

pytestmark = pytest.mark.ray

REFERENCE: dict[str, list[str]] = {}


@pytest.fixture(scope="module")
def prepared(data_dir: Path) -> Prepared:
    return prepare(scenario("gradient"))


def scenario(trainer: str) -> Scenario:
    # Event-level DP-SGD trains a model per device and round: a fifth of the devices and one round will do.
    slow = trainer == "opacus-event"
    return Scenario.model_validate(
        {
            "seed": 5,
            "trainer": trainer,
            "data": {"name": "ml-100k"},
            "privacy": {"aggregation": "trusted"},
            "model": {"rounds": 1 if slow else 2},
            "cohort": {"withheld": 0.8 if slow else 0.2},
        }
    )


def released(
    trainer: str, prepared: Prepared, folder: Path, engine: str, nodes: int, seed: int = 5, workers: int = 0
) -> list[str]:
    """Digests of the released integer sums, in order."""
    made = scenario(trainer)
    asked = replace(prepared, population=people(made, prepared.dataset, prepared.split.train, prepared.split.test))
    committed = commit(made, asked)
    trained = train(
        committed, asked.population, folder, engine=engine, nodes=nodes, seed=seed, workers=workers,
        observe=lambda report: None, publish=lambda outcome, spent: (bytes(32), bytes(32)),
    )  # fmt: skip
    assert trained.problems == ()
    entries = verify_files(read_files(folder), coordinator_key(seed).public).entries
    digests = [entry.body.values.hex() for entry in entries if isinstance(entry.body, ReleaseEntry)]
    assert len(digests) == len(committed.schedule.rounds) >= 4
    return digests


@pytest.mark.parametrize("nodes", [1, 4, 8])
@pytest.mark.parametrize("trainer", ["sequence", "subspace", "gradient", "opacus", "opacus-event"])
def test_in_process_releases_do_not_depend_on_the_number_of_nodes(
    trainer: str, nodes: int, prepared: Prepared, tmp_path: Path
) -> None:
    digests = released(trainer, prepared, tmp_path, "inprocess", nodes)
    assert REFERENCE.setdefault(trainer, digests) == digests


@pytest.mark.parametrize(
    ("trainer", "nodes"),
    [
        pytest.param("gradient", 1, marks=pytest.mark.long),
        pytest.param("gradient", 4, marks=pytest.mark.long),
        ("gradient", 8),
        pytest.param("subspace", 4, marks=pytest.mark.long),
        pytest.param("sequence", 4, marks=pytest.mark.long),
        pytest.param("opacus", 8, marks=pytest.mark.long),
        pytest.param("opacus-event", 4, marks=pytest.mark.long),
    ],
)
def test_flower_on_ray_releases_what_one_process_releases(
    trainer: str, nodes: int, prepared: Prepared, tmp_path: Path
) -> None:
    if trainer not in REFERENCE:
        (tmp_path / "reference").mkdir()
        REFERENCE[trainer] = released(trainer, prepared, tmp_path / "reference", "inprocess", 1)
    assert released(trainer, prepared, tmp_path, "flower", nodes) == REFERENCE[trainer]


@pytest.mark.long
@pytest.mark.parametrize("trainer", ["sequence", "subspace", "gradient", "sgd"])
def test_whole_cohorts_on_ray_release_what_one_node_with_one_worker_releases(
    trainer: str, prepared: Prepared, tmp_path: Path
) -> None:
    for folder in ("one", "many"):
        (tmp_path / folder).mkdir()
    one = released(trainer, prepared, tmp_path / "one", "inprocess", 1, workers=1)
    assert released(trainer, prepared, tmp_path / "many", "flower", 4, workers=2) == one


def test_another_seed_releases_something_else(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert set(released("subspace", prepared, tmp_path, "inprocess", 1)).isdisjoint(
        released("subspace", prepared, tmp_path / "other", "inprocess", 1, seed=6)
    )
