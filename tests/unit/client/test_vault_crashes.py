"""What survives a crash, and what does not survive an erase."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backrow.client.vault.sealing import HEADER_BYTES
from backrow.client.vault.store import Vault
from backrow.privacy.errors import VaultError
from tests.unit.client.vaults import KEY, edit, look, plays, read, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.vault"


# Crashes

WRITER = """
import os, sys
from backrow.client.events import EventKind, WatchEvent
from backrow.client.vault.store import Vault
vault = Vault.open(sys.argv[1], bytes(range(32)))
number = len(vault)
while True:
    size = 1 + number % 7
    vault.extend([WatchEvent(EventKind.PLAY, 1000 + n, f"title-{n}") for n in range(number, number + size)])
    number += size
    os.write(1, b"%d\\n" % number)  # acknowledged
"""


def test_every_acknowledged_event_survives_a_kill_at_any_moment(path: Path) -> None:
    source = random.Random(3)
    ends = {0}
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(source.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
        acknowledged = int((first + rest).split()[-1])
        for line in (first + rest).split():
            ends.add(int(line))
        events = read(path)
        assert len(events) >= acknowledged, "an acknowledged event is gone"
        assert len(events) in ends | {acknowledged + 1 + acknowledged % 7}, "a transaction was cut in half"
        assert events == plays(len(events))
        ends.add(len(events))
    assert len(ends) > 10


def test_kill_while_a_vault_is_made_leaves_nothing_or_a_vault(path: Path) -> None:
    program = "import sys\nfrom backrow.client.vault.store import Vault\nprint(flush=True)\n" + (
        "Vault.open(sys.argv[1], bytes(range(32)))"
    )
    source = random.Random(4)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(source.uniform(0, 0.02))
        process.kill()
        process.wait()
        process.stdout.close()
        assert read(path) == []
        path.unlink()


# Erasing


def test_erased_vault_is_gone_and_opens_as_a_new_one(path: Path) -> None:
    write(path, plays(300))
    with Vault.open(path, KEY) as vault:
        vault.keep_note("consent", b"granted")
        vault.erase()
        assert list(path.parent.iterdir()) == []
        with pytest.raises(VaultError, match="closed"):
            len(vault)
    with Vault.open(path, KEY) as vault:
        assert len(vault) == 0
        assert vault.note("consent") is None


def test_erase_overwrites_the_wrapped_key_and_the_rows_before_the_file_goes(path: Path) -> None:
    write(path, plays(300))
    header = look(path, "SELECT bytes FROM header")[0]
    row = look(path, "SELECT sealed FROM events WHERE id = 200")[0]
    assert path.read_bytes().count(header[30:90]) == 1, "the wrapped key has one copy"
    with path.open("rb") as still_open, Vault.open(path, KEY) as vault:
        vault.extend(plays(3))
        assert header[30:90] not in (path.parent / "history.vault-wal").read_bytes()
        vault.erase()
        left = still_open.read()  # the file's content, though its name is gone
    assert len(left) > 10_000
    assert header[30:90] not in left
    assert row not in left


def test_erase_cut_off_after_the_key_is_destroyed_is_finished_on_opening(path: Path) -> None:
    write(path, plays(20))
    edit(path, f"UPDATE header SET bytes = zeroblob({HEADER_BYTES})")
    for key in (KEY, bytes(32)):  # nothing is left that a key could open
        with Vault.open(path, key) as vault:
            assert len(vault) == 0
        path.unlink()


def test_log_left_beside_a_removed_vault_does_not_enter_the_new_one(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(20))
        log = (path.parent / "history.vault-wal").read_bytes()
    path.unlink()
    (path.parent / "history.vault-wal").write_bytes(log)
    assert read(path) == []
