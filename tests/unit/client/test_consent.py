"""Consent: withheld until granted, durable, never guessed."""

import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from backrow.client.consent import Decision
from backrow.client.vault.store import Vault
from backrow.privacy.errors import DamagedVaultError, VaultError
from tests.unit.client.consents import KEY, ROOT, consent_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "participation.vault"


@pytest.fixture
def vault(path: Path) -> Generator[Vault, None, None]:
    with Vault.open(path, KEY) as opened:
        yield opened


def test_consent_is_withheld_until_granted(vault: Vault) -> None:
    consent = consent_in(vault)
    assert consent.decision() is None
    assert consent.granted() is False


def test_the_counter_grows_with_every_change_and_only_then(vault: Vault) -> None:
    consent = consent_in(vault)
    said = [consent.decide(granted) for granted in (True, True, False, False, True)]
    assert said == [Decision(True, 1), Decision(True, 1), Decision(False, 2), Decision(False, 2), Decision(True, 3)]
    assert consent.granted()


def test_a_refusal_is_a_decision_too(vault: Vault) -> None:
    assert consent_in(vault).decide(False) == Decision(False, 1)
    assert not consent_in(vault).granted()


def test_decisions_survive_reopening(path: Path) -> None:
    for granted in (True, False):
        with Vault.open(path, KEY) as vault:
            consent_in(vault).decide(granted)
        with Vault.open(path, KEY) as vault:
            assert consent_in(vault).granted() is granted


@pytest.mark.parametrize("granted", [True, False])
def test_a_decision_is_durable_before_the_call_returns(path: Path, granted: bool) -> None:
    program = (
        "import os, sys\nfrom tests.unit.client.consents import KEY, consent_in\n"
        "from backrow.client.vault.store import Vault\nconsent = consent_in(Vault.open(sys.argv[1], KEY))\n"
        f"consent.decide({not granted})\nconsent.decide({granted})\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, check=True)
    with Vault.open(path, KEY) as vault:
        assert consent_in(vault).granted() is granted


@pytest.mark.parametrize("granted", [1, 0, "yes", None])
def test_what_is_not_a_decision_is_refused(vault: Vault, granted: object) -> None:
    with pytest.raises(ValueError, match="True or False"):
        consent_in(vault).decide(granted)  # type: ignore[arg-type]
    assert not consent_in(vault).granted()


def test_an_erased_vault_withholds_again(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(True)
        vault.erase()
    with Vault.open(path, KEY) as vault:
        assert consent_in(vault).decision() is None


def test_a_decision_that_cannot_be_written_is_an_error_not_a_yes(path: Path) -> None:
    vault = Vault.open(path, KEY)
    vault.close()
    with pytest.raises(VaultError):
        consent_in(vault).decide(True)


def test_consent_cannot_be_forged_without_the_key(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        consent_in(vault).decide(False)
    connection = sqlite3.connect(path)
    connection.execute("""UPDATE notes SET sealed = CAST('{"granted":true,"counter":9}' AS BLOB)""")
    connection.commit()
    connection.close()
    with pytest.raises(DamagedVaultError):
        Vault.open(path, KEY)
