"""What opting out costs: one scenario, run again and again while more and more of the same owners opt out.

Every point is a whole run (ledger, cohorts, noise, claim), with its own budget and thrown away when it is measured.
The population stays: N, and with it every denominator and every noise scale, is what it was. What shrinks is the sum.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backrow.privacy.errors import BackrowError, ScenarioError
from backrow.privacy.plan import Noise
from backrow.simulations.evaluation import model_scorer
from backrow.simulations.groups import FloatArray, group_rows, groups_of, popularity_ranks, viewer_ranks
from backrow.simulations.opting_out_results import Kind, OptOutCosts, Point, summarised
from backrow.simulations.pipeline import Prepared, changes_of, commit, people
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.report.opting_out import write_cost_report
from backrow.simulations.results import write_whole
from backrow.simulations.runner import finish_model, prepare_loudly, refuse_existing, unfinished_name
from backrow.simulations.scenario import Scenario

RATES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
TASTE = 0.8
"""How strongly opting out goes with taste, where it does: as `[consent] taste`, 1 would leave nothing to chance."""
KINDS: dict[Kind, float] = {"random": 0.0, "niche": -TASTE, "mainstream": TASTE}
RESULT, QUESTION, POINTS = "opt-out-cost.json", "question.json", "points"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: every kind at every rate with every seed.

    Attributes:
        rates: shares of owners who opt out, in [0, 1), ascending; 0 is always among them.
        kinds: who opts out.
        seeds: each draws owners and noise anew.

    Raises:
        ValueError: a rate outside [0, 1), an unknown kind, a negative seed, one named twice, or none.
    """

    rates: tuple[float, ...] = RATES
    kinds: tuple[Kind, ...] = ("random", "niche")
    seeds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        for name, values in (("rates", self.rates), ("kinds", self.kinds), ("seeds", self.seeds)):
            if not values:
                raise ValueError(f"{name}: give at least one")
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: name each of them once")
        for rate in self.rates:
            if not (math.isfinite(rate) and 0 <= rate < 1):
                raise ValueError(f"a rate is a share of owners, from 0 to less than 1 (.3 is 30 %), not {rate:g}")
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no kind {kind!r}: it is one of {', '.join(KINDS)}")
        for seed in self.seeds:
            if not 0 <= seed < 2**63:
                raise ValueError(f"a seed is a whole number from 0 on, not {seed}")
        object.__setattr__(self, "rates", tuple(sorted({0.0, *map(float, self.rates)})))

    def runs(self, scenario: Scenario) -> Iterator[tuple[int, float, Kind]]:
        """Seed, rate and kind of every run. Without opt-outs one run stands for all kinds, if nobody else withholds."""
        alone = self.kinds if scenario.cohort.withheld else self.kinds[:1]
        for seed in self.seeds:
            yield from ((seed, 0.0, kind) for kind in alone)
            yield from ((seed, rate, kind) for rate in self.rates if rate for kind in self.kinds)


def opt_out_costs(
    scenario: Scenario, folder: Path, question: Question | None = None, *, observe: Observer = ignore
) -> OptOutCosts:
    """Measure, and write opt-out-cost.json, report.html and run.toml into a folder.

    Killed and called again with the same arguments, it goes on where it was; finished runs are not repeated.

    Args:
        scenario: its seed, engine, evaluation and opt-outs are not looked at; everything else holds for every run.
        folder: must not exist; kept under NAME.unfinished until it is whole.
        question: what is varied.
        observe: told of runs and rounds.

    Raises:
        ScenarioError: the folder exists; another study is unfinished there; the scenario gives no model even though
            nobody opted out.
        DataError: the data cannot be found or read.
    """
    question = question or Question()
    refuse_existing(folder)
    scenario = _plain(scenario)
    prepared = prepare_loudly(scenario, observe)
    draft = _begin(folder, scenario, prepared, question)
    try:
        points = _points(draft / POINTS, scenario, prepared, question, observe)
    except BaseException:
        if not any((draft / POINTS).glob("*.json")):
            shutil.rmtree(draft)  # nothing to go on with
        raise
    committed = commit(scenario, prepared)
    noises = {plan.noise for plan in committed.schedule.rounds}
    costs = OptOutCosts(
        dataset=prepared.dataset.name,
        split=prepared.split.name,
        devices=len(prepared.population),
        titles=len(prepared.dataset.catalogue.ids),
        trainer=committed.settings.trainer,
        epsilon=scenario.privacy.epsilon,
        aggregation=committed.settings.aggregation.value,
        noise="once" if noises == {Noise.ONCE} else "shares",
        simulated=committed.claim.simulated,
        taste=TASTE,
        rates=question.rates,
        kinds=question.kinds,
        seeds=question.seeds,
        rows=summarised(points, question.kinds, question.rates),
        points=tuple(points),
    )
    costs.write(draft / RESULT)
    write_cost_report(draft, costs)
    shutil.rmtree(draft / POINTS)
    (draft / QUESTION).unlink()
    draft.rename(folder)
    return costs


def with_opt_outs(scenario: Scenario, prepared: Prepared, run: tuple[int, float, Kind]) -> tuple[Scenario, Prepared]:
    """The scenario of one run, and its people: the same devices, some of whose owners opted out."""
    seed, rate, kind = run
    consent = scenario.consent.model_copy(update={"opt_outs": rate, "taste": KINDS[kind]})
    made = scenario.model_copy(update={"seed": seed, "consent": consent})
    split = prepared.split
    return made, replace(prepared, population=people(made, prepared.dataset, split.train, split.test))


