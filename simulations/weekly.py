"""Popularity week by week on real timestamps, released with correlated noise: one weekly scenario in, one folder out.

The folder holds weekly.toml, weekly.json, weekly.svg, the ledger, releases/ and the secret lists of an audit; no watch
history.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backrow.client.answers import BLOCK
from backrow.client.edge import Edge, SimulatedEdge
from backrow.client.history import RawHistory
from backrow.privacy.accounting.claim import claim, claim_of
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.errors import BookError, ScenarioError
from backrow.privacy.ledger.files import LEDGER
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation, Schedule
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.units import PrivacyClaim
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.model import ModelProgram
from backrow.server.programs.weekly import WeeklyEstimate, estimates, weekly_schedule
from backrow.server.settings import RunSettings
from backrow.server.strategy import Coordinator, Outcome, RoundReport
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.population import ChangingEdge, device_name
from backrow.simulations.report.weekly import weekly_svg
from backrow.simulations.training import RELEASES, clock, coordinator_key, epoch_key, keep_lists
from backrow.simulations.weekly_answers import NEVER, answered_in
from backrow.simulations.weekly_scenario import WeeklyScenario

CONFIDENCE = 0.95
SHOWN = 10
"""Titles in the record of a week."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Answers:
    """Which titles every device counts in every week.

    Attributes:
        week, user, title: shape (entries,), weeks counted from 1; sorted by week, user and title.
        devices: how many.
    """

    week: IntArray
    user: IntArray
    title: IntArray
    devices: int

    def histories(self, week: int, slots: IntArray) -> list[RawHistory]:
        """What the devices at these slots answer from in one week; empty where a device has said enough."""
        mine = slice(*np.searchsorted(self.week, [week, week + 1]))
        user, title = self.user[mine], self.title[mine].astype(np.int32)
        starts, ends = np.searchsorted(user, slots), np.searchsorted(user, slots, side="right")
        return [RawHistory(title[start:end], np.ones(end - start)) for start, end in zip(starts, ends, strict=True)]

    def sums(self, weeks: int, titles: int) -> NDArray[np.float64]:
        """The simulator's ground truth: exact sums of unit-norm answers, shape (weeks, titles)."""
        _, answer, size = np.unique(self.week * self.devices + self.user, return_inverse=True, return_counts=True)
        exact = np.zeros((weeks, titles))
        np.add.at(exact, (self.week - 1, self.title), 1 / np.sqrt(size[answer]))
        return exact


@dataclass(frozen=True, slots=True)
class WeeklyRun:
    """What a weekly run left.

    Attributes:
        told: after every week, as anybody with the releases computes it.
        errors: root mean squared error of each, against the simulator's ground truth; not released.
    """

    claim: PrivacyClaim
    told: tuple[WeeklyEstimate, ...]
    errors: tuple[float, ...]
    outcome: Outcome


def run_weekly(
    scenario: WeeklyScenario, folder: Path, *, observe: Callable[[RoundReport], None], resume: bool = False
) -> WeeklyRun:
    """Run a weekly scenario and write its folder.

    Args:
        folder: must not exist.
        observe: told of every finished week.
        resume: go on with a run that was killed, from its last release. Nothing is asked or spent twice.

    Raises:
        ScenarioError: the folder exists, there is nothing to resume, or a setting is out of range.
        DataError: the data cannot be read, or does not span so many weeks.
        UnsafePlanError: the scenario asks for what correlated noise cannot do.
        BookError: data or settings are no longer those of the ledger.
    """
    draft = folder.with_name(f"{folder.name}.unfinished")
    if draft.exists() and not _has_spent(draft):
        shutil.rmtree(draft)  # killed before its first reservation: nothing was asked
        resume = False
    if folder.exists() or (draft.exists() and not resume):
        raise ScenarioError(f"{folder if folder.exists() else draft} exists: choose another folder, or go on with it")
    if resume and not draft.exists():
        raise ScenarioError(f"there is no unfinished run {draft}: nothing to go on with")
    dataset = load(scenario.data, now=int(time.time()))
    answers, settings = answers_of(scenario, dataset), settings_of(scenario, dataset)
    schedule = schedule_of(scenario, settings)
    claim(schedule)
    if not resume:
        draft.mkdir(parents=True)
        (draft / "weekly.toml").write_text(scenario.to_toml(), encoding="utf-8")
        key = coordinator_key(scenario.seed).public.hex()
        (draft / "coordinator.pub").write_text(f"{key}\n", encoding="ascii")
    program = ModelProgram.start(settings, dataset.catalogue.features())
    outcome = _rounds(scenario, schedule, program, answers, draft, observe, resume=resume)
    released = {release.plan.round: release.values for release in outcome.releases}
    told = tuple(estimates(schedule, scenario.workload, released))
    exact = answers.sums(scenario.weeks.releases, settings.titles)
    errors = tuple(_error(each, scenario, exact) for each in told)
    spent = claim_of([report.plan for report in outcome.reports], schedule)
    run = WeeklyRun(spent, told, errors, outcome)
    (draft / "weekly.json").write_text(_record(run, scenario, dataset), encoding="utf-8")
    if told:
        (draft / "weekly.svg").write_text(weekly_svg(told, dataset.catalogue.names, CONFIDENCE), encoding="utf-8")
    draft.rename(folder)
    return run


def answers_of(scenario: WeeklyScenario, dataset: Dataset) -> Answers:
    """What every device counts in which week, within its bound."""
    weeks, rows = scenario.weeks, dataset.interactions
    answered = answered_in(rows, weeks.releases, weeks.answers, weeks.apart)
    kept = answered != NEVER
    week, user, title = answered[kept] + 1, rows.user[kept].astype(np.int64), rows.title[kept].astype(np.int64)
    order = np.lexsort((title, user, week))
    return Answers(week[order], user[order], title[order], len(dataset.viewers))


