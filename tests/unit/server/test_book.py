"""The book: budget first, durably, in the ledger; never more than was committed; nothing twice after a crash."""

from pathlib import Path

import pytest

from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.accounting.rdp import rdp_epsilon
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.errors import BookError, BudgetExhaustedError, LedgerError
from backrow.privacy.ledger.entries import PublicationEntry, ReleaseEntry, ReserveEntry, VoidEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.parts import Additions, Basis, Provenance, Purpose, PurposeBudget, Stamp
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.plan import Schedule
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire import EnrolReply
from backrow.server.book import Book
from backrow.server.cohort import invite
from backrow.server.policy import LedgerPolicy
from backrow.server.receipts import Receipt, Reservation
from tests.builders import BEGINNING, plan

KEY = SigningKey(bytes(range(32)))
EPOCH = bytes(32)
COHORT = invite({1: EnrolReply("run", ("a", "b", "c"))}, 2, 100)
MADE_OF = Provenance(None, None, bytes(32), bytes(32), bytes(32))


def schedule(epsilon: float | None = 3.0, rounds: int = 3) -> Schedule:
    multipliers = noise_multipliers(3.0, 1e-5, [1 / rounds] * rounds)
    plans = (plan(number=n, noise_multiplier=z) for n, z in enumerate(multipliers, start=1))
    return Schedule("run", tuple(plans), epsilon, 1e-5)


def policy(epsilon: float | None = 3.0, **changes: object) -> LedgerPolicy:
    return LedgerPolicy(epsilon, 1e-5, 2, Stamp.SIMULATED, **changes)  # type: ignore[arg-type]


def begin(folder: Path, made: Schedule | None = None, rules: LedgerPolicy | None = None) -> Book:
    return Book.begin(folder, KEY, rules or policy(), made or schedule(), 100, EPOCH, lambda: 42)


def resume(folder: Path, made: Schedule | None = None) -> Book:
    return Book.resume(folder, KEY, policy(), made or schedule(), EPOCH, lambda: 43)


def release(book: Book, reservation: Reservation) -> Receipt:
    return book.release(reservation, COHORT, 3, "ab" * 32, (1, -2), MADE_OF)


def entries(folder: Path) -> list[SignedEntry]:
    """Everything in the ledger, verified as an auditor would."""
    return list(verify_files(read_files(folder), KEY.public).entries)


def kinds(folder: Path) -> list[type]:
    return [type(entry.body) for entry in entries(folder)][BEGINNING:]


def test_a_reservation_is_on_disk_and_signed_before_the_call_returns(tmp_path: Path) -> None:
    begin(tmp_path).reserve(schedule().rounds[0])
    assert kinds(tmp_path) == [ReserveEntry]
    assert entries(tmp_path)[-1].time == 42
    assert (tmp_path / "policy.toml").exists()


def test_spending_grows_round_by_round_up_to_the_committed_epsilon(tmp_path: Path) -> None:
    book, spent = begin(tmp_path), []
    for made in schedule().rounds:
        release(book, book.reserve(made))
        spent.append(book.spent)
    assert spent == sorted(spent)
    assert 2.99 < spent[-1] <= 3.0
    recorded = [entry.body.cumulative.epsilon for entry in entries(tmp_path) if isinstance(entry.body, ReleaseEntry)]
    assert recorded == spent


def test_a_release_entry_says_what_the_plan_implies_and_whom_it_covers(tmp_path: Path) -> None:
    book = begin(tmp_path)
    receipt = release(book, book.reserve(schedule().rounds[0]))
    entry = entries(tmp_path)[receipt.index].body
    assert isinstance(entry, ReleaseEntry)
    assert (entry.crowd.invited, entry.crowd.survived, entry.crowd.participants_size) == (3, 3, 3)
    assert entry.noise_scale == schedule().rounds[0].noise_scale
    assert entry.values.hex() == receipt.digest
    assert entry.sentinels == (1, -2)
    assert b'"a"' not in (tmp_path / "ledger.jsonl").read_bytes()


def test_a_void_round_stays_spent(tmp_path: Path) -> None:
    book = begin(tmp_path)
    book.void(book.reserve(schedule().rounds[0]), "too few")
    assert book.spent is not None
    assert book.spent > 0
    assert kinds(tmp_path) == [ReserveEntry, VoidEntry]


def test_a_round_beyond_the_budget_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    book = begin(tmp_path, schedule(epsilon=2.0))
    first, second, _ = schedule().rounds
    release(book, book.reserve(first))
    with pytest.raises(BudgetExhaustedError, match="more than the committed 2"):
        book.reserve(second)
    assert kinds(tmp_path) == [ReserveEntry, ReleaseEntry]


def test_a_purpose_has_a_budget_of_its_own(tmp_path: Path) -> None:
    book = begin(tmp_path, rules=policy(purposes=(PurposeBudget(Purpose.TRAIN, 2.0),)))
    first, second, _ = schedule().rounds
    release(book, book.reserve(first))
    with pytest.raises(BudgetExhaustedError, match="purpose train"):
        book.reserve(second)


