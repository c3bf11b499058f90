"""The main job: one scenario in, one run folder out.

The folder holds run.toml, data.sha256, results.json, metrics.parquet, the ledger (ledger.jsonl, checkpoint,
policy.toml, coordinator.pub), releases/ (the released noisy sums), bundle/ and report.html. It holds no watch history.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backrow.client.model import PublicModel
from backrow.privacy.accounting.claim import claim_of
from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import ScenarioError
from backrow.privacy.ledger.files import LEDGER
from backrow.privacy.plan import Noise
from backrow.privacy.units import PrivacyClaim
from backrow.server.registry import write_bundle
from backrow.server.strategy import Outcome, RoundReport
from backrow.simulations.evaluation import baseline_rows, evaluated_rows, model_scorer, released_figures
from backrow.simulations.groups import served_groups
from backrow.simulations.left_out import leave_out, read_left_out, terms_of
from backrow.simulations.pipeline import Committed, Prepared, changes_of, commit, prepare
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.records import (
    check_fingerprint,
    computed_of,
    keep_fingerprint,
    notes_of,
    round_row,
    warnings_of,
    write_metrics,
)
from backrow.simulations.report.run_report import write_report
from backrow.simulations.results import Released, Results, Row
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import Trained, coordinator_key, train


@dataclass(frozen=True, slots=True)
class FinishedModel:
    """A trained and published model with its evaluation: ground truth, and what was released of it."""

    public: PublicModel
    rows: list[Row]
    released: Released | None
    trained: Trained
    committed: Committed


def run(
    scenario: Scenario,
    folder: Path,
    *,
    observe: Observer = ignore,
    baselines: bool = True,
    prepared: Prepared | None = None,
    begin: Callable[[Path], None] | None = None,
) -> Results:
    """Run a scenario and write its run folder.

    Args:
        folder: must not exist.
        observe: told of stages and rounds.
        baselines: also fit and evaluate the non-private baselines, and ours without privacy.
        prepared: data and people that several scenarios share, which then differ in privacy and model only.
        begin: writes what else the run folder begins with (`retrain`).

    Raises:
        ScenarioError: the folder exists, or the scenario asks for what cannot be.
        DataError: the data cannot be found or read.
    """
    refuse_existing(folder)
    if scenario.retrain is not None and begin is None:
        raise ScenarioError("this scenario leaves devices out of an earlier run: begin it with backrow retrain-from")
    if prepared is None:
        prepared = prepare_loudly(scenario, observe)
    committed = commit(scenario, prepared)
    with unfinished(folder) as draft:
        (draft / "run.toml").write_text(scenario.to_toml(), encoding="utf-8")
        key = coordinator_key(scenario.seed).public.hex()
        (draft / "coordinator.pub").write_text(f"{key}\n", encoding="ascii")
        keep_fingerprint(draft, prepared.dataset)
        if begin is not None:
            begin(draft)
        return _run_into(draft, scenario, prepared, committed, observe, baselines)


def resume(scenario: Scenario, folder: Path, *, observe: Observer = ignore, baselines: bool = True) -> Results:
    """Go on with a run that was killed, from its last release. Nothing is asked or spent twice.

    Args:
        scenario: as run.toml in the unfinished folder says.
        folder: the run folder's final name.

    Raises:
        DataError: the data is no longer what it was.
        BookError: settings are no longer those of the ledger.
        LedgerError and its kin: the ledger is damaged.
    """
    draft = unfinished_name(folder)
    if not _has_spent(draft):
        shutil.rmtree(draft)  # killed before its first reservation: nothing was asked
        return run(scenario, folder, observe=observe, baselines=baselines)
    refuse_existing(folder)
    prepared = prepare_loudly(scenario, observe)
    check_fingerprint(draft, prepared.dataset)
    if scenario.retrain is not None:
        prepared, baselines = leave_out(prepared, read_left_out(draft)), False
    committed = commit(scenario, prepared)
    for name in ("bundle", "results.json", "metrics.parquet", "report.html"):
        shutil.rmtree(draft / name) if (draft / name).is_dir() else (draft / name).unlink(missing_ok=True)
    results = _run_into(draft, scenario, prepared, committed, observe, baselines, resumed=True)
    draft.rename(folder)
    return results


def prepare_loudly(scenario: Scenario, observe: Observer) -> Prepared:
    """`prepare` as of now, and say so."""
    observe(Progress("stage", f"loading {scenario.data.name or scenario.data.path}"))
    drawn = "drawing the population: {:.0%}"
    return prepare(scenario, now=int(time.time()), told=lambda share: observe(Progress("stage", drawn.format(share))))


def _run_into(
    folder: Path,
    scenario: Scenario,
    prepared: Prepared,
    committed: Committed,
    observe: Observer,
    baselines: bool,
    *,
    resumed: bool = False,
) -> Results:
    finished = finish_model(scenario, prepared, committed, folder, observe, model="backrow", resumed=resumed)
    rows = list(finished.rows)
    if baselines:
        rows += counterfactuals(scenario, committed.settings.trainer, prepared, observe)
        rows += baseline_rows(scenario, prepared, observe)
    rounds = [round_row(report) for report in finished.trained.outcome.reports]
    scorer = model_scorer(finished.public, prepared.population, prepared.sample)
    retrained = None if scenario.retrain is None else terms_of(scenario.retrain, committed.schedule)
    said = () if retrained is None else retrained.sentences()
    results = Results(
        engine=scenario.engine,
        nodes=scenario.nodes,
        aggregation=committed.settings.aggregation.value,
        noise="once" if {plan.noise for plan in committed.schedule.rounds} == {Noise.ONCE} else "shares",
        computed=computed_of(scenario, committed),
        masked_messages=sum(report.masked for report in finished.trained.outcome.reports),
        dataset=prepared.dataset.name,
        split=prepared.split.name,
        devices=len(prepared.population),
        titles=len(prepared.dataset.catalogue.ids),
        rows=tuple(rows),
        warnings=warnings_of(prepared, committed, finished.trained),
        simulated=committed.claim.simulated,
        notes=(*notes_of(scenario, prepared, committed, len(rounds)), *said),
        released=finished.released,
        retrained=retrained,
        groups=served_groups(scenario, prepared, scorer, len(rounds)),
    )
    write_metrics(folder / "metrics.parquet", rounds)
    results.write(folder / "results.json")
    write_report(folder, results, rounds)
    return results


def refuse_existing(folder: Path) -> None:
    """A run never writes into a folder that is there."""
    if folder.exists():
        raise ScenarioError(f"{folder} exists: choose another folder with --out, or remove it; nothing was changed")


def unfinished_name(folder: Path) -> Path:
    """Where a run is kept until it is whole."""
    return folder.with_name(f"{folder.name}.unfinished")


def unfinished_run(folder: Path) -> tuple[Path, Path]:
    """Final name and scenario file of a run to go on with; `folder`: with or without ".unfinished".

    Raises:
        ScenarioError: there is no such run.
    """
    final = folder.with_name(folder.name.removesuffix(".unfinished"))
    scenario = unfinished_name(final) / "run.toml"
    if not scenario.exists():
        raise ScenarioError(f"there is no unfinished run {unfinished_name(final)}: nothing to go on with")
    return final, scenario


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when the run is whole.

    A run that fails leaves nothing, unless it reserved budget: then its ledger stays, under another name.

    Raises:
        ScenarioError: such a ledger of an earlier run is there.
    """
    draft = unfinished_name(folder)
    if draft.exists():
        raise ScenarioError(
            f"{draft} exists: an earlier run reserved budget and did not finish. Go on with it "
            f"(backrow simulate --resume {folder}), or keep its ledger elsewhere and remove the folder"
        )
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        if not _has_spent(draft):
            shutil.rmtree(draft)
        raise
    draft.rename(folder)


