"""The rounds of all weeks: devices that come and go, one ledger, a model published every week. In this process."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from backrow.client.edge import Edge
from backrow.privacy.accounting.claim import claim_of
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, sign_opt_out
from backrow.privacy.errors import BookError
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation, RoundPlan, Schedule
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.programs.continual import ContinualProgram, ContinualSettings, continual_schedule
from backrow.server.programs.program import Program
from backrow.server.registry import write_bundle
from backrow.server.round import Release
from backrow.server.strategy import Coordinator, Outcome, RoundReport
from backrow.server.suppression import COORDINATOR, SuppressionList, keep_enrolled, read_enrolled
from backrow.simulations.churn import NEVER, BoolArray, Lives, hosted
from backrow.simulations.datasets.catalogue import Catalogue
from backrow.simulations.engine.edge import PopulationEdge
from backrow.simulations.population import ChangingEdge, device_key, device_name
from backrow.simulations.training import RELEASES, coordinator_key, epoch_key, keep_lists

BUNDLE = "bundle"
"""The newest week's model; the ledger names every week's."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a run over weeks is made of.

    Attributes:
        settings: the public numbers.
        schedule: every round of every week, committed before the first.
        lives: ground truth.
        answering: shape (weeks, devices), as `Lives.answering` derives it: the bound that the schedule counts on.
        catalogue: of the titles.
        seed: of everything that is drawn.
    """

    settings: ContinualSettings
    schedule: Schedule
    lives: Lives
    answering: BoolArray
    catalogue: Catalogue
    seed: int

    @classmethod
    def make(cls, settings: ContinualSettings, lives: Lives, catalogue: Catalogue, seed: int) -> "Service":
        """Derives the schedule and who answers when."""
        answering = lives.answering(settings.weeks, settings.answers, settings.apart)
        return cls(settings, continual_schedule(settings), lives, answering, catalogue, seed)

    def week_of(self, number: int) -> int:
        """The week of a round, both counted from 1."""
        return (number - 1) // len(self.settings.queries) + 1

    def program(self) -> ContinualProgram:
        """Before the first round."""
        return ContinualProgram.start(self.settings, self.catalogue.crossed_features(), self.schedule)

    def open_edge(self, nodes: int) -> Callable[[int, int], Edge]:
        """Opens the edge of one of `nodes`, whose devices are those of the week that it is asked in.

        Who has left, opted out or is out of reach is not known there. Who has answered as often as the schedule allows
        answers zero.
        """
        key = coordinator_key(self.seed).public

        def random(purpose: str, number: int, index: int) -> RandomSource:
            return SeededRandom(self.seed, purpose, number, index)

        @lru_cache(maxsize=nodes)
        def at(partition: int, partitions: int, week: int) -> Edge:
            answering = self.answering[week - 1]
            slots = hosted(self.lives.contributing(week), partition, partitions)
            return PopulationEdge(self.lives.population(week, answering), slots, key, random)

        return lambda partition, partitions: ChangingEdge(
            lambda number, answers: at(partition, partitions, self.week_of(number)), key
        )


def run_rounds(
    service: Service,
    folder: Path,
    *,
    nodes: int,
    observe: Callable[[RoundReport], None],
    clock: Callable[[], int],
    resume: bool = False,
    published: bool = True,
) -> Outcome:
    """Ask every round of the schedule, with its ledger, list of opt-outs, releases and bundle in `folder`.

    Args:
        observe: told of every finished round.
        clock: Unix seconds.
        resume: go on with the ledger that is there. Nothing is asked or spent twice.
        published: write every week's model.

    Raises:
        BookError: no round was asked; or data or settings are no longer those of the ledger.
        LedgerError and its kin: the ledger is damaged.
    """
    from backrow.client.app import make_client_app
    from backrow.server.app import make_server_app
    from backrow.simulations.runner_inprocess import run_inprocess

    seed, settings, schedule = service.seed, service.settings, service.schedule
    key, epoch = coordinator_key(seed), epoch_key(seed)
    suppression = _begin_list(service, folder, clock) if not resume else SuppressionList.open(folder / COORDINATOR)
    stamp = Stamp.SIMULATED if schedule.simulated else Stamp.PRODUCTION
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, stamp)
    if resume:
        book = Book.resume(folder, key, policy, schedule, epoch, clock, suppression)
    else:
        book = Book.begin(folder, key, policy, schedule, settings.population, epoch, clock, suppression)
    records = service.catalogue.records()

    def noise(number: int) -> RandomSource:
        return SeededRandom(seed, "continual-noise", schedule.run_id, number)

    def after(plan: RoundPlan, program: Program, releases: Sequence[Release]) -> None:
        """The end of a week: its model goes out, and whoever opts out for the next one is heard."""
        if plan.round % len(settings.queries):
            return
        if releases and published:
            spent = claim_of(schedule.rounds[: plan.round], schedule)
            shutil.rmtree(folder / BUNDLE, ignore_errors=True)
            hashes = write_bundle(folder / BUNDLE, program.model(), records, releases, spent, key)
            book.publish([release.receipt for release in releases], *hashes)
        _hear_opt_outs(service, suppression, folder, service.week_of(plan.round) + 1, clock)

    archive = Archive(folder / RELEASES)
    coordinator = Coordinator(
        schedule, service.program(), book, archive, key, noise, observe, nodes, suppression=suppression, after=after
    )
    outcomes: list[Outcome] = []
    try:
        run_inprocess(make_server_app(coordinator, outcomes.append), make_client_app(service.open_edge(nodes)), nodes)
        if not outcomes or not outcomes[0].reports:
            why = [outcomes[0].stopped if outcomes else "the engine failed", *coordinator.problems]
            raise BookError(f"no round was asked: {'; '.join(str(each) for each in why)}")
        return outcomes[0]
    finally:
        keep_lists(folder, book, epoch, suppression)
        book.close()


def _begin_list(service: Service, folder: Path, clock: Callable[[], int]) -> SuppressionList:
    """Of nobody; devices that are to opt out some day enrol with their keys, in a secure sum everybody does."""
    place = folder / COORDINATOR
    suppression = SuppressionList.create(place)
    secure = service.settings.aggregation is Aggregation.SECURE
    opting = service.lives.opted_out != NEVER
    slots = range(len(service.lives)) if secure else map(int, np.flatnonzero(opting))
    if secure or opting.any():
        keep_enrolled(place, {device_name(slot): device_key(service.seed, slot).public for slot in slots})
    return suppression


def _hear_opt_outs(
    service: Service, suppression: SuppressionList, folder: Path, week: int, clock: Callable[[], int]
) -> None:
    """Put on the list whose owner has opted out by the beginning of a week, each by her device's signed statement."""
    gone = [device_name(int(slot)) for slot in np.flatnonzero(service.lives.opted_out <= week)]
    late = sorted(set(gone) - suppression.opted_out)
    if not late:
        return
    now, requests = clock(), []
    for name in late:
        key = device_key(service.seed, int(name[1:]))
        requests.append(sign_opt_out(OptOutRequest(ConsentRecord(key.public, EVERYTHING, False, 1, now), name), key))
    suppression.add_all(requests, read_enrolled(folder / COORDINATOR), now)
