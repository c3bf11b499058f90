"""Bad input about consent where device, coordinator and ledger meet; each by itself has tests of its own.

A full disk in the middle of a secure sum, an old copy of a device against the coordinator's list, and a list that goes
bad, or cannot be sealed, while a round is open: withheld wins in all of them.
"""

import shutil
from pathlib import Path

import pytest

from backrow.client.edge import SimulatedEdge
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.consent import EVERYTHING, ConsentRecord, read_opt_out, sign_record
from backrow.privacy.errors import LedgerError, SuppressionError, VaultError
from backrow.privacy.ledger.entries import OptOutEntry, ReleaseEntry, ReserveEntry, VoidEntry
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.wire_secure import SecureCall
from backrow.server.strategy import Outcome, RoundReport
from backrow.server.suppression import COORDINATOR, SUPPRESSION, SuppressionList
from backrow.simulations.pipeline import Prepared, commit, prepare
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import train
from tests.e2e.test_opt_outs import PEOPLE, SEED, at_step, audited, bodies, opt_out, run, scenario, views
from tests.unit.client.consents import full_disk
from tests.unit.client.devices import open_device, ready, round_call, signed
from tests.unit.client.summing import summing

assert views  # the fixture


@pytest.mark.parametrize(
    "step", [MASK, UNMASK, pytest.param(SHARE, marks=pytest.mark.long), pytest.param(AGREE, marks=pytest.mark.long)]
)
def test_who_withdraws_on_a_full_disk_during_a_round_says_nothing_more_in_it(tmp_path: Path, step: int) -> None:
    with summing(tmp_path) as round_:
        for earlier in range(ADVERTISE, step):
            round_.step(earlier)
        device = round_.devices["d0"]
        before = device.egress_log()
        with full_disk(), pytest.raises(VaultError, match="in effect but its record is not written"):
            device.set_consent(False)
        for later in range(step, UNMASK + 1):
            assert "d0" not in round_.step(later)
        assert device.egress_log() == before
        assert len(before) == step - 1  # the control: until then it said something at every step


def test_a_withdrawal_on_a_full_disk_keeps_every_later_answer_back(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        with full_disk():
            with pytest.raises(VaultError, match="in effect"):
                device.withdraw_all()
            assert device.take_part(signed(round_call())) is None
        assert device.take_part(signed(round_call())) is None
    with open_device(tmp_path) as device:
        assert device.take_part(signed(round_call())) is None
        assert device.egress_log() == []
        device.set_consent(True)
        assert device.take_part(signed(round_call())) is not None  # the control


def test_an_opt_out_from_an_old_copy_is_refused_in_words_until_it_is_not_older_than_what_lifted_the_last(
    tmp_path: Path,
) -> None:
    listed = SuppressionList.create(tmp_path / "list")
    with ready(tmp_path) as device:
        pass
    shutil.copytree(tmp_path / "device", tmp_path / "backup")
    with open_device(tmp_path) as device:
        enrolled = {"alice": device.identity}
        request = device.opt_out_request("alice")
        assert listed.add(request, enrolled, 1)
        counter = read_opt_out(request).record.counter + 1
        again = ConsentRecord(device.identity, EVERYTHING, True, counter, 1)
        assert listed.add(sign_record(again, device._identity()), enrolled, 2)
    assert listed.opted_out == frozenset()
    shutil.rmtree(tmp_path / "device")
    shutil.copytree(tmp_path / "backup", tmp_path / "device")
    with open_device(tmp_path) as device:
        assert device.consent  # nobody told it that it is an old copy
        with pytest.raises(SuppressionError, match="ask the device for a new one"):
            listed.add(device.opt_out_request("alice"), enrolled, 3)
        assert not device.consent  # here it holds at once
        request = device.opt_out_request("alice")
        assert read_opt_out(request).record.counter == counter
        assert listed.add(request, enrolled, 4)  # at equal counters the withdrawal wins
    assert listed.opted_out == {"alice"}
    shutil.rmtree(tmp_path / "device")
    shutil.copytree(tmp_path / "backup", tmp_path / "device")
    with open_device(tmp_path, lowest_counter=counter) as device:
        assert not device.consent
        assert read_opt_out(device.opt_out_request("alice")).record.counter > counter


def test_a_list_that_goes_bad_before_a_sum_is_frozen_ends_the_run_and_the_sum_stays_masked(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder, steps = counts_only(scenario(views, "secure")), tmp_path / "run", list[tuple[int, int]]()
    path, kept, prepared = folder / COORDINATOR / SUPPRESSION, list[bytes](), prepare(made)

    def spoil() -> None:
        kept.append(path.read_bytes())
        path.write_bytes(kept[0] + b"everybody, please\n")

    at_step(monkeypatch, 2, MASK, spoil)
    relayed = SimulatedEdge.secure

    def watched(edge: SimulatedEdge, data: bytes, memory: Memory) -> bytes:
        call = wire.decode(data)
        assert isinstance(call, SecureCall)
        steps.append((call.round, call.step))
        return relayed(edge, data, memory)

    monkeypatch.setattr(SimulatedEdge, "secure", watched)
    with pytest.raises(SuppressionError, match="nobody is asked"):
        run(made, prepared, folder)
    assert max(steps) == (2, MASK)
    assert (1, UNMASK) in steps
    assert sum(isinstance(body, ReleaseEntry) for body in bodies(folder)) == 1
    with pytest.raises(SuppressionError, match="nobody is asked"):
        go_on(made, prepared, folder)
    path.write_bytes(kept[0])
    assert len(go_on(made, prepared, folder).releases) == 2  # the second round is void and stays paid
    written = bodies(folder)
    assert sum(isinstance(body, VoidEntry) for body in written) == 1
    assert sum(isinstance(body, ReserveEntry) for body in written) == 3
    assert audited(folder).passed


def counts_only(made: Scenario) -> Scenario:
    """Three rounds: two counts, and the evaluation."""
    return made.model_copy(update={"model": made.model.model_copy(update={"rounds": 0})})


def go_on(made: Scenario, prepared: Prepared, folder: Path) -> Outcome:
    """Resume the run."""
    return train(
        commit(made, prepared), prepared.population, folder, engine="inprocess", nodes=2, seed=SEED, resume=True,
        observe=lambda report: None, publish=lambda outcome, spent: (bytes(32), bytes(32)),
    ).outcome  # fmt: skip


def test_nobody_is_asked_while_a_new_list_cannot_be_sealed(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = counts_only(scenario(views, "trusted")), tmp_path / "run"
    prepared, append = prepare(made), Ledger.append

    def full(ledger: Ledger, body: object, time: int) -> object:
        if isinstance(body, OptOutEntry):
            raise LedgerError("the entry was not written (No space left on device)")
        return append(ledger, body, time)  # type: ignore[arg-type]

    def after(report: RoundReport) -> None:
        if report.plan.round == 1:
            opt_out(folder)
            monkeypatch.setattr(Ledger, "append", full)

    with pytest.raises(LedgerError, match="No space left"):
        run(made, prepared, folder, after)
    assert sum(isinstance(body, ReserveEntry) for body in bodies(folder)) == 1
    monkeypatch.setattr(Ledger, "append", append)
    outcome = go_on(made, prepared, folder)
    assert [report.invited for report in outcome.reports[1:]] == [PEOPLE - 1] * 2
    assert audited(folder).passed
