"""The main job: a scenario in, a run folder out, or a sentence and nothing."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import BackrowError, ScenarioError
from backrow.simulations.pipeline import prepare
from backrow.simulations.results import Results
from backrow.simulations.runner import resume, run
from backrow.simulations.scenario import Scenario


def scenario(views: Path, trainer: str = "gradient", **sections: object) -> Scenario:
    table = {"seed": 3, "trainer": trainer, "data": {"path": str(views)}, "model": {"rounds": 2}, **sections}
    return Scenario.model_validate(table)


TRUSTED = {"aggregation": "trusted"}
"""Quicker than masks, where a test is about something else."""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small service with taste: even viewers watch even titles. One row stands twice."""
    draw = np.random.default_rng(7)
    rows = []
    for viewer in range(150):
        shelf = draw.permutation(np.arange(viewer % 2, 80, 2))[:25]
        rows += [f"viewer-{viewer:03d},title-{title:02d},{1_000_000 + at}" for at, title in enumerate(shelf)]
    path = tmp_path_factory.mktemp("views") / "views.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows, rows[0]]) + "\n")
    return path


@pytest.fixture(scope="module")
def done(views: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """One whole run, with everything it is compared with."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return run(scenario(views), folder), folder


@pytest.mark.xdist_group("main-job")
def test_a_run_folder_holds_what_it_should_and_no_viewer(done: tuple[Results, Path]) -> None:
    results, folder = done
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "run.toml", "results.json", "metrics.parquet", "coordinator.pub", "report.html",
        "ledger.jsonl", "checkpoint", "policy.toml", "auditor/lists.json", "data.sha256",
        "coordinator/suppression.jsonl", "coordinator/enrolled.json",
        *(f"releases/{number:04d}.i8" for number in range(1, 6)),
        "bundle/manifest.json", "bundle/model.safetensors", "bundle/catalogue.json",
    }  # fmt: skip
    assert Results.from_json((folder / "results.json").read_text()) == results
    assert not any(b"viewer-0" in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    bundle = open_bundle(folder / "bundle", bytes.fromhex((folder / "coordinator.pub").read_text()))
    assert bundle.manifest["claim"]["simulated"] is True
    assert {title["id"] for title in bundle.catalogue} == {f"title-{n:02d}" for n in range(80)}

    rounds = pq.read_table(folder / "metrics.parquet").to_pylist()
    assert [row["query"] for row in rounds] == ["popularity", "recent", "gradient", "gradient", "eval"]
    assert rounds[-1]["epsilon_spent"] <= 3.0 < rounds[-1]["epsilon_spent"] * 1.001


@pytest.mark.xdist_group("main-job")
def test_rows_say_what_their_epsilon_means(done: tuple[Results, Path]) -> None:
    results, folder = done
    document = json.loads((folder / "results.json").read_text())
    expected = {
        "model", "trainer", "protocol", "epsilon", "epsilon_spent", "delta", "unit", "adjacency", "releases",
        "bytes_up_per_device", "hr@10", "ndcg@10", "recall@20", "coverage@10", "seconds", "seed",
    }  # fmt: skip
    assert all(set(row) == expected for row in document["rows"])
    assert {row["protocol"] for row in document["rows"]} == {"full", "ncf"}
    private = [row for row in results.rows if row.epsilon is not None]
    assert {row.model for row in private} == {"backrow", "prior"}
    for row in private:
        assert (row.unit, row.adjacency, row.delta) == ("device", "zero-out", 1e-5)
        assert row.epsilon_spent is not None
        assert row.epsilon_spent <= 3.0
        assert row.releases == (5 if row.model == "backrow" else 3)
    others = {row.model for row in results.rows} - {"backrow", "prior"}
    assert others == {"backrow, no privacy", "popularity", "puresvd", "ease", "ials"}
    assert {row.epsilon_spent for row in results.rows if row.model in others} == {None}


def test_the_model_learns_taste_that_popularity_cannot_know(views: Path, tmp_path: Path) -> None:
    made = scenario(
        views, privacy={"epsilon": "none", **TRUSTED}, model={"rounds": 12}, evaluation={"baselines": ["popularity"]}
    )
    rows = {row.model: row for row in run(made, tmp_path / "run").rows if row.protocol == "full"}
    assert rows["backrow"].hr_at_10 > 1.4 * rows["popularity"].hr_at_10


@pytest.mark.parametrize("nodes", [pytest.param(2, marks=pytest.mark.long), 5])
def test_the_published_bytes_do_not_depend_on_the_nodes(views: Path, tmp_path: Path, nodes: int) -> None:
    for name, count in (("one", 1), ("many", nodes)):
        run(scenario(views, nodes=count, model={"rounds": 1}), tmp_path / name, baselines=False)
    for name in ("manifest.json", "model.safetensors", "catalogue.json"):
        same = [(tmp_path / run_ / "bundle" / name).read_bytes() for run_ in ("one", "many")]
        if name != "manifest.json":
            assert same[0] == same[1]
        else:
            assert json.loads(same[0])["receipts"] == json.loads(same[1])["receipts"]
            assert same[0] == same[1]


def test_what_a_reader_must_know_is_a_warning_in_the_results(views: Path, tmp_path: Path) -> None:
    made = scenario(views, privacy={"delta": 0.01}, cohort={"withheld": 0.5})
    warnings = " / ".join(run(made, tmp_path / "run", baselines=False).warnings)
    assert "not below 1/N" in warnings
    assert "merged" in warnings


def test_a_very_small_population_is_accepted_with_a_warning(tmp_path: Path) -> None:
    rows = [f"u{user},t{(user + step) % 9},{step}" for user in range(12) for step in range(5)]
    (tmp_path / "few.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    results = run(scenario(tmp_path / "few.csv"), tmp_path / "run", baselines=False)
    assert any("12" in warning for warning in results.warnings)


@pytest.mark.parametrize("trainer", ["subspace", "gradient", "opacus", "opacus-event", "prior"])
def test_every_trainer_runs_with_generated_events_and_owners_who_withhold(
    views: Path, tmp_path: Path, trainer: str
) -> None:
    rounds = 0 if trainer == "prior" else 1
    made = scenario(
        views,
        trainer,
        data={"path": str(views), "signals": "events"},
        cohort={"withheld": 0.4},
        model={"rounds": rounds},
    )
    results = run(made, tmp_path / "run", baselines=False)
    cohorts = {row["participants"] for row in pq.read_table(tmp_path / "run" / "metrics.parquet").to_pylist()}
    assert len(cohorts) == 1
    assert 60 < cohorts.pop() < 120
    assert results.aggregation == ("trusted" if trainer == "opacus" else "secure")
    assert results.noise == "shares"


def test_an_existing_run_folder_is_refused_and_left_alone(views: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("keep")
    with pytest.raises(ScenarioError, match="exists"):
        run(scenario(views), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_a_run_that_cannot_start_leaves_nothing(views: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(BackrowError, match="smallest cohort allowed is 150"):
        run(scenario(views, cohort={"minimum": 150, "withheld": 0.5}), tmp_path / "run")
    assert set(tmp_path.iterdir()) == before


def test_a_run_that_fails_after_reserving_keeps_its_ledger_and_can_go_on(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    made = scenario(views, privacy=TRUSTED)
    monkeypatch.setattr("backrow.simulations.runner.write_metrics", full_disk)
    with pytest.raises(OSError, match="no space"):
        run(made, tmp_path / "run", baselines=False)
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.unfinished" / "ledger.jsonl").exists()
    monkeypatch.undo()
    with pytest.raises(ScenarioError, match="reserved budget and did not finish"):
        run(made, tmp_path / "run", baselines=False)
    resumed = resume(made, tmp_path / "run", baselines=False)
    whole = run(made, tmp_path / "whole", baselines=False)
    assert [row.hr_at_10 for row in resumed.rows] == [row.hr_at_10 for row in whole.rows]
    for name in ("manifest.json", "model.safetensors"):
        assert (tmp_path / "run" / "bundle" / name).read_bytes() == (tmp_path / "whole" / "bundle" / name).read_bytes()


def test_plays_are_weighed_by_their_counts_from_file_to_list(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    rows = []
    for viewer in range(120):
        shelf = draw.permutation(np.arange(viewer % 2, 40, 2))[:12]
        rows += [f"v{viewer},t{title},{1_000_000 + at},{draw.integers(1, 9)}" for at, title in enumerate(shelf)]
    path = tmp_path / "plays.csv"
    path.write_text("\n".join(["user,item,timestamp,count", *rows]) + "\n")
    clear = {"privacy": {"aggregation": "trusted"}, "model": {"rounds": 1}}
    counted = scenario(path, "sequence", **{**clear, "data": {"path": str(path), "signals": "plays"}})
    weights = prepare(counted).population.weights
    assert set(np.round(weights, 9)) == set(np.round(1 + np.log(np.arange(1, 9)), 9))
    released = []
    for name, made in (("counted", counted), ("alike", scenario(path, "sequence", **clear))):
        assert run(made, tmp_path / name, baselines=False).rows
        released.append((tmp_path / name / "bundle" / "model.safetensors").read_bytes())
    assert released[0] != released[1]


def test_what_the_data_cannot_give_is_refused_before_anything_runs(views: Path, tmp_path: Path) -> None:
    (tmp_path / "rated.csv").write_text("user,item,timestamp,rating\na,x,1,3\na,y,2,3\nb,x,1,3\nb,z,2,3\n")
    rated = scenario(views, data={"path": str(tmp_path / "rated.csv"), "signals": "plays"})
    with pytest.raises(ScenarioError, match="a row for every viewing"):
        prepare(rated)
    unordered = scenario(
        views, data={"path": str(views), "order": "unknown"}, evaluation={"baselines": ["ease", "transitions"]}
    )
    with pytest.raises(ScenarioError, match="transitions use the order"):
        prepare(unordered)
