"""The trainer `sequence` on MovieLens 100K, on validation titles carved out of the training data."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from backrow.simulations.evaluation import baseline_rows
from backrow.simulations.pipeline import Prepared, commit, prepare
from backrow.simulations.progress import ignore
from backrow.simulations.runner import finish_model
from backrow.simulations.scenario import Scenario


def scenario(epsilon: float | str, seed: int = 1, **privacy: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "seed": seed,
            "trainer": "sequence",
            "data": {"name": "ml-100k"},
            "privacy": {"epsilon": epsilon, "aggregation": "trusted", **privacy},
            "evaluation": {"tuning": True, "baselines": ["popularity"], "protocols": ["full"]},
        }
    )


@pytest.fixture(scope="module")
def prepared(data_dir: Path) -> Prepared:
    return prepare(scenario(4.0))


@pytest.fixture(scope="module")
def popularity(prepared: Prepared) -> float:
    return baseline_rows(scenario("none"), prepared, ignore)[0].hr_at_10


def hits(made: Scenario, prepared: Prepared) -> float:
    with TemporaryDirectory() as folder:
        return (
            finish_model(made, prepared, commit(made, prepared), Path(folder), ignore, model="backrow").rows[0].hr_at_10
        )


def test_few_devices_and_a_small_budget_do_not_fall_below_popularity(prepared: Prepared, popularity: float) -> None:
    assert hits(scenario(1.0), prepared) >= popularity


def test_at_epsilon_4_it_hits_half_again_as_often_as_popularity(prepared: Prepared, popularity: float) -> None:
    assert hits(scenario(4.0), prepared) >= 1.5 * popularity


def test_it_learns_from_the_order_of_watching_not_from_titles_alone(prepared: Prepared, popularity: float) -> None:
    assert hits(scenario("none"), prepared) >= 2 * popularity


@pytest.mark.long
def test_through_the_secure_sum_with_shares_of_the_noise_it_is_as_good(prepared: Prepared, popularity: float) -> None:
    assert hits(scenario(4.0, aggregation="secure", noise="shares"), prepared) >= 1.5 * popularity
