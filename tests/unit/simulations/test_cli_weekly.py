"""`backrow weekly`: it teaches, refuses before anything runs, and prints and writes what it found."""

import json
from pathlib import Path

import numpy as np
import pytest

from backrow.server.programs.weekly import WeeklyEstimate
from backrow.simulations.report.weekly import weekly_svg
from backrow.simulations.weekly_answers import WEEK
from tests.unit.simulations.test_cli import backrow, refusal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = np.random.default_rng(3)
    rows = [f"u{user},t{title},{week * WEEK}" for user in range(120) for week, title in enumerate(draw.permutation(6))]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    lines = ['data = "views.csv"', "[weeks]", "releases = 2", "answers = 1", "apart = 1"]
    (tmp_path / "tiny.toml").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert backrow("weekly", "--help") == 0
    said = capsys.readouterr().out
    for words in ("backrow weekly", "--resume", "Simulation only", "Example:"):
        assert words in said


def test_a_run_says_its_claim_and_how_far_its_figures_can_be_off(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backrow("weekly", "tiny.toml", "--out", "first") == 0
    said = capsys.readouterr().out
    assert "epsilon 3 (delta 1e-05, unit device, adjacency zero-out, 2 releases, simulated)" in said
    assert "week   2: noise sd" in said
    record = json.loads((folder / "first" / "weekly.json").read_text())
    assert [week["week"] for week in record["weeks"]] == [1, 2]
    assert all(each["low"] < each["value"] < each["high"] for week in record["weeks"] for each in week["titles"])
    assert (folder / "first" / "weekly.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("words", [(), ("tiny.toml", "--resume", "first"), ("--resume", "first", "--out", "second")])
def test_contradictory_words_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert backrow("weekly", *words) == 2
    assert "give a scenario file" in capsys.readouterr().err


def test_what_is_not_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.toml" in refusal(capsys, "weekly", "none.toml")
    assert "weekly.toml" in refusal(capsys, "weekly", "--resume", "gone")


def test_the_plot_names_the_leading_titles_and_is_the_same_every_time() -> None:
    told = [WeeklyEstimate(week, np.arange(6.0) * week, 1.5, ()) for week in (1, 2, 3)]
    names = [f"title {row}" for row in range(5)] + ["one whose name is much too long for a label"]
    drawn = weekly_svg(told, names, 0.95)
    assert drawn == weekly_svg(told, names, 0.95)
    assert "one whose name is much …" in drawn
    assert "title 2" in drawn
    assert "title 1" not in drawn
    assert weekly_svg(told[:1], names, 0.95).startswith("<svg")
