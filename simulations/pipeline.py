"""From a scenario to what a run needs: data, split, population, committed schedule."""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backrow.client.weights import confidence
from backrow.privacy.accounting.claim import claim
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.errors import DataError, ScenarioError
from backrow.privacy.plan import Aggregation, Schedule
from backrow.privacy.secagg.parameters import Tolerance, neighbourhood
from backrow.privacy.units import PrivacyClaim
from backrow.server.defaults import default_steps
from backrow.server.policy import Earlier
from backrow.server.programs.model import ModelProgram
from backrow.server.settings import RunSettings, commit_schedule
from backrow.simulations.choice import refuse_orderless, with_trainer
from backrow.simulations.consents import Changes, draw_owners, fewest_present
from backrow.simulations.datasets.dataset import Dataset, Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.engine.compute import whole_cohorts
from backrow.simulations.event_generator import generate
from backrow.simulations.histories import places_of_titles, starts_of, weights_of
from backrow.simulations.memory import Run, available_bytes, foresee
from backrow.simulations.population import Population
from backrow.simulations.scenario import GENERATED, ConsentSection, Scenario
from backrow.simulations.scenario_trainers import SgdSection
from backrow.simulations.splits import Split, make_split, tuning_view

DAY = 86_400

MOST_MASKED = 1_000
"""Devices up to which the secure sum is the default."""
MOST_QUESTIONS = 3
"""Rounds besides the training rounds, at most: two counts and the evaluation."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What every model of a run shares.

    Attributes:
        dataset, split: whom models are measured on; of a large population a sample.
        population: everybody.
        sample: shape (viewers of the split,), their slots; None: the split is of everybody, in order.
    """

    dataset: Dataset
    split: Split
    population: Population
    sample: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """One model's program and the schedule it commits to, with the claim that was checked.

    Attributes:
        earlier: the run that this one leaves devices out of.
        chosen: why the trainer is what it is, if the scenario left it to the rule.
    """

    settings: RunSettings
    program: ModelProgram
    schedule: Schedule
    claim: PrivacyClaim
    earlier: Earlier | None = None
    chosen: str = ""

    @property
    def draws(self) -> str:
        """Names the run's own randomness, as `population.own_draws`.

        A run that repeats another draws anew: with equal noise, the difference of two releases would be what the
        devices that were left out had said.
        """
        return "" if self.earlier is None else self.settings.run_id


def prepare(
    scenario: Scenario, *, now: int | None = None, told: Callable[[float], None] = lambda share: None
) -> Prepared:
    """Load, split and people. Everything that can be wrong with the data is found here.

    Args:
        now: Unix seconds; later timestamps are refused.
        told: how much of a generated population is drawn, 0..1.
    """
    if scenario.data.name == GENERATED:
        from backrow.simulations.generated_people import open_generated

        made = Prepared(*open_generated(scenario, told))
        refuse_orderless(scenario, made.dataset)
        return made
    dataset = load(str(scenario.data.name or scenario.data.path), catalogue=scenario.data.catalogue, now=now)
    refuse_orderless(scenario, dataset)
    split = make_split(dataset, scenario.data.split)
    if scenario.evaluation.tuning:
        split = tuning_view(split)
    return Prepared(dataset, split, people(scenario, dataset, split.train, split.test))


