"""The trainer that the public rule takes, against nothing but noisy popularity, on validation titles."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.simulations.evaluation import model_scorer
from backrow.simulations.metrics import Protocol, evaluate
from backrow.simulations.pipeline import Prepared, commit, prepare
from backrow.simulations.progress import ignore
from backrow.simulations.runner import finish_model
from backrow.simulations.scenario import Scenario

SLACK: dict[Protocol, float] = {"full": 0.01, "ncf": 0.02}
"""Of HR@10, mean of two seeds: two standard deviations over seeds on ML-100K at epsilon .3."""
SEEDS = (1, 2)
PROTOCOLS: tuple[Protocol, ...] = ("full", "ncf")


def scenario(data: str, epsilon: float, seed: int = 1, trainer: str = "auto", order: str = "known") -> Scenario:
    return Scenario.model_validate(
        {
            "seed": seed,
            "trainer": trainer,
            "data": {"name": data, "order": order},
            "privacy": {"epsilon": epsilon, "aggregation": "trusted"},
            "evaluation": {"tuning": True, "protocols": ["full"]},
        }
    )


@pytest.fixture(scope="module")
def small(data_dir: Path) -> Prepared:
    return prepare(scenario("ml-100k", 1.0))


def hits(made: Scenario, prepared: Prepared) -> tuple[dict[Protocol, float], dict[Protocol, float]]:
    """HR@10 of the model, and of the counts in it alone."""
    with TemporaryDirectory() as folder:
        model = finish_model(made, prepared, commit(made, prepared), Path(folder), ignore, model="backrow").public

    def counts(viewers: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.tile(model.popularity, (len(viewers), 1))

    scorer = model_scorer(model, prepared.population)
    whole = {protocol: evaluate(scorer, prepared.split, protocol).hr for protocol in SLACK}
    return whole, {protocol: evaluate(counts, prepared.split, protocol).hr for protocol in SLACK}


def shortfall(data: str, epsilon: float, prepared: Prepared, protocols: tuple[Protocol, ...]) -> dict[Protocol, float]:
    """Popularity with the whole budget less the default, mean over seeds."""
    ours = [hits(scenario(data, epsilon, seed), prepared)[0] for seed in SEEDS]
    counted = [hits(scenario(data, epsilon, seed, "prior"), prepared)[1] for seed in SEEDS]
    return {
        protocol: float(np.mean([one[protocol] for one in counted]) - np.mean([one[protocol] for one in ours]))
        for protocol in protocols
    }


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "epsilon", [pytest.param(0.1, marks=LONG), 0.3, *(pytest.param(e, marks=LONG) for e in (0.7, 1.0))]
)
def test_with_few_devices_the_default_is_no_worse_than_noisy_popularity(small: Prepared, epsilon: float) -> None:
    short = shortfall("ml-100k", epsilon, small, PROTOCOLS)
    assert all(short[protocol] <= SLACK[protocol] for protocol in PROTOCOLS)


def test_where_the_rule_falls_back_the_trainer_it_avoids_is_worse(small: Prepared) -> None:
    made = scenario("ml-100k", 0.1, order="unknown")
    avoided = scenario("ml-100k", 0.1, trainer="gradient", order="unknown")
    assert commit(made, small).settings.trainer == "prior"
    assert hits(avoided, small)[0]["full"] < hits(made, small)[0]["full"]


@pytest.mark.long
@pytest.mark.parametrize("epsilon", [0.1, 0.3, 1.0])
def test_with_order_and_metadata_nothing_else_is_better_even_at_a_tiny_budget(small: Prepared, epsilon: float) -> None:
    ours = [hits(scenario("ml-100k", epsilon, seed), small)[0] for seed in SEEDS]
    prior = [hits(scenario("ml-100k", epsilon, seed, "prior"), small)[0] for seed in SEEDS]
    assert commit(scenario("ml-100k", epsilon), small).settings.trainer == "sequence"
    for protocol in PROTOCOLS:
        gain = np.mean([one[protocol] for one in ours]) - np.mean([one[protocol] for one in prior])
        assert gain >= -SLACK[protocol]


@pytest.mark.long
@pytest.mark.parametrize("epsilon", [0.1, 0.3])
def test_with_many_titles_and_a_tiny_budget_too(data_dir: Path, epsilon: float) -> None:
    short = shortfall("ml-1m", epsilon, prepare(scenario("ml-1m", epsilon)), PROTOCOLS)
    assert all(short[protocol] <= SLACK[protocol] for protocol in PROTOCOLS)
