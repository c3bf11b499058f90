"""The smaller records of a run folder: the rounds table, warnings and notes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backrow.privacy.errors import DataError
from backrow.server.strategy import RoundReport
from backrow.simulations.consents import consent_notes
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.engine.compute import whole_cohorts
from backrow.simulations.pipeline import Committed, Prepared, changes_of
from backrow.simulations.results import Computed
from backrow.simulations.scenario import GENERATED, Scenario
from backrow.simulations.training import Trained

FINGERPRINT = "data.sha256"


def round_row(report: RoundReport) -> dict[str, Any]:
    """One round as it stands in metrics.parquet and in the report."""
    plan = report.plan
    return {
        "round": plan.round,
        "query": plan.query.query.value,
        "outcome": report.outcome,
        "invited": report.invited,
        "participants": report.participants,
        "minimum": plan.minimum,
        "dimension": plan.query.dimension,
        "clip_norm": plan.query.clip_norm,
        "integer_sensitivity": plan.integer_sensitivity,
        "noise_multiplier": plan.noise_multiplier,
        "noise_scale": plan.noise_scale,
        "noise": plan.noise.value,
        "rounding": plan.rounding.value,
        "simulated": plan.simulated,
        "epsilon_spent": report.spent,
        "bytes_up_per_device": report.bytes_up,
        "seconds": report.seconds,
    }


def computed_of(scenario: Scenario, committed: Committed) -> Computed:
    """How edges answered, over all rounds."""
    trainer = committed.settings.trainer
    whole = {scenario.cohort.whole and whole_cohorts(plan, trainer) for plan in committed.schedule.rounds}
    return "both" if len(whole) > 1 else "cohorts" if True in whole else "devices"


def write_metrics(path: Path, rounds: list[dict[str, Any]]) -> None:
    """metrics.parquet: one row per round. Nothing in it comes from a single device."""
    pq.write_table(pa.Table.from_pylist(rounds), path)


def keep_fingerprint(folder: Path, dataset: Dataset) -> None:
    """data.sha256: which data a run began with."""
    (folder / FINGERPRINT).write_text(f"{dataset.fingerprint}\n", encoding="ascii")


def check_fingerprint(folder: Path, dataset: Dataset) -> None:
    """Return if the data is what the run in this folder began with, or nobody wrote that down.

    Raises:
        DataError: it is not.
    """
    path = folder / FINGERPRINT
    began = path.read_text(encoding="ascii").strip() if path.exists() else dataset.fingerprint
    if began != dataset.fingerprint:
        raise DataError(
            f"the data {dataset.name} has changed since this run began (SHA-256 {began[:12]}... then, "
            f"{dataset.fingerprint[:12]}... now): what was spent was spent on the other; restore it, or begin a new run"
        )


def warnings_of(prepared: Prepared, committed: Committed, trained: Trained) -> tuple[str, ...]:
    """What the reader must know before she believes the figures."""
    devices, settings = len(prepared.population), committed.settings
    warnings = list(prepared.dataset.warnings)
    if settings.epsilon is not None and settings.delta >= 1 / devices:
        warnings.append(
            f"delta {settings.delta:g} is not below 1/N = {1 / devices:.2g}: it would allow publishing one device's "
            "whole history; choose a smaller delta"
        )
    if trained.outcome.stopped:
        warnings.append(f"the run stopped early: {trained.outcome.stopped}")
    voided = [report for report in trained.outcome.reports if report.outcome != "released"]
    warnings += [f"round {report.plan.round} is void: {report.outcome}" for report in voided]
    return (*warnings, *trained.problems)


def notes_of(scenario: Scenario, prepared: Prepared, committed: Committed, rounds: int) -> tuple[str, ...]:
    """What was done in so many rounds, in sentences, for results.json and the report."""
    rated = scenario.data.catalogue == "rated" and scenario.data.name != GENERATED
    trainer = committed.settings.trainer
    scope = "titles that occur in the data" if rated else "the whole public catalogue"
    notes = [
        f"rankings are over {committed.settings.titles} titles ({scope})",
        "evaluated on the validation titles" if scenario.evaluation.tuning else "evaluated on the test titles",
        *_sample_notes(prepared),
        "the figures of the models are the simulator's ground truth; they are not released and cost no privacy",
        *([f"trainer {trainer}, by the public rule: {committed.chosen}"] if committed.chosen else []),
        *_evaluation_notes(committed),
        "tuning is outside epsilon",
        *consent_notes(prepared.population.owners, scenario.seed, changes_of(scenario), rounds),
    ]
    if trainer == "opacus-event":
        from backrow.privacy.accounting.event_level import event_claim

        beside = event_claim(dict(committed.settings.event), committed.settings.rounds, committed.settings.delta)
        notes.append(
            f"beside the device-level claim, and never added to it, the event-level one: {beside}; "
            "it covers the training rounds, not the counts"
        )
    if trainer.startswith("opacus"):
        notes.append("Opacus' noise is floating point: this run is stamped simulated and claims nothing in production")
    return tuple(notes)


def _sample_notes(prepared: Prepared) -> list[str]:
    """Whom models are measured on, if not on everybody."""
    if prepared.sample is None:
        return []
    return [
        f"models are measured on a public random sample of {len(prepared.sample):,} of {len(prepared.population):,} "
        "devices; everybody is trained on"
    ]


def _evaluation_notes(committed: Committed) -> list[str]:
    """What was asked about the model, if it was."""
    settings = committed.settings
    if not settings.evaluates:
        return []
    cost = "without noise" if settings.epsilon is None else f"for {settings.evaluation_share:g} of the budget"
    return [
        f"what the coordinator learned of the model's quality it asked of the devices in the last round, {cost}; the "
        "intervals cover the noise, not how other devices would differ"
    ]
