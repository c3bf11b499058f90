"""The journal: budget first, durably; never more than was committed."""

import json
from pathlib import Path

import pytest

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.errors import BudgetExhaustedError, JournalError
from backrow.privacy.plan import Schedule
from backrow.server.journal import Journal, Reservation
from tests.builders import plan


def schedule(epsilon: float | None = 3.0, rounds: int = 3) -> Schedule:
    multipliers = noise_multipliers(3.0, 1e-5, [1 / rounds] * rounds)
    plans = (plan(number=n, noise_multiplier=z) for n, z in enumerate(multipliers, start=1))
    return Schedule("run", tuple(plans), epsilon, 1e-5)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_reservation_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(), clock=lambda: 42)
    journal.reserve(schedule().rounds[0])
    assert [entry["kind"] for entry in lines(tmp_path / "j")] == ["schedule", "reserve"]
    assert lines(tmp_path / "j")[1]["time"] == 42


def test_spending_grows_round_by_round_up_to_the_committed_epsilon(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(), clock=lambda: 0)
    spent = []
    for made in schedule().rounds:
        journal.release(journal.reserve(made), "ff", 5)
        spent.append(journal.spent)
    assert spent == sorted(spent)
    assert 2.99 < spent[-1] <= 3.0


def test_a_void_round_stays_spent(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(), clock=lambda: 0)
    journal.void(journal.reserve(schedule().rounds[0]), "too few")
    assert journal.spent is not None
    assert journal.spent > 0
    assert [entry["kind"] for entry in lines(tmp_path / "j")] == ["schedule", "reserve", "void"]


def test_a_round_beyond_the_budget_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(epsilon=2.0), clock=lambda: 0)
    first, second, _ = schedule().rounds
    journal.release(journal.reserve(first), "ff", 5)
    with pytest.raises(BudgetExhaustedError, match="more than the committed 2"):
        journal.reserve(second)
    assert lines(tmp_path / "j")[-1]["kind"] == "release"


def test_a_round_outside_the_schedule_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(), clock=lambda: 0)
    with pytest.raises(JournalError, match="not the next round"):
        journal.reserve(schedule().rounds[1])
    with pytest.raises(JournalError, match="not the next round"):
        journal.reserve(plan(noise_multiplier=0.01))


def test_a_round_is_closed_once_and_one_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", schedule(), clock=lambda: 0)
    reservation = journal.reserve(schedule().rounds[0])
    with pytest.raises(JournalError, match="still open"):
        journal.reserve(schedule().rounds[1])
    journal.release(reservation, "ff", 5)
    with pytest.raises(JournalError, match="not open"):
        journal.void(reservation, "again")
    with pytest.raises(JournalError, match="not open"):
        journal.release(Reservation(2), "ff", 5)


def test_a_journal_is_never_continued_by_another_run(tmp_path: Path) -> None:
    Journal(tmp_path / "j", schedule(), clock=lambda: 0).close()
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(JournalError, match="never continues"):
        Journal(tmp_path / "j", schedule(), clock=lambda: 0)
    assert (tmp_path / "j").read_bytes() == before


def test_without_noise_no_privacy_is_claimed(tmp_path: Path) -> None:
    made = plan(noise_multiplier=0.0)
    journal = Journal(tmp_path / "j", Schedule("run", (made,), None, 1e-5), clock=lambda: 0)
    journal.reserve(made)
    assert journal.spent is None
    private = Journal(tmp_path / "k", Schedule("run", (made,), 3.0, 1e-5), clock=lambda: 0)
    with pytest.raises(BudgetExhaustedError):
        private.reserve(made)
