"""`backrow plan`: how many devices for this epsilon, and which epsilon for this many devices.

One population is at hand, of N devices. What training sees is a sum over devices, divided by the public N, and the
noise of a release is as large for many as for few: with n devices like these, noise weighs N / n as much against what
they say. So n devices at epsilon are played by the real N with every noise scaled by N / n. That is another epsilon: mu
scales with n / N; rounds and step stay those of the epsilon that is asked about. This is arithmetic on a simulator's
ground truth, "real data re-scaled", and no private run of n devices.

It keeps what sampling does at N: what fewer devices do not know of a title, and more of them would, is not played. How
much that matters, `Check` says: it trains on samples of the population and asks whom the whole is asked of.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from backrow.privacy.accounting import gaussian
from backrow.privacy.errors import ScenarioError
from backrow.server.defaults import default_steps
from backrow.simulations.choice import with_trainer
from backrow.simulations.progress import Observer, ignore
from backrow.simulations.scenario import GENERATED, Scenario
from backrow.simulations.study.cells import Record
from backrow.simulations.study.grid import Cell, Sizes
from backrow.simulations.study.intervals import Mean, mean_over_seeds
from backrow.simulations.study.shared import prepared_for
from backrow.simulations.study.sweep import run_cells

EPSILONS = (1.0, 3.0, 8.0)
SIZES = (0.25, 0.5, 1.0, 4.0)
"""Populations that are asked about, in units of the real one."""
SAMPLES = (2, 4, 8)
"""Real samples that check the re-scaling: one device in so many."""
FEWEST = 20
"""Devices of the smallest sample."""
MOST_EPSILON = 30.0
"""Up to here a stand-in is named at the scenario's own delta."""
LOOSE_DELTA, LOOSEST_EPSILON = 0.5, 50.0
"""Less noise is named at this delta, as far as the sampler goes; beyond, a tenth of an answer, it is left out."""
ENOUGH = 0.95
"""Share of the quality without noise that is aimed at, unless a target is named."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Budget of the runs of all real devices that stand for others: it sets their noise and claims nothing."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Point:
    """Some devices at some epsilon, re-scaled from the real ones.

    Attributes:
        epsilon: that is asked about.
        devices: that are played.
        played_by: whose noise; None: next to none, left out.
        quality: HR@10, full catalogue.
    """

    epsilon: float
    devices: int
    played_by: StandIn | None
    quality: Mean


@dataclass(frozen=True, slots=True)
class Check:
    """The re-scaling against a real sample.

    Attributes:
        devices: in the sample.
        predicted: by re-scaling.
        real: trained on the sample, asked of the same viewers.
    """

    devices: int
    predicted: Mean
    real: Mean

    @property
    def error(self) -> float:
        """Prediction less truth."""
        return self.predicted.value - self.real.value


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan found.

    Attributes:
        dataset: that was re-scaled.
        trainer, delta: of every run.
        population: N, the real devices.
        points: epsilon by epsilon, ascending in devices.
        checks: of the re-scaling, from most to fewest devices.
        checked: epsilon of the checks.
        noiseless: quality of the real population without noise.
        target: quality that is aimed at.
        popularity: HR@10 of exact popularity.
    """

    dataset: str
    trainer: str
    delta: float
    population: int
    points: tuple[Point, ...]
    checks: tuple[Check, ...]
    checked: float
    noiseless: float
    target: float
    popularity: float

    @property
    def kind(self) -> str:
        """Of the devices that play."""
        return GENERATED if self.dataset == GENERATED else "real"

    @property
    def epsilons(self) -> tuple[float, ...]:
        """That are asked about."""
        return tuple(dict.fromkeys(point.epsilon for point in self.points))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Devices that are asked about."""
        return tuple(sorted({point.devices for point in self.points}))

    def devices_for(self, epsilon: float) -> float | None:
        """Fewest devices that reach the target at an epsilon; infinity: more than asked about; None: fewer."""
        line = [(float(p.devices), p.quality.value) for p in self.points if p.epsilon == epsilon]
        return crossing(line, self.target)

    def epsilon_for(self, devices: int) -> float | None:
        """Smallest epsilon that reaches the target with so many devices; infinity: above all asked; None: below."""
        line = sorted((p.epsilon, p.quality.value) for p in self.points if p.devices == devices)
        return crossing(line, self.target)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; an answer outside what was asked about is a word."""
        words = {None: "below what was asked about", math.inf: "above what was asked about"}

        def said(value: float | None) -> float | str:
            return words[value] if value in words else float(value or 0)

        return asdict(self) | {
            "devices_for": {f"{epsilon:g}": said(self.devices_for(epsilon)) for epsilon in self.epsilons},
            "epsilon_for": {str(devices): said(self.epsilon_for(devices)) for devices in self.sizes},
        }


def crossing(line: Sequence[tuple[float, float]], target: float) -> float | None:
    """Where a line first reaches a target, interpolated in the logarithm of x.

    Returns:
        x; infinity if it never does, None if it starts there.
    """
    if line[0][1] >= target:
        return None
    for (x, y), (further, higher) in pairwise(line):
        if higher >= target:
            return math.exp(math.log(x) + (target - y) / (higher - y) * (math.log(further) - math.log(x)))
    return math.inf


