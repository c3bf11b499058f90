"""A service that trains its model anew every week while devices come and go: one scenario in, one folder out.

The folder holds continual.toml, continual.json, continual.svg, report.html, bundle/ (the newest model), one ledger of
all weeks, releases/, the coordinator's list of opt-outs and the secret lists of an audit; no watch history.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backrow.privacy.accounting.claim import claim, claim_of
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.errors import ScenarioError
from backrow.privacy.ledger.files import LEDGER
from backrow.privacy.plan import Aggregation
from backrow.server.outcome import Outcome, RoundReport
from backrow.server.programs.base import FloatArray, ModelTensors
from backrow.server.programs.continual import ContinualSettings
from backrow.simulations.churn import Lives, draw_lives
from backrow.simulations.continual_quality import LIST, all_ranks, weekly_models
from backrow.simulations.continual_results import RESULT, ContinualResults, Quality, Week, quality_of
from backrow.simulations.continual_rounds import Service, run_rounds
from backrow.simulations.continual_scenario import ContinualScenario
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.records import check_fingerprint, keep_fingerprint
from backrow.simulations.report.continual import write_continual_report
from backrow.simulations.splits import make_split
from backrow.simulations.training import clock as now
from backrow.simulations.training import coordinator_key

SCENARIO = "continual.toml"
WARM = "warm"
"""The run's own model."""

