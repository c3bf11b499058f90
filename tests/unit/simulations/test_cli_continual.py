"""`backrow continual`: it teaches, refuses before anything runs, and prints and writes what it found."""

import json
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.errors import ScenarioError
from backrow.simulations.continual_results import ContinualResults, Quality, Week
from backrow.simulations.continual_scenario import load_continual
from backrow.simulations.report.continual import content_of, quality_chart, write_continual_report
from backrow.simulations.report.curves import wide_svg
from backrow.simulations.report.drawing import standalone
from tests.unit.simulations.test_cli import backrow, refusal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = np.random.default_rng(3)
    rows = [f"u{user},t{title},{at}" for user in range(60) for at, title in enumerate(draw.permutation(9))]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    lines = ['data = "views.csv"', 'compare = ["cold"]', "[weeks]", "count = 2", "[churn]", 'histories = "paced"']
    (tmp_path / "tiny.toml").write_text("\n".join([*lines, "pace = 3.0", "founders = 0.8"]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert backrow("continual", "--help") == 0
    said = capsys.readouterr().out
    for words in ("backrow continual", "--resume", "Simulation only", "Example:"):
        assert words in said


@pytest.mark.long
def test_a_run_says_its_claim_and_what_it_is_worth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("continual", "tiny.toml", "--out", "first") == 0
    said = capsys.readouterr()
    assert "epsilon 3 (delta 1e-05, unit device, adjacency zero-out, 4 releases, simulated)" in said.out
    assert "warm start" in said.out
    assert "week 2, sequence: released by" in said.err
    record = json.loads((folder / "first" / "continual.json").read_text())
    assert [week["week"] for week in record["weeks"]] == [1, 2]
    assert (folder / "first" / "continual.svg").read_text().startswith("<svg")
    page = (folder / "first" / "report.html").read_text()
    assert "<script" not in page
    assert "over all 2 weeks" in page
    assert "exists" in refusal(capsys, "continual", "tiny.toml", "--out", "first")


@pytest.mark.parametrize("words", [(), ("tiny.toml", "--resume", "first"), ("--resume", "first", "--out", "second")])
def test_contradictory_words_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert backrow("continual", *words) == 2
    assert "give a scenario file" in capsys.readouterr().err


def test_what_is_not_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.toml" in refusal(capsys, "continual", "none.toml")
    assert "continual.toml" in refusal(capsys, "continual", "--resume", "gone")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("[weeks]\nanswrs = 4\n", "weeks.answrs"),
        ("[weeks]\ncount = 4\nanswers = 5\n", "at most count"),
        ("[weeks]\napart = 2\n", "bound on answers"),
        ("[weeks]\nanswers = 2\ngrowth = 1.1\n", "costs the same"),
        ("[weeks]\nforgetting = 1.1\n", "weeks.forgetting"),
        ("[privacy]\nepsilon = 0.0\n", "privacy.epsilon"),
        ('[weeks]\nanswers = 2\n[privacy]\naggregation = "secure"\n', "Drop weeks.answers"),
        ('[weeks]\nanswers = 2\n[privacy]\nepsilon = "none"\n', "Drop weeks.answers"),
        ('compare = ["cold", "cold"]\n', "once"),
        ("once = 27\n", "at most 26"),
        ("[churn]\nuninstalls = 1.0\n", "churn.uninstalls"),
        ('trainer = "gradient"\n', "trainer"),
        ("[weeks", "not TOML"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, because: str) -> None:
    (tmp_path / "continual.toml").write_text(text)
    with pytest.raises(ScenarioError, match=because):
        load_continual(tmp_path / "continual.toml")


def test_the_example_is_understood_and_written_back(tmp_path: Path) -> None:
    example = load_continual(Path(__file__).parents[3] / "examples" / "churn.toml")
    (tmp_path / "continual.toml").write_text(example.to_toml())
    assert load_continual(tmp_path / "continual.toml") == example


def results(**changes: object) -> ContinualResults:
    def week(number: int, warm: float | None, outcome: str = "released") -> Week:
        quality = {"warm": Quality(hr=warm, ndcg=warm), "cold": Quality(hr=0.1, ndcg=0.05)}
        return Week(
            week=number, there=9, contributing=8, answering=7, joined=2, left=1, opted_out=1, outcome=outcome,
            epsilon_spent=float(number), asked=4, quality=quality,
        )  # fmt: skip

    told = {
        "claim": "epsilon 2 (delta 1e-05, ...)", "epsilon": 2.0, "epsilon_spent": 2.0, "delta": 1e-5, "unit": "device",
        "adjacency": "zero-out", "releases": 4, "simulated": True, "dataset": "d", "devices": 10, "titles": 5,
        "trainer": "sequence", "most_answers": 1, "bound": 1, "apart": 1, "since": 1, "once_in": 1,
        "overall": {"warm": Quality(hr=0.2, ndcg=0.1), "cold": Quality(hr=0.1, ndcg=0.05)},
        "weeks": (week(1, 0.2), week(2, None, "too few <devices>")),
    }  # fmt: skip
    return ContinualResults.model_validate({**told, **changes})


@pytest.mark.long
def test_the_page_says_who_pays_for_what_and_which_weeks_are_missing(tmp_path: Path) -> None:
    content = content_of(results(stopped="nobody was left"))
    assert "at most 1 week;" in content.meaning[1]
    assert "2 (too few <devices>)" in content.tables[1].foot
    assert "nobody was left" in content.warnings[0]
    assert "every release is counted" in content_of(results(bound=2)).meaning[1]
    assert "No privacy is claimed" in content_of(results(epsilon=None, epsilon_spent=None)).headline
    write_continual_report(tmp_path, results())
    page = (tmp_path / "report.html").read_text()
    assert "too few &lt;devices&gt;" in page
    assert (tmp_path / "continual.svg").read_text() == standalone(wide_svg(quality_chart(results()), "continual"))
