"""Releases that repeat: correlated noise against independent noise at equal budget, and on real weeks of MovieLens 1M.

.venv/bin/python benchmarks/continual.py     # writes benchmarks/results/continual.md and continual.svg
"""

import os
import platform
import time
from collections.abc import Iterator
from itertools import combinations, islice, pairwise
from pathlib import Path

import matplotlib
import numpy as np
import scipy.sparse as sparse
from machine import no_options

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.correlated import Correlation, next_noise
from backrow.privacy.correlated_design import Matrix, Workload, cumulative, decayed, design, errors, window
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.randomness import OsRandom
from backrow.simulations.datasets.registry import load
from backrow.simulations.weekly_answers import NEVER, answered_in, weeks_of

RESULTS = Path(__file__).parent / "results"
HORIZONS = (8, 16, 52)
DELTA = 1e-5
EPSILON = 3.0
BAND = 16
"""Of the banded mechanisms: what a real run would keep."""
WEEKS, ANSWERS, APART = 52, 4, 4
"""The real run: so many answers of a device in a year, at least so many weeks from one to the next."""
REPEATS = 3
SCALE = 2.0**20
MECHANISMS = ("independent", "tree", "square root", "square root, banded", "optimised, banded")


def main() -> None:
    """Both tables and the plot."""
    started = time.monotonic()
    multiplier = noise_multipliers(EPSILON, DELTA, [1.0])[0]
    table, plotted = theory(multiplier)
    real = "\n".join(measured(epsilon) for epsilon in (1.0, EPSILON))
    plot(plotted)
    text = f"""# Releases that repeat

`python benchmarks/continual.py` on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()};
{time.monotonic() - started:.0f} seconds. Nothing here is a timing. Derivations:
[docs/continual.md](../../docs/continual.md).

## Error by mechanism, at epsilon {EPSILON:g} for the whole sequence

Delta {DELTA:g}, unit device, adjacency zero-out, every device invited to every release, none sampled; norm of one
answer at most 1. Root of the mean squared error over all releases / largest standard deviation of any release. Exact,
from the matrices; sensitivities as proven. Band of the banded ones: {BAND}. The tree is decoded optimally from the
nodes that are complete (Honaker 2015, online). *Optimised* minimises the mean squared error of the row's own workload
and schema; the others do not know the workload.

{table}

![RMS error of cumulative sums](continual.svg)

What correlation gains, it gains from a bound on how often one device answers. Where every device may answer every
release with its full norm, independent noise is as good as any of these; of cumulative sums it tells the last with the
error that every mechanism must have, and the mean squared error of no mechanism can be less than two thirds of its
(docs/continual.md, 6). Each week by itself gains nothing from any.

## Real weeks: MovieLens 1M, its first {WEEKS} weeks

A device counts what it has watched since its last answer, as a vector of norm 1, at most {ANSWERS} times and at least
{APART} weeks apart. Root of the mean squared error over titles and weeks against the exact sum of the same answers,
measured with integer noise from the operating system's entropy ({REPEATS} runs; in brackets: predicted); and how many
of the 100 titles with the largest exact sums are among the 100 largest noisy ones, mean over weeks.

{real}
{lost()}
"""
    (RESULTS / "continual.md").write_text(text, encoding="utf-8")


