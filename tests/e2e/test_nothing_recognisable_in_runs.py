"""What `test_nothing_recognisable` shows of rounds, for all that `backrow simulate` leaves: its run folder, its output,
its logs, temporary files and, on Ray, those of Flower and Ray.

Planted in the data, which the simulator reads: a title that one viewer alone watched, her name, the times at which she
watched (one of them the last of all), and the words that her device, in a scenario with events, searches for. A title's
id is public: it may stand in the signed bundle's catalogue, and there only. A pseudonym may stand in the coordinator's
own two files and the auditor's, which hold no title. Nothing else may stand anywhere: neither in words, nor as numbers
what she watched, her device's answer before masks and noise, or how often each title was watched. The figures that a
simulator publishes (hit rates and the like) are over all devices; what they tell of one is not searched for here.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.simulations import cli, runner
from backrow.simulations.pipeline import Committed
from backrow.simulations.population import Population, device_name
from backrow.simulations.progress import Progress
from backrow.simulations.training import Trained
from tests.plants import LONG, Found, all_logs, find
from tests.transcripts import files_in

VIEWERS, TITLES, HER = 40, 24, 7
NAME, RARE, SEARCHED = "wilhelmine-qzv-4711", "wormwood-qzv lullabies-qzv", "wormwood-qzv"
TIMES = (1_512_345_679, 1_523_456_791, 1_534_567_813, 1_555_443_321, 1_599_999_123)
HERS = ("title-00", RARE, "title-05", "title-11", "title-01")
"""By time: the last is held out, for the evaluation."""
PLANTS: list[str | int] = [NAME, RARE, SEARCHED, *TIMES, TIMES[-1] + 1]
PLAIN = ("--set", "data.signals=interactions")
"""Every title watched weighs 1, so that answers are known; with events, devices search and weigh."""
CATALOGUE = "run/bundle/catalogue.json"
PEOPLE = {"run/auditor/lists.json", "run/coordinator/enrolled.json", "run/coordinator/suppression.jsonl"}
SCENARIO = """
seed = 3
nodes = 2
[data]
path = "views.csv"
signals = "events"
[model]
rounds = 1
[cohort]
minimum = 20
[consent]
opt_outs = 0.1
[evaluation]
baselines = ["popularity", "ease"]
"""


def rows() -> list[str]:
    """Viewers with six titles each; hers are the rare one, and some that others watch too."""
    draw, made = np.random.default_rng(5), []
    for viewer in range(VIEWERS):
        if viewer == HER:
            made += [f"{NAME},{title},{at}" for title, at in zip(HERS, TIMES, strict=True)]
            continue
        for title in draw.choice(TITLES, size=6, replace=False):
            made.append(f"viewer-{viewer:02},title-{title:02},{1_500_000_000 + int(draw.integers(10**7))}")
    return made


def simulate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *options: str
) -> dict[str, bytes]:
    """Run the command; everything that it left, by place."""
    for name in ("here", "scratch", "home"):
        (folder / name).mkdir()
    (folder / "views.csv").write_text("\n".join(["user,item,timestamp", *rows()]) + "\n")
    (folder / "made.toml").write_text(SCENARIO)
    monkeypatch.chdir(folder / "here")
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "scratch"))
    command = ["backrow", "simulate", str(folder / "made.toml"), "--out", str(folder / "run"), *options]
    monkeypatch.setattr(sys, "argv", command)
    with all_logs() as logs, pytest.raises(SystemExit) as end:
        cli.main()
    said = capfd.readouterr()
    assert not end.value.code, said.err
    left = {f"{name}/{file}": data for name in ("run", "here", "scratch", "home")
            for file, data in files_in(folder / name).items()}  # fmt: skip
    return {**left, "output": said.out.encode(), "errors": said.err.encode(), "logs": logs.getvalue().encode()}


def search(left: dict[str, bytes], plants: list[str | int]) -> list[Found]:
    """In words every form counts; in numbers, short forms are met by chance."""
    words = {place: data for place, data in left.items() if _is_text(data)}
    return find(plants, words) + find(plants, {place: left[place] for place in left.keys() - words}, shortest=LONG)


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().replace("\n", "").isprintable()
    except UnicodeDecodeError:
        return False


def numbers() -> dict[str, bytes]:
    """What she watched, her clipped answer, and how often everything was watched, as a machine would write them."""
    read = [row.split(",") for row in rows()]
    titles = list(dict.fromkeys(title for _, title, _ in read))  # in the order of the catalogue
    last = {user: max(int(at) for name, _, at in read if name == user) for user, _, _ in read}
    train = [(user, titles.index(title)) for user, title, at in read if int(at) != last[user]]
    mine = sorted(title for user, title in train if user == NAME)
    counts = np.bincount([title for _, title in train], minlength=len(titles))
    watched = np.bincount(mine, minlength=len(titles))
    vectors = {"her titles": np.array(mine), "what she watched": watched, "counts": counts}
    made = {f"{name}, {kind}": vector.astype(kind).tobytes() for name, vector in vectors.items()
            for kind in ("<i2", "<i4", "<i8", "<f4", "<f8")}  # fmt: skip
    clipped = watched / np.sqrt(len(mine))
    made |= {f"her answer, {kind}": clipped.astype(kind).tobytes() for kind in ("<f4", "<f8")}
    return made | {f"{name}, text": ", ".join(map(str, vector)).encode() for name, vector in vectors.items()}


def recognised(left: dict[str, bytes]) -> set[tuple[str, str]]:
    """Which of these numbers are where."""
    return {(name, place) for name, needle in numbers().items() for place, data in left.items() if needle in data}


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "privacy.aggregation=trusted"),
        (*PLAIN, "--set", "privacy.aggregation=secure", "--set", "trainer=prior", "--no-baselines", "--json"),
        pytest.param(("--set", "privacy.aggregation=secure", "--set", "privacy.dropouts=0.2"), marks=pytest.mark.long),
        pytest.param(("--trainer", "opacus"), marks=pytest.mark.long),
        pytest.param(
            ("--engine", "flower", *PLAIN, "--set", "privacy.aggregation=trusted"),
            marks=[pytest.mark.ray, pytest.mark.long],
        ),
        pytest.param(
            ("--engine", "flower", "--set", "privacy.aggregation=secure"), marks=[pytest.mark.ray, pytest.mark.long]
        ),
    ],
    ids=lambda options: " ".join(option for option in options if option != "--set"),
)
def test_a_run_leaves_a_rare_title_in_the_public_catalogue_and_nothing_else_of_who_watched_it(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="ray") as engines:  # sockets need short names
        monkeypatch.setenv("RAY_TMPDIR", engines)
        monkeypatch.setenv("FLWR_HOME", f"{engines}/flower")
        left = simulate(tmp_path, monkeypatch, capfd, *options)
        assert {place for place in left if place.startswith("scratch/")} == set()
        left |= {f"engine/{file}": data for file, data in files_in(Path(engines)).items()}
    expected = {"run.toml", "results.json", "report.html", "metrics.parquet", "ledger.jsonl", "checkpoint"}
    assert {f"run/{name}" for name in expected} <= left.keys()
    assert len(left["run/report.html"]) > 5_000
    if "flower" in options:
        assert any("session_" in place for place in left)
    found = search(left, PLANTS)
    assert {each.place for each in found} == {CATALOGUE}
    assert {each.plant for each in found} == {RARE, SEARCHED}
    hers = {each.place for each in search(left, [device_name(HER)])}
    assert "run/auditor/lists.json" in hers
    assert hers <= PEOPLE
    assert recognised(left) == set()


Leak = Callable[[pytest.MonkeyPatch], None]


def warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "warnings_of", lambda *_: (f"{NAME} alone watched {RARE}",))


def dates(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = runner.round_row
    monkeypatch.setattr(runner, "round_row", lambda report: {**honest(report), "last_seen": TIMES[-1]})


def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = runner.notes_of
    monkeypatch.setattr(runner, "notes_of", lambda *given: (*honest(*given), f"evaluated until {TIMES[-1] + 1}"))


def names_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = runner.notes_of
    monkeypatch.setattr(runner, "notes_of", lambda *given: (*honest(*given), f"{device_name(HER)} was last"))


def logs_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = runner.prepare_loudly

    def leaky(scenario: object, observe: Callable[[Progress], None]) -> object:
        logging.getLogger("backrow.simulations").debug("searched: %s", SEARCHED)
        observe(Progress("stage", f"loading {NAME}"))
        return honest(scenario, observe)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "prepare_loudly", leaky)


RESULTS = {"run/results.json", "run/report.html"}


@pytest.mark.parametrize(
    ("leak", "places"),
    [
        (warns, {NAME: {*RESULTS, "errors"}, RARE: {*RESULTS, "errors", CATALOGUE}}),
        (dates, {TIMES[-1]: {"run/metrics.parquet", "run/metrics.parquet (read)"}}),
        (reports, {TIMES[-1] + 1: RESULTS}),
        (names_a_device, {device_name(HER): {*RESULTS, *PEOPLE}}),
        (logs_and_tells, {SEARCHED: {"logs", CATALOGUE}, NAME: {"errors"}}),
    ],
    ids=["a warning", "a column of times", "a time in a note", "a pseudonym", "a log and progress"],
)
def test_a_simulator_that_leaks_is_found(
    leak: Leak, places: dict[str | int, set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    leak(monkeypatch)
    options = ("--set", "privacy.aggregation=trusted", "--set", "trainer=prior", "--no-baselines")
    left = simulate(tmp_path, monkeypatch, capfd, *options)
    for plant, leaky in places.items():
        found = {each.place for each in search(left, [plant])}
        assert found | PEOPLE == leaky | PEOPLE, plant


def test_a_run_folder_that_keeps_the_population_or_true_counts_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    honest = runner.train

    def leaky(committed: Committed, population: Population, folder: Path, **options: Any) -> Trained:
        population.write(folder / "population")
        counts = np.bincount(population.titles, minlength=TITLES + 1)
        (folder / "popularity.json").write_text(json.dumps(counts.tolist()))
        np.save(folder / "popularity.npy", counts.astype("<f4"))
        return honest(committed, population, folder, **options)

    monkeypatch.setattr(runner, "train", leaky)
    options = ("--set", "privacy.aggregation=trusted", "--set", "trainer=prior", "--no-baselines")
    left = simulate(tmp_path, monkeypatch, capfd, *options, *PLAIN)
    assert recognised(left) == {
        ("her titles, <i4", "run/population/titles.npy"),
        ("counts, text", "run/popularity.json"),
        ("counts, <f4", "run/popularity.npy"),
    }
