"""The encrypted history: what it keeps and what it hides."""

import os
import threading
from pathlib import Path

import pytest

from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.client.vault.codec import decode_event, encode_event
from backrow.client.vault.store import Vault
from backrow.privacy.errors import VaultError
from tests.unit.client.vaults import KEY, look, plays, read, write

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
