"""The public rule on kinds of data that it was not chosen on, against nothing but noisy popularity."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from backrow.simulations.datasets.catalogue import without_metadata
from backrow.simulations.datasets.dataset import Dataset, Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.evaluation import model_scorer
from backrow.simulations.metrics import Protocol, evaluate
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.progress import ignore
from backrow.simulations.runner import finish_model
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split, tuning_view

SLACK: dict[Protocol, float] = {"full": 0.01, "ncf": 0.02}
"""As promised of MovieLens; the mean of two seeds."""


def scenario(epsilon: float, seed: int, trainer: str, signals: str) -> Scenario:
    return Scenario.model_validate(
        {
            "seed": seed,
            "trainer": trainer,
            "data": {"path": "made.csv", "signals": signals},
            "privacy": {"epsilon": epsilon, "aggregation": "trusted"},
            "evaluation": {"protocols": ["full"]},
        }
    )


def prepared(data: Dataset, signals: str) -> Prepared:
    """As the product prepares a file, on validation titles."""
    split = tuning_view(make_split(data, "last"))
    return Prepared(data, split, people(scenario(1.0, 1, "auto", signals), data, split.train, split.test))


def shortfall(data: Dataset, epsilon: float, signals: str = "interactions") -> dict[Protocol, float]:
    """HR@10 of noisy popularity with the whole budget less that of the default."""
    made = prepared(data, signals)

    def hits(trainer: str, seed: int) -> dict[Protocol, float]:
        one = scenario(epsilon, seed, trainer, signals)
        with TemporaryDirectory() as folder:
            model = finish_model(one, made, commit(one, made), Path(folder), ignore, model="backrow").public
        ours = model_scorer(model, made.population)
        scorer = ours if trainer == "auto" else lambda viewers: np.tile(model.popularity, (len(viewers), 1))
        return {protocol: evaluate(scorer, made.split, protocol).hr for protocol in SLACK}

    pairs = [(hits("auto", seed), hits("prior", seed)) for seed in (1, 2)]
    return {protocol: float(np.mean([c[protocol] - o[protocol] for o, c in pairs])) for protocol in SLACK}


@pytest.fixture
def rated(data_dir: Path) -> Dataset:
    return load("ml-100k", offline=True)


@pytest.mark.long
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_play_counts_instead_of_ratings_keep_the_bound(rated: Dataset, epsilon: float) -> None:
    rows = rated.interactions
    plays = np.ceil(np.exp(np.random.default_rng(7).standard_normal(len(rows)))).astype(np.int64)
    counted = replace(rated, interactions=Interactions(rows.user, rows.title, rows.timestamp, None, plays=plays))
    assert all(value <= SLACK[protocol] for protocol, value in shortfall(counted, epsilon, "plays").items())


@pytest.mark.long
def test_a_catalogue_without_metadata_keeps_the_bound_at_epsilon_3(rated: Dataset) -> None:
    bare = replace(rated, catalogue=without_metadata(rated.catalogue.ids))
    assert all(value <= SLACK[protocol] for protocol, value in shortfall(bare, 3.0).items())
