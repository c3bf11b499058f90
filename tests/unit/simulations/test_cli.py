"""The command line: exit codes, sentences instead of tracebacks, and what each command leaves."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from backrow.simulations import cli
from backrow.simulations.results import Results

VIEWERS, TITLES = 40, 30
BUNDLE = "bundle"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up data and a scenario for it."""
    place = tmp_path_factory.mktemp("cli")
    random = np.random.default_rng(7)
    lines = ["user,item,timestamp"]
    for viewer in range(VIEWERS):
        likes = random.choice(TITLES, size=10, replace=False, p=np.arange(TITLES, 0, -1) / (TITLES * (TITLES + 1) / 2))
        lines += [f"v{viewer},t{title},{1_600_000_000 + 60 * at}" for at, title in enumerate(likes)]
    (place / "views.csv").write_text("\n".join(lines) + "\n")
    (place / "tiny.toml").write_text(
        'trainer = "subspace"\n[data]\npath = "views.csv"\n[privacy]\nepsilon = 4\n[evaluation]\nbaselines = ["ease"]\n'
    )
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """A finished run folder."""
    assert backrow("simulate", str(folder / "tiny.toml"), "--no-baselines", "--out", str(folder / "run")) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the checkout, and no width of a terminal matters."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def backrow(*arguments: str) -> int:
    """Run the console script in this process; its exit code."""
    before, sys.argv = sys.argv, ["backrow", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a refused command says on standard error; nothing may be on standard output."""
    assert backrow(*arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("error: ")
    return said.err


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )


def test_asking_for_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom backrow.simulations import cli\nsys.argv = ['backrow', '--help']\n"
        "try:\n    cli.main()\nfinally:\n    print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'flwr', 'ray', 'torch', 'opacus', 'numpy', 'scipy', 'pyarrow', 'matplotlib', 'pydantic'}))"
    )
    ended = python(code)
    assert ended.stdout.splitlines()[-1] == "[]"
    assert "Start with: backrow demo" in ended.stdout


def test_telemetry_is_off_before_anything_else_is_imported() -> None:
    code = "import os\nimport backrow.simulations.cli\nprint(os.environ['FLWR_TELEMETRY_ENABLED'], "
    code += "os.environ['FLWR_DISABLE_UPDATE_CHECK'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    on = {"FLWR_TELEMETRY_ENABLED": "1", "FLWR_DISABLE_UPDATE_CHECK": "0", "RAY_USAGE_STATS_ENABLED": "1"}
    assert python(code, **on).stdout.split() == ["0", "1", "0"]


@pytest.mark.parametrize("command", ["demo", "simulate", "recommend", "data"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow(command, "--help") == 0
    out = capsys.readouterr().out
    assert f"backrow {command}" in out
    if command != "data":
        assert "Example:" in out


def test_a_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("simulate") == 2
    assert backrow("fly") == 2
    assert backrow("recommend", "--run", "x", "--count", "0") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_run_folder_holds_everything_and_a_report_that_names_the_claim(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "run.toml", "results.json", "metrics.parquet", "coordinator.pub", "data.sha256", "report.html", BUNDLE,
        "ledger.jsonl", "checkpoint", "policy.toml", "releases", "auditor", "coordinator",
    }  # fmt: skip
    results = Results.from_json((run / "results.json").read_text())
    assert {row.model for row in results.rows} == {"backrow"}
    assert {row.epsilon for row in results.rows} == {4.0}
    assert all(row.epsilon_spent is not None and 3.9 < row.epsilon_spent <= 4 for row in results.rows)
    assert results.devices == VIEWERS
    assert tomllib.loads((run / "run.toml").read_text())["privacy"]["epsilon"] == 4.0
    assert pq.read_table(run / "metrics.parquet").num_rows == results.rows[0].releases
    assert "ε = 4 for each device that takes part" in (run / "report.html").read_text()


def test_the_written_scenario_repeats_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("simulate", str(run / "run.toml"), "--no-baselines", "--out", "again") == 0
    for name in ("model.safetensors", "catalogue.json", "manifest.json"):
        assert (Path("again") / BUNDLE / name).read_bytes() == (run / BUNDLE / name).read_bytes()


def test_json_is_all_there_is_on_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("simulate", str(folder / "tiny.toml"), "--set", "privacy.epsilon=2", "--json", "--out", "r") == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)["rows"]
    assert said.out == (Path("r") / "results.json").read_text()
    assert {"backrow", "prior", "ease"} <= {row["model"] for row in rows}
    assert {row["epsilon"] for row in rows} == {2.0, None}
    assert "budget: epsilon 2 (delta 1e-05, unit device, adjacency zero-out)" in said.err
    assert "round 1/3, cohort 40, epsilon spent" in said.err
    assert "warning: " in said.err  # 40 viewers are few


def test_the_table_prints_epsilon_with_delta_unit_adjacency_and_releases(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backrow("simulate", str(folder / "tiny.toml"), "--no-baselines") == 0
    out = capsys.readouterr().out
    assert "backrow, subspace: epsilon 4 (delta 1e-05, unit device, adjacency zero-out, 4 releases, simulated)" in out
    assert "what the coordinator learned, released and within the budget: HR@10" in out
    assert "ground truth of the simulator, never released: " in out
    assert "report: runs/tiny-1/report.html" in out


def test_run_folders_are_numbered_and_never_written_twice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        assert backrow("simulate", str(folder / "tiny.toml"), "--no-baselines", "--trainer", "prior") == 0
        assert (Path("runs") / f"tiny-{number}" / "results.json").is_file()


def test_a_run_folder_that_exists_is_refused_and_left_alone(
    folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "exists" in refusal(capsys, "simulate", str(folder / "tiny.toml"), "--out", str(run))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert "exists" in refusal(capsys, "demo", "--out", str(run))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set", "privacy.epsilon=0"), "must be more than 0"),
        (("--set", "privacy.delta=1"), "must be less than 1"),
        (("--set", "privacy.epsilonn=1"), "did you mean privacy.epsilon?"),
        (("--data", "ml-100"), "Did you mean 'ml-100k'?"),
        (("--data", "./nothing.csv"), "there is no file"),
        (("--engine", "spark"), "engine in"),
        (("--trainer", "magic"), "trainer in"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refusal(capsys, "simulate", str(folder / "tiny.toml"), *arguments)
    assert list(Path().iterdir()) == []


def test_several_mistakes_are_several_sentences(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "simulate", str(folder / "tiny.toml"), "--set", "nodes=0", "--set", "privacy.delta=2")
    assert [line.split()[:2] for line in said.splitlines()] == [["error:", "nodes"], ["error:", "privacy.delta"]]


def test_a_scenario_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no scenario file nothing.toml" in refusal(capsys, "simulate", "nothing.toml")


def test_an_unexpected_error_is_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("backrow.simulations.scenario_file.load_scenario", broken)
    assert "KeyError: 'surprise' (unexpected" in refusal(capsys, "simulate", str(folder / "tiny.toml"))
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(KeyError):
        backrow("simulate", str(folder / "tiny.toml"))


def test_a_viewer_gets_titles_she_has_not_watched_and_a_reason_for_each(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backrow("recommend", "--run", str(run), "--user", "v3", "--count", "5") == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.startswith("viewer v3: 10 titles watched, lately t")
    assert len(lines) == 5
    assert all("because you watched t" in line for line in lines)
    rows = (run.parent / "views.csv").read_text().splitlines()
    watched = {line.split(",")[1] for line in rows if line.startswith("v3,")}
    assert not watched & {line.split()[1] for line in lines}


def test_somebody_who_watched_nothing_gets_what_is_popular(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("recommend", "--run", str(run)) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header == "somebody new: 0 titles watched"
    assert len(lines) == 10
    assert all(line.endswith(("popular", "trending")) for line in (line.rstrip() for line in lines))


def test_an_unknown_viewer_is_a_sentence_that_names_known_ones(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "recommend", "--run", str(run), "--user", "nobody")
    assert "has no viewer 'nobody'; it has 40, such as v0, v1, v2" in said


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no run folder" in refusal(capsys, "recommend", "--run", str(tmp_path))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [("model", "damaged"), ("unsigned", "not signed"), ("key", "signed by another"), ("no key", "missing or no key")],
)
def test_a_model_that_cannot_be_verified_is_not_used(
    damage: str, sentence: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(run), str(copy)], check=True)
    manifest = copy / BUNDLE / "manifest.json"
    match damage:
        case "model":
            model = copy / BUNDLE / "model.safetensors"
            model.write_bytes(model.read_bytes()[:-1] + b"\x01")
        case "unsigned":
            manifest.write_text(
                json.dumps({k: v for k, v in json.loads(manifest.read_text()).items() if k != "signature"})
            )
        case "key":
            (copy / "coordinator.pub").write_text("11" * 32)
        case _:
            (copy / "coordinator.pub").unlink()
    assert sentence in refusal(capsys, "recommend", "--run", str(copy), "--user", "v3")


def test_a_data_set_is_described_after_its_checks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("data", "describe", str(folder / "views.csv")) == 0
    said = capsys.readouterr()
    facts = dict(re.split(r"\s{2,}", line.strip()) for line in said.out.splitlines())
    assert facts["viewers"] == "40"
    assert facts["interactions"] == "400"
    assert facts["first timestamp"] == "2020-09-13 12:26:40 UTC"
    assert facts["ties at last timestamp"] == "0"
    assert "warning: " in said.err


def test_bad_data_is_refused_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "future.csv").write_text("user,item,timestamp\na,x,1\nb,y,99999999999\n")
    assert "timestamps in the future" in refusal(capsys, "data", "describe", "future.csv")


def test_named_data_sets_are_listed_with_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("data", "list") == 0
    out = capsys.readouterr().out
    assert "ml-100k" in out
    assert "ml-1m" in out


def test_a_named_data_set_is_got(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backrow("data", "get", "ml-1m") == 0
    assert "6,040 viewers, 3,706 titles, 1,000,209 interactions" in capsys.readouterr().out
