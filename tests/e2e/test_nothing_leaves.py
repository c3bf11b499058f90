"""A whole run, watched: neither the command nor any process it starts tries to reach another machine."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.egress_guard import run_guarded
from tests.house import ROOT

BACKROW = Path(sys.executable).parent / "backrow"
TOLD_BY_OTHERS = ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "RAY_USAGE_STATS_ENABLED")


@pytest.fixture
def views(tmp_path: Path) -> Path:
    """A small service: 40 viewers, 80 titles, 30 views each."""
    draw = np.random.default_rng(7)
    rows = [f"{viewer},{title},{at}" for viewer in range(40) for at, title in enumerate(draw.permutation(80)[:30])]
    path = tmp_path / "views.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


@pytest.mark.parametrize("engine", ["inprocess", pytest.param("flower", marks=pytest.mark.ray)])
def test_a_run_reaches_no_other_machine(engine: str, views: Path, tmp_path: Path) -> None:
    # Without the variables that `make` and conftest set: backrow itself must switch telemetry off.
    env = {key: value for key, value in os.environ.items() if key not in TOLD_BY_OTHERS}
    run = tmp_path / "run"
    command = [str(BACKROW), "simulate", str(ROOT / "examples/ml-100k.toml"), "--data", str(views)]
    command += ["--engine", engine, "--set", "nodes=2", "--set", "model.rounds=1", "--no-baselines", "--out", str(run)]
    result, attempts = run_guarded(command, env)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (run / "results.json").exists()
    assert attempts == []
