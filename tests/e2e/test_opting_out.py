"""What opting out costs: the curve, who is really gone from every sum, and studies that are refused or go on."""

import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import DataError, ScenarioError
from backrow.simulations.opting_out import RESULT, Question, opt_out_costs, with_opt_outs
from backrow.simulations.opting_out_results import Mean, OptOutCosts
from backrow.simulations.pipeline import commit, prepare
from backrow.simulations.population import device_name
from backrow.simulations.progress import Progress, ignore
from backrow.simulations.results import Results
from backrow.simulations.runner import finish_model, run
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import LISTS, coordinator_key
from tests.unit.simulations.small_data import two_tastes

PEOPLE = 60
SHORT = Question((0.5,), ("random", "niche"), (1, 2))


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "views.csv"
    data = two_tastes(PEOPLE, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


def scenario(views: Path, epsilon: float | str = "none", **sections: object) -> Scenario:
    privacy = {"epsilon": epsilon, "aggregation": "trusted", "noise": "once"}
    made = {"trainer": "subspace", "data": {"path": str(views)}, "model": {"rounds": 1}, "privacy": privacy}
    return Scenario.model_validate({**made, **sections})


@pytest.fixture(scope="module")
def study(views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "costs"
    opt_out_costs(scenario(views, 8.0), folder, SHORT)
    return folder


def test_every_rate_and_kind_has_a_row_for_those_who_stayed_and_those_who_left(study: Path) -> None:
    costs = OptOutCosts.read(study / RESULT)
    for kind in ("random", "niche"):
        rows = {group: costs.row(kind, 0.5, group) for group in ("everyone", "stayed", "left")}
        everyone, stayed, left = rows["everyone"], rows["stayed"], rows["left"]
        assert everyone is not None
        assert stayed is not None
        assert left is not None
        assert stayed.devices + left.devices == everyone.devices == PEOPLE
        assert 15 < left.devices < 45
        assert stayed.seeds == 2
        assert stayed.hr_at_10.sd is not None
        for row in (stayed, left):
            assert math.isclose(row.change_hr_at_10.mean, row.hr_at_10.mean - row.all_in_hr_at_10.mean, abs_tol=1e-9)
        whole = sum(row.devices * row.all_in_hr_at_10.mean for row in (stayed, left)) / PEOPLE
        start = costs.row(kind, 0.0, "everyone")
        assert start is not None
        assert abs(whole - start.hr_at_10.mean) < 0.05  # groups of two seeds differ a little in size
        assert everyone.all_in_hr_at_10 == start.hr_at_10
        assert costs.row(kind, 0.0, "left") is None


def test_every_run_claims_the_same_epsilon_and_keeps_the_noise_though_fewer_are_in_the_sum(study: Path) -> None:
    points = OptOutCosts.read(study / RESULT).points
    assert len(points) == 2 + 4
    assert {point.noise_scale for point in points} == {points[0].noise_scale}
    assert points[0].noise_scale > 0
    assert all(point.epsilon_spent is not None and 7.9 < point.epsilon_spent <= 8 for point in points)
    for point in points:
        assert point.wrong is None
        assert point.participants == PEOPLE - point.opted_out
        assert point.participants >= point.minimum


def test_those_who_left_are_in_no_cohort_and_in_no_sum(views: Path, tmp_path: Path) -> None:
    base = scenario(views)
    made, prepared = with_opt_outs(base, prepare(base), (3, 0.5, "niche"))
    (tmp_path / "coordinator.pub").write_text(coordinator_key(3).public.hex() + "\n")
    finished = finish_model(made, prepared, commit(made, prepared), tmp_path, ignore, model="backrow")
    left = np.flatnonzero(prepared.population.opted_out)
    stayed = np.flatnonzero(prepared.population.granted)
    assert len(left) + len(stayed) == PEOPLE
    assert 15 < len(left) < 45
    lists = Lists.parse((tmp_path / LISTS).read_bytes())
    assert len(lists.participants) == len(finished.trained.outcome.reports) == 4
    for invited in lists.participants.values():
        assert set(invited) == {device_name(int(slot)) for slot in stayed}
    counts = np.zeros(24)
    for slot in map(int, stayed):
        history = prepared.population.history(slot)
        counts[history.titles] += history.weights / np.linalg.norm(history.weights)
    release = finished.trained.outcome.releases[0]
    assert np.allclose(release.values[:24, 0], counts, atol=1e-4)
    assert verify(tmp_path, coordinator_key(3).public, lists=lists).passed


def test_the_report_of_an_ordinary_run_says_how_those_who_left_are_served(views: Path, tmp_path: Path) -> None:
    results = run(scenario(views, 8.0, consent={"opt_outs": 0.4}), tmp_path / "run", baselines=False)
    assert [row.group for row in results.groups] == ["everyone", "stayed", "left"]
    assert results.groups[0].hr_at_10 == results.rows[0].hr_at_10
    assert Results.from_json((tmp_path / "run" / "results.json").read_bytes()).groups == results.groups
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Those who stayed, and those who left</h2>" in html
    assert f"<td>{results.groups[2].devices}</td>" in html


def test_those_who_left_still_get_recommendations_of_their_own(data_dir: Path, tmp_path: Path) -> None:
    """Real viewers of MovieLens 100K, nothing noised; in eight of eight seeds by a third at least."""
    made = Scenario.model_validate(
        {
            "trainer": "subspace",
            "data": {"path": None, "name": "ml-100k"},
            "model": {"evaluation_share": 0.0},
            "privacy": {"epsilon": "none", "aggregation": "trusted", "noise": "once"},
        }
    )
    costs = opt_out_costs(made, tmp_path / "costs", Question((0.5,), ("random",), (1,)))
    left = costs.row("random", 0.5, "left")
    assert left is not None
    assert left.hr_at_10.mean > 1.2 * left.popular_hr_at_10.mean
    assert left.ndcg_at_10.mean > 1.2 * left.popular_ndcg_at_10.mean


@pytest.mark.long
def test_the_curve_on_real_viewers_falls_and_those_who_left_stay_above_popularity(
    data_dir: Path, tmp_path: Path
) -> None:
    made = Scenario.model_validate(
        {"data": {"name": "ml-100k"}, "privacy": {"epsilon": 8.0, "aggregation": "trusted", "noise": "once"}}
    )
    question = Question((0.3, 0.5, 0.9), ("random", "niche"), (1, 2, 3, 4, 5))
    costs = opt_out_costs(made, tmp_path / "costs", question)
    for kind in question.kinds:
        for rate in (0.3, 0.5):
            left = costs.row(kind, rate, "left")
            assert left is not None
            assert left.ndcg_at_10.mean > left.popular_ndcg_at_10.mean
        start, end = costs.row(kind, 0.0, "everyone"), costs.row(kind, 0.9, "everyone")
        assert start is not None
        assert end is not None
        assert end.change_ndcg_at_10.mean < 0 < start.ndcg_at_10.mean - end.ndcg_at_10.mean


class _Balanced(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_plots_and_everything_that_stands_beside_an_epsilon(study: Path) -> None:
    html = (study / "report.html").read_text(encoding="utf-8")
    read = _Balanced(html)
    assert read.open == []
    assert not {"script", "link", "img", "iframe"} & read.seen
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert html.count("<svg") == 4  # two kinds, each for a wide and a narrow window
    assert html.count("var(--series-2)") > 4
    assert "ε = 8 in every run" in html
    for said in ("δ = 1e-05", "unit device", "adjacency zero-out", "4 releases", "simulated: no production claim"):
        assert said in html
    for said in ("had nobody opted out", "ground truth", "N stays what it was", "A sum below the minimum"):
        assert said in html
    text = re.sub(r"<[^>]*>", "", html).replace("\N{NO-BREAK SPACE}", " ")
    assert "Whoever watches what few watch opts out first" in text
    assert "50 % in all" in text


class _StoppedError(Exception):
    pass


def stop_at(run: int) -> Callable[[Progress], None]:
    def observe(news: Progress) -> None:
        if news.text.startswith(f"run {run} of"):
            raise _StoppedError

    return observe


def test_a_study_that_was_killed_goes_on_and_comes_to_the_same_figures(
    views: Path, study: Path, tmp_path: Path
) -> None:
    with pytest.raises(_StoppedError):
        opt_out_costs(scenario(views, 8.0), tmp_path / "costs", SHORT, observe=stop_at(4))
    assert not (tmp_path / "costs").exists()
    news = list[str]()
    opt_out_costs(scenario(views, 8.0), tmp_path / "costs", SHORT, observe=lambda one: news.append(one.text))
    done = {words.split(" of")[0] for words in news if words.startswith("run")}
    assert done == {"run 4", "run 5", "run 6"}
    assert OptOutCosts.read(tmp_path / "costs" / RESULT) == OptOutCosts.read(study / RESULT)
    assert {path.name for path in (tmp_path / "costs").iterdir()} == {RESULT, "report.html", "run.toml"}


def test_nothing_is_written_over_another_study(views: Path, study: Path, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="exists"):
        opt_out_costs(scenario(views, 8.0), study, SHORT)
    with pytest.raises(_StoppedError):
        opt_out_costs(scenario(views, 8.0), tmp_path / "costs", SHORT, observe=stop_at(2))
    with pytest.raises(ScenarioError, match="another study"):
        opt_out_costs(scenario(views, 4.0), tmp_path / "costs", SHORT)


def test_where_too_few_stay_there_is_no_model_and_the_minimum_stands(views: Path, tmp_path: Path) -> None:
    made = scenario(views, cohort={"minimum": 20})
    costs = opt_out_costs(made, tmp_path / "costs", Question((0.3, 0.9), ("random",), (1,)))
    assert costs.row("random", 0.3, "left") is not None
    assert costs.row("random", 0.9, "left") is None
    (wrong,) = costs.wrongs
    assert wrong.startswith("random, 90 % opted out, seed 1: no round was released")
    assert wrong in (tmp_path / "costs" / "report.html").read_text(encoding="utf-8")


def test_a_scenario_without_a_model_although_all_stay_is_an_error(views: Path, tmp_path: Path) -> None:
    made = scenario(views, cohort={"minimum": PEOPLE, "withheld": 0.3})
    with pytest.raises(ScenarioError, match="no round was released"):
        opt_out_costs(made, tmp_path / "costs", SHORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rates", "kinds", "seeds", "said"),
    [
        ((1.0,), ("random",), (1,), "from 0 to less than 1"),
        ((-0.1,), ("random",), (1,), "from 0 to less than 1"),
        ((math.nan,), ("random",), (1,), "from 0 to less than 1"),
        ((), ("random",), (1,), "rates: give at least one"),
        ((0.3, 0.3), ("random",), (1,), "name each of them once"),
        ((0.3,), ("everybody",), (1,), "there is no kind 'everybody'"),
        ((0.3,), ("random",), (-1,), "whole number from 0 on"),
        ((0.3,), ("random",), (), "seeds: give at least one"),
    ],
)
def test_questions_that_make_no_sense_are_refused(
    rates: tuple[float, ...], kinds: tuple, seeds: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Question(rates, kinds, seeds)


def test_no_opt_outs_are_always_part_of_the_question() -> None:
    assert Question((0.9, 0.3)).rates == (0.0, 0.3, 0.9)


def test_an_interval_over_seeds_is_students() -> None:
    three = Mean.of([0.08, 0.09, 0.10])
    assert three.sd is not None
    assert three.low is not None
    assert math.isclose(three.sd, 0.01)
    assert math.isclose(three.low, 0.09 - 4.302653 * 0.01 / math.sqrt(3), rel_tol=1e-6)
    assert Mean.of([0.08]) == Mean(mean=0.08)


def test_a_file_that_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(DataError, match="is no study of this version"):
        OptOutCosts.read(tmp_path / RESULT)
