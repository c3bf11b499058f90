"""Which trainer a scenario takes that leaves it to the public rule (`server.defaults.default_trainer`)."""

import numpy as np

from backrow.privacy.errors import ScenarioError
from backrow.server.defaults import Choice, default_trainer
from backrow.simulations.baselines.registry import ORDERED
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.population import Population
from backrow.simulations.scenario import Scenario


def order_declared(scenario: Scenario, dataset: Dataset) -> bool:
    """Whether the service says that its devices know the order of watching; else as its kind of data has it."""
    return dataset.ordered if scenario.data.order is None else scenario.data.order == "known"


def choice_of(scenario: Scenario, dataset: Dataset, population: Population) -> Choice:
    """What the rule chooses. It looks at no history: at how many there are, if they have an order, and at metadata."""
    return default_trainer(
        scenario.privacy.epsilon,
        delta=scenario.privacy.delta,
        population=len(population),
        titles=len(dataset.catalogue.ids),
        ordered=order_declared(scenario, dataset) and population.order is not None,
        described=bool(np.any(np.ptp(dataset.catalogue.crossed_features(), axis=0) > 0)),
    )


def with_trainer(scenario: Scenario, dataset: Dataset, population: Population) -> tuple[Scenario, str]:
    """The scenario with a trainer, and why it is this one; as it is, and "", if it names one."""
    if scenario.trainer != "auto":
        return scenario, ""
    choice = choice_of(scenario, dataset, population)
    return scenario.model_copy(update={"trainer": choice.trainer}), choice.reason


def refuse_orderless(scenario: Scenario, dataset: Dataset) -> None:
    """Stop baselines that use the order of watching, where there is none.

    Raises:
        ScenarioError: the scenario names one.
    """
    asked = [name for name in scenario.evaluation.baselines if name in ORDERED]
    if asked and not order_declared(scenario, dataset):
        raise ScenarioError(
            f"the baselines {', '.join(asked)} use the order of watching, which is not known here: leave them out of "
            "evaluation.baselines"
        )
