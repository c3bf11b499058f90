"""How long a gate decides whether a round fits the budget, after 1,000 earlier rounds: coordinator and device.

.venv/bin/python benchmarks/gate.py     # writes benchmarks/results/gate.md
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from machine import no_options

from backrow.client.ledger_watch import check_ledger
from backrow.client.policy import DevicePolicy
from backrow.client.spending import Spending
from backrow.client.vault.store import Vault
from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.errors import BudgetExhaustedError
from backrow.privacy.ledger.parts import Additions, Basis, Stamp
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.signing import SigningKey
from backrow.server.book import Book
from backrow.server.policy import LedgerPolicy
from backrow.server.receipts import Reservation

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
ROUNDS, TRIES = 1_000, 20
DELTA, NOW = 1e-5, 1_700_000_000
KEY = SigningKey(bytes(range(32)))


def plans(rounds: int) -> list[RoundPlan]:
    """So many rounds that cost epsilon 3 together."""
    sys.path.insert(0, str(ROOT))
    from tests.builders import plan

    multipliers = noise_multipliers(3.0, DELTA, [1 / rounds] * rounds)
    return [plan(number=n, noise_multiplier=z, run_id="gate") for n, z in enumerate(multipliers, start=1)]


def milliseconds(decide: Callable[[], object], then: Callable[[], object] = lambda: None) -> float:
    """Median of several decisions; what follows each is not counted."""
    taken = []
    for _ in range(TRIES):
        started = time.perf_counter()
        decide()
        taken.append(time.perf_counter() - started)
        then()
    return 1000 * statistics.median(taken)


@contextmanager
def book_of(schedule: list[RoundPlan], basis: Basis) -> Iterator[Book]:
    """A ledger with the first rounds of a schedule reserved and void."""
    committed = Schedule("gate", tuple(schedule), 3.5, DELTA)
    policy = LedgerPolicy(3.5, DELTA, 2, Stamp.SIMULATED, additions=Additions.ZCDP)
    with tempfile.TemporaryDirectory() as folder:
        book = Book.begin(Path(folder), KEY, policy, committed, 100, bytes(32), lambda: NOW)
        for made in schedule[:ROUNDS]:
            book.void(book.reserve(made, basis=basis), "nobody came")
        yield book
        book.close()


def coordinator(basis: Basis) -> tuple[float, float]:
    """Milliseconds to refuse a round beyond the budget, and to reserve one durably."""
    schedule = plans(ROUNDS + TRIES)
    following = iter(schedule[ROUNDS:])
    with book_of(schedule, basis) as book:

        def refuse() -> None:
            with suppress(BudgetExhaustedError):
                book.reserve(replace(schedule[0], noise_multiplier=0.5), basis=Basis.ADDITION)
                raise AssertionError("it fits")

        reserved: list[Reservation] = []
        durable = milliseconds(
            lambda: reserved.append(book.reserve(next(following), basis=basis)),
            lambda: book.void(reserved.pop(), "nobody came"),
        )
        return milliseconds(refuse), durable


def device() -> tuple[float, float, float]:
    """Milliseconds to check the limits, to record an answer durably, and to check the ledger, on a device."""
    *rounds, last = plans(ROUNDS + 1)
    policy = DevicePolicy(largest_epsilon=1e6)
    with tempfile.TemporaryDirectory() as folder, Vault.open(Path(folder) / "vault", bytes(32)) as vault:
        spending = Spending(vault, policy, lambda: NOW)
        for made in rounds:
            spending.reserve(made, NOW)
        checked = milliseconds(lambda: spending.check(last, NOW))
        numbers = iter(range(ROUNDS + 2, ROUNDS + 2 + TRIES))
        recorded = milliseconds(lambda: spending.reserve(replace(last, round=next(numbers)), NOW))
        with book_of([*rounds, last], Basis.SCHEDULED) as book:
            proof = book.proof(book.reserve(last))
        watched = milliseconds(lambda: check_ledger(last, proof, KEY.public, vault))
    return checked, recorded, watched


def main() -> None:
    """Measure and write the table."""
    refused, scheduled = coordinator(Basis.SCHEDULED)
    refused_added, added = coordinator(Basis.ADDITION)
    checked, recorded, watched = device()
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    text = f"""# The gate

`python benchmarks/gate.py` on {platform.machine()}, Python {platform.python_version()}, {load}; {ROUNDS:,} rounds
before, medians of {TRIES} decisions; asked: less than 50 ms each

| who decides about a round | decision | with its record on disk |
|---|---|---|
| coordinator, committed schedule (the first addition is refused) | {refused:.1f} ms | {scheduled:.1f} ms |
| coordinator, every round an addition | {refused_added:.1f} ms | {added:.1f} ms |
| device, its own limits | {checked:.1f} ms | {recorded:.1f} ms |
| device, the ledger has only grown | {watched:.1f} ms | |
"""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gate.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    no_options(__doc__)
    main()