Models = dict[str, dict[int, ModelTensors]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data and lives that every model of a run shares."""

    dataset: Dataset
    lives: Lives


def run_continual(
    scenario: ContinualScenario,
    folder: Path,
    *,
    observe: Callable[[str], None] = lambda words: None,
    resume: bool = False,
    clock: Callable[[], int] = now,
) -> ContinualResults:
    """Run all weeks and write the run's folder.

    Args:
        folder: must not exist.
        observe: told of every finished round, and of what is compared.
        resume: go on with a run that was killed, from its last release. Nothing is asked or spent twice.
        clock: Unix seconds.

    Raises:
        ScenarioError: the folder exists, or there is nothing to resume.
        DataError: the data cannot be read, is too short, or is no longer what it was.
        UnsafePlanError: the scenario asks for what its noise cannot do.
        BudgetExhaustedError: the schedule of all weeks costs more than the budget.
        BookError: settings are no longer those of the ledger.
    """
    draft = folder.with_name(f"{folder.name}.unfinished")
    if draft.exists() and not _has_spent(draft):
        shutil.rmtree(draft)  # killed before its first reservation: nothing was asked
        resume = False
    if folder.exists() or (draft.exists() and not resume):
        raise ScenarioError(
            f"{folder if folder.exists() else draft} exists: choose another folder with --out, or go on with it "
            "(--resume)"
        )
    if resume and not draft.exists():
        raise ScenarioError(f"there is no unfinished run {draft}: nothing to go on with")
    prepared = prepare(scenario)
    if resume:
        check_fingerprint(draft, prepared.dataset)
    service = service_of(scenario, prepared)
    claim(service.schedule)
    if not resume:
        draft.mkdir(parents=True)
        (draft / SCENARIO).write_text(scenario.to_toml(), encoding="utf-8")
        key = coordinator_key(scenario.seed).public.hex()
        (draft / "coordinator.pub").write_text(f"{key}\n", encoding="ascii")
        keep_fingerprint(draft, prepared.dataset)

    def said(report: RoundReport) -> None:
        week, query = service.week_of(report.plan.round), report.plan.query.query.value
        spent = (
            "" if report.spent is None else f", epsilon so far {report.spent:.3f} at delta {scenario.privacy.delta:g}"
        )
        observe(f"week {week}, {query}: {report.outcome} by {report.participants:,} devices{spent}")

    outcome = run_rounds(service, draft, nodes=scenario.nodes, observe=said, clock=clock, resume=resume)
    models: Models = {WARM: weekly_models(service.program(), outcome)}
    for name in _compared(scenario):
        observe(f"beside it: {name}")
        models[name] = _other(name, scenario, prepared, service, outcome, clock)
    results = _results(scenario, prepared, service, outcome, models)
    results.write(draft / RESULT)
    write_continual_report(draft, results)
    draft.rename(folder)
    return results


def prepare(scenario: ContinualScenario) -> Prepared:
    """Data and lives. Test titles are held out of both: whatever is tuned on a run over weeks, is not tuned on them."""
    dataset = load(scenario.data, now=int(time.time()))
    rows, weeks = make_split(dataset).train, scenario.weeks
    lives = draw_lives(rows, len(dataset.viewers), weeks.count, weeks.days, scenario.churn, scenario.seed)
    return Prepared(dataset, lives)


def service_of(scenario: ContinualScenario, prepared: Prepared, named: str = "") -> Service:
    """The committed run. Args: named: tells runs on the same people apart; each draws its own noise."""
    weeks, privacy, lives = scenario.weeks, scenario.privacy, prepared.lives
    told = scenario.model_dump_json(exclude={"nodes", "data", "compare", "once"})
    secure = privacy.aggregation == "secure"
    fewest = min(int(lives.contributing(week).sum()) for week in range(1, weeks.count + 1))
    catalogue = prepared.dataset.catalogue
    settings = ContinualSettings(
        run_id=hashlib.sha256(f"continual\n{named}{told}\n{prepared.dataset.fingerprint}".encode()).hexdigest()[:16],
        trainer=scenario.trainer,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        titles=len(catalogue.ids),
        population=len(lives),
        minimum=scenario.minimum or max(1, fewest // 2),
        rounds=weeks.count,
        learning_rate=0.0,
        popularity_share=weeks.popularity_share,
        recent_share=0.0,
        evaluation_share=0.0,
        aggregation=Aggregation.SECURE if secure else Aggregation.TRUSTED,
        shares=secure and privacy.epsilon is not None,
        catalogue=catalogue_digest(catalogue.ids),
        weeks=weeks.count,
        answers=weeks.answers,
        apart=weeks.apart or 1,
        forgetting=weeks.forgetting,
        growth=weeks.growth,
    )
    return Service.make(settings, lives, catalogue, scenario.seed)


def _compared(scenario: ContinualScenario) -> tuple[str, ...]:
    """What is not the run itself."""
    same = {"popularity": scenario.trainer == "popularity", "no privacy": scenario.privacy.epsilon is None}
    return tuple(name for name in scenario.compare if not same.get(name))


def _other(
    name: str,
    scenario: ContinualScenario,
    prepared: Prepared,
    service: Service,
    outcome: Outcome,
    clock: Callable[[], int],
) -> dict[int, ModelTensors]:
    """A model beside the run's own, on the same people and, but for "no privacy", with the same budget; by week."""
    weeks = scenario.weeks
    every = {"answers": None, "apart": None}
    if name == "once":
        at = scenario.once_in
        short = prepared.lives.from_week(at)
        one = weeks.model_copy(update={**every, "count": 1, "growth": 1.0})
        made = _models(scenario.model_copy(update={"weeks": one}), replace(prepared, lives=short), name, clock)
        return dict.fromkeys(range(at, weeks.count + 1), made[1]) if made else {}
    if name == "cold" and weeks.answers is None and weeks.growth == 1:
        return weekly_models(service.program().forgetful(), outcome)  # the very same releases, of which none is kept
    changes: dict[str, dict[str, object]] = {
        "cold": {"weeks": weeks.model_copy(update={**every, "forgetting": 0.0, "growth": 1.0})},
        "popularity": {"trainer": "popularity"},
        "no privacy": {
            "privacy": scenario.privacy.model_copy(update={"epsilon": None}),
            "weeks": weeks.model_copy(update=every),
        },
    }
    return _models(scenario.model_copy(update=changes[name]), prepared, name, clock)


def _models(
    scenario: ContinualScenario, prepared: Prepared, name: str, clock: Callable[[], int]
) -> dict[int, ModelTensors]:
    """Every week's model of another run, whose folder is thrown away."""
    trusted = scenario.privacy.model_copy(update={"aggregation": "trusted"})
    service = service_of(scenario.model_copy(update={"privacy": trusted}), prepared, f"{name}\n")
    with tempfile.TemporaryDirectory(prefix="backrow-continual-") as scratch:
        outcome = run_rounds(
            service, Path(scratch), nodes=scenario.nodes, observe=lambda report: None, clock=clock, published=False
        )
    return weekly_models(service.program(), outcome)


def _results(
    scenario: ContinualScenario, prepared: Prepared, service: Service, outcome: Outcome, models: Models
) -> ContinualResults:
    lives, asked = prepared.lives, len(service.settings.queries)
    weeks = range(1, len(outcome.reports) // asked + 1)
    ranks = all_ranks(lives, weeks, models)
    spent = claim_of([report.plan for report in outcome.reports], service.schedule)
    shared = [week for week in weeks if len(ranks[week]) == len(models)]
    overall: dict[str, Quality] = {}
    for name in models:
        theirs: list[FloatArray] = [ranks[week][name] for week in shared]
        overall[name] = quality_of(np.concatenate(theirs) if theirs else np.zeros(0), LIST)
    rows = []
    for week in weeks:
        reports = outcome.reports[(week - 1) * asked : week * asked]
        rows.append(
            Week(
                week=week,
                there=int(lives.there(week).sum()),
                contributing=int(lives.contributing(week).sum()),
                answering=int(service.answering[week - 1].sum()),
                joined=int((lives.joined == week).sum()),
                left=int((lives.left == week).sum()),
                opted_out=int(((lives.opted_out == week) & (lives.left > week)).sum()),
                outcome="; ".join(dict.fromkeys(report.outcome for report in reports)),
                epsilon_spent=reports[-1].spent,
                asked=len(next(iter(ranks[week].values()), ())),
                quality={name: quality_of(found, LIST) for name, found in ranks[week].items()},
            )
        )
    settings = service.settings
    return ContinualResults(
        claim=str(spent),
        epsilon=settings.epsilon,
        epsilon_spent=spent.epsilon,
        delta=spent.delta,
        unit=spent.unit.value,
        adjacency=spent.adjacency.value,
        releases=spent.releases,
        simulated=spent.simulated,
        dataset=prepared.dataset.name,
        devices=len(lives),
        titles=settings.titles,
        trainer=settings.trainer,
        most_answers=int(service.answering.sum(axis=0).max()),
        bound=settings.answers or settings.weeks,
        apart=settings.apart,
        since=shared[0] if shared else 1,
        once_in=scenario.once_in,
        overall=overall,
        weeks=tuple(rows),
        stopped=outcome.stopped,
    )


def _has_spent(draft: Path) -> bool:
    """Whether a round was reserved there."""
    ledger = draft / LEDGER
    return ledger.exists() and b'"kind":"reserve"' in ledger.read_bytes()
