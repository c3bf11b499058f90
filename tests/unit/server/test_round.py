"""The round: sums only what was asked, noises before it lets go, releases only against a receipt."""

from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.queries import Query
from backrow.privacy.randomness import OsRandom, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire import BlindSum, EnrolReply
from backrow.server.book import Book
from backrow.server.cohort import Cohort, invite
from backrow.server.drawn import DrawnNoise
from backrow.server.policy import LedgerPolicy
from backrow.server.receipts import Receipt, Reservation
from backrow.server.round import OpenRound, RoundSum, Void
from tests.builders import plan

COHORT = invite({1: EnrolReply("run", ("a", "b")), 2: EnrolReply("run", ("c",))}, 2, 100)


def reserved(made: RoundPlan, folder: Path, epsilon: float | None) -> Reservation:
    schedule = Schedule("run", (made,), epsilon, 1e-5)
    policy = LedgerPolicy(epsilon, 1e-5, 2, Stamp.SIMULATED)
    return Book.begin(folder, SigningKey(bytes(32)), policy, schedule, 100, bytes(32), lambda: 0).reserve(made)


def opened(made: RoundPlan, folder: Path, cohort: Cohort = COHORT) -> OpenRound:
    return OpenRound.open(made, cohort, reserved(made, folder, 50.0))


def blind(values: int = 5, participants: int = 2, **changes: object) -> BlindSum:
    fields = {"run_id": "run", "round": 1, "query": Query.POPULARITY, **changes}
    return BlindSum(participants=participants, values=np.full((6, 1), values), **fields)  # type: ignore[arg-type]


def test_without_noise_the_sum_is_exact_whatever_the_order(tmp_path: Path) -> None:
    made = plan(noise_multiplier=0.0)
    start = OpenRound.open(made, COHORT, reserved(made, tmp_path, None))
    one = start.add(1, blind(5)).add(2, blind(-3, 1)).close(SeededRandom(1))
    other = start.add(2, blind(-3, 1)).add(1, blind(5)).close(SeededRandom(1))
    assert isinstance(one, RoundSum)
    assert isinstance(other, RoundSum)
    np.testing.assert_array_equal(one.noisy, np.full((6, 1), 2))
    assert one.digest() == other.digest()


def test_a_closed_sum_carries_the_noise_of_its_plan(tmp_path: Path) -> None:
    closed = opened(plan(), tmp_path).add(1, blind(0)).close(SeededRandom(1, "noise"))
    assert isinstance(closed, RoundSum)
    scale = plan().integer_noise_scale
    assert np.all(closed.noisy != 0)
    assert 0.2 * scale < np.abs(closed.noisy).mean() < 3 * scale


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (1, blind(run_id="other")),
        (1, blind(round=2)),
        (1, blind(query=Query.RECENT)),
        (3, blind()),
        (1, blind(participants=3)),
        (1, BlindSum("run", 1, Query.POPULARITY, 2, np.zeros((5, 1), np.int64))),
        (1, blind(values=3 * 2**20)),
    ],
    ids=["run", "round", "query", "uninvited node", "too many devices", "shape", "beyond the clip norm"],
)
def test_a_sum_that_was_not_asked_for_is_refused(tmp_path: Path, node: int, message: BlindSum) -> None:
    with pytest.raises(MalformedMessageError):
        opened(plan(), tmp_path).add(node, message)


def test_a_node_that_answers_twice_is_counted_once(tmp_path: Path) -> None:
    once = opened(plan(), tmp_path).add(1, blind())
    with pytest.raises(MalformedMessageError, match="twice"):
        once.add(1, blind())
    assert once.participants == 2


def test_a_round_below_its_minimum_is_void(tmp_path: Path) -> None:
    closed = opened(plan(minimum=3), tmp_path).add(1, blind()).close(SeededRandom(1))
    assert isinstance(closed, Void)
    assert "the minimum is 3" in closed.reason


def test_seeded_noise_never_carries_a_production_claim(tmp_path: Path) -> None:
    round_ = opened(plan(simulated=False), tmp_path).add(1, blind())
    with pytest.raises(ValueError, match="production"):
        round_.close(SeededRandom(1))
    assert isinstance(round_.close(OsRandom()), RoundSum)


def test_drawn_noise_is_what_the_round_would_have_drawn_and_is_added_once(tmp_path: Path) -> None:
    made = plan()
    round_ = opened(made, tmp_path).add(1, blind())
    drawn = DrawnNoise(made, SeededRandom(1))
    ahead, now = round_.close(drawn), round_.close(SeededRandom(1))
    assert isinstance(ahead, RoundSum)
    assert isinstance(now, RoundSum)
    assert ahead.digest() == now.digest()
    with pytest.raises(ValueError, match="added once"):
        round_.close(drawn)
    with pytest.raises(ValueError, match="added once"):
        round_.close(DrawnNoise(plan(number=2), SeededRandom(1)))
    with pytest.raises(ValueError, match="production"):
        DrawnNoise(plan(simulated=False), SeededRandom(1))


def test_there_is_no_release_without_the_receipt_for_exactly_these_values(tmp_path: Path) -> None:
    closed = opened(plan(), tmp_path).add(1, blind()).close(SeededRandom(1))
    assert isinstance(closed, RoundSum)
    for receipt in (Receipt(1, "0" * 64, 3), Receipt(2, closed.digest(), 3)):
        with pytest.raises(ValueError, match="receipt"):
            closed.release(receipt)
    release = closed.release(Receipt(1, closed.digest(), 3))
    np.testing.assert_allclose(release.values * 2**20, closed.noisy)


def test_what_was_hashed_for_its_receipt_is_not_changed_afterwards(tmp_path: Path) -> None:
    closed = opened(plan(), tmp_path).add(1, blind()).close(SeededRandom(1))
    assert isinstance(closed, RoundSum)
    receipt = Receipt(1, closed.digest(), 3)
    with pytest.raises(ValueError, match="read-only"):
        closed.noisy[0] += 1
    other = RoundSum(closed.plan, closed.noisy + 1, closed.participants)
    with pytest.raises(ValueError, match="receipt"):
        other.release(receipt)