def people(
    scenario: Scenario, dataset: Dataset, train: Interactions, fresh: NDArray[np.int32] | None = None
) -> Population:
    """One device per viewer, in the order of the data set.

    With `signals = "interactions"` every watched title weighs 1; with `"plays"` 1 + ln of how often it was watched;
    with `"events"` each rating becomes a generated stream of watch events, and those the device's own confidence
    weights.

    Args:
        train: what devices answer from.
        fresh: shape (viewers,), the title each device evaluates the model on; -1, or no array: none.

    Raises:
        ScenarioError: of a generated population, of which `dataset` is a sample only; plays that nobody counted.
    """
    if scenario.data.name == GENERATED:
        raise ScenarioError("a generated population lies in its files as it is: name a data set such as ml-1m for this")
    viewers = len(dataset.viewers)
    if not len(train.title):
        raise DataError("no interactions are left to train on: give a data set with more than one title per viewer")
    now = int(train.timestamp.max()) + 1
    recent_seconds = scenario.data.recent_days * DAY
    order = np.lexsort((train.title, train.user))
    user, title = train.user[order], train.title[order]
    starts = np.searchsorted(user, np.arange(viewers + 1)).astype(np.int64)
    owners = draw_owners(scenario.seed, scenario.cohort.withheld, scenario.consent, user, title, viewers)
    who = (owners.opted_out, owners.children)
    held_out = np.full(viewers, -1, dtype=np.int32) if fresh is None else fresh
    if scenario.data.signals != "events":
        recent, weights = train.timestamp[order] >= now - recent_seconds, weights_of(scenario, train)[order]
        nobody, nothing = np.zeros_like(starts), np.zeros(0, dtype=np.int32)
        places = None if scenario.data.order == "unknown" else places_of_titles(train, order, starts)
        return Population(starts, title, weights, recent, owners.granted, held_out, nobody, nothing, *who, places)
    rows = {name: row for row, name in enumerate(dataset.catalogue.ids)}
    histories = []
    for viewer in range(viewers):
        mine = order[starts[viewer] : starts[viewer + 1]]
        events = generate(train, mine, dataset.catalogue, scenario.seed, dataset.viewers[viewer])
        # A generated stream runs on after its last rating: the snapshot is taken after all of it.
        end = max([now, *(event.at + 1 for event in events)])
        histories.append(confidence(events, rows, end, recent_seconds).history)
    return Population(
        starts_of([len(history) for history in histories]),
        np.concatenate([history.titles for history in histories]),
        np.concatenate([history.weights for history in histories]),
        np.concatenate([history.recent for history in histories]),
        owners.granted,
        held_out,
        starts_of([len(history.passed) for history in histories]),
        np.concatenate([history.passed for history in histories]),
        *who,
        None
        if scenario.data.order == "unknown"
        else np.concatenate([h.order for h in histories if h.order is not None]),
    )


def run_id(scenario: Scenario, dataset: Dataset) -> str:
    """Names what is computed: settings and data, not where or by how many nodes. 16 hex digits."""
    places = {"whole", "workers"}
    if scenario.cohort.availability == "always" and not scenario.cohort.stragglers:
        places |= {"availability", "round_hours", "stragglers"}  # it names what it named before there were these
    left_out: dict[str, Any] = {"engine": True, "nodes": True, "data": {"name", "path"}, "cohort": places}
    if scenario.data.order is None:
        left_out["data"] |= {"order"}  # likewise
    left_out |= {"generated": True, "evaluation": {"sample"}}  # the data's fingerprint says it; nothing hangs on it
    if scenario.consent == ConsentSection():
        left_out["consent"] = True  # it names what it named before there was this section
    if scenario.sgd == SgdSection():
        left_out["sgd"] = True  # likewise
    if scenario.retrain is None:
        left_out["retrain"] = True  # likewise
    settings = scenario.model_dump_json(exclude=left_out)
    return hashlib.sha256(f"{settings}\n{dataset.fingerprint}".encode()).hexdigest()[:16]


def changes_of(scenario: Scenario) -> Changes:
    """How consent and reach change in a scenario."""
    consent, cohort = scenario.consent, scenario.cohort
    by_hour = cohort.availability == "by-hour"
    return Changes(consent.flips, consent.offline, by_hour, cohort.round_hours, cohort.stragglers)


def places_of(scenario: Scenario, devices: int) -> tuple[Aggregation, bool]:
    """Who adds, and whether devices add shares of the noise.

    The secure sum is the default up to `MOST_MASKED` devices, each a party to the protocol of its own: beyond that a
    simulation of them all takes long. Where it is used, so are shares of the noise.
    """
    privacy = scenario.privacy
    blocks = scenario.trainer == "opacus" and privacy.epsilon is not None
    small = devices <= MOST_MASKED and not blocks
    aggregation = Aggregation(privacy.aggregation or ("secure" if small else "trusted"))
    noise = privacy.noise or ("shares" if aggregation is Aggregation.SECURE else "once")
    return aggregation, noise == "shares" and privacy.epsilon is not None


