"""`backrow compare`: two runs on the same viewers, paired. Ground truth of the simulator: nothing of it is released.

A run folder holds nothing about single viewers. So their ranks are computed again, from the signed model and the data,
and must give the figures that the run recorded, or the data is no longer the run's.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backrow.client.model import PublicModel
from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import DataError, ScenarioError
from backrow.simulations.evaluation import model_scorer
from backrow.simulations.metrics import LIST, evaluate
from backrow.simulations.pipeline import Prepared
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.results import Results, Row
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import load_scenario
from backrow.simulations.study.intervals import RESAMPLES, Difference, paired_bootstrap
from backrow.simulations.study.shared import data_digest, prepared_for
from backrow.simulations.viewer import pinned_key

FloatArray = NDArray[np.float64]
Protocol = Literal["full", "ncf"]
SEED = 20_261_122
"""Of the resamples: the same two runs always give the same interval."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both runs.

    Attributes:
        protocol: "full" or "ncf".
        name: "hr@10" or "ndcg@10".
        first, second: mean over viewers.
        difference: second less first, paired by viewer.
    """

    protocol: Protocol
    name: str
    first: float
    second: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, side by side.

    Attributes:
        first, second: names of their folders.
        rows: of each, its own model in the first protocol, with its claim.
        dataset, split, viewers: what both are about.
        simulated: either is.
        figures: of every protocol that both evaluated.
    """

    first: str
    second: str
    rows: tuple[Row, Row]
    dataset: str
    split: str
    viewers: int
    simulated: bool
    figures: tuple[Figure, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        table = asdict(self)
        return table | {"rows": [row.model_dump(by_alias=True) for row in self.rows]}


@dataclass(frozen=True, slots=True)
class _Run:
    """A run folder, read."""

    folder: Path
    scenario: Scenario
    results: Results
    prepared: Prepared
    model: PublicModel

    def row(self, protocol: Protocol) -> Row | None:
        return next((row for row in self.results.under(protocol) if row.model == "backrow"), None)


def compare_runs(
    first: Path, second: Path, *, resamples: int = RESAMPLES, seed: int = SEED, observe: Observer = ignore
) -> Comparison:
    """Whether the second run ranks better than the first, over the viewers that both have.

    The bootstrap resamples viewers and keeps both models as they are: another seed of the noise would give other
    models, which is what `sweep` is for.

    Args:
        resamples: of the bootstrap.
        seed: of the resamples.

    Raises:
        ScenarioError: not a run folder, or the runs are on different data, splits or protocols.
        DataError: the data cannot be had, or is no longer what a run was evaluated on.
        BundleError, SignatureError: a model is damaged or not signed by its coordinator.
    """
    one, two = (_read(folder, observe) for folder in (first, second))
    digests = [data_digest(run.prepared.dataset, run.prepared.split) for run in (one, two)]
    if digests[0] != digests[1]:
        raise ScenarioError(
            f"{first} is on {_about(one)}, {second} on {_about(two)}: only runs on the same viewers, titles and "
            "held-out titles are compared"
        )
    protocols: tuple[Protocol, ...] = ("full", "ncf")
    shared = [name for name in protocols if one.row(name) is not None and two.row(name) is not None]
    if not shared:
        raise ScenarioError(f"{first} and {second} were evaluated under different protocols: nothing to compare")
    figures: list[Figure] = []
    for protocol in shared:
        ranks = [_ranks(run, protocol, observe) for run in (one, two)]
        observe(Progress("stage", f"resampling {len(ranks[0]):,} viewers {resamples:,} times"))
        for name, gains in (("hr@10", _hits), ("ndcg@10", _gains)):
            before, after = gains(ranks[0]), gains(ranks[1])
            difference = paired_bootstrap(after - before, seed, resamples=resamples)
            figures.append(Figure(protocol, name, float(before.mean()), float(after.mean()), difference))
    rows = (one.row(shared[0]), two.row(shared[0]))
    assert rows[0] is not None and rows[1] is not None
    return Comparison(
        str(first), str(second), (rows[0], rows[1]), one.results.dataset, one.results.split,
        figures[0].difference.pairs, one.results.simulated or two.results.simulated, tuple(figures),
    )  # fmt: skip


def _read(folder: Path, observe: Observer) -> _Run:
    observe(Progress("stage", f"opening {folder}"))
    try:
        results = Results.from_json((folder / "results.json").read_bytes())
    except OSError:
        raise ScenarioError(
            f"{folder} is no finished run folder: it has no results.json; make one with backrow simulate"
        ) from None
    scenario = load_scenario(folder / "run.toml")
    model = PublicModel.from_bundle(open_bundle(folder / "bundle", pinned_key(folder)))
    return _Run(folder, scenario, results, prepared_for(scenario), model)


def _about(run: _Run) -> str:
    results = run.results
    return f"{results.dataset} (split {results.split}, {results.devices:,} devices, {results.titles:,} titles)"


def _ranks(run: _Run, protocol: Protocol, observe: Observer) -> FloatArray:
    """Of every viewer with a test title, from 0; checked against what the run recorded."""
    observe(Progress("stage", f"ranking for the viewers of {run.folder} ({protocol})"))
    metrics = evaluate(
        model_scorer(run.model, run.prepared.population, run.prepared.sample), run.prepared.split, protocol
    )
    row = run.row(protocol)
    assert row is not None
    if not np.allclose([metrics.hr, metrics.ndcg], [row.hr_at_10, row.ndcg_at_10], rtol=0, atol=1e-9):
        raise DataError(
            f"{run.folder} recorded HR@10 {row.hr_at_10:.4f} ({protocol}), and its model gives {metrics.hr:.4f} on "
            f"{run.results.dataset} as it is now: the data or the code has changed since; run it again"
        )
    return metrics.ranks


def _hits(ranks: FloatArray) -> FloatArray:
    return (ranks < LIST).astype(np.float64)


def _gains(ranks: FloatArray) -> FloatArray:
    return np.where(ranks < LIST, 1.0 / np.log2(ranks + 2.0), 0.0)
