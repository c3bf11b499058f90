"""Weekly releases with correlated noise: from a file of views to an audited ledger, killed and resumed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.noise import Sentinels
from backrow.privacy.audit.sentinels import FALSE_ALARM
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import DataError, ScenarioError, UnsafePlanError
from backrow.privacy.ledger.entries import ReleaseEntry, VoidEntry
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.verification import verify_files
from backrow.server.archive import Archive
from backrow.simulations import weekly
from backrow.simulations.weekly import run_weekly
from backrow.simulations.weekly_answers import WEEK
from backrow.simulations.weekly_scenario import WeeklyScenario, load_weekly

WEEKS = 6


class KilledError(BaseException):
    """What a kill looks like from inside: nothing catches it on purpose."""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(7)
    path = tmp_path_factory.mktemp("data") / "views.csv"
    rows = [
        f"u{viewer},t{title},{1_000_000 + int(draw.integers(0, WEEKS * WEEK))}"
        for viewer in range(150)
        for title in draw.permutation(30)[:9]
    ]
    ends = ["u0,t31,1000000", f"u1,t31,{1_000_000 + WEEKS * WEEK - 1}"]
    path.write_text("\n".join(["user,item,timestamp", *rows, *ends]) + "\n")
    return path


def scenario(views: Path, **changes: object) -> WeeklyScenario:
    told = {"data": str(views), "seed": 5, "weeks": {"releases": WEEKS, "answers": 3, "apart": 2}, "noise": {"band": 4}}
    return WeeklyScenario.model_validate({**told, **changes})


def quiet(report: object) -> None:
    """Nothing is said."""


@pytest.fixture(scope="module")
def finished(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "weekly"
    run = run_weekly(scenario(views), folder, observe=quiet)
    assert run.claim.epsilon is not None
    assert 2.999 < run.claim.epsilon <= 3
    assert len(run.told) == WEEKS
    # 31 titles of one draw of noise: the ratio of variances is outside this once in a million runs at most.
    assert all(0.05 < (error / told.spread) ** 2 < 3.5 for told, error in zip(run.told, run.errors, strict=True))
    return folder


def entries(folder: Path) -> tuple[SignedEntry, ...]:
    key = bytes.fromhex((folder / "coordinator.pub").read_text())
    return tuple(verify_files(read_files(folder), key).entries)


def digests(folder: Path) -> dict[int, bytes]:
    return {each.body.plan.round: each.body.values for each in entries(folder) if isinstance(each.body, ReleaseEntry)}


def test_an_auditor_finds_nothing_and_counts_the_sequence_once(finished: Path) -> None:
    lists = Lists.parse((finished / "auditor" / "lists.json").read_bytes())
    report = verify(finished, bytes.fromhex((finished / "coordinator.pub").read_text()), lists=lists)
    assert report.findings == ()
    everything = report.accounts[0]
    assert everything.closed_form == pytest.approx(3, rel=1e-3)
    assert everything.pld == pytest.approx(3, rel=5e-3)
    cumulative = [row.cumulative for row in report.rounds]
    assert cumulative == sorted(cumulative)
    assert all(row.claimed.epsilon == pytest.approx(row.cumulative, rel=1e-6) for row in report.rounds)
    assert verify(finished, production=True).exit_code != 0


@pytest.mark.long
def test_nodes_change_no_bit(finished: Path, views: Path, tmp_path: Path) -> None:
    run_weekly(scenario(views, nodes=3), tmp_path / "three", observe=quiet)
    assert digests(tmp_path / "three") == digests(finished)


def test_a_run_killed_between_weeks_goes_on_to_the_same_releases(finished: Path, views: Path, tmp_path: Path) -> None:
    def kill(report: object) -> None:
        if report.plan.round == 3:  # type: ignore[attr-defined]
            raise KilledError

    with pytest.raises(KilledError):
        run_weekly(scenario(views), tmp_path / "run", observe=kill)
    with pytest.raises(ScenarioError, match="exists"):
        run_weekly(scenario(views), tmp_path / "run", observe=quiet)
    run_weekly(scenario(views), tmp_path / "run", observe=quiet, resume=True)
    assert digests(tmp_path / "run") == digests(finished)
    with pytest.raises(ScenarioError, match="exists"):
        run_weekly(scenario(views), tmp_path / "run", observe=quiet, resume=True)
    with pytest.raises(ScenarioError, match="nothing to go on with"):
        run_weekly(scenario(views), tmp_path / "other", observe=quiet, resume=True)
    assert verify(tmp_path / "run").findings == ()


def test_what_a_run_left_that_asked_nobody_is_no_obstacle(views: Path, tmp_path: Path) -> None:
    def kill(*_: object) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weekly.Book, "begin", kill)
        with pytest.raises(KilledError):
            run_weekly(scenario(views), tmp_path / "run", observe=quiet)
    assert [each.name for each in tmp_path.iterdir()] == ["run.unfinished"]
    short = scenario(views, weeks={"releases": 1, "answers": 1, "apart": 1})
    run_weekly(short, tmp_path / "run", observe=quiet)
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_a_week_that_was_open_when_the_run_was_killed_stays_void(
    finished: Path, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Archive):
        def keep(self, number: int, noisy: np.ndarray) -> None:
            if number == 4:
                raise KilledError
            super().keep(number, noisy)

    with monkeypatch.context() as patch:
        patch.setattr(weekly, "Archive", Failing)
        with pytest.raises(KilledError):
            run_weekly(scenario(views), tmp_path / "run", observe=quiet)
    run = run_weekly(scenario(views), tmp_path / "run", observe=quiet, resume=True)
    assert [number for number in range(1, WEEKS + 1) if number not in digests(tmp_path / "run")] == [4]
    assert sum(isinstance(each.body, VoidEntry) for each in entries(tmp_path / "run")) == 1
    # The noise of later weeks is what it would have been; what is told says that a week is missing.
    assert {number: each for number, each in digests(finished).items() if number != 4} == digests(tmp_path / "run")
    assert [told.missing for told in run.told] == [()] * 3 + [(4,)] * 3
    assert verify(tmp_path / "run").findings == ()


def judged(signed: list[SignedEntry], factor: float) -> tuple[Findings, float]:
    """Sentinels of a ledger, each measurement times a factor; and the p-value of all together."""
    found, sentinels = Findings(), Sentinels()
    for each in signed:
        body = each.body
        if isinstance(body, ReleaseEntry):
            body = replace(body, sentinels=tuple(Wide(int(value * factor)) for value in body.sentinels))
        sentinels.check(replace(each, body=body), each.index, found)
    return found, sentinels.finish(found)[0].p_value


def test_noise_a_tenth_too_small_is_found_over_all_weeks_void_or_not(finished: Path) -> None:
    signed = list(entries(finished))
    releases = [each for each in signed if isinstance(each.body, ReleaseEntry)]
    for heard in (releases, releases[1:], [*releases[:2], *releases[3:]]):
        found, honest = judged(heard, 1.0)
        assert Fault.QUIET not in found
        assert honest > FALSE_ALARM
        found, guilty = judged(heard, 0.9)
        assert Fault.QUIET in found
        assert guilty < FALSE_ALARM


@pytest.mark.parametrize(
    ("change", "problem", "because"),
    [
        ({"privacy": {"aggregation": "secure"}}, UnsafePlanError, "independent noise only"),
        ({"weeks": {"releases": 7}}, DataError, "spans 6 weeks"),
        ({"data": "no-such-file.csv"}, DataError, "no-such-file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    views: Path, tmp_path: Path, change: dict[str, object], problem: type[Exception], because: str
) -> None:
    with pytest.raises(problem, match=because):
        run_weekly(scenario(views, **change), tmp_path / "run", observe=quiet)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("[weeks]\nanswrs = 4\n", "weeks.answrs"),
        ("[weeks]\nreleases = 4\nanswers = 5\n", "at most weeks.releases"),
        ("[privacy]\nepsilon = 0.0\n", "privacy.epsilon"),
        ("[tell", "not TOML"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, because: str) -> None:
    (tmp_path / "weekly.toml").write_text(text)
    with pytest.raises(ScenarioError, match=because):
        load_weekly(tmp_path / "weekly.toml")
    with pytest.raises(ScenarioError):
        load_weekly(tmp_path / "none.toml")


def test_the_example_is_understood_and_written_back(tmp_path: Path) -> None:
    example = load_weekly(Path(__file__).parents[2] / "examples" / "weekly.toml")
    (tmp_path / "weekly.toml").write_text(example.to_toml())
    assert load_weekly(tmp_path / "weekly.toml") == example
