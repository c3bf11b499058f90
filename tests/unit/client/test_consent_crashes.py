"""Withdrawing on a full disk, and processes that end in the middle: withheld wins, now and after a restart."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backrow.client.consent import Consent
from backrow.client.vault.store import Vault
from backrow.privacy.consent import ALL, CONTRIBUTING, DEVICE, PlatformSignal, Purpose
from backrow.privacy.errors import ConsentError, VaultError
from tests.unit.client.consents import KEY, ROOT, consent_in, full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "participation.vault"


def test_the_full_disk_of_these_tests_takes_nothing(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        with full_disk(), pytest.raises(VaultError):
            vault.keep_note("n", b"v")
        with full_disk(), pytest.raises(OSError, match="large"):
            (path.parent / "file").write_bytes(b"x")
        vault.keep_note("n", b"v")


@pytest.mark.parametrize("purpose", ALL)
def test_a_withdrawal_on_a_full_disk_holds_now_and_after_a_restart(path: Path, purpose: Purpose) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True, purpose)
        with full_disk():
            with pytest.raises(VaultError, match="in effect but its record is not written"):
                consent.decide(False, purpose)
            assert not consent.granted(purpose)
        assert not consent.granted(purpose)
    with full_disk(), Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted(purpose)
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        assert not consent.granted(purpose)
        assert consent.receipts()[-1].record.source == DEVICE  # on record as soon as there is room


def test_personalising_that_was_never_asked_about_can_be_withdrawn_on_a_full_disk_too(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        with full_disk(), pytest.raises(VaultError, match="in effect"):
            consent.decide(False, Purpose.PERSONALISE)
        assert not consent.granted(Purpose.PERSONALISE)
    with full_disk(), Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted(Purpose.PERSONALISE)


def test_a_withdrawal_called_again_with_room_is_on_record_as_the_owners(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True)
        with full_disk(), pytest.raises(VaultError):
            consent.decide(False)
        consent.decide(False)
        assert [(each.record.granted, each.record.source) for each in consent.receipts()] == [
            (True, "owner"),
            (False, "owner"),
        ]


WITHDRAWALS: dict[str, Callable[[Consent], object]] = {
    "all": lambda consent: consent.withdraw(CONTRIBUTING),
    "signal": lambda consent: consent.signals([PlatformSignal.GLOBAL_PRIVACY_CONTROL]),
    "opt-out": lambda consent: consent.opt_out(),
}


@pytest.mark.parametrize("how", WITHDRAWALS)
def test_all_contributions_a_signal_and_an_opt_out_withdraw_on_a_full_disk(path: Path, how: str) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        for purpose in CONTRIBUTING:
            consent.decide(True, purpose)
        with full_disk(), pytest.raises(VaultError, match="in effect"):
            WITHDRAWALS[how](consent)
        assert not any(consent.granted(purpose) for purpose in CONTRIBUTING)
        if how == "signal":
            with pytest.raises(ConsentError):
                consent.decide(True)
    with Vault.open(path, KEY) as vault:
        assert not any(consent_in(vault).granted(purpose) for purpose in CONTRIBUTING)


def test_a_grant_on_a_full_disk_does_not_hold(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        with full_disk(), pytest.raises(VaultError):
            consent.decide(True)
        assert not consent.granted()
    with Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted()


def test_an_old_copy_is_withheld_on_a_full_disk_too(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(True)
    with Vault.open(path, KEY) as vault, full_disk():
        consent = consent_in(vault, lowest_counter=2)
        assert not consent.granted()
        with pytest.raises(VaultError):
            consent.decide(True)
        assert not consent.granted()
    with Vault.open(path, KEY) as vault:  # whatever the host remembers then
        assert not consent_in(vault).granted()


DIES = """
import os, sys
from backrow.client.vault.store import Vault
from tests.unit.client.consents import KEY, consent_in
consent = consent_in(Vault.open(sys.argv[1], KEY))
Vault.keep_notes = lambda *_: os._exit(3)
consent.decide(sys.argv[2] == "grant")
"""


@pytest.mark.parametrize("said", ["grant", "withdraw"])
def test_a_process_that_ends_before_the_record_is_written_leaves_it_withheld(path: Path, said: str) -> None:
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(said == "withdraw")
    assert subprocess.run([sys.executable, "-c", DIES, path, said], cwd=ROOT, check=False).returncode == 3
    with Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted()


def test_a_disk_that_refuses_even_removal_withholds_until_the_restart_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with Vault.open(path, KEY) as vault:
        consent = consent_in(vault)
        consent.decide(True)
        with monkeypatch.context() as patch, full_disk():
            patch.setattr(Path, "unlink", refuse)
            patch.setattr("os.truncate", refuse)
            with pytest.raises(VaultError, match="not outlast a restart"):
                consent.decide(False)
        assert not consent.granted()
        consent.decide(False)
    with Vault.open(path, KEY) as vault:
        assert not consent_in(vault).granted()
