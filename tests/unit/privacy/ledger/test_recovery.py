"""The rule of repair, at every byte."""

import shutil
from pathlib import Path

import pytest

from backrow.privacy.errors import (
    BackrowError,
    ClockError,
    DamagedLedgerError,
    MalformedEntryError,
    SignatureError,
    UnknownEntryError,
)
from backrow.privacy.ledger.canonical import LARGEST_LINE
from backrow.privacy.ledger.entries import FindingEntry
from backrow.privacy.ledger.files import CHECKPOINT, LEDGER, read_files
from backrow.privacy.ledger.recovery import UNFINISHED, Repair
from backrow.privacy.ledger.signed_entry import decode_entry, sign_entry
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.ledger.verification import verify_files
from tests.unit.privacy.ledger.samples import BODIES, KEY, ORIGIN, OTHER_KEY, filled, lines

LATER = 2000
COVERED = 2


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    """A ledger of four entries whose checkpoint covers two, as if one append of two had been cut off."""
    filled(tmp_path, COVERED).close()
    note = (tmp_path / CHECKPOINT).read_bytes()
    with Ledger.open(tmp_path, KEY, LATER) as ledger:
        ledger.append_all(BODIES[2:4], 1003)
    (tmp_path / CHECKPOINT).write_bytes(note)
    return tmp_path


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_cut_at_any_byte_the_covered_entries_are_kept_or_the_loss_is_named(behind: Path, tmp_path: Path) -> None:
    data = (behind / LEDGER).read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    covered, work = ends[COVERED - 1], tmp_path / "work"
    for cut in range(len(data) + 1):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / LEDGER).write_bytes(data[:cut])
        shutil.copy(behind / CHECKPOINT, work)
        before = state(work)
        if cut < covered:
            with pytest.raises(DamagedLedgerError, match="entries were removed"):
                Ledger.open(work, KEY, LATER)
            assert state(work) == before, "nothing is repaired"
            continue
        whole = [end for end in ends if end <= cut]
        kept, removed = tuple(range(COVERED, len(whole))), data[whole[-1] : cut]
        with Ledger.open(work, KEY, LATER) as ledger:
            if not (kept or removed):
                assert (ledger.repair, ledger.size) == (None, COVERED)
                continue
            assert ledger.repair == Repair(kept, removed)
            assert ledger.size == len(whole) + 1
            entries = list(ledger.entries())
        assert entries[-1].body == FindingEntry(UNFINISHED, kept, str(Repair(kept, removed)))
        assert (work / LEDGER).read_bytes().startswith(data[: whole[-1]])
        assert set(state(work)) == {LEDGER, CHECKPOINT}
        verify_files(read_files(work), KEY.public)


def test_a_repair_tells_what_it_removed_by_its_hash() -> None:
    assert sha256(b"torn").hex() in str(Repair((), b"torn"))
    assert "removed" not in str(Repair((3,), b""))


def test_a_repaired_ledger_opens_without_further_repair(behind: Path) -> None:
    Ledger.open(behind, KEY, LATER).close()
    with Ledger.open(behind, KEY, LATER) as ledger:
        assert ledger.repair is None
        ledger.append(BODIES[4], LATER)


def test_a_repair_cut_off_before_its_checkpoint_is_repaired_again(behind: Path) -> None:
    old = (behind / CHECKPOINT).read_bytes()
    Ledger.open(behind, KEY, LATER).close()
    (behind / CHECKPOINT).write_bytes(old)
    (behind / f".{LEDGER}").write_bytes(b"a draft that was never finished")
    with Ledger.open(behind, KEY, LATER) as ledger:
        assert ledger.repair == Repair((2, 3, 4), b"")
    verify_files(read_files(behind), KEY.public)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (sign_entry(OTHER_KEY, ORIGIN, 4, 1004, BODIES[4]).encode(), SignatureError),
        (sign_entry(KEY, "backrow/other", 4, 1004, BODIES[4]).encode(), DamagedLedgerError),
        (sign_entry(KEY, ORIGIN, 5, 1004, BODIES[4]).encode(), DamagedLedgerError),
        (sign_entry(KEY, ORIGIN, 3, 1004, BODIES[4]).encode(), DamagedLedgerError),
        (sign_entry(KEY, ORIGIN, 4, 1002, BODIES[4]).encode(), ClockError),
        (lines(5)[4].replace(b'"version":1', b'"version":2'), UnknownEntryError),
        (lines(5)[4].replace(b'"reserve"', b'"reserves"'), UnknownEntryError),
        (lines(5)[4][:-1], MalformedEntryError),
        (b"\x00" * 100, MalformedEntryError),
        (b"", MalformedEntryError),
    ],
)
def test_a_whole_line_that_is_no_entry_in_place_is_damage_and_stays(
    behind: Path, line: bytes, problem: type[BackrowError]
) -> None:
    with (behind / LEDGER).open("ab") as file:
        file.write(line + b"\n")
    before = state(behind)
    with pytest.raises(problem):
        Ledger.open(behind, KEY, LATER)
    assert state(behind) == before


def test_a_changed_covered_entry_is_damage_and_stays(behind: Path) -> None:
    data = bytearray((behind / LEDGER).read_bytes())
    data[10] ^= 1
    (behind / LEDGER).write_bytes(data)
    before = state(behind)
    with pytest.raises(DamagedLedgerError, match="not those of the checkpoint"):
        Ledger.open(behind, KEY, LATER)
    assert state(behind) == before


def test_a_clock_behind_the_ledger_repairs_nothing(behind: Path) -> None:
    before = state(behind)
    with pytest.raises(ClockError, match="nothing was repaired"):
        Ledger.open(behind, KEY, 1002)
    assert state(behind) == before


def test_a_file_of_endless_line_is_no_ledger(behind: Path) -> None:
    with (behind / LEDGER).open("ab") as file:
        file.write(b"x" * (LARGEST_LINE + 2))
    with pytest.raises(DamagedLedgerError, match="longer than"):
        Ledger.open(behind, KEY, LATER)
    with pytest.raises(DamagedLedgerError, match="longer than"):
        read_files(behind)


def test_an_auditor_does_not_repair(behind: Path) -> None:
    before = state(behind)
    with pytest.raises(DamagedLedgerError, match="2 entries follow the checkpoint"):
        verify_files(read_files(behind), KEY.public)
    with (behind / LEDGER).open("ab") as file:
        file.write(b'{"body"')
    with pytest.raises(DamagedLedgerError, match="not finished"):
        verify_files(read_files(behind), KEY.public)
    assert decode_entry(read_files(behind).lines[-1]).index == 3
    assert state(behind) == {**before, LEDGER: before[LEDGER] + b'{"body"'}
