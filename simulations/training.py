"""Trains one committed model on a population, on either engine."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backrow.privacy.accounting.claim import claim_of
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, sign_opt_out
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import Aggregation
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import PrivacyClaim
from backrow.server.archive import Archive
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.strategy import Coordinator, Outcome, RoundReport
from backrow.server.suppression import COORDINATOR, SUPPRESSION, SuppressionList, keep_enrolled
from backrow.simulations.consents import STEADY, Changes
from backrow.simulations.pipeline import Committed
from backrow.simulations.population import EdgeOpener, Population, device_key, device_name, own_draws

MOST_KEYED = 100_000
"""Simulated devices whose identity keys are all made, at some 80 microseconds each."""
RELEASES, LISTS = "releases", "auditor/lists.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left.

    Attributes:
        spent: claim of everything reserved.
        seconds: wall time of the rounds, engine start-up included.
    """

    outcome: Outcome
    spent: PrivacyClaim
    seconds: float
    problems: tuple[str, ...]


def coordinator_key(seed: int) -> SigningKey:
    """The simulated coordinator's key: from the seed, so that a repeated run signs the same bytes."""
    return SigningKey(SeededRandom(seed, "coordinator-key").bytes(32))


def epoch_key(seed: int) -> bytes:
    """The simulated key of the pseudonym lists."""
    return SeededRandom(seed, "epoch-key").bytes(32)


def open_list(population: Population, folder: Path, seed: int, secure: bool, *, resume: bool) -> SuppressionList:
    """Begin the list of opt-outs with those of the scenario, each signed by its device, or go on with it.

    Args:
        folder: may hold a list already, of a run that this one leaves devices out of.
        secure: devices enrol with their identity keys; without them, and without opt-outs, none are kept, and the
            run takes no further opt-outs. Of more than `MOST_KEYED` devices behind trusted edges only those enrol with
            a key who opt out.
    """
    place = folder / COORDINATOR
    if resume or (place / SUPPRESSION).exists():
        return SuppressionList.open(place)
    opted_out = np.flatnonzero(population.opted_out)
    suppression = SuppressionList.create(place)
    if secure or len(opted_out):
        slots = range(len(population)) if secure or len(population) <= MOST_KEYED else map(int, opted_out)
        enrolled = {device_name(slot): device_key(seed, slot).public for slot in slots}
        keep_enrolled(place, enrolled)
        now, requests = clock(), []
        for slot in map(int, opted_out):
            key = device_key(seed, slot)
            record = ConsentRecord(key.public, EVERYTHING, False, 1, now)
            requests.append(sign_opt_out(OptOutRequest(record, device_name(slot)), key))
        if requests:
            suppression.add_all(requests, enrolled, now)
    return suppression


def open_book(committed: Committed, folder: Path, seed: int, suppression: SuppressionList, *, resume: bool) -> Book:
    """Begin the ledger of a run, or go on with it."""
    settings, schedule = committed.settings, committed.schedule
    stamp = Stamp.SIMULATED if schedule.simulated else Stamp.PRODUCTION
    policy = LedgerPolicy(settings.epsilon, settings.delta, settings.minimum, stamp, earlier=committed.earlier)
    key, epoch = coordinator_key(seed), epoch_key(seed)
    if resume:
        return Book.resume(folder, key, policy, schedule, epoch, clock, suppression)
    return Book.begin(folder, key, policy, schedule, settings.population, epoch, clock, suppression)


def keep_lists(folder: Path, book: Book, key: bytes, suppression: SuppressionList | None = None) -> None:
    """Add to the secret part of an audit: who was invited, asked not to be, is in each sum; and the key of the hashes.

    With the statements, as devices signed them, that put people on the lists or took them off.
    In a simulation it lies beside the ledger; a real coordinator hands it to an auditor and to nobody else.
    """
    path = folder / LISTS
    earlier = Lists.parse(path.read_bytes()) if path.exists() else Lists((key,))
    merged = Lists(
        earlier.keys,
        {**earlier.participants, **book.participants},
        {**earlier.opt_outs, **book.seals.lists},
        {**earlier.survivors, **book.survivors},
        earlier.statements if suppression is None else suppression.statements,
    )
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(merged.encode())


def clock() -> int:
    """Unix seconds."""
    return int(time.time())


def train(
    committed: Committed,
    population: Population,
    folder: Path,
    *,
    engine: str,
    nodes: int,
    seed: int,
    dropouts: float = 0.0,
    changes: Changes = STEADY,
    workers: int = 0,
    observe: Callable[[RoundReport], None],
    publish: Callable[[Outcome, PrivacyClaim], tuple[bytes, bytes]],
    resume: bool = False,
) -> Trained:
    """Run the schedule, with its ledger in `folder`.

    Args:
        dropouts: share of devices that vanish at some step of every secure sum.
        changes: of consent and reach, from round to round.
        workers: threads of every edge that compute whole cohorts; 0: device by device.
        publish: writes the model bundle; gives the hashes of its manifest and tensors for the ledger.
        resume: go on with the ledger that is there.

    Histories lie in a temporary folder while the run lasts, never in the run folder.

    Raises:
        RuntimeError: the engine failed.
    """
    from backrow.client.app import make_client_app
    from backrow.server.app import make_server_app

    key = coordinator_key(seed)
    secure = committed.settings.aggregation is Aggregation.SECURE
    suppression = open_list(population, folder, seed, secure, resume=resume)
    book = open_book(committed, folder, seed, suppression, resume=resume)

    def noise(number: int) -> RandomSource:
        return own_draws(seed, committed.draws, "noise", number)

    coordinator = Coordinator(
        committed.schedule, committed.program, book, Archive(folder / RELEASES), key, noise, observe, nodes,
        suppression=suppression,
    )  # fmt: skip
    outcomes: list[Outcome] = []
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="backrow-population-") as scratch:
            population.write(Path(scratch) / "population")
            opener = EdgeOpener(
                Path(scratch) / "population", seed, key.public, dropouts, changes, committed.draws, workers
            )
            server_app, client_app = make_server_app(coordinator, outcomes.append), make_client_app(opener)
            if engine == "flower":
                from backrow.simulations.runner_flower import run_flower as run_engine
            else:
                from backrow.simulations.runner_inprocess import run_inprocess as run_engine
            run_engine(server_app, client_app, nodes)
        if not outcomes:
            raise RuntimeError("the engine ended without an outcome: see the messages above")
        outcome, seconds = outcomes[0], time.monotonic() - started
        spent = claim_of([report.plan for report in outcome.reports], committed.schedule)
        if outcome.releases:
            book.publish([release.receipt for release in outcome.releases], *publish(outcome, spent))
        return Trained(outcome, spent, seconds, tuple(coordinator.problems))
    finally:
        keep_lists(folder, book, epoch_key(seed), suppression)
        book.close()
