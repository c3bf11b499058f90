"""What `make demo` shows, and what it falls back to."""

import sys
from pathlib import Path

import pytest

from backrow.privacy.errors import DataError
from backrow.simulations import cli, demo
from backrow.simulations.datasets.registry import load
from backrow.simulations.opt_out import PROOF
from backrow.simulations.results import Results


def test_the_demo_is_a_flower_run_and_the_whole_frontier() -> None:
    first, *others = demo.parts()
    assert (first.engine, first.trainer, first.epsilon) == ("flower", "opacus", 3.0)
    assert demo.NODES == 4
    assert [part.epsilon for part in others if part.trainer == "gradient"] == [1.0, 3.0, 8.0]
    assert [part.epsilon for part in others if part.trainer == "sequence"] == [1.0, 3.0, 8.0]
    assert [part.epsilon for part in others if part.trainer == "opacus"] == [8.0]
    assert sum(part.baselines for part in others) == 1
    assert demo.SHOWN in {part.name for part in others}


def test_the_demo_falls_back_to_the_small_data_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only_the_small_one(name: str) -> str:
        if name == "ml-1m":
            raise DataError("ml-1m cannot be had here")
        return name

    monkeypatch.setattr(demo, "load", only_the_small_one)
    assert demo._largest(None) == "ml-100k"  # type: ignore[comparison-overlap]
    assert "ml-1m cannot be had here" in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.long
def test_the_demo_runs_on_real_data(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["backrow", "demo", "--data", "ml-100k", "--out", str(tmp_path / "demo")])
    monkeypatch.setenv("COLUMNS", "160")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    out = capsys.readouterr().out
    assert f"{len(load('ml-100k').viewers)} viewers, one device each" in out
    for model in (
        "popularity",
        "prior only",
        "backrow, gradient",
        "backrow, sequence",
        "backrow, opacus",
        "backrow, no privacy",
    ):
        assert model in out
    assert "epsilon: delta 1e-05, unit device, adjacency zero-out" in out
    assert out.count("because you watched") == 10
    assert (tmp_path / "demo" / "report.html").is_file()
    assert "opts out, on a real device among" in out
    assert "each is the same, byte for byte" in out
    assert out.count("as above") == 3
    assert (tmp_path / "demo" / demo.OPT_OUT / PROOF).is_file()
    flower = Results.from_json((tmp_path / "demo" / "flower-opacus-3" / "results.json").read_text())
    assert (flower.engine, flower.nodes, flower.devices) == ("flower", 4, 943)