def _has_spent(draft: Path) -> bool:
    """Whether a round was reserved there."""
    ledger = draft / LEDGER
    return ledger.exists() and b'"kind":"reserve"' in ledger.read_bytes()


def finish_model(
    scenario: Scenario,
    prepared: Prepared,
    committed: Committed,
    folder: Path,
    observe: Observer,
    *,
    model: str,
    resumed: bool = False,
) -> FinishedModel:
    """Train, publish the signed bundle, read it back as a device would, evaluate."""
    started = time.monotonic()
    total, trainer = len(committed.schedule.rounds), committed.settings.trainer

    def on_round(report: RoundReport) -> None:
        number = report.plan.round
        left = (time.monotonic() - started) / number * (total - number)
        observe(
            Progress(
                "round", f"{model} ({trainer})", number, total, report.participants, report.spent,
                committed.schedule.epsilon, left,
            )
        )  # fmt: skip

    key = coordinator_key(scenario.seed)
    catalogue = prepared.dataset.catalogue.records()

    def publish(outcome: Outcome, spent: PrivacyClaim) -> tuple[bytes, bytes]:
        return write_bundle(folder / "bundle", outcome.program.model(), catalogue, outcome.releases, spent, key)

    trained = train(
        committed, prepared.population, folder,
        engine=scenario.engine, nodes=scenario.nodes, seed=scenario.seed, dropouts=scenario.cohort.dropouts,
        changes=changes_of(scenario), workers=scenario.cohort.workers if scenario.cohort.whole else 0,
        observe=on_round, publish=publish, resume=resumed,
    )  # fmt: skip
    outcome = trained.outcome
    if not outcome.releases:
        reasons = [outcome.stopped, *(report.outcome for report in outcome.reports), *trained.problems]
        told = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        raise ScenarioError(f"no round was released, so there is no model: {told}")
    public = PublicModel.from_bundle(open_bundle(folder / "bundle", key.public))
    observe(Progress("stage", f"evaluating {model} ({trainer})"))
    bytes_up = sum(report.bytes_up for report in outcome.reports)
    rows = evaluated_rows(
        scenario, prepared, model_scorer(public, prepared.population, prepared.sample),
        model=model, trainer=trainer, claim=trained.spent, target=scenario.privacy.epsilon,
        bytes_up=bytes_up, seconds=trained.seconds,
    )  # fmt: skip
    metrics, last = outcome.program.metrics(), outcome.reports[-1].plan
    released = None
    if metrics is not None:
        alone = claim_of([last], committed.schedule)
        released = released_figures(metrics, last, alone, public, prepared)
    return FinishedModel(public, rows, released, trained, committed)


def counterfactuals(scenario: Scenario, taken: str, prepared: Prepared, observe: Observer) -> list[Row]:
    """Beside a run of the trainer `taken`: the public prior alone, and ours without privacy; other budgets."""
    changes: list[tuple[str, dict[str, Any]]] = [("prior", {"trainer": "prior"})]
    if scenario.privacy.epsilon is not None:
        plain = "gradient" if scenario.trainer.startswith("opacus") else scenario.trainer
        privacy = scenario.privacy.model_copy(update={"epsilon": None})
        changes.append(("backrow, no privacy", {"trainer": plain, "privacy": privacy}))
    rows: list[Row] = []
    for name, change in changes:
        if change["trainer"] == taken and name == "prior":
            continue
        other = scenario.model_copy(update={**change, "engine": "inprocess"}).in_the_clear()
        with tempfile.TemporaryDirectory(prefix="backrow-counterfactual-") as scratch:
            rows += finish_model(other, prepared, commit(other, prepared), Path(scratch), observe, model=name).rows
    return rows
