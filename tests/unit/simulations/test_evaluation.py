"""What the coordinator learns without noise is the simulator's ground truth of the devices that were asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.client.model import PublicModel
from backrow.privacy.bundle import open_bundle
from backrow.privacy.queries import Metric
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.evaluation import model_scorer
from backrow.simulations.metrics import evaluate
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.population import Population
from backrow.simulations.progress import ignore
from backrow.simulations.runner import FinishedModel, finish_model
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split, tuning_view
from backrow.simulations.training import coordinator_key
from tests.unit.simulations.small_data import dataset, two_tastes


def prepared(made: Scenario, data: Dataset) -> Prepared:
    split = make_split(data, "last")
    if made.evaluation.tuning:
        split = tuning_view(split)
    return Prepared(data, split, people(made, data, split.train, split.test))


def scenario(trainer: str = "gradient", **sections: Any) -> Scenario:
    table = {
        "seed": 3, "trainer": trainer, "data": {"name": "small", "split": "last"}, "model": {"rounds": 2},
        "privacy": {"epsilon": "none", "aggregation": "trusted"}, "evaluation": {"protocols": ["full"]},
    }  # fmt: skip
    return Scenario.model_validate({**table, **sections})


def finished(made: Scenario, given: Prepared, folder: Path) -> FinishedModel:
    return finish_model(made, given, commit(made, given), folder, ignore, model="backrow")


@pytest.mark.parametrize("signals", ["interactions", "events"])
@pytest.mark.parametrize("trainer", ["prior", "sequence", "subspace", "gradient", "opacus", "opacus-event"])
def test_without_noise_devices_report_what_the_simulator_knows(trainer: str, signals: str, tmp_path: Path) -> None:
    made = scenario(trainer, data={"name": "small", "split": "last", "signals": signals})
    done = finished(made, prepared(made, two_tastes(150, 40)), tmp_path)
    assert done.released is not None
    assert 0 < done.rows[0].hr_at_10 < 1
    figures = {figure.name: figure for figure in done.released.figures}
    assert figures[Metric.HIT].rate.value == done.rows[0].hr_at_10
    assert figures[Metric.NDCG].rate.value == pytest.approx(done.rows[0].ndcg_at_10, rel=1e-6)  # rounded to 2^-23
    for figure in figures.values():
        assert figure.rate.value == pytest.approx(figure.truth, rel=1e-6)
        assert figure.rate.low == figure.rate.high == figure.rate.value


def test_through_the_secure_sum_it_is_the_same_but_for_each_devices_own_rounding(tmp_path: Path) -> None:
    made = scenario("prior", privacy={"epsilon": "none", "aggregation": "secure"})
    done = finished(made, prepared(made, two_tastes(150, 40)), tmp_path)
    assert done.released is not None
    assert done.released.noise_scale > 0  # of rounding alone
    for figure in done.released.figures:
        assert figure.truth is not None
        assert figure.rate.value == pytest.approx(figure.truth, rel=1e-3)
        assert figure.rate.low < figure.rate.high < figure.rate.low + 0.01


def test_owners_who_withhold_are_in_neither_figure(tmp_path: Path) -> None:
    made = scenario(cohort={"withheld": 0.4})
    given = prepared(made, two_tastes(150, 40))
    done = finished(made, given, tmp_path)
    granted = int(given.population.granted.sum())
    assert 60 < granted < 120
    assert done.released is not None
    hits = done.released.figures[0]
    assert hits.truth == hits.rate.value != done.rows[0].hr_at_10
    # Denominators are public: all enrolled devices, not those that answered.
    assert hits.per_device.value == pytest.approx(hits.truth * granted / 150)


def test_while_tuning_the_validation_titles_are_asked_about(tmp_path: Path) -> None:
    made = scenario(evaluation={"protocols": ["full"], "tuning": True})
    given = prepared(made, two_tastes(150, 40))
    assert np.array_equal(given.population.fresh, given.split.test)
    assert np.array_equal(given.split.test, make_split(given.dataset, "last").validation)
    done = finished(made, given, tmp_path)
    assert done.released is not None
    assert done.released.figures[0].rate.value == done.rows[0].hr_at_10


def test_viewers_with_too_few_titles_to_be_asked_about_answer_nothing(tmp_path: Path) -> None:
    # Viewers 0..19 have watched two titles: they are learned from, and no title of theirs is held out.
    user = [viewer for viewer in range(60) for _ in range(2 if viewer < 20 else 6)]
    title = [(3 * viewer + step) % 24 for viewer in range(60) for step in range(2 if viewer < 20 else 6)]
    made = scenario("prior")
    done = finished(made, prepared(made, dataset(user, title, list(range(len(user))), titles=24)), tmp_path)
    assert done.released is not None
    hits = done.released.figures[0]
    assert hits.rate.value == hits.truth == done.rows[0].hr_at_10
    assert hits.per_device.value == pytest.approx(hits.truth * 40 / 60)


def test_a_run_that_does_not_ask_learns_nothing(tmp_path: Path) -> None:
    made = scenario(model={"rounds": 2, "evaluation_share": 0.0})
    done = finished(made, prepared(made, two_tastes()), tmp_path)
    assert done.released is None
    assert [report.plan.query.query.value for report in done.trained.outcome.reports][-1] == "gradient"


def test_a_population_keeps_what_is_fresh_and_what_is_passed(tmp_path: Path) -> None:
    made = scenario(data={"name": "small", "split": "last", "signals": "events"})
    given = prepared(made, two_tastes(40, 24))
    given.population.write(tmp_path / "population")
    opened = Population.open(tmp_path / "population")
    watched = given.split.train.matrix(40, 24).toarray()
    for slot in range(40):
        history = opened.history(slot)
        assert history.fresh == given.split.test[slot]
        known = set(history.titles.tolist()) | set(history.passed.tolist())
        assert known == set(np.flatnonzero(watched[slot]).tolist())
    assert any(len(opened.history(slot).passed) for slot in range(40))


def test_the_ground_truth_scores_titles_as_a_device_does_alone(tmp_path: Path) -> None:
    made = scenario()
    given = prepared(made, two_tastes(30, 24))
    done = finished(made, given, tmp_path)
    model = PublicModel.from_bundle(open_bundle(tmp_path / "bundle", coordinator_key(3).public))
    score = model_scorer(model, given.population)
    everybody = score(np.arange(30, dtype=np.int32))
    for viewer in (0, 7, 29):
        assert np.array_equal(score(np.array([viewer], dtype=np.int32))[0], everybody[viewer])
    assert evaluate(score, given.split).hr == done.rows[0].hr_at_10