def test_a_round_outside_the_schedule_is_refused(tmp_path: Path) -> None:
    book = begin(tmp_path)
    for wrong in (schedule().rounds[1], plan(noise_multiplier=50.0)):
        with pytest.raises(BookError, match="not the next round"):
            book.reserve(wrong)
    with pytest.raises(BookError, match="no release outside"):
        book.reserve(plan(number=9), basis=Basis.ADDITION)


def test_an_addition_is_gated_by_zcdp_where_the_policy_allows_it(tmp_path: Path) -> None:
    book = begin(tmp_path, rules=policy(additions=Additions.ZCDP))
    release(book, book.reserve(schedule().rounds[0]))
    release(book, book.reserve(plan(number=9, noise_multiplier=8.0), basis=Basis.ADDITION, purpose=Purpose.TRENDS))
    with pytest.raises(BudgetExhaustedError):
        book.reserve(plan(number=10, noise_multiplier=0.5), basis=Basis.ADDITION)
    # The committed rest no longer fits: with additions it is the zCDP cost that counts.
    release(book, book.reserve(schedule().rounds[1]))
    with pytest.raises(BudgetExhaustedError):
        book.reserve(schedule().rounds[2])


def test_zcdp_is_dearer_than_the_closed_form_and_agrees_with_renyi() -> None:
    for epsilon in (0.5, 3.0, 8.0):
        multipliers = noise_multipliers(epsilon, 1e-5, [0.5, 0.5])
        ours = zcdp_epsilon(multipliers, 1e-5)
        assert ours > epsilon
        assert ours == pytest.approx(rdp_epsilon(multipliers, 1e-5), rel=1e-3)
    with pytest.raises(ValueError, match="delta"):
        zcdp_epsilon([1.0], 0.0)


def test_a_round_is_closed_once_and_one_at_a_time(tmp_path: Path) -> None:
    book = begin(tmp_path)
    reservation = book.reserve(schedule().rounds[0])
    with pytest.raises(BookError, match="still open"):
        book.reserve(schedule().rounds[1])
    release(book, reservation)
    with pytest.raises(BookError, match="not open"):
        book.void(reservation, "again")
    with pytest.raises(BookError, match="not open"):
        release(book, Reservation(2, 9))


def test_a_ledger_is_never_begun_twice(tmp_path: Path) -> None:
    begin(tmp_path).close()
    before = (tmp_path / "ledger.jsonl").read_bytes()
    with pytest.raises(LedgerError):
        begin(tmp_path)
    assert (tmp_path / "ledger.jsonl").read_bytes() == before


def test_a_killed_coordinator_finds_its_releases_and_voids_what_was_open(tmp_path: Path) -> None:
    book = begin(tmp_path)
    first, second, third = schedule().rounds
    receipt = release(book, book.reserve(first))
    book.reserve(second)
    spent = book.spent
    book.close()  # a kill leaves the file as it is
    again = resume(tmp_path)
    assert [(closed.plan, closed.receipt) for closed in again.closed] == [(first, receipt), (second, None)]
    assert again.spent == spent
    release(again, again.reserve(third))
    assert again.spent is not None
    assert again.spent <= 3.0
    assert kinds(tmp_path) == [ReserveEntry, ReleaseEntry, ReserveEntry, VoidEntry, ReserveEntry, ReleaseEntry]


def test_a_ledger_of_another_schedule_is_not_resumed(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with pytest.raises(BookError, match="another schedule"):
        resume(tmp_path, schedule(rounds=2))


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_ledger_cut_off_before_it_had_begun_is_not_gone_on_with(tmp_path: Path, kept: int) -> None:
    (tmp_path / "begun").mkdir()
    begin(tmp_path / "begun").close()
    Ledger.create(tmp_path, "backrow/run", KEY).close()
    lines = (tmp_path / "begun" / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(lines[:kept]))
    with pytest.raises(BookError, match="begin in a new folder"):
        resume(tmp_path)


def test_a_clock_that_was_set_back_does_not_keep_a_round_open(tmp_path: Path) -> None:
    times = iter([100, 100, 50, 40])
    book = Book.begin(tmp_path, KEY, policy(), schedule(), 100, EPOCH, lambda: next(times))
    release(book, book.reserve(schedule().rounds[0]))
    assert [entry.time for entry in entries(tmp_path)] == [100] * 6


def test_a_publication_names_its_releases_and_is_recorded_once(tmp_path: Path) -> None:
    book = begin(tmp_path)
    receipt = release(book, book.reserve(schedule().rounds[0]))
    book.publish([receipt], b"m" * 32, b"t" * 32)
    book.close()
    again = resume(tmp_path)
    again.publish([receipt], b"m" * 32, b"t" * 32)
    published = [entry.body for entry in entries(tmp_path) if isinstance(entry.body, PublicationEntry)]
    assert len(published) == 1
    assert published[0].releases == (receipt.index,)


def test_without_noise_no_privacy_is_claimed(tmp_path: Path) -> None:
    made = plan(noise_multiplier=0.0)
    (tmp_path / "open").mkdir()
    book = begin(tmp_path / "open", Schedule("run", (made,), None, 1e-5), policy(None))
    book.reserve(made)
    assert book.spent is None
    (tmp_path / "private").mkdir()
    private = begin(tmp_path / "private", Schedule("run", (made,), 3.0, 1e-5))
    with pytest.raises(BudgetExhaustedError):
        private.reserve(made)
