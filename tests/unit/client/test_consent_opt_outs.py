"""The opt-out for the whole account, on the device: it comes back to an old copy, and only a newer word lifts it."""

import shutil
from pathlib import Path

import pytest

from backrow.client import Device, DevicePolicy, PlatformSignal
from backrow.client.vault.store import Vault
from backrow.privacy.consent import (
    ACCOUNT,
    CONTRIBUTING,
    EVERYTHING,
    ConsentRecord,
    OptOutRequest,
    Purpose,
    read_opt_out,
    read_record,
    sign_opt_out,
)
from backrow.privacy.errors import ConsentError, MalformedMessageError, SignatureError, SuppressionError, VaultError
from backrow.privacy.signing import SigningKey
from backrow.server.suppression import SuppressionList
from tests.unit.client.consents import IDENTITY, KEY, consent_in, full_disk

COORDINATOR = SigningKey(bytes(range(1, 33)))


def open_device(folder: Path) -> Device:
    return Device.open(folder, KEY, coordinator_key=COORDINATOR.public, policy=DevicePolicy(), clock=lambda: 1_000_000)


@pytest.fixture
def old_copy(tmp_path: Path) -> tuple[Path, bytes]:
    """A device as it was when it granted everything, and the opt-out that it signed afterwards."""
    with open_device(tmp_path / "device") as device:
        for purpose in CONTRIBUTING:
            device.set_consent(True, purpose)
    shutil.copytree(tmp_path / "device", tmp_path / "copy")
    with open_device(tmp_path / "device") as device:
        request = device.opt_out_request("her")
    return tmp_path / "copy", request


def test_an_old_copy_that_hears_of_its_own_opt_out_withdraws_everything_for_good(old_copy: tuple[Path, bytes]) -> None:
    folder, request = old_copy
    with open_device(folder) as device:
        assert device.consent
        assert device.apply_opt_out(request)
        assert not any(device.consent_for(purpose) for purpose in CONTRIBUTING)
        assert device.consent_for(Purpose.PERSONALISE)
        assert not device.apply_opt_out(request)
    with open_device(folder) as device:
        assert not any(device.consent_for(purpose) for purpose in CONTRIBUTING)
        newest = device.receipts()[-1]
        assert (newest.record.purpose, newest.record.source) == (EVERYTHING, ACCOUNT)
        assert "your own opt-out, which came back to this device, withdrew everything" in str(newest)
        assert newest.record.counter > read_opt_out(request).record.counter
        assert device.egress_log() == []


def test_what_the_owner_says_after_it_came_back_is_newer_than_the_opt_out(old_copy: tuple[Path, bytes]) -> None:
    folder, request = old_copy
    with open_device(folder) as device:
        device.apply_opt_out(request)
        device.set_consent(True)
        assert not device.apply_opt_out(request)  # heard before; the list of the coordinator still holds it
        assert device.consent
        assert read_record(device.opt_in_request()).counter > read_opt_out(request).record.counter


def test_an_opt_out_that_the_device_knows_or_has_lifted_since_changes_nothing(tmp_path: Path) -> None:
    with open_device(tmp_path / "device") as device:
        request = device.opt_out_request()
        device.opt_in_request()
        device.set_consent(True)
        before = device.consent_counter
        assert not device.apply_opt_out(request)
        assert device.consent
        assert device.consent_counter == before


def test_what_this_device_has_not_signed_as_an_opt_out_withdraws_nothing(old_copy: tuple[Path, bytes]) -> None:
    folder, request = old_copy
    record = ConsentRecord(IDENTITY.public, EVERYTHING, False, 9, 1)
    others = sign_opt_out(OptOutRequest(record, "her"), IDENTITY)
    with open_device(folder) as device:
        with pytest.raises(SignatureError, match="another device's"):
            device.apply_opt_out(others)
        with pytest.raises(SignatureError):
            device.apply_opt_out(request[:-1] + b"X")
        with pytest.raises(MalformedMessageError):
            device.apply_opt_out(b"opt out")
        assert device.consent
        with pytest.raises(MalformedMessageError):
            device.apply_opt_out(device.receipts()[-1].signed)  # a record of consent is no opt-out
        assert device.consent


def test_an_opt_out_that_comes_back_while_the_disk_is_full_holds_now_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "participation.vault"
    request = sign_opt_out(OptOutRequest(ConsentRecord(IDENTITY.public, EVERYTHING, False, 9, 1)), IDENTITY)
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True)
        with full_disk(), pytest.raises(VaultError):
            consent.heed(request)
        assert not consent.granted()
    with Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted()
        assert consent_in(vault).heed(request)
        assert consent_in(vault).counter > 9


def test_only_a_newer_word_of_the_same_device_takes_it_off_the_list(tmp_path: Path) -> None:
    suppression = SuppressionList.create(tmp_path / "lists")
    with open_device(tmp_path / "device") as device:
        enrolled = {"her": device.identity}
        first = device.opt_out_request("her")
        suppression.add(first, enrolled, 1)
        lifted = device.opt_in_request()
        assert device.opt_in_request() == lifted  # asked for again, it says the same
        second = device.opt_out_request("her")
        assert suppression.add(lifted, enrolled, 2)
        assert suppression.opted_out == frozenset()
        assert suppression.add(second, enrolled, 3)
        with pytest.raises(SuppressionError, match="something newer"):
            suppression.add(lifted, enrolled, 4)
        with pytest.raises(SuppressionError, match="something newer"):
            suppression.add(first, enrolled, 4)
        assert suppression.opted_out == {"her"}
        assert suppression.statement("her") == second
        with pytest.raises(SignatureError):
            suppression.add(device.opt_in_request(), {"her": IDENTITY.public}, 5)


def test_lifting_an_opt_out_allows_nothing_by_itself_and_is_not_for_children(tmp_path: Path) -> None:
    with open_device(tmp_path / "device") as device:
        with pytest.raises(ConsentError, match="knows of no opt-out"):
            device.opt_in_request()
        device.opt_out_request()
        device.signals({PlatformSignal.CHILD_PROFILE})
        with pytest.raises(ConsentError, match="child's profile"):
            device.opt_in_request()
        device.signals(())
        device.opt_in_request()
        assert not any(device.consent_for(purpose) for purpose in CONTRIBUTING)


def test_its_receipts_and_log_say_in_plain_words_what_was_asked_for(tmp_path: Path) -> None:
    with open_device(tmp_path / "device") as device:
        request = device.opt_out_request("her")
        out = device.receipts()[-1]
        assert out.record == read_opt_out(request).record
        assert "you opted out for the whole account: nothing may leave this device" in str(out)
        lifted = device.opt_in_request()
        assert read_record(lifted) == device.receipts()[-1].record
        assert "you lifted your opt-out for the whole account; that alone allows nothing" in str(device.receipts()[-1])
        left = [str(entry) for entry in device.egress_log()]
        assert [("the opt-out that you asked for" in words, "the end of your opt-out" in words) for words in left] == [
            (True, False), (False, True),
        ]  # fmt: skip
        assert "her" not in left[0].split(";")[0].split(":")[-1]
