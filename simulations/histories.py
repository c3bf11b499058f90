"""From rows of viewers and titles to the arrays of a population."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backrow.client.weights import plays_weight
from backrow.privacy.errors import ScenarioError
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.scenario import Scenario


def weights_of(scenario: Scenario, train: Interactions) -> NDArray[np.float64]:
    """What each row weighs where no events are known, shape (interactions,).

    Raises:
        ScenarioError: plays are asked for that nobody counted.
    """
    if scenario.data.signals == "interactions":
        return np.ones(len(train))
    if train.plays is None:
        raise ScenarioError(
            'data.signals = "plays" needs a file with a column "count", or a row for every viewing and no ratings: '
            'give one, or set signals = "interactions"'
        )
    return plays_weight(train.plays)


def places_of_titles(train: Interactions, order: NDArray[np.intp], starts: NDArray[np.int64]) -> NDArray[np.int32]:
    """`Population.order` of rows that `order` sorts by viewer and title."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    by_time = place[train.chronological()]
    return np.asarray(by_time - np.repeat(starts[:-1], np.diff(starts)), dtype=np.int32)


def starts_of(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Where the entries of each device start, shape (devices + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
