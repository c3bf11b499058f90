"""The empirical audit against honest and faulty runs: how often claims are refuted, and faults found.

BACKROW_DATA=DIR .venv/bin/python benchmarks/empirical_audit.py     # writes benchmarks/results/empirical-audit.md
"""

import argparse
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats
from threadpoolctl import threadpool_limits

from backrow.privacy.audit.empirical import largest_auc, one_run_p_value
from backrow.privacy.audit.sentinels import FALSE_ALARM, lower_tail_p, power
from backrow.privacy.errors import BackrowError
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.attack import CanaryAttack, attack, attack_sums, total_mu
from backrow.simulations.attack_targets import with_empty_devices
from backrow.simulations.datasets.catalogue import without_metadata
from backrow.simulations.datasets.dataset import Dataset, Interactions
from backrow.simulations.pipeline import Prepared, commit, people, prepare
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import load_scenario
from backrow.simulations.splits import make_split

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
VIEWERS, CANARIES, DELTA = 64, 1000, 1e-5
FACTORS = (1.0, 0.25, 0.0)


def main() -> None:
    """Small runs without Flower, one BLAS thread; then one reference run on real data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--claims", type=float, nargs="+", default=[0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--scenario", type=Path, default=ROOT / "examples" / "ml-100k.toml")
    options = parser.parse_args()
    threadpool_limits(1)
    started = time.monotonic()
    rows = [row for claim in options.claims for row in small_runs(claim, options.runs)]
    seconds = time.monotonic() - started
    each = seconds / (len(rows) * options.runs)
    text = f"""# Empirical audit