def schemas(horizon: int) -> dict[str, tuple[int, int]]:
    """Participations and separation by name."""
    return {
        "once": (1, 1),
        "4 times": (4, 1),
        f"4 times, {horizon // 4} apart": (4, horizon // 4),
        "every release": (horizon, 1),
    }


def theory(multiplier: float) -> tuple[str, dict[str, list[float]]]:
    """The table, and the RMS of cumulative sums with four answers apart by mechanism."""
    lines = [
        f"| releases | a device answers | to be told | {' | '.join(MECHANISMS)} | best / independent |",
        f"|---|---|---|{'---|' * len(MECHANISMS)}---|",
    ]
    plotted: dict[str, list[float]] = {name: [] for name in MECHANISMS}
    for horizon in HORIZONS:
        for schema, (participations, separation) in schemas(horizon).items():
            tree = tree_sensitivity(horizon, participations, separation)
            for workload in (cumulative(horizon), window(4), decayed(0.8, horizon), window(1)):
                found = {"tree": multiplier * tree * tree_errors(workload, horizon)}
                for name, (matrix, band) in {
                    "independent": (Matrix.INDEPENDENT, 1),
                    "square root": (Matrix.SQUARE_ROOT, horizon),
                    "square root, banded": (Matrix.SQUARE_ROOT, min(BAND, horizon)),
                    "optimised, banded": (Matrix.OPTIMISED, min(BAND, horizon)),
                }.items():
                    chosen = design(matrix, workload, horizon, band, participations, separation, multiplier)
                    found[name] = errors(workload, chosen)
                means = {name: rms(found[name]) for name in MECHANISMS}
                cells = " | ".join(f"{means[name]:.2f} / {found[name].max():.2f}" for name in MECHANISMS)
                gain = min(means.values()) / means["independent"]
                lines.append(f"| {horizon} | {schema} | {workload.name} | {cells} | {gain:.2f} |")
                if separation > 1 and workload.name == "cumulative":
                    for name in MECHANISMS:
                        plotted[name].append(means[name])
    return "\n".join(lines), plotted


def tree(horizon: int) -> np.ndarray:
    """A binary tree's nodes as rows, in the order in which they are complete; shape (nodes, horizon)."""
    rows = []
    for release in range(1, horizon + 1):
        size = 1
        while release % size == 0 and size <= horizon:
            row = np.zeros(horizon)
            row[release - size : release] = 1
            rows.append(row)
            size *= 2
    return np.array(rows)


def tree_errors(workload: Workload, horizon: int) -> np.ndarray:
    """Standard deviation of the best linear unbiased estimate from the complete nodes, noise 1 each."""
    nodes, weights = tree(horizon), workload.padded(horizon)
    found = []
    for release in range(1, horizon + 1):
        complete = nodes[nodes[:, release:].sum(axis=1) == 0][:, :release]
        found.append(np.linalg.norm(weights[:release][::-1] @ np.linalg.pinv(complete)))
    return np.array(found)


def tree_sensitivity(horizon: int, participations: int, separation: int) -> float:
    """Over all patterns, one by one."""
    nodes = tree(horizon)
    product = nodes.T @ nodes
    if participations == horizon:
        return float(np.sqrt(product.sum()))
    best = 0.0
    patterns = iter(apart(horizon, participations, separation))
    while chunk := list(islice(patterns, 50_000)):
        chosen = np.array(chunk)
        best = max(best, float(product[chosen[:, :, None], chosen[:, None, :]].sum(axis=(1, 2)).max()))
    return float(np.sqrt(best))


def apart(horizon: int, participations: int, separation: int) -> Iterator[tuple[int, ...]]:
    """Every pattern with as many answers as fit; fewer never change more, as no product is negative."""
    most = min(participations, -(-horizon // separation))
    for chosen in combinations(range(horizon), most):
        if all(later - earlier >= separation for earlier, later in pairwise(chosen)):
            yield chosen


def measured(epsilon: float) -> str:
    """The real weeks at one epsilon."""
    exact = answers()
    multiplier = noise_multipliers(epsilon, DELTA, [1.0])[0]
    lines = [
        f"Epsilon {epsilon:g} (delta {DELTA:g}, unit device, adjacency zero-out, {WEEKS} releases):\n",
        "| to be told | independent | square root | optimised, banded | top 100, in the same order |",
        "|---|---|---|---|---|",
    ]
    for workload in (cumulative(WEEKS), window(4), decayed(0.8, WEEKS), window(1)):
        wanted = told(workload, exact)
        cells, hits = [], []
        for matrix, band in ((Matrix.INDEPENDENT, 1), (Matrix.SQUARE_ROOT, WEEKS), (Matrix.OPTIMISED, BAND)):
            chosen = design(matrix, workload, WEEKS, band, ANSWERS, APART, multiplier)
            runs = [told(workload, released(chosen, exact)) for _ in range(REPEATS)]
            error = np.mean([np.mean((run - wanted) ** 2) for run in runs]) ** 0.5
            cells.append(f"{error:.2f} ({rms(errors(workload, chosen)):.2f})")
            hits.append(f"{np.mean([top(run, wanted) for run in runs]):.0f}")
        lines.append(f"| {workload.name} | {' | '.join(cells)} | {' / '.join(hits)} |")
    return "\n".join(lines) + "\n"


def answers() -> np.ndarray:
    """Exact weekly sums of unit-norm answers, shape (weeks, titles)."""
    dataset = load("ml-1m")
    rows = dataset.interactions
    answered = answered_in(rows, WEEKS, ANSWERS, APART)
    counted = answered != NEVER
    key = rows.user[counted].astype(np.int64) * WEEKS + answered[counted]
    shape = (len(dataset.viewers) * WEEKS, len(dataset.catalogue.ids))
    each = sparse.csr_array((np.ones(len(key)), (key, rows.title[counted])), shape=shape)
    norms = np.sqrt(np.diff(each.indptr))
    unit = sparse.diags_array(1 / np.maximum(norms, 1)) @ each
    week = sparse.csr_array((np.ones(shape[0]), (np.arange(shape[0]) % WEEKS, np.arange(shape[0]))))
    return np.asarray((week @ unit).toarray())


def released(correlation: Correlation, exact: np.ndarray) -> np.ndarray:
    """Noisy integer sums, shape as `exact`."""
    titles = exact.shape[1]
    sampler = correlation.sampler(integer_sensitivity(1.0, titles, SCALE, Rounding.BLOCK_NEAREST))
    random, past = OsRandom(), []
    for _ in range(correlation.horizon):
        past.append(next_noise(correlation, sampler.sample(random, titles), past))
    return (np.rint(exact * SCALE) + np.array(past)) / SCALE


def told(workload: Workload, sums: np.ndarray) -> np.ndarray:
    """What the workload says of weekly sums, shape as they are."""
    weights = workload.padded(len(sums))
    return np.array([weights[: week + 1][::-1] @ sums[: week + 1] for week in range(len(sums))])


def top(noisy: np.ndarray, exact: np.ndarray, size: int = 100) -> float:
    """How many of the largest are found, mean over weeks."""
    best = [np.argsort(-each, axis=1, kind="stable")[:, :size] for each in (noisy, exact)]
    return float(np.mean([len(np.intersect1d(*pair)) for pair in zip(*best, strict=True)]))


def lost() -> str:
    """What the bounds on answers leave out."""
    rows = load("ml-1m").interactions
    week = weeks_of(rows, WEEKS)
    answered = answered_in(rows, WEEKS, ANSWERS, APART)
    there, kept = np.sum(week != NEVER), np.sum(answered != NEVER)
    late = (answered - week)[answered != NEVER]
    return (
        f"Of the {there:,} titles watched in these weeks, {kept / there:.1%} are counted in some answer; "
        f"{np.mean(late > 0):.1%} of\n"
        f"those later than in their own week, by {late[late > 0].mean():.1f} weeks on average."
    )


def rms(spreads: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(spreads**2)))


def plot(plotted: dict[str, list[float]]) -> None:
    """RMS error of cumulative sums against the number of releases."""
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "backrow", "svg.fonttype": "none", "font.size": 11})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    for (name, values), marker in zip(plotted.items(), "osD^v", strict=True):
        axes.plot(HORIZONS, values, marker=marker, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(HORIZONS, [str(horizon) for horizon in HORIZONS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("releases; a device answers 4 of them, a quarter of the time apart")
    axes.set_ylabel(f"RMS error of cumulative sums, ε {EPSILON:g}")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "continual.svg", metadata={"Date": None})


if __name__ == "__main__":
    no_options(__doc__)
    main()