def _plain(scenario: Scenario) -> Scenario:
    """In this process, measured over the full catalogue only. Engines give the same bits."""
    evaluation = scenario.evaluation.model_copy(update={"protocols": ("full",), "baselines": ()})
    consent = scenario.consent.model_copy(update={"opt_outs": 0.0, "taste": 0.0})
    return scenario.model_copy(update={"engine": "inprocess", "evaluation": evaluation, "consent": consent})


def _begin(folder: Path, scenario: Scenario, prepared: Prepared, question: Question) -> Path:
    """The unfinished folder of this very study, new or as it was left."""
    draft = unfinished_name(folder)
    asked = {
        "scenario": scenario.model_dump(mode="json"),
        "data": prepared.dataset.fingerprint,
        "rates": question.rates,
        "kinds": question.kinds,
        "seeds": question.seeds,
    }
    text = json.dumps(asked, indent=1) + "\n"
    if not draft.exists():
        (draft / POINTS).mkdir(parents=True)
        (draft / "run.toml").write_text(scenario.to_toml(), encoding="utf-8")
        write_whole(draft / QUESTION, text)
    elif not (draft / QUESTION).exists() or (draft / QUESTION).read_text(encoding="utf-8") != text:
        raise ScenarioError(
            f"{draft} exists and is of another study, or of other data: ask the same to go on with it, choose another "
            "folder with --out, or remove it; nothing was changed"
        )
    return draft


def _points(folder: Path, scenario: Scenario, prepared: Prepared, question: Question, observe: Observer) -> list[Point]:
    """Every run of the question, those that an earlier call finished included."""
    popular = popularity_ranks(prepared)
    runs, points = list(question.runs(scenario)), []
    for number, (seed, rate, kind) in enumerate(runs, start=1):
        words = f"run {number} of {len(runs)}: {100 * rate:g} % opt out ({kind}), seed {seed}"
        points.append(_kept_or_run(folder, scenario, prepared, popular, (seed, rate, kind), words, observe))
    return points


def _kept_or_run(
    folder: Path,
    scenario: Scenario,
    prepared: Prepared,
    popular: FloatArray,
    run: tuple[int, float, Kind],
    words: str,
    observe: Observer,
) -> Point:
    """A finished point of the folder, or a new one. The ranks of a run without opt-outs are kept for the others."""
    seed, rate, kind = run
    place = folder / f"{seed}-{rate:g}-{kind}.json"
    if place.exists():
        return Point.model_validate_json(place.read_bytes())
    observe(Progress("stage", words))
    made, mine = with_opt_outs(scenario, prepared, run)
    reference = folder / f"{seed}-{kind}.npy"
    if rate and not reference.exists():
        reference = next(folder.glob(f"{seed}-*.npy"))
    before = np.load(reference) if rate else None

    def on_round(news: Progress) -> None:
        if news.kind == "round":
            observe(replace(news, text=words))

    point, ranks = _point(made, mine, popular, before, run, on_round)
    if not rate:
        np.save(reference, ranks)
    write_whole(place, point.model_dump_json(indent=1, by_alias=True) + "\n")
    return point


def _point(
    scenario: Scenario,
    prepared: Prepared,
    popular: FloatArray,
    before: FloatArray | None,
    run: tuple[int, float, Kind],
    observe: Observer,
) -> tuple[Point, FloatArray]:
    """One run, measured; with the ranks of its model.

    Args:
        before: ranks by the model of the run without opt-outs; None: this is that run.
    """
    seed, rate, kind = run
    point = Point(rate=rate, kind=kind, seed=seed, opted_out=int(prepared.population.opted_out.sum()))
    try:
        committed = commit(scenario, prepared)
        with tempfile.TemporaryDirectory(prefix="backrow-opting-out-") as scratch:
            finished = finish_model(scenario, prepared, committed, Path(scratch), observe, model="backrow")
    except BackrowError as refusal:
        if before is None:
            raise
        return point.model_copy(update={"wrong": str(refusal)}), np.full_like(popular, np.nan)
    reports, (row, *_) = finished.trained.outcome.reports, finished.rows
    ranks = viewer_ranks(model_scorer(finished.public, prepared.population), prepared.split)
    groups = groups_of(prepared.population.owners, scenario.seed, changes_of(scenario), len(reports))
    incomplete = [finished.trained.outcome.stopped, *(one.outcome for one in reports if one.outcome != "released")]
    found = {
        "minimum": committed.settings.minimum,
        "noise_scale": committed.schedule.rounds[0].noise_scale,
        "participants": min(one.participants for one in reports if one.outcome == "released"),
        "epsilon_spent": row.epsilon_spent,
        "delta": row.delta,
        "unit": row.unit,
        "adjacency": row.adjacency,
        "releases": row.releases,
        "groups": group_rows(groups, ranks, popular),
        "all_in": group_rows(groups, ranks if before is None else before, popular),
        "wrong": "; ".join(dict.fromkeys(reason for reason in incomplete if reason)) or None,
    }
    return point.model_copy(update=found), ranks
