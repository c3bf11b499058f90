"""The main job: one scenario in, one run folder out.

The folder holds run.toml, results.json, metrics.parquet, journal.jsonl, coordinator.pub, bundle/ and
report.html. It holds no watch history.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backrow.client.model import PublicModel
from backrow.client.solve import gram, solve_block
from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import Noise
from backrow.privacy.units import PrivacyClaim
from backrow.server.registry import write_bundle
from backrow.server.strategy import RoundReport
from backrow.simulations.baselines.registry import make_baseline
from backrow.simulations.metrics import Scorer, evaluate
from backrow.simulations.pipeline import Committed, Prepared, commit, prepare
from backrow.simulations.population import Population
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.records import notes_of, round_row, warnings_of, write_metrics
from backrow.simulations.report.run_report import write_report
from backrow.simulations.results import Results, Row
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import Trained, coordinator_key, train

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class FinishedModel:
    """A trained and published model with its evaluation."""

    rows: list[Row]
    trained: Trained
    committed: Committed


def run(scenario: Scenario, folder: Path, *, observe: Observer = ignore, baselines: bool = True) -> Results:
    """Run a scenario and write its run folder.

    Args:
        folder: must not exist.
        observe: told of stages and rounds.
        baselines: also fit and evaluate the non-private baselines, and ours without privacy.

    Raises:
        ScenarioError: the folder exists, or the scenario asks for what cannot be.
        DataError: the data cannot be found or read.
    """
    refuse_existing(folder)
    observe(Progress("stage", f"loading {scenario.data.name or scenario.data.path}"))
    prepared = prepare(scenario, now=int(time.time()))
    committed = commit(scenario, prepared)
    with unfinished(folder) as draft:
        return _run_into(draft, scenario, prepared, committed, observe, baselines)


def _run_into(
    folder: Path, scenario: Scenario, prepared: Prepared, committed: Committed, observe: Observer, baselines: bool
) -> Results:
    (folder / "run.toml").write_text(scenario.to_toml(), encoding="utf-8")
    (folder / "coordinator.pub").write_text(coordinator_key(scenario.seed).public.hex() + "\n", encoding="ascii")
    finished = finish_model(scenario, prepared, committed, folder, observe, model="backrow")
    rows = list(finished.rows)
    if baselines:
        rows += counterfactuals(scenario, prepared, observe)
        rows += baseline_rows(scenario, prepared, observe)
    results = Results(
        engine=scenario.engine,
        nodes=scenario.nodes,
        aggregation="trusted",
        noise="shares" if any(plan.noise is Noise.BLOCK for plan in committed.schedule.rounds) else "once",
        dataset=prepared.dataset.name,
        split=prepared.split.name,
        devices=len(prepared.population),
        titles=len(prepared.dataset.catalogue.ids),
        rows=tuple(rows),
        warnings=warnings_of(prepared, committed, finished.trained),
        simulated=committed.claim.simulated,
        notes=notes_of(scenario, committed),
    )
    rounds = [round_row(report) for report in finished.trained.outcome.reports]
    write_metrics(folder / "metrics.parquet", rounds)
    results.write(folder / "results.json")
    write_report(folder, results, rounds)
    return results


def refuse_existing(folder: Path) -> None:
    """A run never writes into a folder that is there."""
    if folder.exists():
        raise ScenarioError(f"{folder} exists: choose another folder with --out, or remove it; nothing was changed")


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when the run is whole.

    A run that fails leaves nothing, unless it reserved budget: then its journal stays, under another name.

    Raises:
        ScenarioError: such a journal of an earlier run is there.
    """
    draft = folder.with_name(f"{folder.name}.unfinished")
    if draft.exists():
        raise ScenarioError(
            f"{draft} exists: an earlier run reserved budget and did not finish. Keep its journal.jsonl elsewhere or "
            "remove the folder, or choose another one with --out"
        )
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        journal = draft / JOURNAL
        if not journal.exists() or b'"kind": "reserve"' not in journal.read_bytes():
            shutil.rmtree(draft)
        raise
    draft.rename(folder)


