"""Consent purpose by purpose: signals, receipts, opt-outs, and records that do not count."""

from collections.abc import Generator
from pathlib import Path

import pytest

from backrow.client.consent import RECEIPTS, Decision
from backrow.client.tokens import token_of
from backrow.client.vault.store import Vault
from backrow.privacy.consent import (
    ALL,
    CONTRIBUTING,
    DEVICE,
    EVERYTHING,
    OWNER,
    ConsentRecord,
    PlatformSignal,
    Purpose,
    read_opt_out,
    read_record,
    sign_record,
)
from backrow.privacy.errors import ConsentError
from backrow.privacy.signing import SigningKey
from tests.unit.client.consents import IDENTITY, KEY, consent_in

STRANGER = SigningKey(bytes(range(4, 36)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "participation.vault"


@pytest.fixture
def vault(path: Path) -> Generator[Vault, None, None]:
    with Vault.open(path, KEY) as opened:
        yield opened


def granted(vault: Vault) -> set[Purpose]:
    consent = consent_in(vault)
    return {purpose for purpose in CONTRIBUTING if consent.granted(purpose)}


def test_every_contribution_is_withheld_until_it_is_granted_itself(vault: Vault) -> None:
    consent = consent_in(vault)
    assert granted(vault) == set()
    for count, purpose in enumerate(CONTRIBUTING, start=1):
        assert not consent.granted(purpose)
        consent.decide(True, purpose)
        assert granted(vault) == set(CONTRIBUTING[:count])
    consent.decide(False, Purpose.TRENDS)
    assert granted(vault) == set(CONTRIBUTING) - {Purpose.TRENDS}


def test_one_counter_runs_through_all_purposes(vault: Vault) -> None:
    consent = consent_in(vault)
    said = [consent.decide(True, Purpose.TRENDS), consent.decide(True), consent.decide(False, Purpose.TRENDS)]
    assert said == [Decision(True, 1), Decision(True, 2), Decision(False, 3)]
    assert consent.counter == 3


@pytest.mark.parametrize("unknown", ["advertising", "all", "", None, 1])
def test_an_unknown_purpose_is_refused(vault: Vault, unknown: object) -> None:
    consent = consent_in(vault)
    for ask in (lambda: consent.decide(True, unknown), lambda: consent.granted(unknown)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Purpose"):
            ask()
    assert consent.counter == 0


def test_all_contributions_are_withdrawn_in_one_step_and_personalising_stays(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.decide(True, Purpose.TRAIN)
    consent.withdraw(CONTRIBUTING)
    assert granted(vault) == set()
    assert all(consent.decision(purpose) is not None for purpose in CONTRIBUTING)
    assert consent.granted(Purpose.PERSONALISE)


def test_personalising_needs_no_grant_and_can_be_withdrawn_and_granted(path: Path) -> None:
    for said, holds in ((None, True), (False, False), (None, False), (True, True), (None, True)):
        with Vault.open(path, KEY) as vault:
            consent = consent_in(vault)
            if said is not None:
                consent.decide(said, Purpose.PERSONALISE)
            assert consent.granted(Purpose.PERSONALISE) is holds


# Signals of the platform


@pytest.mark.parametrize("signal", PlatformSignal)
def test_a_signal_withdraws_while_it_is_set_and_never_grants_when_it_is_gone(
    path: Path, signal: PlatformSignal
) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True)
        consent.signals([signal])
        assert granted(vault) == set()
        assert consent.granted(Purpose.PERSONALISE)
        assert consent.receipts()[-1].record.source == signal
    with Vault.open(path, KEY) as vault:  # it is remembered
        with pytest.raises(ConsentError, match="switch it off"):
            consent_in(vault).decide(True)
        consent_in(vault).signals([])
        assert granted(vault) == set()
        assert consent_in(vault).decide(True) == Decision(True, 3)


def test_a_childs_profile_cannot_grant_any_contribution(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.signals([PlatformSignal.CHILD_PROFILE])
    for purpose in CONTRIBUTING:
        with pytest.raises(ConsentError, match="child"):
            consent.decide(True, purpose)
    assert granted(vault) == set()
    assert consent.decide(True, Purpose.PERSONALISE).granted


def test_a_signal_says_nothing_about_what_was_never_granted(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.signals(PlatformSignal)
    assert consent.receipts() == []


def test_an_unknown_signal_changes_nothing(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.decide(True)
    with pytest.raises(ValueError, match="PlatformSignal"):
        consent.signals(["do-not-disturb"])  # type: ignore[list-item]
    assert granted(vault) == {Purpose.TRAIN}


# Receipts


def test_receipts_say_what_was_said_and_anybody_can_check_them(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.decide(True)
    consent.decide(False)
    receipts = consent.receipts()
    assert [str(receipt) for receipt in receipts] == [
        "1970-01-12 13:46 UTC, no. 1: you allowed helping to train the model that everybody uses",
        "1970-01-12 13:46 UTC, no. 2: you withdrew helping to train the model that everybody uses",
    ]
    for receipt in receipts:
        assert read_record(receipt.signed) == receipt.record
        assert receipt.record.device == IDENTITY.public


def test_receipts_are_bounded_and_the_newest_stay(vault: Vault) -> None:
    consent = consent_in(vault)
    for turn in range(RECEIPTS + 3):
        consent.decide(turn % 2 == 0)
    counters = [receipt.record.counter for receipt in consent.receipts()]
    assert counters == list(range(4, RECEIPTS + 4))


def test_an_opt_out_withdraws_every_contribution_and_is_signed_for_the_coordinator(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.decide(True, Purpose.TRENDS)
    request = read_opt_out(consent.opt_out("device-7"))
    assert granted(vault) == set()
    assert (request.pseudonym, request.record.device) == ("device-7", IDENTITY.public)
    assert request.record == consent.receipts()[-1].record
    assert (request.record.purpose, request.record.counter) == (EVERYTHING, consent.counter)
    again = read_opt_out(consent.opt_out("device-7"))
    assert again.record.counter > request.record.counter


# Records that do not count


def test_a_record_that_this_device_did_not_sign_about_this_grants_nothing(vault: Vault) -> None:
    consent = consent_in(vault)
    consent.decide(True, Purpose.TRENDS)
    genuine = vault.note("consent/trends")
    assert genuine is not None
    stranger = sign_record(ConsentRecord(STRANGER.public, Purpose.TRAIN, True, 9, 0), STRANGER)
    forged = stranger[:64] + sign_record(ConsentRecord(IDENTITY.public, Purpose.TRAIN, True, 9, 0), IDENTITY)[64:]
    own = sign_record(ConsentRecord(IDENTITY.public, Purpose.TRAIN, True, 9, 0), IDENTITY)
    for record in (genuine, stranger, forged, b"", b"granted", own):
        vault.keep_note("consent/train", record)
        (vault.folder / "train.grant").write_bytes(token_of(record))
        assert consent.granted() is (record == own)  # the control: one that the device did sign


def test_a_grants_file_that_was_put_back_grants_nothing(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True)
        file = vault.folder / "train.grant"
        kept = file.read_bytes()
        consent.decide(False)
        file.write_bytes(kept)
        assert not consent.granted()
        consent.decide(True)
        file.write_bytes(kept)  # of an earlier grant
        assert not consent.granted()
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        assert not consent.granted()
        assert consent.receipts()[-1].record.source == DEVICE


@pytest.mark.parametrize("damage", [b"", b"x" * 32, b"x" * 1000])
def test_a_damaged_grants_file_withholds(vault: Vault, damage: bytes) -> None:
    consent = consent_in(vault)
    consent.decide(True)
    (vault.folder / "train.grant").write_bytes(damage)
    assert not consent.granted()
    assert consent.decide(True) == Decision(True, 3)
    assert [receipt.record.source for receipt in consent.receipts()] == [OWNER, DEVICE, OWNER]


# Old copies


def copy(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.parent.iterdir()}


def put_back(copied: dict[Path, bytes]) -> None:
    for file in next(iter(copied)).parent.iterdir():
        file.unlink()
    for file, data in copied.items():
        file.write_bytes(data)


def test_an_old_copy_put_back_withholds_everything_until_the_owner_says_it_again(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        for purpose in (Purpose.TRAIN, Purpose.TRENDS):
            consent_in(vault).decide(True, purpose)
    old = copy(path)
    with Vault.open(path, KEY) as vault:
        consent_in(vault).withdraw(CONTRIBUTING)
        remembered = consent_in(vault).counter
    put_back(old)
    with Vault.open(path, KEY) as vault:
        assert granted(vault) == {Purpose.TRAIN, Purpose.TRENDS}  # the control: without a memory outside, nobody knows
    put_back(old)
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault, lowest_counter=remembered)
        assert [consent.granted(purpose) for purpose in ALL] == [False] * len(ALL)
        assert consent.counter > remembered
        assert {receipt.record.source for receipt in consent.receipts()} == {OWNER, DEVICE}
        consent.decide(True)
        assert granted(vault) == {Purpose.TRAIN}
    with Vault.open(path, KEY) as vault:  # and what was not said again stays withheld
        consent = consent_in(vault, lowest_counter=remembered)
        assert [consent.granted(purpose) for purpose in ALL] == [purpose is Purpose.TRAIN for purpose in ALL]


def test_a_vault_put_back_without_its_grants_files_withholds(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(True)
    old = copy(path)
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(False)
    put_back({file: data for file, data in old.items() if file.suffix != ".grant"})
    with Vault.open(path, KEY) as vault:
        assert granted(vault) == set()


def test_a_device_that_lost_everything_is_known_by_the_counter(vault: Vault) -> None:
    consent = consent_in(vault, lowest_counter=5)
    assert [consent.granted(purpose) for purpose in ALL] == [False] * len(ALL)
    assert consent.decide(True).counter > 5


@pytest.mark.parametrize("counter", [-1, 1.5, "7", None, True])
def test_a_counter_is_a_whole_number(vault: Vault, counter: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        consent_in(vault, lowest_counter=counter)
