"""The encrypted history: what it keeps, what it hides, what it refuses, and what survives a crash."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.client.vault.codec import decode_event, encode_event
from backrow.client.vault.sealing import HEADER_BYTES
from backrow.client.vault.store import Vault
from backrow.privacy.errors import DamagedVaultError, VaultError, WrongKeyError

KEY = bytes(range(32))

ONE_OF_EACH = [
    WatchEvent(EventKind.PLAY, 100, "t1", DeviceKind.PHONE, position=0.0),
    WatchEvent(EventKind.PAUSE, 160, "t1", DeviceKind.PHONE, position=0.1),
    WatchEvent(EventKind.RESUME, 900, "t1", DeviceKind.TV, position=0.1),
    WatchEvent(EventKind.STOP, 1200, "t1", DeviceKind.TV, position=1 / 3),
    WatchEvent(EventKind.COMPLETE, 5000, "t1"),
    WatchEvent(EventKind.REWATCH, 6000, "t1", DeviceKind.BROWSER),
    WatchEvent(EventKind.RATE, 7000, "t1", DeviceKind.TABLET, rating=4.5),
    WatchEvent(EventKind.SKIP, 7000, "日本の映画", position=0.02),
    WatchEvent(EventKind.SEARCH, 8000, query='films "like" this one \x00 \ud83c'),
]


def plays(count: int, first: int = 0) -> list[WatchEvent]:
    return [WatchEvent(EventKind.PLAY, 1000 + n, f"title-{n}") for n in range(first, first + count)]


def write(path: Path, events: list[WatchEvent]) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(events)


def read(path: Path) -> list[WatchEvent]:
    with Vault.open(path, KEY) as vault:
        return list(vault.events())


def edit(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def look(path: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(path)
    values = [row[0] for row in connection.execute(query)]
    connection.close()
    return values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.vault"


# What it keeps


def test_every_kind_of_event_comes_back_as_it_was_recorded(path: Path) -> None:
    write(path, ONE_OF_EACH)
    assert read(path) == ONE_OF_EACH


def test_order_of_recording_is_kept_across_sessions_and_batches(path: Path) -> None:
    write(path, plays(700))
    with Vault.open(path, KEY) as vault:
        vault.append(plays(1, 700)[0])
        assert len(vault) == 701
    assert read(path) == plays(701)


def test_new_vault_is_empty_and_true(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        assert len(vault) == 0
        assert list(vault.events()) == []
        assert vault


def test_events_appended_while_reading_do_not_disturb_the_reader(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(600))
        seen: list[WatchEvent] = []
        for event in vault.events():
            if len(seen) == 10:
                vault.extend(plays(5, 600))
            seen.append(event)
    assert seen[:600] == plays(600)


def test_extend_keeps_all_or_nothing(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.append(plays(1)[0])
        with pytest.raises(ValueError, match="whole number"):
            vault.extend([*plays(3), WatchEvent(EventKind.PLAY, 1.5, "t")])  # type: ignore[arg-type]
        assert len(vault) == 1
    assert read(path) == plays(1)


def test_something_that_is_not_an_event_is_refused(path: Path) -> None:
    with Vault.open(path, KEY) as vault, pytest.raises(ValueError, match="WatchEvent"):
        vault.append("play")  # type: ignore[arg-type]


def test_number_as_title_is_refused() -> None:
    with pytest.raises(ValueError, match="text"):
        encode_event(WatchEvent(EventKind.PLAY, 1, 7))  # type: ignore[arg-type]


def test_event_of_a_newer_version_asks_for_an_update() -> None:
    with pytest.raises(VaultError, match="newer version"):
        decode_event(b"\x02" + encode_event(ONE_OF_EACH[0])[1:])


def test_encoded_lengths_are_padded() -> None:
    short, longer = (encode_event(WatchEvent(EventKind.PLAY, 1, title)) for title in ("a", "a title"))
    assert len(short) == len(longer)
    assert len(short) % 64 == 0


def test_notes_are_kept_replaced_and_told_apart(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        assert vault.note("a") is None
        vault.keep_note("a", b"1")
        vault.keep_note("b", b"2")
        vault.keep_note("a", b"3")
    with Vault.open(path, KEY) as vault:
        assert (vault.note("a"), vault.note("b"), vault.note("c")) == (b"3", b"2", None)
        assert len(vault) == 0


def test_threads_may_share_a_vault(path: Path) -> None:
    with Vault.open(path, KEY) as vault:

        def write_some(number: int) -> None:
            for event in plays(20, 100 * number):
                vault.append(event)

        writers = [threading.Thread(target=write_some, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert sorted(read(path), key=lambda e: e.at) == [e for n in range(4) for e in plays(20, 100 * n)]


# What it hides


def test_nothing_recognisable_is_in_any_of_its_files(path: Path) -> None:
    words = [
        "secret-title-7781",
        "zanzibar documentary",
        "note-name-5512",
        "note-value-9913",
        "complete",
        "search",
        "tv",
    ]
    events = [WatchEvent(EventKind.COMPLETE, 1_700_000_000, words[0])] * 50
    events += [WatchEvent(EventKind.SEARCH, 1_700_000_001, query=words[1])] * 50
    with Vault.open(path, KEY) as vault:
        vault.extend(events)
        vault.keep_note(words[2], words[3].encode())
        raw = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert (path.parent / "history.vault-wal").stat().st_size > 0, "the test must see the write-ahead log too"
    raw += path.read_bytes()
    assert len(raw) > 10_000
    for word in [*words[:6], "1700000000"]:
        for encoding in ("utf-8", "utf-16-le"):
            assert word.encode(encoding) not in raw
    assert (1_700_000_000).to_bytes(4, "big") not in raw
    assert (1_700_000_000).to_bytes(4, "little") not in raw
    assert KEY not in raw


def test_equal_events_look_different_and_nonces_never_repeat(path: Path) -> None:
    write(path, [ONE_OF_EACH[0]] * 500)
    rows = look(path, "SELECT sealed FROM events")
    assert len({row[:12] for row in rows}) == len({row[12:] for row in rows}) == 500


def test_two_vaults_with_one_key_have_different_data_keys(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, ONE_OF_EACH)
    headers = [look(tmp_path / name, "SELECT bytes FROM header")[0] for name in "ab"]
    assert headers[0][14:] != headers[1][14:]


@pytest.mark.skipif(os.name != "posix", reason="permissions are a POSIX matter")
def test_only_the_owner_may_read_the_files(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(3))
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    path.chmod(0o644)
    assert len(read(path)) == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_vault_and_its_sealer_cannot_be_printed(path: Path) -> None:
    with Vault.open(path, KEY) as vault:
        vault.extend(plays(3))
        shown = repr(vault) + str(vault)
    assert "not printable" in shown
    assert "title" not in shown


# What it refuses


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
