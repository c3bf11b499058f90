"""The public rule on kinds of data that it was not chosen on, against noisy popularity and the public prior."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from numpy.typing import NDArray

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
"""As promised of MovieLens; the mean of the seeds."""


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


Hits = dict[Protocol, float]


def hits(made: Prepared, one: Scenario) -> tuple[Hits, Hits]:
    """HR@10 of the model, and of the counts in it alone."""
    with TemporaryDirectory() as folder:
        model = finish_model(one, made, commit(one, made), Path(folder), ignore, model="backrow").public

    def counts(viewers: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.tile(model.popularity, (len(viewers), 1))

    ours, alone = (
        {protocol: evaluate(scorer, made.split, protocol).hr for protocol in SLACK}
        for scorer in (model_scorer(model, made.population), counts)
    )
    return ours, alone


def shortfalls(
    data: Dataset, epsilon: float, signals: str = "interactions", seeds: tuple[int, ...] = (1, 2)
) -> tuple[Hits, Hits]:
    """HR@10 of noisy popularity with the whole budget, and of the public prior, less that of the default."""
    made = prepared(data, signals)
    ours = [hits(made, scenario(epsilon, seed, "auto", signals))[0] for seed in seeds]
    others = [hits(made, scenario(epsilon, seed, "prior", signals)) for seed in seeds]
    prior, counts = (
        {protocol: float(np.mean([t[which][protocol] - o[protocol] for o, t in zip(ours, others, strict=True)]))
         for protocol in SLACK}
        for which in (0, 1)
    )  # fmt: skip
    return counts, prior


def shortfall(data: Dataset, epsilon: float, signals: str = "interactions") -> Hits:
    """Against noisy popularity alone."""
    return shortfalls(data, epsilon, signals)[0]


def sparse(data: Dataset, part: int) -> Dataset:
    """A random part of every history, rounded up."""
    rows = data.interactions
    order = np.lexsort((np.random.default_rng(9).random(len(rows)), rows.user))
    place = np.arange(len(rows)) - np.searchsorted(rows.user[order], rows.user[order])
    length = np.bincount(rows.user)[rows.user[order]]
    return replace(data, interactions=rows.take(np.sort(order[place < np.ceil(length / part)])))


def kinds_in_any_order(data: Dataset, kinds: int) -> Dataset:
    """Titles thrown together into a few kinds without metadata, each history in an order that says nothing."""
    rng, rows = np.random.default_rng(9), data.interactions
    kind = rng.integers(0, kinds, len(data.catalogue.ids))[rows.title]
    _, first = np.unique(rows.user * np.int64(kinds) + kind, return_index=True)
    first = first[np.lexsort((rng.random(len(first)), rows.user[first]))]
    user = rows.user[first]
    rank = (np.arange(len(user)) - np.searchsorted(user, user)).astype(np.int32)
    seen = Interactions(user, kind[first].astype(np.int32), rows.timestamp[first], None, rank=rank)
    return replace(data, catalogue=without_metadata(tuple(map(str, range(kinds)))), interactions=seen)


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


def test_with_short_histories_the_default_beats_noisy_popularity_and_the_public_prior(rated: Dataset) -> None:
    short = shortfalls(sparse(rated, 5), 1.0, seeds=(1,))
    assert all(value < 0 for against in short for value in against.values())


@pytest.mark.long
@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_on_a_tenth_of_every_history_of_ml_1m_too(data_dir: Path, epsilon: float) -> None:
    short = shortfalls(sparse(load("ml-1m", offline=True), 10), epsilon)
    assert all(value < 0 for against in short for value in against.values())


@pytest.mark.long
def test_an_order_that_says_nothing_is_not_learned_from(rated: Dataset) -> None:
    short = shortfall(kinds_in_any_order(rated, 200), 3.0)
    assert all(value <= SLACK[protocol] for protocol, value in short.items())
