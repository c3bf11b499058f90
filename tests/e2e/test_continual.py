"""A model that is trained every week: one ledger, devices that come and go, killed and resumed, refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.audit.demo import tamper_demo
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import BudgetExhaustedError, DataError, ScenarioError
from backrow.privacy.ledger.entries import OptOutEntry, PublicationEntry, ReleaseEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.signing import SigningKey
from backrow.server.archive import Archive
from backrow.simulations import continual_rounds
from backrow.simulations.churn import NEVER, Lives
from backrow.simulations.continual import Prepared, prepare, run_continual, service_of
from backrow.simulations.continual_results import ContinualResults
from backrow.simulations.continual_rounds import Service, run_rounds
from backrow.simulations.continual_scenario import ContinualScenario
from tests.transcripts import DifferentError, RecordedCoordinator, Transcript, assert_same, files_in

WEEKS, OWNERS, NOW = 3, 70, 1_700_000_000
"""Two blocks: 64 owners at the first node, the others at the second."""


class KilledError(BaseException):
    """What a kill looks like from inside: nothing catches it on purpose."""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(7)
    path = tmp_path_factory.mktemp("data") / "views.csv"
    rows = [
        f"u{viewer},t{title},{at}" for viewer in range(OWNERS) for at, title in enumerate(draw.permutation(24)[:14])
    ]
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


def scenario(views: Path, **changes: object) -> ContinualScenario:
    told = {
        "data": str(views),
        "seed": 5,
        "nodes": 2,
        "compare": [],
        "weeks": {"count": WEEKS},
        "churn": {"histories": "paced", "founders": 0.6, "pace": 3.0, "uninstalls": 0.05, "opt_outs": 0.05},
    }
    return ContinualScenario.model_validate({**told, **changes})


def bounded(views: Path) -> ContinualScenario:
    return scenario(views, weeks={"count": WEEKS, "answers": 2, "apart": 2})


@pytest.fixture(scope="module")
def finished(views: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ContinualResults]:
    folder = tmp_path_factory.mktemp("runs") / "bounded"
    return folder, run_continual(bounded(views), folder)


def entries(folder: Path) -> tuple[SignedEntry, ...]:
    key = bytes.fromhex((folder / "coordinator.pub").read_text())
    return tuple(verify_files(read_files(folder), key).entries)


def digests(folder: Path) -> dict[int, bytes]:
    return {each.body.plan.round: each.body.values for each in entries(folder) if isinstance(each.body, ReleaseEntry)}


def test_an_auditor_finds_nothing_in_one_ledger_of_all_weeks(finished: tuple[Path, ContinualResults]) -> None:
    folder, results = finished
    lists = Lists.parse((folder / "auditor" / "lists.json").read_bytes())
    report = verify(folder, bytes.fromhex((folder / "coordinator.pub").read_text()), lists=lists)
    assert report.findings == ()
    assert report.accounts[0].closed_form == pytest.approx(3, rel=1e-3)
    assert [row.cumulative for row in report.rounds] == sorted(row.cumulative for row in report.rounds)
    assert sum(isinstance(each.body, PublicationEntry) for each in entries(folder)) == WEEKS
    assert sum(isinstance(each.body, OptOutEntry) for each in entries(folder)) > 1
    spent = [week.epsilon_spent for week in results.weeks]
    assert spent == sorted(spent)  # type: ignore[type-var]
    assert results.epsilon_spent == pytest.approx(3, rel=1e-3)
    assert 0 < results.most_answers <= 2
    assert sum(week.left for week in results.weeks) > 0
    assert sum(week.opted_out for week in results.weeks) > 0


def test_a_run_killed_between_weeks_goes_on_to_the_same_releases(
    finished: tuple[Path, ContinualResults], views: Path, tmp_path: Path
) -> None:
    def kill(words: str) -> None:
        if words.startswith("week 1, sequence"):
            raise KilledError

    with pytest.raises(KilledError):
        run_continual(bounded(views), tmp_path / "run", observe=kill)
    with pytest.raises(ScenarioError, match="exists"):
        run_continual(bounded(views), tmp_path / "run")
    text = views.read_text()
    views.write_text(text + "u0,t30,99\n")
    try:
        with pytest.raises(DataError, match="has changed since this run began"):
            run_continual(bounded(views), tmp_path / "run", resume=True)
    finally:
        views.write_text(text)
    results = run_continual(bounded(views), tmp_path / "run", resume=True)
    assert digests(tmp_path / "run") == digests(finished[0])
    assert results == finished[1]
    assert sum(isinstance(each.body, PublicationEntry) for each in entries(tmp_path / "run")) == WEEKS
    assert verify(tmp_path / "run").findings == ()
    with pytest.raises(ScenarioError, match="nothing to go on with"):
        run_continual(bounded(views), tmp_path / "other", resume=True)


@pytest.mark.long
def test_a_round_that_was_open_when_the_run_was_killed_stays_void_and_its_week_goes_on_without(
    finished: tuple[Path, ContinualResults], views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Archive):
        def keep(self, number: int, noisy: np.ndarray) -> None:
            if number == 4:
                raise KilledError
            super().keep(number, noisy)

    with monkeypatch.context() as patch:
        patch.setattr(continual_rounds, "Archive", Failing)
        with pytest.raises(KilledError):
            run_continual(bounded(views), tmp_path / "run")
    results = run_continual(bounded(views), tmp_path / "run", resume=True)
    assert [week.outcome != "released" for week in results.weeks] == [False, True, False]
    # The noise of later weeks is what it would have been.
    assert {number: each for number, each in digests(finished[0]).items() if number != 4} == digests(tmp_path / "run")
    assert verify(tmp_path / "run").findings == ()


def test_a_week_that_would_exceed_the_budget_of_all_is_not_asked(views: Path, tmp_path: Path) -> None:
    service = service_of(scenario(views), prepare(scenario(views)))
    dear = replace(service.schedule, epsilon=2.0)
    outcome = run_rounds(
        replace(service, schedule=dear, settings=replace(service.settings, epsilon=2.0)),
        tmp_path, nodes=1, observe=lambda report: None, clock=lambda: NOW,
    )  # fmt: skip
    assert outcome.stopped is not None
    assert "more than the committed 2" in outcome.stopped
    assert 0 < len(outcome.reports) < len(dear.rounds)
    assert all(report.spent is not None and report.spent <= 2 for report in outcome.reports)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backrow.simulations.continual.service_of", lambda *_: replace(service, schedule=dear))
        with pytest.raises(BudgetExhaustedError):
            run_continual(scenario(views), tmp_path / "run")
    assert not (tmp_path / "run.unfinished").exists()


def transcript(service: Service, folder: Path) -> Transcript:
    """Every byte between edges and coordinator, and all that it keeps."""
    kept: list[RecordedCoordinator] = []

    def recorded(*told: object, **named: object) -> RecordedCoordinator:
        kept.append(RecordedCoordinator(*told, **named))  # type: ignore[arg-type]
        return kept[0]

    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continual_rounds, "Coordinator", recorded)
        run_rounds(service, folder, nodes=2, observe=lambda report: None, clock=lambda: NOW)
    kept[0].transcript.files = files_in(folder)
    return kept[0].transcript


def ending(lives: Lives, slot: int, week: int, *, how: str) -> Lives:
    """One device leaves, or its owner opts out, at the beginning of a week. It goes on watching."""
    gone = getattr(lives, how).copy()
    gone[slot] = week
    return replace(lives, **{how: gone})


def watching_otherwise(lives: Lives, slot: int, week: int) -> Lives:
    """The same with other titles from a week on, the last ones not watched at all."""
    mine = slice(lives.starts[slot], lives.starts[slot + 1])
    late = np.flatnonzero(lives.week[mine] >= week) + mine.start
    assert len(late) > 2
    title, when = lives.title.copy(), lives.week.copy()
    title[late] = title[late][::-1]
    when[late[-1]] = WEEKS + 9
    return replace(lives, title=title, week=when)


@pytest.fixture(scope="module")
def everybody(views: Path) -> Prepared:
    return prepare(scenario(views, churn={"histories": "paced", "founders": 1.0, "pace": 3.0}))


@pytest.mark.parametrize(
    ("how", "answers"),
    [
        ("opted_out", 2),
        pytest.param("opted_out", None, marks=pytest.mark.long),
        pytest.param("left", 2, marks=pytest.mark.long),
        pytest.param("left", None, marks=pytest.mark.long),
    ],
)
def test_a_device_that_has_left_or_opted_out_leaves_no_trace_of_what_it_does_after(
    views: Path, everybody: Prepared, tmp_path: Path, how: str, answers: int | None
) -> None:
    weeks = {"count": WEEKS} | ({} if answers is None else {"answers": answers})
    asked = scenario(views, weeks=weeks)
    slot = int(np.flatnonzero([np.sum(everybody.lives.week[a:b] >= 2) > 3 for a, b in pairs(everybody.lives)])[0])

    def run(lives: Lives, name: str) -> Transcript:
        return transcript(service_of(asked, replace(everybody, lives=lives)), tmp_path / name)

    gone = ending(everybody.lives, slot, 2, how=how)
    theirs, others = run(gone, "gone"), run(watching_otherwise(gone, slot, 2), "otherwise")
    assert any(" released " in told for told in theirs.told)
    assert_same(theirs, others)
    # The control: of a device that stays it does show.
    with pytest.raises(DifferentError):
        assert_same(run(everybody.lives, "stays"), run(watching_otherwise(everybody.lives, slot, 2), "stays otherwise"))


def pairs(lives: Lives) -> list[tuple[int, int]]:
    return list(zip(lives.starts[:-1].tolist(), lives.starts[1:].tolist(), strict=True))


@pytest.mark.long
def test_secure_sums_and_everything_it_is_compared_with(views: Path, tmp_path: Path) -> None:
    made = scenario(
        views,
        privacy={"aggregation": "secure"},
        compare=["cold", "once", "popularity", "no privacy"],
        weeks={"count": WEEKS, "growth": 1.2},
        churn={"histories": "paced", "founders": 0.9, "pace": 3.0},
    )
    results = run_continual(made, tmp_path / "run")
    assert set(results.overall) == {"warm", "cold", "once", "popularity", "no privacy"}
    assert all(quality.hr is not None for quality in results.overall.values())
    assert verify(tmp_path / "run").findings == ()


@pytest.mark.long
def test_every_tampering_with_such_a_ledger_is_caught(finished: tuple[Path, ContinualResults], tmp_path: Path) -> None:
    attempts = tamper_demo(finished[0], tmp_path, SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33))))
    assert [each.tampering.name for each in attempts if not (each.possible and each.caught)] == []


@pytest.mark.long
def test_nodes_change_no_bit(finished: tuple[Path, ContinualResults], views: Path, tmp_path: Path) -> None:
    run_continual(bounded(views).model_copy(update={"nodes": 3}), tmp_path / "three")
    assert digests(tmp_path / "three") == digests(finished[0])


def test_nobody_is_asked_of_data_that_is_too_short(views: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="spans 1 weeks"):
        run_continual(scenario(views, churn={}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert NEVER > WEEKS