def finish_model(
    scenario: Scenario, prepared: Prepared, committed: Committed, folder: Path, observe: Observer, *, model: str
) -> FinishedModel:
    """Train, publish the signed bundle, read it back as a device would, evaluate."""
    started = time.monotonic()
    total = len(committed.schedule.rounds)

    def on_round(report: RoundReport) -> None:
        number = report.plan.round
        left = (time.monotonic() - started) / number * (total - number)
        observe(
            Progress(
                "round", f"{model} ({scenario.trainer})", number, total, report.participants, report.spent,
                committed.schedule.epsilon, left,
            )
        )  # fmt: skip

    trained = train(
        committed, prepared.population, folder / JOURNAL,
        engine=scenario.engine, nodes=scenario.nodes, seed=scenario.seed, observe=on_round,
    )  # fmt: skip
    outcome, key = trained.outcome, coordinator_key(scenario.seed)
    if not outcome.releases:
        reasons = [outcome.stopped, *(report.outcome for report in outcome.reports), *trained.problems]
        told = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        raise ScenarioError(f"no round was released, so there is no model: {told}")
    catalogue = [
        {"id": title, "name": name, "genres": list(genres), "year": year}
        for title, name, genres, year in zip(
            *(getattr(prepared.dataset.catalogue, part) for part in ("ids", "names", "genres", "years")), strict=True
        )
    ]
    write_bundle(folder / "bundle", outcome.program.model(), catalogue, outcome.releases, trained.spent, key)
    public = PublicModel.from_bundle(open_bundle(folder / "bundle", key.public))
    observe(Progress("stage", f"evaluating {model} ({scenario.trainer})"))
    bytes_up = sum(report.bytes_up for report in outcome.reports)
    rows = evaluated_rows(
        scenario, prepared, model_scorer(public, prepared.population),
        model=model, trainer=scenario.trainer, claim=trained.spent, target=scenario.privacy.epsilon,
        bytes_up=bytes_up, seconds=trained.seconds,
    )  # fmt: skip
    return FinishedModel(rows, trained, committed)


def model_scorer(model: PublicModel, population: Population) -> Scorer:
    """Scores as each device computes them for itself, withheld or not: its own factors never leave it."""
    factors = np.asarray(model.item_factors, dtype=np.float64)
    shared = gram(factors)

    def score(viewers: NDArray[np.int32]) -> NDArray[np.float64]:
        block = [population.history(int(viewer)) for viewer in viewers]
        user_factors = solve_block(factors, block, model.alpha0, model.ridge, item_gram=shared)
        empty = np.array([len(history) == 0 for history in block])
        return np.asarray(np.where(empty[:, None], model.popularity, user_factors @ factors.T))

    return score


def counterfactuals(scenario: Scenario, prepared: Prepared, observe: Observer) -> list[Row]:
    """Ours without training rounds (the public prior) and without privacy: other runs, other budgets."""
    changes: list[tuple[str, dict[str, Any]]] = [("prior", {"trainer": "prior"})]
    if scenario.privacy.epsilon is not None:
        plain = "gradient" if scenario.trainer.startswith("opacus") else scenario.trainer
        privacy = scenario.privacy.model_copy(update={"epsilon": None})
        changes.append(("backrow, no privacy", {"trainer": plain, "privacy": privacy}))
    rows: list[Row] = []
    for name, change in changes:
        if change["trainer"] == scenario.trainer and name == "prior":
            continue
        other = scenario.model_copy(update={**change, "engine": "inprocess"})
        with tempfile.TemporaryDirectory(prefix="backrow-counterfactual-") as scratch:
            rows += finish_model(other, prepared, commit(other, prepared), Path(scratch), observe, model=name).rows
    return rows


def baseline_rows(scenario: Scenario, prepared: Prepared, observe: Observer) -> list[Row]:
    """The non-private baselines of the scenario."""
    rows: list[Row] = []
    train, viewers, titles = prepared.split.train, len(prepared.population), len(prepared.dataset.catalogue.ids)
    for name in scenario.evaluation.baselines:
        observe(Progress("stage", f"baseline {name}"))
        started = time.monotonic()
        baseline = make_baseline(name, scenario.seed)
        baseline.fit(train.matrix(viewers, titles))
        rows += evaluated_rows(
            scenario, prepared, baseline.scores,
            model=name, trainer=None, claim=None, target=None, bytes_up=0, seconds=time.monotonic() - started,
        )  # fmt: skip
    return rows


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