def stand_in(epsilon: float, delta: float, ratio: float) -> StandIn | None:
    """Budget at which N devices see the noise that `ratio` N devices see at `epsilon`; None: next to none.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 < ratio < math.inf:
        raise ValueError(f"a population is re-scaled by a positive number, got {ratio}")
    if ratio == 1:
        return StandIn(epsilon, delta)
    mu = gaussian.mu_for(epsilon, delta) * ratio
    for named, most in ((delta, MOST_EPSILON), (LOOSE_DELTA, LOOSEST_EPSILON)):
        scaled = gaussian.epsilon(mu, named)
        if 0 < scaled <= most:
            return StandIn(scaled, named)
    return None


def run_plan(
    scenario: Scenario,
    folder: Path,
    *,
    epsilons: Sequence[float] = EPSILONS,
    devices: Sequence[int] | None = None,
    target: float | None = None,
    seeds: int = 3,
    jobs: int = 2,
    observe: Observer = ignore,
) -> Plan:
    """Play populations of other sizes, and check the play on real samples. Resumable, as a sweep is.

    Args:
        epsilons: that are asked about.
        devices: that are asked about; None: a quarter, half, all and four times the real ones.
        target: HR@10 that is aimed at; None: 95 % of what the real ones reach without noise.
        seeds: of every point.

    Raises:
        ScenarioError: as `run_sweep`, or a number is out of range.
    """
    if not epsilons or not all(0 < epsilon < MOST_EPSILON for epsilon in epsilons):
        raise ScenarioError(f"a plan asks about epsilons between 0 and {MOST_EPSILON:g}, got {list(epsilons)}")
    if target is not None and not 0 < target < 1:
        raise ScenarioError(f"a target is a hit rate between 0 and 1, got {target}")
    real = prepared_for(scenario)
    population, titles = len(real.population), len(real.dataset.catalogue.ids)
    scenario, _ = with_trainer(scenario, real.dataset, real.population)
    sizes = sorted(set(devices or [max(2, round(share * population)) for share in SIZES]))
    if sizes[0] < 2:
        raise ScenarioError(f"a population has at least 2 devices, got {sizes[0]}")
    checked = scenario.privacy.epsilon or epsilons[0]
    samples = [population // part for part in SAMPLES if population // part >= FEWEST]
    rounds = [(epsilon, size) for epsilon in sorted(set(epsilons)) for size in sizes]
    groups = [
        [_played(scenario, epsilon, Sizes(size, population, titles), seed) for seed in range(seeds)]
        for epsilon, size in rounds
    ]
    asked = [Sizes(n, population, titles) for n in samples]
    predicted = [[_played(scenario, checked, sizes, seed) for seed in range(seeds)] for sizes in asked]
    own = StandIn(checked, scenario.privacy.delta)
    drawn = [[_cell(scenario, own, checked, seed, size, size.devices) for seed in range(seeds)] for size in asked]
    open_ = [_cell(scenario, None, checked, 0, Sizes(population, population, titles))]
    simple = scenario.evaluation.model_copy(update={"baselines": ("popularity",)})
    popular = Cell(scenario.model_copy(update={"evaluation": simple}), (), "baselines")
    everything = [*(cell for group in [*groups, *predicted, *drawn] for cell in group), *open_, popular]
    found = run_cells(everything, scenario, (), folder, jobs=jobs, observe=observe)
    if found.failed:
        raise ScenarioError(f"{len(found.failed)} runs of the plan failed, without an answer: {found.failed[0].error}")
    records = iter(found.records)
    qualities = [_quality([next(records) for _ in group]) for group in [*groups, *predicted, *drawn]]
    points, checks = qualities[: len(groups)], qualities[len(groups) :]
    noiseless = _quality([next(records)]).value
    return Plan(
        found.dataset, scenario.trainer, scenario.privacy.delta, population,
        tuple(
            Point(epsilon, size, stand_in(epsilon, scenario.privacy.delta, size / population), quality)
            for (epsilon, size), quality in zip(rounds, points, strict=True)
        ),
        tuple(
            Check(n, guess, truth)
            for n, guess, truth in zip(samples, checks[: len(samples)], checks[len(samples) :], strict=True)
        ),
        checked, noiseless, target or ENOUGH * noiseless, _quality([next(records)]).value,
    )  # fmt: skip


def _quality(records: Sequence[Record]) -> Mean:
    return mean_over_seeds([next(row.hr_at_10 for row in record.rows if row.protocol == "full") for record in records])


def _played(scenario: Scenario, epsilon: float, sizes: Sizes, seed: int) -> Cell:
    spent = stand_in(epsilon, scenario.privacy.delta, sizes.devices / sizes.population)
    return _cell(scenario, spent, epsilon, seed, sizes)


def _cell(
    scenario: Scenario, spent: StandIn | None, steps_of: float, seed: int, sizes: Sizes, devices: int | None = None
) -> Cell:
    """A run that spends one epsilon with the rounds and step of another; in the clear: no release says less."""
    steps = default_steps(
        scenario.trainer, steps_of, delta=scenario.privacy.delta, population=sizes.devices, titles=sizes.titles
    )
    clear = scenario.in_the_clear()
    model = scenario.model.model_copy(
        update={
            "rounds": steps.rounds if scenario.model.rounds is None else scenario.model.rounds,
            "popularity_share": max(scenario.model.popularity_share, steps.popularity_share),
            "learning_rate": scenario.model.learning_rate or steps.learning_rate or None,
        }
    )
    there = clear.model_copy(
        update={
            "seed": scenario.seed + seed,
            "privacy": clear.privacy.model_copy(
                update={"epsilon": None} if spent is None else {"epsilon": spent.epsilon, "delta": spent.delta}
            ),
            "model": model,
            "evaluation": scenario.evaluation.model_copy(update={"protocols": ("full",)}),
        }
    )
    said = "none" if spent is None else round(spent.epsilon, 6)
    at = scenario.privacy.delta if spent is None else spent.delta
    point = (
        ("privacy.epsilon", said),
        ("privacy.delta", at),
        ("steps of epsilon", steps_of),
        ("devices", devices or "all"),
    )
    return Cell(there, point, devices=devices)
