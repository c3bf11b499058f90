"""Baselines by the names that scenario files use."""

from typing import Literal, assert_never

from backrow.simulations.baselines.base import Baseline
from backrow.simulations.baselines.ease import Ease
from backrow.simulations.baselines.ials import ImplicitAls
from backrow.simulations.baselines.popularity import Popularity
from backrow.simulations.baselines.puresvd import PureSvd

BaselineName = Literal["popularity", "puresvd", "ease", "ials"]


def make_baseline(name: BaselineName, seed: int = 0) -> Baseline:
    """An unfitted baseline with its tuned defaults; only iALS draws anything from the seed."""
    match name:
        case "popularity":
            return Popularity()
        case "puresvd":
            return PureSvd()
        case "ease":
            return Ease()
        case "ials":
            return ImplicitAls(seed=seed)
        case _:
            assert_never(name)
