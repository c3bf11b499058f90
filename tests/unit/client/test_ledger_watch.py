"""A device answers only what was reserved in a ledger that has only grown since it last looked."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.client import Device
from backrow.privacy.errors import ForkError, LedgerError, ProofError, RefusedCallError, RollbackError, SignatureError
from backrow.privacy.ledger.entries import EnrolmentEntry
from backrow.privacy.wire import RoundCall
from backrow.privacy.wire_plan import NO_PROOF, LedgerProof
from tests.unit.client.bundles import STRANGER
from tests.unit.client.devices import contribution, ready, round_call, signed
from tests.unit.client.growing import GrowingLedger


def call(number: int, proof: LedgerProof, **changes: object) -> RoundCall:
    return replace(round_call(number=number, run_id="watched", **changes), ledger=proof)  # type: ignore[arg-type]


def ask(device: Device, made: RoundCall) -> int:
    """The round that the device answered."""
    return contribution(device.take_part(signed(made))).round


def test_a_ledger_that_grows_is_answered_round_by_round(tmp_path: Path) -> None:
    ledger = GrowingLedger("watched")
    with ready(tmp_path) as device:
        for number in (1, 2, 3):
            proof = ledger.reserve(round_call(number=number, run_id="watched").plan)
            assert ask(device, call(number, proof)) == number


def test_a_call_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with ready(tmp_path) as device, pytest.raises(RefusedCallError, match="shows no ledger"):
        ask(device, call(1, NO_PROOF))


def test_a_rolled_back_ledger_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    ledger = GrowingLedger("watched")
    first = ledger.reserve(round_call(number=1, run_id="watched").plan)
    second = ledger.reserve(round_call(number=2, run_id="watched").plan)
    with ready(tmp_path) as device:
        ask(device, call(2, second))
    with ready(tmp_path) as device, pytest.raises(RollbackError, match="taken back"):
        ask(device, call(1, first))


def test_two_pasts_are_a_fork_with_portable_evidence(tmp_path: Path) -> None:
    one, other = GrowingLedger("watched"), GrowingLedger("watched")
    other.add(EnrolmentEntry(5, bytes(32)))
    with ready(tmp_path) as device:
        ask(device, call(1, one.reserve(round_call(number=1, run_id="watched").plan)))
        with pytest.raises(ForkError) as caught:
            ask(device, call(2, other.reserve(round_call(number=2, run_id="watched").plan)))
    assert caught.value.args


def test_leaves_that_are_not_the_checkpoints_are_refused(tmp_path: Path) -> None:
    proof = GrowingLedger("watched").reserve(round_call(number=1, run_id="watched").plan)
    with ready(tmp_path) as device, pytest.raises(ProofError):
        ask(device, call(1, replace(proof, leaves=(bytes(32),))))


def test_a_round_reserved_with_less_noise_or_not_at_all_is_refused(tmp_path: Path) -> None:
    ledger = GrowingLedger("watched")
    cheaper = ledger.reserve(round_call(number=1, run_id="watched", noise_multiplier=90.0).plan)
    none = ledger.add(EnrolmentEntry(5, bytes(32)))
    with ready(tmp_path) as device:
        for proof in (cheaper, none):
            with pytest.raises(RefusedCallError, match="not reserved in the ledger"):
                ask(device, call(1, proof))


def test_a_reservation_that_is_not_under_the_checkpoint_is_refused(tmp_path: Path) -> None:
    ledger = GrowingLedger("watched")
    ledger.add(EnrolmentEntry(5, bytes(32)))
    ledger.reserve(round_call(number=1, run_id="watched").plan)
    with ready(tmp_path) as device, pytest.raises(RefusedCallError, match="not reserved"):
        ask(device, call(1, ledger.proof(1, size=1)))


def test_a_ledger_of_another_coordinator_is_refused(tmp_path: Path) -> None:
    proof = GrowingLedger("watched", STRANGER).reserve(round_call(number=1, run_id="watched").plan)
    with ready(tmp_path) as device, pytest.raises((SignatureError, LedgerError)):
        ask(device, call(1, proof))