def _default_minimum(scenario: Scenario, granting: int, shares: bool) -> int:
    """Noise in shares is sized for the minimum, so that it is as high as may be; else it changes no noise."""
    if scenario.trainer == "opacus":
        return max(1, granting)  # per block, in a simulation where nobody drops out
    if shares:
        return max(1, math.ceil((1 - scenario.privacy.dropouts) * granting))
    return max(1, granting // 2)


def _earlier(scenario: Scenario) -> Earlier | None:
    said = scenario.retrain
    if said is None:
        return None
    return Earlier(said.run, said.entries, said.ledger, said.left_out, said.root, said.mu, said.releases)


def _extent(scenario: Scenario, population: Population, schedule: Schedule) -> Run:
    """What decides how much memory a run needs."""
    return Run(
        plans=schedule.rounds,
        devices=len(population),
        events=len(population.titles),
        nodes=scenario.nodes,
        at_once=os.cpu_count() or 1,
        ray=scenario.engine == "flower",
        workers=scenario.cohort.workers,
        whole=scenario.cohort.whole and all(whole_cohorts(plan, scenario.trainer) for plan in schedule.rounds),
        in_memory=not isinstance(population.titles, np.memmap),
    )


def _numbers_of(scenario: Scenario) -> tuple[tuple[str, float], ...]:
    """What the trainer is told besides alpha0 and ridge."""
    section = {"opacus-event": ("event", scenario.event), "sgd": ("sgd", scenario.sgd)}.get(scenario.trainer)
    if section is None:
        return ()
    prefix, numbers = section
    return tuple((f"{prefix}_{name}", float(value)) for name, value in numbers.model_dump().items())


def commit(scenario: Scenario, prepared: Prepared) -> Committed:
    """The schedule of a scenario, and its claim, checked by every accountant before anything runs."""
    privacy, model = scenario.privacy, scenario.model
    population = len(prepared.population)
    titles = len(prepared.dataset.catalogue.ids)
    named = run_id(scenario, prepared.dataset)
    scenario, chosen = with_trainer(scenario, prepared.dataset, prepared.population)
    steps = default_steps(scenario.trainer, privacy.epsilon, delta=privacy.delta, population=population, titles=titles)
    rounds = steps.rounds if model.rounds is None or scenario.trainer == "prior" else model.rounds
    granting = fewest_present(prepared.population.owners, changes_of(scenario), rounds + MOST_QUESTIONS)
    aggregation, shares = places_of(scenario, population)
    settings = RunSettings(
        run_id=named,
        trainer=scenario.trainer,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        titles=titles,
        population=population,
        minimum=scenario.cohort.minimum or _default_minimum(scenario, granting, shares),
        rounds=rounds,
        learning_rate=steps.learning_rate if model.learning_rate is None else model.learning_rate,
        popularity_share=max(model.popularity_share, steps.popularity_share),
        recent_share=model.recent_share,
        evaluation_share=model.evaluation_share,
        recent_seconds=scenario.data.recent_days * DAY,
        alpha0=model.alpha0,
        ridge=model.ridge,
        aggregation=aggregation,
        shares=shares,
        adversaries=privacy.adversaries,
        dropouts=privacy.dropouts,
        catalogue=catalogue_digest(prepared.dataset.catalogue.ids),
        event=_numbers_of(scenario),
    )
    if aggregation is Aggregation.SECURE:
        fewest = max(granting, settings.minimum)  # refused now, not at the first round
        neighbourhood(fewest, Tolerance(privacy.adversaries, privacy.dropouts))
    catalogue = prepared.dataset.catalogue
    features = catalogue.crossed_features() if scenario.trainer == "sequence" else catalogue.features()
    program = ModelProgram.start(settings, features)
    schedule = commit_schedule(settings, program.training_schema() if settings.rounds else None)
    foresee(_extent(scenario, prepared.population, schedule), available_bytes())
    return Committed(settings, program, schedule, claim(schedule), _earlier(scenario), chosen)
