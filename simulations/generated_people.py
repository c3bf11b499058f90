"""A generated population opened for a run: everybody memory-mapped, and a public sample to measure models on."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import ScenarioError
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.consents import mainstream_of, owners_of
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.datasets.recipe import Recipe
from backrow.simulations.generated import NAME, Files, GeneratedDataset, files_of
from backrow.simulations.population import Population, device_name
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_generated import GeneratedSection
from backrow.simulations.splits import Split, with_negatives

LAST, BEFORE = 1_577_836_800, 1_546_300_800
"""Unix seconds that stand for "within the recency window" and "before it"; nothing else is known of the times."""


class Opened(NamedTuple):
    """As `pipeline.Prepared`."""

    dataset: GeneratedDataset
    split: Split
    population: Population
    sample: NDArray[np.int64] | None


def open_generated(scenario: Scenario, told: Callable[[float], None]) -> Opened:
    """Draw the population if it is not in the cache, and open it.

    Args:
        told: how much is drawn, 0..1.

    Raises:
        ScenarioError: the scenario asks for what a generated population does not have.
        DataError: its files are not what was written, or there is no room for them.
    """
    section = scenario.generated
    _refuse(scenario, section)
    recipe = section.recipe()
    files = files_of(recipe, os.cpu_count() or 1, told)
    chosen = sample_of(scenario.seed, recipe.devices, scenario.evaluation.sample)
    everybody = len(chosen) == recipe.devices
    dataset, split = _asked(recipe, files, chosen)
    if "ncf" in scenario.evaluation.protocols:
        split = with_negatives(split, 0)
    return Opened(dataset, split, _population(scenario, files, recipe.devices), None if everybody else chosen)


def sample_of(seed: int, devices: int, size: int) -> NDArray[np.int64]:
    """Slots of the devices that models are measured on, ascending: everybody, or a public random sample."""
    if devices <= size:
        return np.arange(devices)
    drawn = SeededRandom(seed, "evaluation-sample").numpy().choice(devices, size, replace=False, shuffle=False)
    return np.sort(drawn).astype(np.int64)


def _refuse(scenario: Scenario, section: GeneratedSection) -> None:
    if scenario.data.signals != "interactions" or scenario.data.split == "ncf" or scenario.evaluation.tuning:
        raise ScenarioError(
            "a generated population has watched titles and one held-out title per device, no events, published split "
            'or validation titles: set data.signals="interactions", data.split="last" and evaluation.tuning=false, and '
            "choose settings on a population of another generated.seed"
        )
    fitted = [name for name in scenario.evaluation.baselines if name != "popularity"]
    if section.devices > scenario.evaluation.sample and fitted:
        raise ScenarioError(
            f"the baselines {', '.join(fitted)} need everybody's histories at once, and {section.devices:,} devices "
            f'are measured on a sample of {scenario.evaluation.sample:,}: set evaluation.baselines=["popularity"], or '
            "lower generated.devices"
        )


def _population(scenario: Scenario, files: Files, devices: int) -> Population:
    opened = {name: files.array(name) for name in ("starts", "titles", "recent", "fresh", "passed_starts", "passed")}
    starts, titles = opened["starts"], opened["titles"]
    owners = owners_of(
        scenario.seed, scenario.cohort.withheld, scenario.consent, devices, lambda: mainstream_of(starts, titles)
    )
    weights = np.broadcast_to(files.array("weights"), titles.shape)
    return Population(
        weights=weights, granted=owners.granted, opted_out=owners.opted_out, children=owners.children, **opened
    )


def _asked(recipe: Recipe, files: Files, chosen: NDArray[np.int64]) -> tuple[GeneratedDataset, Split]:
    """Those whose held-out titles are asked about, as a data set of their own."""
    starts, fresh = files.array("starts"), files.array("fresh")
    first, sizes = starts[chosen], starts[chosen + 1] - starts[chosen]
    user = np.repeat(np.arange(len(chosen), dtype=np.int32), sizes)
    row = np.arange(int(sizes.sum())) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
    time = np.where(files.array("recent")[row], LAST, BEFORE)
    train = Interactions(user, files.array("titles")[row], time, None)
    test = fresh[chosen]
    source = f"drawn from [generated], seed {recipe.seed}: nobody in it exists"
    names = tuple(device_name(int(slot)) for slot in chosen)
    dataset = GeneratedDataset(NAME, source, names, recipe.catalogue, train, origin=files.fingerprint)
    return dataset, Split("last", recipe.titles, train, np.full(len(test), -1, dtype=np.int32), test, None)
