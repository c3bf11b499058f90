"""Consent: withheld until granted, durable, never guessed."""

import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from backrow.client.consent import Consent, Decision, Purpose
from backrow.client.vault.store import Vault
from backrow.privacy.errors import DamagedVaultError, VaultError

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "participation.vault"


@pytest.fixture
def vault(path: Path) -> Generator[Vault, None, None]:
    with Vault.open(path, KEY) as opened:
        yield opened


def test_consent_is_withheld_until_granted(vault: Vault) -> None:
    consent = Consent(vault)
    assert consent.decision() is None
    assert consent.granted() is False


def test_the_counter_grows_with_every_change_and_only_then(vault: Vault) -> None:
    consent = Consent(vault)
    said = [consent.decide(granted) for granted in (True, True, False, False, True)]
    assert said == [Decision(True, 1), Decision(True, 1), Decision(False, 2), Decision(False, 2), Decision(True, 3)]
    assert consent.granted()


def test_a_refusal_is_a_decision_too(vault: Vault) -> None:
    assert Consent(vault).decide(False) == Decision(False, 1)
    assert not Consent(vault).granted()


def test_decisions_survive_reopening(path: Path) -> None:
    for granted in (True, False):
        with Vault.open(path, KEY) as vault:
            Consent(vault).decide(granted)
        with Vault.open(path, KEY) as vault:
            assert Consent(vault).granted() is granted


@pytest.mark.parametrize("granted", [True, False])
def test_a_decision_is_durable_before_the_call_returns(path: Path, granted: bool) -> None:
    program = (
        "import os, sys\nfrom backrow.client.consent import Consent\nfrom backrow.client.vault.store import Vault\n"
        "consent = Consent(Vault.open(sys.argv[1], bytes(range(32))))\n"
        f"consent.decide({not granted})\nconsent.decide({granted})\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    with Vault.open(path, KEY) as vault:
        assert Consent(vault).granted() is granted


@pytest.mark.parametrize("granted", [1, 0, "yes", None])
def test_what_is_not_a_decision_is_refused(vault: Vault, granted: object) -> None:
    with pytest.raises(ValueError, match="True or False"):
        Consent(vault).decide(granted)  # type: ignore[arg-type]
    assert not Consent(vault).granted()


def test_an_erased_vault_withholds_again(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        Consent(vault).decide(True)
        vault.erase()
    with Vault.open(path, KEY) as vault:
        assert Consent(vault).decision() is None


def test_a_decision_that_cannot_be_written_is_an_error_not_a_yes(path: Path) -> None:
    vault = Vault.open(path, KEY)
    vault.close()
    with pytest.raises(VaultError):
        Consent(vault).decide(True)


def test_consent_cannot_be_forged_without_the_key(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        Consent(vault).decide(False)
    connection = sqlite3.connect(path)
    connection.execute("""UPDATE notes SET sealed = CAST('{"granted":true,"counter":9}' AS BLOB)""")
    connection.commit()
    connection.close()
    with pytest.raises(DamagedVaultError):
        Vault.open(path, KEY)


def test_purposes_have_names_that_stay() -> None:
    assert [purpose.value for purpose in Purpose] == ["train"]
