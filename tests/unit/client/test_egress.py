"""What left the device: every byte sequence on record before it is handed out, and nothing else."""

import math
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from backrow.client.egress import ABOUT, OPT_OUT, EgressLog
from backrow.client.policy import DevicePolicy
from backrow.client.ring import Ring
from backrow.client.vault.store import Vault
from backrow.privacy import wire
from backrow.privacy.consent import Purpose, read_opt_out
from backrow.privacy.errors import RefusedCallError, VaultError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Query
from tests.builders import plan
from tests.unit.client.bundles import STRANGER
from tests.unit.client.consents import KEY, ROOT, full_disk
from tests.unit.client.devices import NOW, POLICY, open_device, ready, round_call, signed
from tests.unit.client.summing import summing


@pytest.fixture
def vault(tmp_path: Path) -> Generator[Vault, None, None]:
    with Vault.open(tmp_path / "participation.vault", KEY) as opened:
        yield opened


def asked(query: Query = Query.POPULARITY) -> RoundPlan:
    return plan(query, 30, 1)


def test_an_answer_is_on_record_with_its_bytes_hash_purpose_and_cost(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        data = device.take_part(signed(round_call()))
        assert data is not None
        (entry,) = device.egress_log()
        assert (entry.at, entry.purpose, entry.bytes) == (NOW, "train", len(data))
        assert entry.sha256 == sha256(data).hex()
        assert entry.releases == 1
        assert entry.epsilon == device.spent.epsilon
        assert str(entry) == (
            f"1970-01-12 13:46 UTC: an answer to: how popular titles are; the edge that adds it up can read it; "
            f"{len(data)} bytes; {entry.cost}"
        )
        assert entry.cost == f"costs {device.spent}".replace(" in 84 days", "")


def test_every_step_of_a_secure_sum_is_on_record_and_only_the_answer_costs(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        left = [round_.step(step)["d0"] for step in range(1, 6)]
        log = round_.devices["d0"].egress_log()
        assert [(entry.bytes, entry.sha256) for entry in log] == [(len(data), sha256(data).hex()) for data in left]
        assert [entry.releases for entry in log] == [0, 0, 1, 0, 0]
        assert [entry.cost == "costs nothing" for entry in log] == [True, True, False, True, True]
        assert math.fsum(entry.epsilon for entry in log) == round_.devices["d0"].spent.epsilon
        words = [entry.words.split(" ")[0] for entry in log]
        assert words == ["fresh", "sealed", "a", "a", "shares"]
        assert log[2].words == "a masked answer to: how popular titles are; nobody but this device can read it"


def test_every_query_has_words_for_its_owner() -> None:
    assert set(ABOUT) == set(Query)


def test_what_is_refused_or_withheld_leaves_no_entry(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        for call in (round_call(cohort=1), round_call(noise_multiplier=0.0), round_call(rows=29)):
            with pytest.raises(RefusedCallError):
                device.take_part(signed(call))
        for data in (wire.encode_signed(round_call(), STRANGER), b"noise"):
            with pytest.raises(Exception, match=r"signature|too short|bytes"):
                device.take_part(data)
        device.set_consent(False)
        assert device.take_part(signed(round_call())) is None
        assert device.egress_log() == []


ANSWERS_AND_DIES = """
import os, sys
from pathlib import Path
from tests.unit.client.devices import open_device, round_call, signed
device = open_device(Path(sys.argv[1]))
os.write(1, device.take_part(signed(round_call(run_id="dies-logged"))))
os._exit(0)
"""


def test_an_entry_is_on_disk_before_the_bytes_are_handed_out(tmp_path: Path) -> None:
    ready(tmp_path).close()
    done = subprocess.run([sys.executable, "-c", ANSWERS_AND_DIES, tmp_path], cwd=ROOT, capture_output=True, check=True)
    with open_device(tmp_path) as device:
        assert [entry.sha256 for entry in device.egress_log()] == [sha256(done.stdout).hex()]


def test_what_cannot_be_put_on_record_is_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ready(tmp_path) as device, monkeypatch.context() as patch:  # so that the log is the first to need space
        patch.setattr(device._spending, "reserve", lambda *_: None)
        patch.setattr("backrow.client.contributor.check_ledger", lambda *_: (NOW, Purpose.TRAIN))
        with full_disk(), pytest.raises(VaultError):
            device.take_part(signed(round_call()))
        assert device.egress_log() == []
        assert device.take_part(signed(round_call())) is not None  # the control: with space


def test_the_log_survives_restarts_withdrawals_and_an_erase(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        device.take_part(signed(round_call()))
        log = device.egress_log()
        device.erase()
        assert device.egress_log() == log
    with open_device(tmp_path) as device:
        assert device.egress_log() == log


def test_an_opt_out_that_may_be_sent_is_on_record(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        data = device.opt_out_request("device-7")
        assert read_opt_out(data).record.device == device.identity
        (entry,) = device.egress_log()
        assert (entry.words, entry.sha256, entry.cost) == (OPT_OUT, sha256(data).hex(), "costs nothing")
        assert not device.consent


# Old entries


def log_of(vault: Vault, kept: int, clock: list[int]) -> EgressLog:
    return EgressLog(vault, lambda: clock.pop(0), 1e-5, kept)


def test_old_entries_become_one_for_each_kind_and_nothing_is_lost_of_their_sums(vault: Vault) -> None:
    log = log_of(vault, 3, list(range(100, 140)))
    sent: list[tuple[bytes, Query]] = []
    for number in range(20):
        query = Query.POPULARITY if number % 2 else Query.RECENT
        sent.append((bytes([number]) * (number + 1), query))
        log.answered(sent[-1][0], Purpose.TRAIN, asked(query))
    *old, first, second, third = log.entries()
    assert [entry.sha256 for entry in (first, second, third)] == [sha256(data).hex() for data, _ in sent[-3:]]
    assert len(old) == 2
    for entry, query in zip(old, (Query.RECENT, Query.POPULARITY), strict=True):
        folded = [(number, data) for number, (data, what) in enumerate(sent[:-3]) if what is query]
        chain = sha256(folded[0][1])
        for _, data in folded[1:]:
            chain = sha256(chain + sha256(data))
        assert entry.sha256 == chain.hex()
        assert (entry.messages, entry.releases) == (len(folded), len(folded))
        assert entry.bytes == sum(len(data) for _, data in folded)
        assert (entry.at, entry.until) == (100 + folded[0][0], 100 + folded[-1][0])
        assert entry.mu_squared == pytest.approx(len(folded) * third.mu_squared)
        assert f"{len(folded)} times" in str(entry)


def test_the_log_stays_small_however_long_a_device_lives(vault: Vault) -> None:
    log = EgressLog(vault, lambda: NOW, 1e-5, kept=4)
    for number in range(200):
        log.stepped(bytes([number]), Purpose.TRAIN, Query.RECENT, 1 + number % 5, None)
    assert len(log.entries()) == 4 + 5
    assert sum(entry.messages for entry in log.entries()) == 200


def test_an_answer_without_noise_costs_infinity(vault: Vault) -> None:
    log = EgressLog(vault, lambda: NOW, 1e-5)
    log.answered(b"x", Purpose.TRAIN, replace(asked(), noise_multiplier=0.0))
    assert log.entries()[0].epsilon == math.inf


def test_costs_are_told_at_the_policys_delta(tmp_path: Path) -> None:
    policy: DevicePolicy = replace(POLICY, delta=1e-7)
    with ready(tmp_path, policy=policy) as device:
        device.take_part(signed(round_call()))
        assert "delta 1e-07" in device.egress_log()[0].cost


def test_a_ring_takes_no_more_at_once_than_it_holds(vault: Vault) -> None:
    with pytest.raises(ValueError, match="at once"):
        Ring(vault, "r", 2).adding([b"1", b"2", b"3"])
