"""`backrow opt-out-cost`: it teaches, refuses before anything runs, and prints and writes what it found."""

from pathlib import Path

import pytest

from backrow.simulations.opting_out_results import OptOutCosts
from tests.unit.simulations.small_data import two_tastes
from tests.unit.simulations.test_cli import backrow, refusal


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    data = two_tastes(40, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    lines = ['trainer = "prior"', "[data]", 'path = "views.csv"', "[privacy]", 'aggregation = "trusted"']
    (tmp_path / "tiny.toml").write_text("\n".join([*lines, 'noise = "once"']) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return "tiny.toml"


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert backrow("opt-out-cost", "--help") == 0
    said = capsys.readouterr().out
    for words in ("backrow opt-out-cost", "--rates", "those who left", "goes on where it was", "Example:"):
        assert words in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rates", "0,.3,1"), "from 0 to less than 1"),
        (("--rates", "0,30%"), "'30%' is no number"),
        (("--rates", ""), "is no number"),
        (("--rates", "nan"), "from 0 to less than 1"),
        (("--rates", "-.1"), "from 0 to less than 1"),
        (("--kinds", "random,rich"), "there is no kind 'rich': it is one of random, niche, mainstream"),
        (("--seeds", "0"), "one run at least"),
        (("--set", "privacy.epsilon=0"), "privacy.epsilon"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tiny: str, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(capsys, "opt-out-cost", tiny, *words)
    assert not Path("runs").exists()


def test_an_existing_folder_is_left_alone(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    assert "there exists" in refusal(capsys, "opt-out-cost", tiny, "--out", "there")
    assert list(Path("there").iterdir()) == []


def test_the_table_and_the_folder_hold_the_same_figures(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("opt-out-cost", tiny, "--rates", ".5", "--kinds", "niche", "--seeds", "1") == 0
    said = capsys.readouterr()
    folder = Path("runs") / "tiny-opt-out-cost"
    costs = OptOutCosts.read(folder / "opt-out-cost.json")
    left = costs.row("niche", 0.5, "left")
    assert left is not None
    line = next(line for line in said.out.splitlines() if " left " in line and "50" in line)
    assert f"{left.hr_at_10.mean:.3f}" in line
    assert f"{left.popular_hr_at_10.mean:.3f}" in line
    for words in ("delta 1e-05", "unit device", "adjacency zero-out"):
        assert words in said.err
    assert "never released" in said.out
    assert "run 2 of 2: 50 % opt out (niche), seed 1" in said.err
    assert str(folder / "report.html") in said.out