`python benchmarks/empirical_audit.py` on {platform.machine()}, Python {platform.python_version()}; delta {DELTA:g},
unit device, adjacency zero-out. Small runs: {VIEWERS} viewers, {CANARIES} crafted canaries (each included by a fair
coin, {CANARIES // 4} guessed), {CANARIES} titles, trainer subspace, 3 releases; seeds 0 .. {options.runs - 1},
{each:.2f} s each. "Refuted": the one-run 95 % lower bound (Steinke, Nasr, Jagielski 2023) exceeds the claim.
"Sentinels": the one-sided chi-square test of untouched coordinates fires (false alarm {FALSE_ALARM:g}).

| claimed epsilon | noise added | refuted | sentinels | either | median lower bound | mean AUC | AUC allowed |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

An honest Gaussian run lies far below its claim: the bound must hold for every mechanism with this epsilon and delta.
Randomised response leaks exactly its epsilon; whole numbers of guesses and the correction for delta keep it below 5 %:

| claimed epsilon | guesses | refuted (of 10,000; at most 5 %) |
|---|---|---|
{chr(10).join(response_rows(options.claims))}

## Sentinels

4,096 coordinates, claimed sd 5,000, {options.runs} seeded draws each.

| actual / claimed sd | fires | power, exact |
|---|---|---|
{chr(10).join(sentinel_rows(options.runs))}

## One run on real data

{real_run(options.scenario)}
"""
    (RESULTS / "empirical-audit.md").write_text(text, encoding="utf-8")
    print(text)


def small_runs(claim: float, runs: int) -> list[str]:
    """One table row per noise factor."""
    random = np.random.default_rng(0)
    titles = np.concatenate([random.choice(CANARIES, size=6, replace=False) for _ in range(VIEWERS)])
    views = Interactions(
        np.repeat(np.arange(VIEWERS), 6).astype(np.int32),
        titles.astype(np.int32),
        np.arange(len(titles)) + 1,
        None,
        None,
    )
    names = tuple(f"viewer {number}" for number in range(VIEWERS))
    catalogue = without_metadata([f"title {row}" for row in range(CANARIES)])
    dataset = Dataset("small", "made here", names, catalogue, views)
    scenario = Scenario.model_validate(
        {"seed": 1, "trainer": "subspace", "data": {"name": "small", "split": "last"},
         "privacy": {"epsilon": claim, "delta": DELTA, "aggregation": "trusted"}, "model": {"evaluation_share": 0.0}}
    )  # fmt: skip
    split = make_split(dataset, "last")
    population = with_empty_devices(people(scenario, dataset, split.train), CANARIES)
    committed = commit(scenario, Prepared(dataset, split, population))
    allowed = largest_auc(total_mu(committed.schedule.rounds))
    rows = []
    for factor in FACTORS:
        attacks = [attack_sums(committed, population, CANARIES, seed=seed, noise_factor=factor) for seed in range(runs)]
        rows.append(f"| {claim:g} | {factor:g} | {counts(attacks, claim)} | {allowed:.3f} |")
        print(rows[-1], flush=True)
    return rows


def counts(attacks: Sequence[CanaryAttack], claim: float) -> str:
    """How often each test speaks."""
    refuted = np.array([one.audit.epsilon_lower > claim for one in attacks])
    silent = np.array([one.silent_p is not None and one.silent_p < FALSE_ALARM for one in attacks])
    bounds, areas = [one.audit.epsilon_lower for one in attacks], [one.auc.value for one in attacks]
    shares = " | ".join(f"{int(found.sum())} of {len(found)}" for found in (refuted, silent, refuted | silent))
    return f"{shares} | {np.median(bounds):.2f} | {np.mean(areas):.3f}"


def response_rows(claims: Sequence[float]) -> list[str]:
    """Randomised response, refuted exactly where its p-value is below 5 %."""
    guesses, rows = CANARIES // 4, []
    for claim in claims:
        chance = 1 / (1 + np.exp(-claim))
        right = np.random.default_rng(1).binomial(guesses, chance, 10_000)
        p_values = np.array([one_run_p_value(CANARIES, guesses, v, claim, DELTA) for v in range(guesses + 1)])
        rows.append(f"| {claim:g} | {guesses} | {int(np.sum(p_values[right] < 0.05))} |")
    return rows


def sentinel_rows(runs: int) -> list[str]:
    """Draws from the production sampler."""
    rows = []
    for ratio in (1.0, 0.95, 0.9, 0.25):
        noise = IntegerGaussian(5000.0 * ratio)
        draws = (noise.sample(SeededRandom(seed, "sentinel-benchmark"), 4096).tolist() for seed in range(runs))
        fired = sum(lower_tail_p(draw, 5000.0) < FALSE_ALARM for draw in draws)
        rows.append(f"| {ratio:g} | {fired} of {runs} | {power(4096, ratio):.6g} |")
    margin = stats.chi2.ppf(FALSE_ALARM, 4096) / 4096
    return [*rows, f"\nThe test fires where the measured sd is below {np.sqrt(margin):.3f} of the claim."]


def real_run(path: Path) -> str:
    """What `backrow audit attack` shows on a reference scenario, or why not."""
    try:
        scenario = load_scenario(path, ())
        prepared = prepare(scenario, now=int(time.time()))
    except BackrowError as problem:
        return f"not run: {problem}"
    lines = [
        f"`backrow audit attack examples/{path.name}`: {len(prepared.population):,} devices, {CANARIES} canaries, "
        f"trainer {scenario.trainer}.\n",
        "| noise really added | one-run lower bound | canaries, AUC | viewers: released sums | viewers: item factors "
        "| viewers: popularity | allowed |",
        "|---|---|---|---|---|---|---|",
    ]
    for factor in FACTORS:
        report = attack(scenario, prepared, canaries=CANARIES, noise_factor=factor)
        areas = [report.canaries.auc, *(one.auc for one in report.membership)]
        cells = " | ".join(f"{area.value:.3f} ({area.low:.3f} .. {area.high:.3f})" for area in areas)
        lines.append(f"| {factor:g} | {report.canaries.audit.epsilon_lower:.2f} | {cells} | {report.largest_auc:.3f} |")
    return "\n".join([*lines, f"\nClaim: {report.claim}. Intervals: 95 %, DeLong."])


if __name__ == "__main__":
    main()
