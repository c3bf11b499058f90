"""The engineer's tools on a small population: sweeps that are killed, fail and go on; pairs of runs; re-scaling."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from backrow.privacy.errors import DataError, ScenarioError
from backrow.simulations import cli
from backrow.simulations.runner import run
from backrow.simulations.scenario_file import load_scenario
from backrow.simulations.study.compare import compare_runs
from backrow.simulations.study.grid import parse_axis
from backrow.simulations.study.plan import run_plan
from backrow.simulations.study.sweep import Sweep, run_sweep

VIEWERS, TITLES = 120, 30
MINIMUM = 110


def write_views(path: Path, seed: int = 7) -> None:
    random = np.random.default_rng(seed)
    odds = np.arange(TITLES, 0, -1) / (TITLES * (TITLES + 1) / 2)
    lines = ["user,item,timestamp"]
    for viewer in range(VIEWERS):
        likes = random.choice(TITLES, size=10, replace=False, p=odds)
        lines += [f"v{viewer},t{title},{1_600_000_000 + 60 * at}" for at, title in enumerate(likes)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up data and a scenario for it."""
    place = tmp_path_factory.mktemp("study")
    write_views(place / "views.csv")
    (place / "tiny.toml").write_text(
        'trainer = "subspace"\n[data]\npath = "views.csv"\n'
        '[privacy]\nepsilon = 4\naggregation = "trusted"\nnoise = "once"\n'
        '[cohort]\nwhole = false\n[evaluation]\nbaselines = ["popularity"]\n'
    )
    return place


def sweep(folder: Path, out: Path, *grids: str, seeds: int = 2, settings: tuple[str, ...] = ()) -> Sweep:
    scenario = load_scenario(folder / "tiny.toml", settings)
    return run_sweep(scenario, [parse_axis(grid) for grid in grids], out, seeds=seeds, jobs=1)


def figures(path: Path) -> list[dict[str, Any]]:
    """sweep.parquet without its times, which differ."""
    rows = pq.read_table(path / "sweep.parquet").to_pylist()
    return sorted(({**row, "seconds": 0.0} for row in rows), key=lambda row: json.dumps(row, sort_keys=True))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Sweep:
    """A sweep that nobody interrupted."""
    return sweep(folder, folder / "whole", "privacy.epsilon=1,4")


def test_a_sweep_leaves_every_figure_and_the_means_with_intervals(whole: Sweep) -> None:
    rows = pq.read_table(whole.folder / "sweep.parquet").to_pylist()
    means = pq.read_table(whole.folder / "summary.parquet").to_pylist()
    assert len(rows) == 2 * (2 * 2 + 1)  # protocols, epsilons, seeds, baseline
    ours = [line for line in means if line["model"] == "backrow" and line["protocol"] == "full"]
    assert [line["privacy.epsilon"] for line in ours] == [1.0, 4.0]
    for line in ours:
        values = [r["hr@10"] for r in rows if r["epsilon"] == line["epsilon"] and r["protocol"] == "full"]
        assert line["hr@10"] == pytest.approx(np.mean(values))
        assert line["hr@10 low"] <= line["hr@10"] <= line["hr@10 high"]
        assert (line["seeds"], line["delta"], line["unit"]) == (2, 1e-5, "device")
        assert (line["adjacency"], line["releases"]) == ("zero-out", 4)


def test_a_cell_gives_what_the_same_run_gives_by_itself(whole: Sweep, folder: Path, tmp_path: Path) -> None:
    scenario = load_scenario(folder / "tiny.toml", ["privacy.epsilon=1", "seed=2"])
    alone = run(scenario, tmp_path / "run", baselines=False).rows[0]
    (cell,) = (record for record in whole.records if record.point == {"privacy.epsilon": 1} and record.seed == 2)
    assert (cell.rows[0].hr_at_10, cell.rows[0].ndcg_at_10) == (alone.hr_at_10, alone.ndcg_at_10)


