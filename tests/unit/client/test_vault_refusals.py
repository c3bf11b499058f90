"""What a vault refuses: wrong keys, other files, tampering, damage, a full disk."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backrow.client.vault.store import Vault
from backrow.privacy.errors import DamagedVaultError, VaultError, WrongKeyError
from tests.unit.client.vaults import KEY, edit, look, plays, read, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.vault"


def test_wrong_key_is_refused_and_changes_nothing(path: Path) -> None:
    write(path, plays(3))
    before = path.read_bytes()
    with pytest.raises(WrongKeyError, match="another key"):
        Vault.open(path, bytes(32))
    assert path.read_bytes() == before
    assert len(read(path)) == 3


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "k" * 32])
def test_key_that_is_not_32_bytes_is_refused_before_a_file_is_made(path: Path, key: bytes) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        Vault.open(path, key)
    assert not path.exists()


def test_file_that_is_not_a_vault_is_refused_and_left_alone(path: Path) -> None:
    for content in (b"", b"hello", os.urandom(5000), b"SQLite format 3\x00" + bytes(5000)):
        path.write_bytes(content)
        path.chmod(0o640)
        with pytest.raises(DamagedVaultError, match="not a backrow vault"):
            Vault.open(path, KEY)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o640


def test_database_of_another_application_is_refused_and_left_alone(path: Path) -> None:
    edit(path, "CREATE TABLE events (id INTEGER PRIMARY KEY, sealed BLOB)")
    before = path.read_bytes()
    with pytest.raises(DamagedVaultError, match="not a backrow vault"):
        Vault.open(path, KEY)
    assert path.read_bytes() == before


TAMPERINGS: dict[str, list[str]] = {
    "a row is removed": ["DELETE FROM events WHERE id = 2"],
    "the newest row is removed": ["DELETE FROM events WHERE id = (SELECT max(id) FROM events)"],
    "every row is removed": ["DELETE FROM events"],
    "a row is repeated": ["INSERT INTO events SELECT 9999, sealed FROM events WHERE id = 1"],
    "two rows are swapped": [
        "UPDATE events SET id = -1 WHERE id = 1",
        "UPDATE events SET id = 1 WHERE id = 2",
        "UPDATE events SET id = 2 WHERE id = -1",
    ],
    "a row is overwritten by another": ["UPDATE events SET sealed = (SELECT sealed FROM events WHERE id=1) WHERE id=2"],
    "a row is text": ["UPDATE events SET sealed = 'x' WHERE id = 2"],
    "a row is empty": ["UPDATE events SET sealed = x'' WHERE id = 2"],
    "a row is cut off": ["UPDATE events SET sealed = substr(sealed, 1, 40) WHERE id = 2"],
    "a note is removed": ["DELETE FROM notes"],
    "a note has another label": ["UPDATE notes SET label = randomblob(16)"],
    "the head is removed": ["DELETE FROM head"],
    "the head is noise": ["UPDATE head SET sealed = randomblob(length(sealed))"],
    "the header is removed": ["DELETE FROM header"],
    "the header is noise": ["UPDATE header SET bytes = randomblob(length(bytes))"],
    "the header is text": ["UPDATE header SET bytes = 'backrow-vault'"],
    "the header is cut off": ["UPDATE header SET bytes = substr(bytes, 1, 60)"],
    "a table is missing": ["DROP TABLE events"],
    "a table is of another shape": ["DROP TABLE notes", "CREATE TABLE notes (x)"],
}


@pytest.mark.parametrize("statements", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_tampered_vault_is_refused_when(path: Path, statements: list[str]) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(5))
        vault.keep_note("n", b"v")
    edit(path, *statements)
    with pytest.raises(DamagedVaultError) as caught:
        Vault.open(path, KEY)
    assert "sqlite" not in str(caught.value).lower()
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) > 40


def test_flipped_bit_of_a_row_is_refused(path: Path) -> None:
    write(path, plays(5))
    sealed = bytearray(look(path, "SELECT sealed FROM events WHERE id = 3")[0])
    for position in (0, 12, len(sealed) - 1):
        sealed[position] ^= 1
        edit(path, f"UPDATE events SET sealed = x'{sealed.hex()}' WHERE id = 3")
        with pytest.raises(DamagedVaultError):
            Vault.open(path, KEY)
        sealed[position] ^= 1
    edit(path, f"UPDATE events SET sealed = x'{sealed.hex()}' WHERE id = 3")
    assert len(read(path)) == 5


def test_row_put_back_from_an_older_copy_is_refused(path: Path, tmp_path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.keep_note("consent", b"granted")
    older = tmp_path / "older"
    shutil.copy(path, older)
    with Vault.open(path, KEY) as vault:
        vault.keep_note("consent", b"withdrawn")
    edit(path, f"ATTACH '{older}' AS older", "UPDATE notes SET sealed = (SELECT sealed FROM older.notes)")
    with pytest.raises(DamagedVaultError, match="put back"):
        Vault.open(path, KEY)


def test_whole_old_copy_opens_as_it_was_which_is_the_limit_of_what_a_file_can_show(path: Path, tmp_path: Path) -> None:
    write(path, plays(3))
    shutil.copy(path, tmp_path / "older")
    write(path, plays(3, 3))
    shutil.copy(tmp_path / "older", path)
    assert read(path) == plays(3)


@pytest.mark.parametrize("table", ["events", "head", "header"])
def test_rows_of_another_vault_with_the_same_key_are_refused(path: Path, tmp_path: Path, table: str) -> None:
    other = tmp_path / "other"
    write(path, plays(1))
    write(other, plays(1, 50))
    edit(path, f"ATTACH '{other}' AS other", f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM other.{table}")
    with pytest.raises(DamagedVaultError):
        Vault.open(path, KEY)


def test_vault_damaged_on_disk_is_refused_wherever_the_damage_lies(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(400))
        vault.keep_note("n", b"v")
    whole = path.read_bytes()
    source = random.Random(7)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        start = source.randrange(len(whole))
        length = source.choice([1, 16, 600, 5000])
        damaged[start : start + length] = source.randbytes(len(damaged[start : start + length]))
        path.write_bytes(damaged)
        try:
            events = read(path)
        except DamagedVaultError:
            refused += 1
        else:  # the damage fell on bytes that SQLite does not use
            assert events == plays(400)
    assert refused > 30


@pytest.mark.parametrize("left", [0, 50, 4096, 9000, 20_000])
def test_truncated_vault_is_refused(path: Path, left: int) -> None:
    write(path, plays(400))
    with path.open("r+b") as file:
        file.truncate(left)
    with pytest.raises(DamagedVaultError):
        Vault.open(path, KEY)


def test_vault_of_a_newer_version_asks_for_an_update(path: Path) -> None:
    write(path, [])
    edit(path, "UPDATE header SET bytes = CAST(substr(bytes, 1, 13) || x'02' || substr(bytes, 15) AS BLOB)")
    with pytest.raises(VaultError, match="newer version"):
        Vault.open(path, KEY)


def test_second_process_is_told_that_the_vault_is_in_use(path: Path) -> None:
    program = (
        "import sys\nfrom backrow.client.vault.store import Vault\nfrom backrow.privacy.errors import VaultError\n"
        "try: Vault.open(sys.argv[1], bytes(range(32)))\nexcept VaultError as e: print(type(e).__name__, e)"
    )
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(2))
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("VaultError ")
        assert "in use by another process" in done.stdout
        vault.extend(plays(2))


@pytest.mark.parametrize("place", ["missing/history.vault", "folder"])
def test_place_where_no_vault_can_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VaultError, match="check its folder"):
        Vault.open(tmp_path / place, KEY)


def test_closed_vault_says_so(path: Path) -> None:
    vault = Vault.open(path, KEY)
    vault.close()
    vault.close()
    calls: list[Callable[[], object]] = [
        lambda: vault.append(plays(1)[0]),
        lambda: list(vault.events()),
        lambda: len(vault),
        lambda: vault.note("n"),
        lambda: vault.keep_note("n", b"v"),
        vault.erase,
    ]
    for call in calls:
        with pytest.raises(VaultError, match="closed"):
            call()


def test_full_disk_is_a_sentence_and_the_vault_stays_usable(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(5))
        assert vault._connection is not None
        pages = vault._connection.execute("PRAGMA page_count").fetchone()[0]
        vault._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        with pytest.raises(VaultError, match="disk is full"):
            vault.extend(plays(5000))
        vault._connection.execute("PRAGMA max_page_count = 100000").fetchone()
        vault.append(plays(1, 5)[0])
    assert read(path) == plays(6)
