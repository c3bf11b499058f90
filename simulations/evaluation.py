"""Rows of results.json: a model or baseline, scored under a protocol. Ground truth, never released.

What is released of a model's quality (`released_figures`) was asked of devices and paid for; it is told apart.
"""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backrow.client.model import PublicModel
from backrow.client.training.evaluation import personal_scores
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Metric
from backrow.privacy.units import PrivacyClaim
from backrow.server.programs.metrics import Estimate, ReleasedMetrics
from backrow.simulations.baselines.registry import fitted
from backrow.simulations.engine.sequence import contexts_now
from backrow.simulations.engine.shard import Shard
from backrow.simulations.metrics import Scorer, evaluate
from backrow.simulations.pipeline import Prepared
from backrow.simulations.population import Population
from backrow.simulations.progress import Observer, Progress
from backrow.simulations.results import Interval, Released, ReleasedFigure, Row
from backrow.simulations.scenario import Scenario


def model_scorer(model: PublicModel, population: Population, sample: NDArray[np.int64] | None = None) -> Scorer:
    """Scores as each device computes them for itself, withheld or not: its own factors never leave it.

    Args:
        sample: as `Prepared`.
    """
    factors, shard = np.asarray(model.item_factors, dtype=np.float64), Shard.of(population)

    def score(viewers: NDArray[np.int32]) -> NDArray[np.float64]:
        slots = viewers if sample is None else sample[viewers]
        if model.embedding is not None and model.memory is not None:
            contexts = contexts_now(model.embedding, model.memory, shard, slots)
            return np.asarray(model.popularity + contexts @ factors.T)
        block = [population.history(int(slot)) for slot in slots]
        return personal_scores(factors, model.popularity, block, model.alpha0, model.ridge, item_gram=model.item_gram)

    return score


def released_figures(
    metrics: ReleasedMetrics, plan: RoundPlan, claim: PrivacyClaim, model: PublicModel, prepared: Prepared
) -> Released:
    """What the coordinator learned about its model, beside the ground truth of the same devices.

    Args:
        metrics: released.
        plan: of the evaluation.
        claim: of that round alone.
        model: as published.
        prepared: whose granting devices were asked.
    """
    split, people, sample = prepared.split, prepared.population, prepared.sample
    granted = people.granted if sample is None else people.granted[sample]
    asked = replace(split, test=np.where(granted, split.test, np.int32(-1)), negatives=None)
    ours = evaluate(model_scorer(model, people, sample), asked)
    popular = evaluate(lambda viewers: np.tile(model.popularity, (len(viewers), 1)), asked)
    truth = {
        Metric.HIT: ours.hr,
        Metric.NDCG: ours.ndcg,
        Metric.POPULAR_HIT: popular.hr,
        Metric.POPULAR_NDCG: popular.ndcg,
    }
    private = claim.epsilon is not None
    return Released(
        round=plan.round,
        epsilon=claim.epsilon,
        delta=claim.delta if private else None,
        unit=claim.unit.value if private else None,
        adjacency=claim.adjacency.value if private else None,
        noise_scale=metrics.noise_scale,
        confidence=metrics.confidence,
        figures=tuple(
            ReleasedFigure(
                name=metric.value,
                rate=_interval(metrics.rates[metric]),
                per_device=_interval(metrics.per_device[metric]),
                truth=None if np.isnan(value) else value,
            )
            for metric, value in truth.items()
        ),
        gain=_interval(metrics.gain),
    )


def _interval(estimate: Estimate) -> Interval:
    return Interval(value=estimate.value, low=estimate.low, high=estimate.high)


def baseline_rows(scenario: Scenario, prepared: Prepared, observe: Observer) -> list[Row]:
    """The non-private baselines of the scenario."""
    rows: list[Row] = []
    train, viewers, titles = prepared.split.train, len(prepared.population), len(prepared.dataset.catalogue.ids)
    for name in scenario.evaluation.baselines:
        observe(Progress("stage", f"baseline {name}"))
        started = time.monotonic()
        if prepared.sample is not None:
            scores = everybodys_popularity(prepared)  # no other is offered
        else:
            scores = fitted(name, scenario.seed, train, viewers, titles).scores
        rows += evaluated_rows(
            scenario, prepared, scores,
            model=name, trainer=None, claim=None, target=None, bytes_up=0, seconds=time.monotonic() - started,
        )  # fmt: skip
    return rows


def everybodys_popularity(prepared: Prepared) -> Scorer:
    """The baseline `popularity`, from exact counts of the whole population, for whomever is measured."""
    counts = prepared.population.title_counts(len(prepared.dataset.catalogue)).astype(np.float64)
    return lambda viewers: np.tile(counts, (len(viewers), 1))


def evaluated_rows(
    scenario: Scenario,
    prepared: Prepared,
    scorer: Scorer,
    *,
    model: str,
    trainer: str | None,
    claim: PrivacyClaim | None,
    target: float | None,
    bytes_up: int,
    seconds: float,
) -> list[Row]:
    """One row per protocol. The metrics are the simulator's ground truth and are never released."""
    rows = []
    for protocol in scenario.evaluation.protocols:
        metrics = evaluate(scorer, prepared.split, protocol)
        private = claim is not None and claim.epsilon is not None
        rows.append(
            Row.model_validate(
                {
                    "model": model,
                    "trainer": trainer,
                    "protocol": protocol,
                    "epsilon": target,
                    "epsilon_spent": claim.epsilon if claim else None,
                    "delta": claim.delta if claim and private else None,
                    "unit": claim.unit.value if claim and private else None,
                    "adjacency": claim.adjacency.value if claim and private else None,
                    "releases": claim.releases if claim else 0,
                    "bytes_up_per_device": bytes_up,
                    "hr@10": metrics.hr,
                    "ndcg@10": metrics.ndcg,
                    "recall@20": metrics.recall,
                    "coverage@10": metrics.coverage,
                    "seconds": round(seconds, 3),
                    "seed": scenario.seed,
                }
            )
        )
    return rows