def test_what_is_finished_is_not_computed_again(whole: Sweep, folder: Path) -> None:
    again = sweep(folder, whole.folder, "privacy.epsilon=1,4")
    assert again.skipped == len(again.records) == 5
    assert again.summary() == whole.summary()


def test_a_killed_sweep_goes_on_and_ends_at_the_same_figures(whole: Sweep, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    command = [sys.executable, "-c", "from backrow.simulations.cli import main; main()", "sweep"]
    command += [
        str(folder / "tiny.toml"),
        "--grid",
        "privacy.epsilon=1,4",
        "--seeds",
        "2",
        "--jobs",
        "1",
        "--out",
        str(out),
    ]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    while not list((out / "cells").glob("*.json")):
        assert process.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = len(list((out / "cells").glob("*.json")))
    assert 1 <= finished < 5
    assert not (out / "sweep.parquet").exists()
    gone_on = sweep(folder, out, "privacy.epsilon=1,4")
    assert gone_on.skipped >= finished
    assert figures(out) == figures(whole.folder)


def test_a_failing_cell_is_reported_and_loses_no_other(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nine devices in ten are away in every round, and a sum over fewer than 110 is not released.
    words = [
        "sweep",
        str(folder / "tiny.toml"),
        "--grid",
        "consent.offline=0.9,0",
        "--set",
        f"cohort.minimum={MINIMUM}",
    ]
    monkeypatch.setattr(sys, "argv", ["backrow", *words, "--seeds", "1", "--jobs", "1", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "error: 1 of 3 cells failed; the others are kept" in said.err
    assert "no round was released" in said.err
    assert "Traceback" not in said.err
    rows = pq.read_table(tmp_path / "out" / "sweep.parquet").to_pylist()
    assert [row["consent.offline"] for row in rows if row["error"]] == [0.9]
    assert any(row["consent.offline"] == 0.0 and row["hr@10"] > 0 for row in rows)
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert "no round was released" in page
    assert "delta 1e-05 · unit device · adjacency zero-out" in page


def test_a_data_file_that_changed_under_a_sweep_is_noticed(folder: Path, whole: Sweep, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "moved")
    shutil.copy(folder / "tiny.toml", tmp_path)
    write_views(tmp_path / "views.csv", seed=8)
    with pytest.raises(ScenarioError, match=r"no longer what .* was begun with"):
        sweep(tmp_path, tmp_path / "moved", "privacy.epsilon=1,4")
    assert figures(tmp_path / "moved") == figures(whole.folder)


def test_a_folder_of_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ScenarioError, match="holds something that is no sweep"):
        sweep(folder, tmp_path, "privacy.epsilon=1")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_schedule_that_cannot_be_is_refused_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"privacy\.epsilon=1e-07"):
        sweep(folder, tmp_path / "out", "privacy.epsilon=1,1e-7")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Path, Path]:
    """Two run folders on the same viewers."""
    for name, changes in (("one", []), ("two", ["trainer=prior"])):
        run(load_scenario(folder / "tiny.toml", changes), folder / name, baselines=False)
    return folder / "one", folder / "two"


def test_two_runs_are_compared_viewer_by_viewer(pair: tuple[Path, Path]) -> None:
    found = compare_runs(*pair, resamples=500)
    there, back = found.figures[0].difference, compare_runs(*reversed(pair), resamples=500).figures[0].difference
    assert found.viewers == VIEWERS
    assert there.value == -back.value == pytest.approx(found.figures[0].second - found.figures[0].first)
    assert there.low <= there.value <= there.high
    assert [(figure.protocol, figure.name) for figure in found.figures] == [
        ("full", "hr@10"), ("full", "ndcg@10"), ("ncf", "hr@10"), ("ncf", "ndcg@10"),
    ]  # fmt: skip


def test_a_run_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    figure = compare_runs(pair[0], pair[0], resamples=200).figures[0]
    assert (figure.difference.value, figure.difference.p_value) == (0.0, 1.0)


def test_runs_on_other_data_are_not_compared(pair: tuple[Path, Path], folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny.toml", tmp_path)
    write_views(tmp_path / "views.csv", seed=8)
    run(load_scenario(tmp_path / "tiny.toml"), tmp_path / "other", baselines=False)
    with pytest.raises(ScenarioError, match="only runs on the same viewers"):
        compare_runs(pair[0], tmp_path / "other")
    with pytest.raises(ScenarioError, match="is no finished run folder"):
        compare_runs(pair[0], tmp_path)


def test_data_that_changed_after_a_run_is_noticed(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "tiny.toml", tmp_path)
    write_views(tmp_path / "views.csv")
    run(load_scenario(tmp_path / "tiny.toml"), tmp_path / "run", baselines=False)
    write_views(tmp_path / "views.csv", seed=9)
    with pytest.raises(DataError, match="the data or the code has changed since"):
        compare_runs(tmp_path / "run", tmp_path / "run")


@pytest.mark.long
def test_a_plan_answers_and_is_checked_against_real_samples(folder: Path) -> None:
    scenario = load_scenario(folder / "tiny.toml")
    found = run_plan(scenario, folder / "plan", epsilons=(2, 8), devices=(60, 120, 2_400), seeds=2, jobs=2)
    assert [(point.epsilon, point.devices) for point in found.points[:3]] == [(2, 60), (2, 120), (2, 2_400)]
    assert found.points[1].played_by is not None
    assert found.points[1].played_by.epsilon == 2
    assert [check.devices for check in found.checks] == [60, 30]
    by = {(point.epsilon, point.devices): point for point in found.points}
    assert by[8, 2_400].played_by is None  # twenty times as many hardly see the noise
    assert by[8, 2_400].quality.value == pytest.approx(found.noiseless)
    alone = [run(load_scenario(folder / "tiny.toml", ["privacy.epsilon=2", f"seed={seed}"]), folder / f"p{seed}",
                 baselines=False).rows[0].hr_at_10 for seed in (1, 2)]  # fmt: skip
    assert by[2, 120].quality.value == pytest.approx(np.mean(alone))
    again = run_plan(scenario, folder / "plan", epsilons=(2, 8), devices=(60, 120, 2_400), seeds=2, jobs=2)
    assert again == found


@pytest.mark.long
def test_mlflow_sends_no_telemetry_once_backrow_is_there() -> None:
    pytest.importorskip("mlflow", reason="the extra track is not installed")
    # Whoever asked for telemetry gets none either. (Without backrow this would reach for the network: no control.)
    code = "import backrow.simulations.study.track, mlflow\nfrom mlflow.telemetry.utils import is_telemetry_disabled\n"
    code += "from mlflow.telemetry.client import get_telemetry_client\n"
    code += "print(is_telemetry_disabled(), get_telemetry_client())"
    env = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_CURRENT_TEST")}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "false", "DO_NOT_TRACK": "false"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["True", "None"]


@pytest.mark.long
def test_figures_reach_mlflow_and_nothing_of_a_viewer_or_a_machine(
    whole: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="the extra track is not installed")
    from mlflow import MlflowClient

    from backrow.simulations.study.track import track_sweep

    store = (tmp_path / "mlflow").as_uri()
    assert track_sweep(whole, store) == len(whole.summary())
    client = MlflowClient(tracking_uri=store)
    (experiment,) = [found for found in client.search_experiments() if found.name.startswith("backrow")]
    runs = client.search_runs([experiment.experiment_id])
    expected = {line["hr@10"] for line in whole.summary()}
    assert {found.data.metrics["hr_at_10"] for found in runs} == expected
    private = next(found for found in runs if "epsilon" in found.data.params)
    assert {"delta", "unit", "adjacency", "releases"} <= set(private.data.params)
    tags = {name for found in runs for name in found.data.tags}
    assert not tags & {"mlflow.user", "mlflow.source.name", "mlflow.source.git.commit"}
