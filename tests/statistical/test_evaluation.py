"""Intervals of released metrics hold the truth as often as they say, noise of the denominator included.

Counts of misses are compared with the number that an interval of 95 % exceeds with probability FALSE_ALARM over
seeds (with these seeds the outcome is fixed); every check has a control that must fail it.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from backrow.client.answers import answer_block, split_blocks
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Metric, Query
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import RoundCall
from backrow.server.programs.base import Answer
from backrow.server.programs.metrics import CONFIDENCE, Estimate, ReleasedMetrics, released_metrics
from backrow.server.round import RoundSum
from backrow.simulations.attack_targets import hosted_devices
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.progress import ignore
from backrow.simulations.runner import finish_model
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from tests.builders import plan
from tests.unit.simulations.small_data import two_tastes

FALSE_ALARM = 1e-6
DRAWS = 4000
TRUE = np.array([300.0, 60.0, 35.0, 30.0, 15.0])
"""Sums without noise."""


def most_misses(runs: int) -> int:
    return int(stats.binom.ppf(1 - FALSE_ALARM, runs, 1 - CONFIDENCE))


def released(noise_scale: float, claimed: float | None = None) -> list[ReleasedMetrics]:
    noise = np.random.default_rng(11).normal(0, noise_scale, (DRAWS, len(Metric)))
    said = noise_scale if claimed is None else claimed
    return [released_metrics(Answer((TRUE + each)[:, None], said, 1.0), 400) for each in noise]


def misses(estimates: list[Estimate], truth: float) -> int:
    return sum(not estimate.low <= truth <= estimate.high for estimate in estimates)


@pytest.mark.parametrize("noise_scale", [3.0, 31.0, 120.0, 400.0])
def test_intervals_cover_the_truth_from_little_noise_to_all_noise(noise_scale: float) -> None:
    # From a hundredth of the denominator to more than all of it.
    honest, bold = released(noise_scale), released(noise_scale, claimed=noise_scale / 2)
    for row, metric in enumerate(Metric):
        mean = TRUE[row] / 400
        assert misses([made.per_device[metric] for made in honest], mean) <= most_misses(DRAWS)
        assert misses([made.per_device[metric] for made in bold], mean) > most_misses(DRAWS)  # control
        if metric is not Metric.EVALUATED:
            rate = TRUE[row] / TRUE[0]
            assert misses([made.rates[metric] for made in honest], rate) <= most_misses(DRAWS)
            if noise_scale < 100:  # beyond, most intervals are everything, whoever makes them
                assert misses([made.rates[metric] for made in bold], rate) > most_misses(DRAWS)  # control
    gain = (TRUE[1] - TRUE[3]) / TRUE[0]
    assert misses([made.gain for made in honest], gain) <= most_misses(DRAWS)


def test_noise_in_the_denominator_cannot_be_left_out() -> None:
    # A control of the method: where most devices hit, an interval that takes the denominator as exact is too short.
    random, noise_scale = np.random.default_rng(12), 20.0
    devices, hits = (value + random.normal(0, noise_scale, DRAWS) for value in (300.0, 270.0))
    zeros = np.zeros(DRAWS)
    made = [
        released_metrics(Answer(np.array(sums)[:, None], noise_scale, 1.0), 400).rates[Metric.HIT]
        for sums in zip(devices, hits, zeros, zeros, zeros, strict=True)
    ]
    assert misses(made, 0.9) <= most_misses(DRAWS)
    half = stats.norm.isf((1 - CONFIDENCE) / 2) * noise_scale / devices
    naive = np.abs(hits / devices - 0.9) > half
    assert naive.sum() > most_misses(DRAWS)


@cache
def last_round() -> tuple[RoundPlan, np.ndarray, dict[str, float]]:
    """Plan and sum without noise of one real evaluation, and its ground truth by the simulator."""
    import tempfile

    data = two_tastes(600, 40)
    made = Scenario.model_validate(
        {"seed": 3, "trainer": "subspace", "data": {"name": "small", "split": "last"},
         "privacy": {"epsilon": 3.0, "delta": 1e-5, "aggregation": "trusted"}, "evaluation": {"protocols": ["full"]}}
    )  # fmt: skip
    split = make_split(data, "last")
    prepared = Prepared(data, split, people(made, data, split.train, split.test))
    committed, hosted = commit(made, prepared), hosted_devices(prepared.population)
    with tempfile.TemporaryDirectory() as folder:
        done = finish_model(made, prepared, committed, Path(folder), ignore, model="backrow")
    made_plan, question = committed.schedule.rounds[-1], done.trained.outcome.program.ask(Query.EVAL)
    call = RoundCall(made_plan, "", len(hosted.slots), (), question.tensors, question.settings)
    total = np.zeros((made_plan.query.rows, 1), dtype=np.int64)
    for block, members in split_blocks(hosted.slots):
        histories = [hosted.histories[member] for member in members]
        total += answer_block(call, histories, SeededRandom(3, "train", block))
    assert done.released is not None
    return made_plan, total, {figure.name: figure.truth for figure in done.released.figures if figure.truth is not None}


@pytest.mark.parametrize("metric", [Metric.HIT, Metric.NDCG, Metric.POPULAR_HIT, Metric.POPULAR_NDCG])
def test_what_the_coordinator_learns_is_as_near_the_truth_as_it_says(metric: Metric) -> None:
    asked, total, truth = last_round()
    runs = 400

    def estimates(noise_factor: float) -> list[Estimate]:
        made = []
        for seed in range(runs):
            noise = asked.sampler().sample(SeededRandom(seed, "noise", asked.round), asked.query.rows)[:, None]
            values = (total + noise_factor * noise)[: len(Metric)] / asked.scale
            answer = Answer(values, asked.noise_scale, asked.noise_multiplier)
            made.append(released_metrics(answer, asked.population).rates[metric])
        return made

    assert 0 < truth[metric] < 1
    assert misses(estimates(1.0), truth[metric]) <= most_misses(runs)
    assert misses(estimates(2.0), truth[metric]) > most_misses(runs)  # control: twice the noise that was said


def test_shares_of_more_devices_than_the_fewest_are_in_the_interval() -> None:
    # Shares are sized for half of the devices; when all take part the sum carries 1.4 times the noise it claims.
    asked = plan(
        Query.EVAL, len(Metric), clip_norm=5**0.5, scale=2.0**12, rounding=Rounding.DEVICE_STOCHASTIC,
        noise=Noise.SHARES, noise_multiplier=14.0, population=400, minimum=200, omitted=0.0,
    )  # fmt: skip
    runs, devices, exact = 400, 400, np.array([400.0, 60.0, 35.0, 30.0, 15.0])

    def estimates(claimed_only: bool) -> list[Estimate]:
        made = []
        for seed in range(runs):
            shares = asked.share_sampler().sample(SeededRandom(seed, "shares"), devices * len(Metric))
            noisy = (np.round(exact * asked.scale).astype(np.int64) + shares.reshape(devices, -1).sum(axis=0))[:, None]
            total = RoundSum(asked, noisy, devices)
            answer = Answer(total.values, asked.noise_scale, asked.noise_multiplier, total.spread)
            made.append(released_metrics(replace(answer, spread=None) if claimed_only else answer, devices))
        return [each.rates[Metric.HIT] for each in made]

    assert misses(estimates(claimed_only=False), 0.15) <= most_misses(runs)
    assert misses(estimates(claimed_only=True), 0.15) > most_misses(runs)  # control
