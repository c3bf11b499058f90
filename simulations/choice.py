"""Which trainer a scenario takes that leaves it to the public rule (`server.defaults.default_trainer`)."""

import numpy as np

from backrow.server.defaults import Choice, default_trainer
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.population import Population
from backrow.simulations.scenario import Scenario


def choice_of(scenario: Scenario, dataset: Dataset, population: Population) -> Choice:
    """What the rule chooses. It looks at no history: at how many there are, if they have an order, and at metadata."""
    declared = dataset.ordered if scenario.data.order is None else scenario.data.order == "known"
    return default_trainer(
        scenario.privacy.epsilon,
        delta=scenario.privacy.delta,
        population=len(population),
        titles=len(dataset.catalogue.ids),
        ordered=declared and population.order is not None,
        described=bool(np.any(np.ptp(dataset.catalogue.crossed_features(), axis=0) > 0)),
    )


def with_trainer(scenario: Scenario, dataset: Dataset, population: Population) -> tuple[Scenario, str]:
    """The scenario with a trainer, and why it is this one; as it is, and "", if it names one."""
    if scenario.trainer != "auto":
        return scenario, ""
    choice = choice_of(scenario, dataset, population)
    return scenario.model_copy(update={"trainer": choice.trainer}), choice.reason
