"""Baselines by the names that scenario files use."""

from typing import Literal, assert_never

from backrow.simulations.baselines.base import Baseline
from backrow.simulations.baselines.ease import Ease, RecentEase
from backrow.simulations.baselines.ials import ImplicitAls
from backrow.simulations.baselines.popularity import Popularity
from backrow.simulations.baselines.puresvd import PureSvd
from backrow.simulations.baselines.sasrec import SasRec
from backrow.simulations.baselines.transitions import Transitions
from backrow.simulations.datasets.dataset import Interactions

BaselineName = Literal["popularity", "puresvd", "ease", "ials", "ease-recent", "transitions", "sasrec"]
ORDERED = ("ease-recent", "transitions", "sasrec")
"""Those that use the order of watching."""
LINEAR = frozenset({"ease", "ease-recent", "transitions"})
"""Those that hold matrices of titles times titles."""


def make_baseline(name: BaselineName, seed: int = 0) -> Baseline:
    """An unfitted baseline with its tuned defaults; only iALS and SASRec draw anything from the seed."""
    match name:
        case "popularity":
            return Popularity()
        case "puresvd":
            return PureSvd()
        case "ease":
            return Ease()
        case "ials":
            return ImplicitAls(seed=seed)
        case "ease-recent":
            return RecentEase()
        case "transitions":
            return Transitions()
        case "sasrec":
            return SasRec(seed=seed)
        case _:
            assert_never(name)


def fitted(name: BaselineName, seed: int, train: Interactions, viewers: int, titles: int) -> Baseline:
    """A baseline with its tuned defaults, fitted to the interactions in the form that it learns from."""
    baseline = make_baseline(name, seed)
    return baseline.fit(train.places(viewers, titles) if baseline.ordered else train.matrix(viewers, titles))
