"""What a device has answered counts against its own limit, whatever happens to it afterwards."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from backrow.client import Device
from backrow.client.policy import DevicePolicy
from backrow.client.spending import APART, Spending
from backrow.client.vault.store import Vault
from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Query
from backrow.privacy.signing import SigningKey
from tests.builders import plan
from tests.unit.client.bundles import STRANGER
from tests.unit.client.devices import KEY, NOW, POLICY, contribution, open_device, ready, round_call, signed
from tests.unit.client.growing import GrowingLedger

DAY = 86_400
PERIOD = 30 * DAY
THREE = dataclasses.replace(POLICY, largest_epsilon=zcdp_epsilon([2.0] * 3, 1e-5), period=PERIOD)
"""Admits three rounds of noise multiplier 2 in 30 days."""


def ask(device: Device, number: int, query: Query = Query.POPULARITY, **changes: object) -> None:
    """Have one round answered."""
    contribution(device.take_part(signed(round_call(query, number=number, **changes))))  # type: ignore[arg-type]


def refuse(device: Device, number: int, **changes: object) -> str:
    """Have one round refused; the sentence."""
    with pytest.raises(RefusedCallError, match="would bring") as caught:
        ask(device, number, **changes)  # type: ignore[arg-type]
    return str(caught.value)


def spend_all(device: Device, **changes: object) -> None:
    for number in (1, 2, 3):
        ask(device, number, **changes)  # type: ignore[arg-type]


def reserve_all(spending: Spending, plans: list[RoundPlan]) -> None:
    for made in plans:
        spending.reserve(made, NOW)


# The limit


def test_a_device_answers_up_to_its_limit_and_says_why_it_stops(tmp_path: Path) -> None:
    with ready(tmp_path, policy=THREE) as device:
        spend_all(device)
        sentence = refuse(device, 4)
    for word in ("4.73", "4.02", "delta 1e-05", "unit device", "adjacency zero-out", "3 releases in 30 days", "zCDP"):
        assert word in sentence, (word, sentence)


def test_what_is_refused_costs_nothing_and_cheaper_rounds_still_fit(tmp_path: Path) -> None:
    with ready(tmp_path, policy=THREE) as device:
        ask(device, 1)
        ask(device, 2)
        before = device.spent
        refuse(device, 3, noise_multiplier=1.3)
        assert device.spent == before
        ask(device, 3, noise_multiplier=4.0)


def test_the_history_is_not_read_for_a_round_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(vault: Vault) -> None:
        raise AssertionError("the history was read")

    with ready(tmp_path, policy=THREE) as device:
        spend_all(device)
        monkeypatch.setattr(Vault, "events", read)
        refuse(device, 4)


def test_a_query_has_a_limit_of_its_own(tmp_path: Path) -> None:
    policy = dataclasses.replace(THREE, query_epsilons={Query.RECENT: zcdp_epsilon([2.0], 1e-5)})
    with ready(tmp_path, policy=policy) as device:
        ask(device, 1, Query.RECENT)
        assert "the query recent" in refuse(device, 2, query=Query.RECENT)
        ask(device, 2)
        ask(device, 3)
        assert "this device" in refuse(device, 4)


def test_spent_says_what_it_covers(tmp_path: Path) -> None:
    with ready(tmp_path, policy=THREE) as device:
        assert (device.spent.epsilon, device.spent.releases) == (0, 0)
        ask(device, 1)
        ask(device, 2, Query.RECENT, noise_multiplier=3.0)
        spent = device.spent
    assert spent.epsilon == zcdp_epsilon([2.0, 3.0], 1e-5)
    assert (spent.delta, spent.unit, spent.adjacency, spent.releases, spent.period) == (
        1e-5, "device", "zero-out", 2, PERIOD,
    )  # fmt: skip
    assert spent.by_query == {"popularity": zcdp_epsilon([2.0], 1e-5), "recent": zcdp_epsilon([3.0], 1e-5)}
    assert str(spent) == "epsilon 2.66 (delta 1e-05, unit device, adjacency zero-out, by zCDP, 2 releases in 30 days)"


def test_without_noise_only_an_infinite_limit_answers_and_says_infinity(tmp_path: Path) -> None:
    policy = dataclasses.replace(POLICY, largest_mu=math.inf)
    with ready(tmp_path, policy=policy) as device:
        assert "epsilon inf" in refuse(device, 1, noise_multiplier=0.0).lower()
    with ready(tmp_path, policy=dataclasses.replace(policy, largest_epsilon=math.inf)) as device:
        ask(device, 1, noise_multiplier=0.0)
        assert device.spent.epsilon == math.inf
    with ready(tmp_path, policy=POLICY) as device:  # a limit set afterwards sees it
        refuse(device, 2, noise_multiplier=1000.0)


@pytest.mark.parametrize("rounds", [2, 17])
def test_the_default_limit_admits_a_run_at_epsilon_8_and_not_two(tmp_path: Path, rounds: int) -> None:
    policy = dataclasses.replace(DevicePolicy(), largest_mu=2.0, accept_trusted=True, accept_simulated=True)
    shares = [0.1, *[0.9 / (rounds - 1)] * (rounds - 1)]
    with Vault.open(tmp_path / "vault", KEY) as vault:
        spending = Spending(vault, policy, lambda: NOW)
        plans = [
            plan(number=number, noise_multiplier=multiplier)
            for number, multiplier in enumerate(noise_multipliers(8.0, 1e-5, shares), start=1)
        ]
        reserve_all(spending, plans)
        again = [dataclasses.replace(made, run_id="again") for made in plans]
        with pytest.raises(RefusedCallError, match="would bring"):
            reserve_all(spending, again)


# Time


def test_the_budget_comes_back_when_the_period_has_passed_and_not_before(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        spend_all(device)
        now = NOW + PERIOD - 1
        refuse(device, 4, at=now)
        now = NOW + PERIOD
        assert device.spent.releases == 0
        ask(device, 4, at=now)
        assert device.spent.releases == 1


def test_a_clock_set_back_does_not_shorten_the_period(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        now = NOW - APART
        spend_all(device)  # dated by the coordinator's clock
        now = NOW + PERIOD - 1
        refuse(device, 4, at=now)


def test_a_clock_set_ahead_does_not_shorten_the_period(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        spend_all(device)
        now = NOW + PERIOD + APART // 2
        refuse(device, 4, at=NOW + PERIOD - 1)


def test_a_coordinator_that_lies_about_the_time_does_not_shorten_the_period(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        spend_all(device, at=NOW - APART)
        now = NOW + PERIOD - 1
        refuse(device, 4, at=now)
        refuse(device, 4, at=now + APART)


def test_clocks_far_apart_are_a_refusal_and_nothing_is_spent(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        for at in (NOW - APART - 1, NOW + APART + 1):
            with pytest.raises(RefusedCallError, match="set the clock"):
                ask(device, 1, at=at)
        ask(device, 1)
        assert device.spent.releases == 1


def test_both_clocks_set_back_still_count_what_was_answered_before(tmp_path: Path) -> None:
    now = NOW + PERIOD
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        ask(device, 1, at=now)
        now = NOW
        ask(device, 2, at=now)
        ask(device, 3, at=now)
        refuse(device, 4, at=now)
        now = NOW + 2 * PERIOD - 1
        refuse(device, 4, at=now)


# What resets nothing


def test_reopening_erasing_and_consent_reset_nothing(tmp_path: Path) -> None:
    with ready(tmp_path, policy=THREE) as device:
        spend_all(device)
        spent = device.spent
    with open_device(tmp_path, policy=THREE) as device:
        for step in ("reopened", "withdrawn", "erased"):
            if step == "withdrawn":
                device.set_consent(False)
            elif step == "erased":
                device.erase()
            device.set_consent(True)
            assert device.spent == spent, step
            refuse(device, 4)


def test_another_run_another_coordinator_and_another_query_draw_on_the_same_limit(tmp_path: Path) -> None:
    with ready(tmp_path, policy=THREE) as device:
        spend_all(device)
        refuse(device, 1, run_id="another")
        refuse(device, 4, query=Query.RECENT)
    other = ready(tmp_path, policy=THREE, coordinator_key=STRANGER.public)
    with other as device, pytest.raises(RefusedCallError, match="would bring"):
        device.take_part(signed_by(STRANGER))


def signed_by(key: SigningKey) -> bytes:
    """A round call of another coordinator, with a ledger of its own."""
    from backrow.privacy import wire

    call = round_call(run_id="elsewhere")
    proof = GrowingLedger("elsewhere", key).reserve(call.plan)
    return wire.encode_signed(dataclasses.replace(call, ledger=proof), key)


def test_a_longer_period_set_later_counts_what_was_answered_before(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        spend_all(device)
        now = NOW + 3 * PERIOD
        ask(device, 4, at=now)
        assert kept(device) == [("", 3), ("run", 1)]  # the old ones as one
    with ready(tmp_path, policy=dataclasses.replace(THREE, period=4 * PERIOD), clock=lambda: now) as device:
        assert device.spent.releases == 4
        refuse(device, 5, at=now)


def kept(device: Device) -> list[tuple[str, int]]:
    """Run and number of answers of every record."""
    note = device._participation.note("spending")
    return [] if note is None else [(fields[1], fields[-1]) for fields in json.loads(note)]


def test_records_beyond_two_periods_become_one_for_each_query(tmp_path: Path) -> None:
    now = NOW
    with ready(tmp_path, policy=THREE, clock=lambda: now) as device:
        for month in range(6):
            now = NOW + month * PERIOD
            ask(device, 2 * month + 1, at=now)
            ask(device, 2 * month + 2, Query.RECENT, at=now)
        assert kept(device) == [("", 4), ("", 4), *[("run", 1)] * 4]
