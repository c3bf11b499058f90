"""Who contributes and who does not, and how the same model serves either."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.simulations.consents import Changes, Owners
from backrow.simulations.groups import group_rows, groups_of, popularity_ranks, served_groups, viewer_ranks
from backrow.simulations.metrics import evaluate
from backrow.simulations.pipeline import Prepared, prepare
from backrow.simulations.scenario import Scenario
from tests.unit.simulations.small_data import two_tastes

PEOPLE = 40


@pytest.fixture
def made(tmp_path: Path) -> Scenario:
    data = two_tastes(PEOPLE, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    consent = {"opt_outs": 0.3, "children": 0.1}
    return Scenario.model_validate({"data": {"path": str(tmp_path / "views.csv")}, "consent": consent})


def by_row(viewers: np.ndarray) -> np.ndarray:
    """A scorer that puts the first titles of the catalogue first."""
    return np.tile(-np.arange(24.0), (len(viewers), 1))


def test_whoever_never_grants_left_and_whoever_grants_once_stayed() -> None:
    granted = np.arange(1000) < 700
    opted_out, children = np.arange(1000) >= 800, np.zeros(1000, dtype=bool)
    owners = Owners(granted, opted_out, children)
    steady = groups_of(owners, 1, Changes(), 5)
    assert np.array_equal(steady["stayed"], granted)
    assert np.array_equal(steady["left"], ~granted)
    busy = groups_of(owners, 1, Changes(flips=0.5), 5)
    assert busy["stayed"][granted].all()
    assert 70 < busy["stayed"][700:800].sum() < 100
    assert not busy["stayed"][opted_out].any()
    assert busy["everyone"].all()


def test_the_groups_share_the_ranks_of_everyone(made: Scenario) -> None:
    prepared = prepare(made)
    rows = {row.group: row for row in served_groups(made, prepared, by_row, 3)}
    assert rows["stayed"].devices + rows["left"].devices == rows["everyone"].devices == PEOPLE
    for figure in ("hr_at_10", "ndcg_at_10", "popular_hr_at_10", "popular_ndcg_at_10"):
        parts = math.fsum(rows[name].devices * getattr(rows[name], figure) for name in ("stayed", "left"))
        assert math.isclose(parts, PEOPLE * getattr(rows["everyone"], figure), abs_tol=1e-9)
    whole = evaluate(by_row, prepared.split)
    assert (rows["everyone"].hr_at_10, rows["everyone"].ndcg_at_10) == (whole.hr, whole.ndcg)


def test_popularity_counts_everybody_whoever_left(made: Scenario) -> None:
    all_in = made.model_copy(update={"consent": type(made.consent)()})
    assert np.array_equal(popularity_ranks(prepare(made)), popularity_ranks(prepare(all_in)), equal_nan=True)


def test_who_has_no_held_out_title_is_in_no_row(made: Scenario) -> None:
    prepared = prepare(made)
    left = ~prepared.population.granted
    split = replace(prepared.split, test=np.where(left, np.int32(-1), prepared.split.test), negatives=None)
    without = Prepared(prepared.dataset, split, prepared.population)
    ranks = viewer_ranks(by_row, split)
    assert np.array_equal(np.isnan(ranks), left)
    rows = group_rows({"stayed": ~left, "left": left}, ranks, popularity_ranks(without))
    assert [row.group for row in rows] == ["stayed"]


def test_where_everybody_grants_there_are_no_groups(made: Scenario) -> None:
    all_in = made.model_copy(update={"consent": type(made.consent)(offline=0.2)})
    assert served_groups(all_in, prepare(all_in), by_row, 3) == ()
