"""Trains one committed model on a population, on either engine."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backrow.privacy.accounting.claim import claim_of
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import PrivacyClaim
from backrow.server.journal import Journal
from backrow.server.strategy import Coordinator, Outcome, RoundReport
from backrow.simulations.pipeline import Committed
from backrow.simulations.population import EdgeOpener, Population


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


def train(
    committed: Committed,
    population: Population,
    journal_path: Path,
    *,
    engine: str,
    nodes: int,
    seed: int,
    observe: Callable[[RoundReport], None],
) -> Trained:
    """Run the schedule.

    Histories lie in a temporary folder while the run lasts, never in the run folder.

    Raises:
        RuntimeError: the engine failed.
    """
    from backrow.client.app import make_client_app
    from backrow.server.app import make_server_app

    key = coordinator_key(seed)
    journal = Journal(journal_path, committed.schedule, clock=lambda: int(time.time()))

    def noise(number: int) -> RandomSource:
        return SeededRandom(seed, "noise", number)

    coordinator = Coordinator(committed.schedule, committed.program, journal, key, noise, observe, nodes)
    outcomes: list[Outcome] = []
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="backrow-population-") as scratch:
            population.write(Path(scratch) / "population")
            opener = EdgeOpener(Path(scratch) / "population", seed, key.public)
            server_app, client_app = make_server_app(coordinator, outcomes.append), make_client_app(opener)
            if engine == "flower":
                from backrow.simulations.runner_flower import run_flower as run_engine
            else:
                from backrow.simulations.runner_inprocess import run_inprocess as run_engine
            run_engine(server_app, client_app, nodes)
    finally:
        journal.close()
    if not outcomes:
        raise RuntimeError("the engine ended without an outcome: see the messages above")
    reserved = [report.plan for report in outcomes[0].reports]
    return Trained(
        outcomes[0],
        claim_of(reserved, committed.schedule),
        time.monotonic() - started,
        tuple(coordinator.problems),
    )
