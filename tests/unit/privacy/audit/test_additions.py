"""Where rounds are added on the way, everything together is claimed by zCDP, and the audit demands exactly that."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger.parts import Additions, Basis, Provenance, Purpose, PurposeBudget, Stamp
from backrow.privacy.ledger.releases import CLOSED_FORM, ZCDP
from backrow.privacy.plan import Schedule
from backrow.privacy.wire import EnrolReply
from backrow.server.book import Book
from backrow.server.cohort import invite
from backrow.server.policy import LedgerPolicy
from tests.builders import plan
from tests.ledgers import EPOCH_KEY, KEY, SCHEDULE, Draft, honest, plans_of, spent, with_last_added, with_policy, write

DRAFT = with_last_added(honest(), 3.4)
PUBLICATION = len(DRAFT.bodies) - 1
RELEASE, RESERVE = PUBLICATION - 1, PUBLICATION - 2
PLANS = DRAFT.bodies[SCHEDULE].schedule.rounds  # type: ignore[union-attr]
CUMULATIVE = {RESERVE: "cumulative", RELEASE: "cumulative", PUBLICATION: "claim"}


def audit(folder: Path, draft: Draft) -> Report:
    return verify(write(folder / "run", draft), KEY.public)


def faults(report: Report) -> set[Fault]:
    return {finding.fault for finding in report.findings}


def test_an_honest_addition_is_claimed_by_zcdp_and_so_reported(tmp_path: Path) -> None:
    report = audit(tmp_path, DRAFT)
    assert report.findings == ()
    by_zcdp = zcdp_epsilon([made.noise_multiplier for made in PLANS], 1e-5)
    assert report.rounds[-1].cumulative == pytest.approx(by_zcdp, rel=1e-4)
    assert report.rounds[-1].cumulative > report.accounts[0].closed_form * 1.05
    assert report.accounts[0].epsilon == report.accounts[0].rdp == report.rounds[-1].cumulative
    assert report.rounds[1].cumulative == pytest.approx(spent(PLANS[:2]).epsilon)  # before it: the closed form
    assert any("zCDP" in note for note in report.notes)


@pytest.mark.parametrize("index", CUMULATIVE)
def test_the_closed_form_is_refused_once_a_round_was_added(tmp_path: Path, index: int) -> None:
    report = audit(tmp_path, DRAFT.swap(index, **{CUMULATIVE[index]: spent(PLANS)}))
    assert faults(report) == {Fault.UNFIT}
    assert "closed form" in report.findings[0].sentence
    assert report.findings[0].entries == (index,)


@pytest.mark.parametrize("index", CUMULATIVE)
@pytest.mark.parametrize(
    ("factor", "fault"), [(0.99, Fault.UNDERSTATED), (0.5, Fault.UNDERSTATED), (1.01, Fault.MISSTATED)]
)
def test_any_other_figure_is_named_too(tmp_path: Path, index: int, factor: float, fault: Fault) -> None:
    true = spent(PLANS, added=True)
    assert true.epsilon is not None
    said = replace(true, epsilon=true.epsilon * factor)
    assert faults(audit(tmp_path, DRAFT.swap(index, **{CUMULATIVE[index]: said}))) == {fault}


def test_the_release_names_the_accountant_that_counted(tmp_path: Path) -> None:
    for index, name in ((RELEASE, CLOSED_FORM[0]), (RELEASE, "somebody"), (RELEASE - 2, ZCDP[0])):
        report = audit(tmp_path / f"{index}{name}", DRAFT.swap(index, accountant=name))
        assert faults(report) == {Fault.UNFIT}
        assert name in report.findings[0].sentence


def test_a_purpose_is_counted_by_zcdp_too(tmp_path: Path) -> None:
    narrow = with_policy(DRAFT, purposes=(PurposeBudget(Purpose.TRAIN, 3.1),))
    assert faults(audit(tmp_path, narrow)) == {Fault.PURPOSE_BUDGET}


def test_lies_about_added_rounds_are_never_missed(tmp_path: Path) -> None:
    rng = random.Random(8)
    for number in range(50):
        index = rng.choice(list(CUMULATIVE))
        said: Any = getattr(DRAFT.bodies[index], CUMULATIVE[index])
        lie = DRAFT.swap(index, **{CUMULATIVE[index]: replace(said, epsilon=said.epsilon * rng.uniform(0.5, 0.999))})
        assert faults(audit(tmp_path / str(number), lie)) in ({Fault.UNDERSTATED}, {Fault.UNFIT})


COHORT = invite({1: EnrolReply("run", ("a", "b", "c"))}, 2, 100)
MADE_OF = Provenance(None, None, bytes(32), bytes(32), bytes(32))


def test_what_the_book_writes_with_additions_verifies_before_and_after_a_crash(tmp_path: Path) -> None:
    schedule = Schedule("run", plans_of([0.5, 0.5], 2.5, sentinels=0), 3.0, 1e-5)
    policy = LedgerPolicy(3.0, 1e-5, 2, Stamp.SIMULATED, (PurposeBudget(Purpose.TRAIN, 2.8),), Additions.ZCDP)
    now = iter(range(100, 1000))
    book = Book.begin(tmp_path, KEY, policy, schedule, 100, EPOCH_KEY, lambda: next(now))
    receipts = []

    def run(number: int, basis: Basis, purpose: Purpose = Purpose.TRAIN) -> None:
        made = schedule.rounds[number - 1] if basis is Basis.SCHEDULED else plan(number=number, noise_multiplier=9.0)
        reservation = book.reserve(made, basis=basis, purpose=purpose)
        receipts.append(book.release(reservation, COHORT, 3, "ab" * 32, (), MADE_OF))

    run(1, Basis.SCHEDULED)
    before = book.spent
    run(9, Basis.ADDITION, Purpose.TRENDS)
    book.publish(receipts, b"m" * 32, b"t" * 32)
    book.close()
    book = Book.resume(tmp_path, KEY, policy, schedule, EPOCH_KEY, lambda: next(now))
    run(2, Basis.SCHEDULED)
    book.publish(receipts, b"n" * 32, b"t" * 32)
    book.close()
    report = verify(tmp_path, KEY.public)
    assert report.findings == ()
    multipliers = [row.noise_multiplier for row in report.rounds]
    assert [row.claimed.epsilon for row in report.rounds] == [
        before, zcdp_epsilon(multipliers[:2], 1e-5), zcdp_epsilon(multipliers, 1e-5),
    ]  # fmt: skip
    assert book.spent_after(1) == before
    assert book.spent == report.rounds[-1].claimed.epsilon