def settings_of(scenario: WeeklyScenario, dataset: Dataset) -> RunSettings:
    """The public numbers of the run; nothing is trained."""
    named = f"weekly\n{scenario.model_dump_json(exclude={'nodes', 'data'})}\n{dataset.fingerprint}"
    devices = len(dataset.viewers)
    return RunSettings(
        run_id=hashlib.sha256(named.encode()).hexdigest()[:16],
        trainer="prior",
        epsilon=scenario.privacy.epsilon,
        delta=scenario.privacy.delta,
        titles=len(dataset.catalogue.ids),
        population=devices,
        minimum=scenario.minimum or max(1, devices // 2),
        rounds=0,
        learning_rate=0.0,
        recent_share=0.0,
        evaluation_share=0.0,
        aggregation=Aggregation(scenario.privacy.aggregation),
        catalogue=catalogue_digest(dataset.catalogue.ids),
    )


def schedule_of(scenario: WeeklyScenario, settings: RunSettings) -> Schedule:
    """One release a week."""
    weeks, noise = scenario.weeks, scenario.noise
    return weekly_schedule(
        settings, scenario.workload, weeks.releases, weeks.answers, weeks.apart, scenario.matrix, noise.band
    )


def open_edge(answers: Answers, seed: int, coordinator_key: bytes) -> Callable[[int, int], Edge]:
    """Opens one node's edge; every device grants and is there every week, with or without something to count."""

    def random(purpose: str, number: int, index: int) -> RandomSource:
        return SeededRandom(seed, purpose, number, index)

    @lru_cache(maxsize=1024)
    def slots_of(partition: int, partitions: int) -> IntArray:
        slots = np.arange(answers.devices)
        return np.asarray(slots[(slots // BLOCK) % partitions == partition])

    @lru_cache(maxsize=1)
    def at(partition: int, partitions: int, week: int) -> Edge:
        slots = slots_of(partition, partitions)
        names, numbers = [device_name(int(slot)) for slot in slots], [int(slot) for slot in slots]
        return SimulatedEdge(names, numbers, answers.histories(week, slots), coordinator_key, random)

    return lambda partition, partitions: ChangingEdge(
        lambda week, answers: at(partition, partitions, week), coordinator_key
    )


def _rounds(
    scenario: WeeklyScenario,
    schedule: Schedule,
    program: ModelProgram,
    answers: Answers,
    folder: Path,
    observe: Callable[[RoundReport], None],
    *,
    resume: bool,
) -> Outcome:
    from backrow.client.app import make_client_app
    from backrow.server.app import make_server_app
    from backrow.simulations.runner_inprocess import run_inprocess

    seed, key, settings = scenario.seed, coordinator_key(scenario.seed), program.settings
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, Stamp.SIMULATED)
    epoch = epoch_key(seed)
    if resume:
        book = Book.resume(folder, key, policy, schedule, epoch, clock)
    else:
        book = Book.begin(folder, key, policy, schedule, settings.population, epoch, clock)

    def noise(number: int) -> RandomSource:
        return SeededRandom(seed, "weekly-noise", schedule.run_id, number)

    archive, nodes = Archive(folder / RELEASES), scenario.nodes
    coordinator = Coordinator(schedule, program, book, archive, key, noise, observe, nodes)
    outcomes: list[Outcome] = []
    try:
        client_app = make_client_app(open_edge(answers, seed, key.public))
        run_inprocess(make_server_app(coordinator, outcomes.append), client_app, nodes)
        if not outcomes or not outcomes[0].reports:
            raise BookError(f"no week was asked: {outcomes[0].stopped if outcomes else 'the engine failed'}")
        return outcomes[0]
    finally:
        keep_lists(folder, book, epoch)
        book.close()


def _has_spent(draft: Path) -> bool:
    """Whether a week was reserved there."""
    ledger = draft / LEDGER
    return ledger.exists() and b'"kind":"reserve"' in ledger.read_bytes()


def _error(told: WeeklyEstimate, scenario: WeeklyScenario, exact: NDArray[np.float64]) -> float:
    weights = scenario.workload.padded(told.week)[::-1]
    return float(np.sqrt(np.mean((told.values - weights @ exact[: told.week]) ** 2)))


def _record(run: WeeklyRun, scenario: WeeklyScenario, dataset: Dataset) -> str:
    """weekly.json: the estimates with their intervals, and beside them what only the simulator knows."""
    weeks = []
    for told, error in zip(run.told, run.errors, strict=True):
        low, high = told.interval(CONFIDENCE)
        first = np.argsort(-told.values, kind="stable")[:SHOWN]
        titles = [
            {"title": dataset.catalogue.names[row], "value": told.values[row], "low": low[row], "high": high[row]}
            for row in map(int, first)
        ]
        weeks.append(
            {
                "week": told.week,
                "noise_sd": told.spread,
                "missing_weeks": list(told.missing),
                "error_ground_truth": error,
                "titles": titles,
            }
        )
    record = {
        "claim": {**asdict(run.claim), "sentence": str(run.claim)},
        "schema": f"at most {scenario.weeks.answers} answers of a device, {scenario.weeks.apart} weeks apart",
        "told": scenario.workload.name,
        "confidence_of_each_interval": CONFIDENCE,
        "notes": [
            "intervals are of the noise, each for itself; errors of different weeks are correlated",
            "error_ground_truth is the simulator's; it is not released",
            "what a device watches after its last answer is not counted",
        ],
        "weeks": weeks,
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
