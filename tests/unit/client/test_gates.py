"""The four gates: each stops what comes after it, alone, and asks for the purpose that the round is booked under."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backrow.client import Device
from backrow.client.gates import Gates, WithdrawnError
from backrow.client.vault.store import Vault
from backrow.privacy.consent import CONTRIBUTING, PlatformSignal, Purpose
from backrow.privacy.errors import OutOfTurnError, RefusedCallError
from backrow.privacy.ledger import parts
from backrow.privacy.ledger.entries import ReserveEntry
from backrow.privacy.ledger.parts import Basis, Spent
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from tests.unit.client.devices import POLICY, contribution, open_device, ready, round_call, signed
from tests.unit.client.growing import GrowingLedger
from tests.unit.client.summing import Summing, summing

GATES = ("before_reading", "before_advertising", "before_unmasking", "before_sending")


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_lets_through_what_is_granted_and_nothing_else(gate: str) -> None:
    getattr(Gates(lambda purpose: purpose is Purpose.TRENDS), gate)(Purpose.TRENDS)
    for purpose in set(Purpose) - {Purpose.TRENDS}:
        with pytest.raises(WithdrawnError, match=purpose):
            getattr(Gates(lambda purpose: purpose is Purpose.TRENDS), gate)(purpose)


class Closed(Gates):
    """One gate is closed, the others stand open; remembers which were reached."""

    def __init__(self, closed: str) -> None:
        super().__init__(lambda _: True)
        self.reached: list[str] = []
        for gate in GATES:
            setattr(self, gate, self._gate(gate, closed))

    def _gate(self, gate: str, closed: str) -> Callable[[Purpose], None]:
        def ask(purpose: Purpose) -> None:
            self.reached.append(gate)
            if gate == closed:
                raise WithdrawnError(gate)

        return ask


def close(device: Device, gate: str) -> Closed:
    gates = Closed(gate)
    device._contributor._gates = gates
    return gates


def test_the_gate_before_reading_alone_keeps_the_history_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(vault: Vault) -> None:
        raise AssertionError("the history was read")

    with ready(tmp_path) as device:
        monkeypatch.setattr(Vault, "events", read)
        close(device, "before_reading")
        assert device.take_part(signed(round_call())) is None
        close(device, "before_sending")
        with pytest.raises(AssertionError, match="history was read"):  # the control
            device.take_part(signed(round_call()))
        assert device.egress_log() == []


def test_the_gate_before_sending_alone_keeps_an_answer_back(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        gates = close(device, "before_sending")
        assert device.take_part(signed(round_call())) is None
        assert gates.reached == ["before_reading", "before_sending"]
        assert device.egress_log() == []
        assert device.spent.releases == 1  # what was reserved is not given back


def test_the_gate_before_advertising_alone_makes_no_key(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        device = round_.devices["d0"]
        gates = close(device, "before_advertising")
        assert round_.ask(ADVERTISE, "d0") is None
        assert gates.reached == ["before_advertising"]
        assert device._participation.note(f"secure/{round_.question.plan.run_id}") is None
        assert device.egress_log() == []
        close(device, "none")
        assert round_.ask(ADVERTISE, "d0") is not None  # the control
        assert device._participation.note(f"secure/{round_.question.plan.run_id}") is not None


def test_the_gate_before_unmasking_alone_gives_no_share(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        for step in (ADVERTISE, SHARE, MASK, AGREE):
            round_.step(step)
        round_.send(UNMASK)
        gates = close(round_.devices["d0"], "before_unmasking")
        assert round_.ask(UNMASK, "d0") is None
        assert gates.reached == ["before_unmasking"]
        close(round_.devices["d0"], "none")
        assert round_.ask(UNMASK, "d0") is not None  # the control: nothing had been given


def test_shares_are_refused_before_the_protocol_looks_at_them(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        round_.step(ADVERTISE)
        with pytest.raises(OutOfTurnError):
            round_.ask(UNMASK, "d0")  # the control: the protocol's own answer
        close(round_.devices["d0"], "before_unmasking")
        assert round_.ask(UNMASK, "d0") is None


@pytest.mark.parametrize("step", [ADVERTISE, SHARE, MASK, AGREE, UNMASK])
def test_the_gate_before_sending_stands_after_every_step(tmp_path: Path, step: int) -> None:
    with summing(tmp_path) as round_:
        for earlier in range(ADVERTISE, step):
            round_.step(earlier)
        round_.send(step)
        log = round_.devices["d0"].egress_log()
        gates = close(round_.devices["d0"], "before_sending")
        assert round_.ask(step, "d0") is None
        assert gates.reached[-1] == "before_sending"
        assert round_.devices["d0"].egress_log() == log


@pytest.mark.parametrize("how", ["withdraw", "signal", "all"])
@pytest.mark.parametrize("step", [SHARE, MASK, AGREE, UNMASK])
def test_who_withdraws_during_a_round_says_nothing_more_in_it(tmp_path: Path, step: int, how: str) -> None:
    with summing(tmp_path) as round_:
        for earlier in range(ADVERTISE, step):
            round_.step(earlier)
        device = round_.devices["d0"]
        said = {
            "withdraw": lambda: device.set_consent(False),
            "signal": lambda: device.signals([PlatformSignal.SYSTEM_SWITCH]),
            "all": device.withdraw_all,
        }
        said[how]()
        device.set_consent(how != "signal", Purpose.TRENDS)  # another purpose opens nothing here
        for later in range(step, UNMASK + 1):
            assert "d0" not in round_.step(later)
        assert len(device.egress_log()) == step - 1


# Which purpose


def booked(run_id: str, purpose: parts.Purpose) -> bytes:
    call = round_call(run_id=run_id)
    return signed(replace(call, ledger=GrowingLedger(run_id).reserve(call.plan, purpose=purpose)))


@pytest.mark.parametrize("purpose", parts.Purpose)
def test_a_device_answers_for_exactly_the_purpose_that_its_owner_granted(
    tmp_path: Path, purpose: parts.Purpose
) -> None:
    with ready(tmp_path) as device:
        device.withdraw_all()
        device.set_consent(True, Purpose(purpose))
        answered = [device.take_part(booked(f"for-{other}", other)) is not None for other in parts.Purpose]
        assert answered == [other is purpose for other in parts.Purpose]
        assert [entry.purpose for entry in device.egress_log()] == [purpose]


def test_a_secure_round_keeps_the_purpose_it_began_with(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        device = round_.devices["d0"]
        device.set_consent(True, Purpose.TRENDS)
        assert round_.ask(ADVERTISE, "d0") is not None
        spent = Spent(1.0, 1e-5, 1)
        again = ReserveEntry(parts.Purpose.TRENDS, round_.question.plan, Basis.SCHEDULED, spent)
        round_.opening = replace(round_.opening, ledger=round_.ledger.add(again))
        with pytest.raises(RefusedCallError, match="another purpose"):
            round_.ask(ADVERTISE, "d0")


def test_a_device_without_any_contribution_reads_no_call(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        device.withdraw_all()
        device.set_consent(True, Purpose.PERSONALISE)
        assert device.take_part(b"not a call at all") is None


# What consent does not do


def test_granting_again_resets_no_spent_budget(tmp_path: Path) -> None:
    with ready(tmp_path, policy=replace(POLICY, largest_epsilon=3.0)) as device:
        assert contribution(device.take_part(signed(round_call(run_id="first")))).values.any()
        spent = str(device.spent)
        for again in (device.withdraw_all, lambda: device.signals([PlatformSignal.CHILD_PROFILE]), device.erase):
            again()
            device.signals([])
            for purpose in CONTRIBUTING:
                device.set_consent(True, purpose)
            assert str(device.spent) == spent
            with pytest.raises(RefusedCallError, match="spent is"):
                device.take_part(signed(round_call(run_id="second")))
            with pytest.raises(RefusedCallError, match="answered already"):
                device.take_part(signed(round_call(run_id="first")))


def test_withdrawing_every_contribution_leaves_the_picks_as_they_were(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        before = device.recommend(8)
        device.withdraw_all()
        device.signals(PlatformSignal)
        assert device.recommend(8) == before


def test_without_personalising_the_history_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(vault: Vault) -> None:
        raise AssertionError("the history was read")

    with ready(tmp_path) as device:
        device.set_consent(False, Purpose.PERSONALISE)
        monkeypatch.setattr(Vault, "events", read)
        assert [pick.reason for pick in device.recommend(3)] == ["popular"] * 3
        device.set_consent(True, Purpose.PERSONALISE)
        with pytest.raises(AssertionError, match="history was read"):
            device.recommend(3)


def test_an_erase_leaves_every_secure_sum_for_good(tmp_path: Path) -> None:
    with summing(tmp_path) as round_:
        for step in (ADVERTISE, SHARE):
            round_.step(step)
        round_.send(MASK)
        device = round_.devices["d0"]
        device.erase()
        assert device._participation.note(f"secure/{round_.question.plan.run_id}") == b""
        assert not device.consent
        device.set_consent(True)
        for step in (ADVERTISE, MASK):
            with pytest.raises(RefusedCallError, match=r"left the round|takes no part"):
                round_.ask(step, "d0")
        later = Summing(round_.devices, f"{round_.question.plan.run_id}-later")
        assert later.ask(ADVERTISE, "d0") is not None


def test_the_host_remembers_a_counter_and_an_old_copy_is_found_out(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        remembered = device.consent_counter
    with open_device(tmp_path, lowest_counter=remembered) as device:
        assert device.consent
    with open_device(tmp_path, lowest_counter=remembered + 1) as device:
        assert not device.consent
        assert not device.consent_for(Purpose.PERSONALISE)
        assert device.take_part(signed(round_call())) is None
    with pytest.raises(ValueError, match="whole number"):
        open_device(tmp_path, lowest_counter=-1)
    open_device(tmp_path).close()  # nothing was left locked
