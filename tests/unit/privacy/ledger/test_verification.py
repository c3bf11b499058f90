"""Every way to bend a ledger that its structure shows, and by which name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.errors import (
    BackrowError,
    ClockError,
    DamagedLedgerError,
    MalformedEntryError,
    NoteError,
    SignatureError,
    UnknownEntryError,
)
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.files import LedgerFiles, read_files
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.signing import SigningKey
from tests.unit.privacy.ledger.samples import BODIES, KEY, ORIGIN, OTHER_KEY, WITNESS, filled, lines

Lines = list[bytes]
LINES = lines()


def resigned(made: Lines, key: SigningKey = KEY) -> LedgerFiles:
    """What a coordinator with this key would publish for these lines."""
    tree = Tree(map(leaf_hash, made))
    note = Checkpoint(ORIGIN, tree.size, tree.root()).sign(Signer(ORIGIN, key)).encode()
    return LedgerFiles(tuple(made), b"", note)


GOOD = resigned(LINES)


def test_a_ledger_from_disk_verifies_and_gives_its_entries(tmp_path: Path) -> None:
    filled(tmp_path).close()
    assert read_files(tmp_path) == GOOD
    verified = verify_files(GOOD, KEY.public)
    assert [entry.body for entry in verified.entries] == list(BODIES)
    assert verified.signed.checkpoint.root == verified.tree.root()


def test_witnesses_can_be_demanded() -> None:
    with pytest.raises(SignatureError, match="1 must"):
        verify_files(GOOD, KEY.public, [WITNESS.verifier], quorum=1)


@pytest.mark.parametrize(
    ("bend", "problem", "says"),
    [
        (lambda made: made[:-1], DamagedLedgerError, "entries were removed"),
        (lambda made: [], DamagedLedgerError, "entries were removed"),
        (lambda made: [*made, lines(11)[10]], DamagedLedgerError, "follow the checkpoint"),
        (lambda made: [*made[:3], *made[4:]], DamagedLedgerError, "stands at place 3"),
        (lambda made: [*made[:3], made[2], *made[3:]], DamagedLedgerError, "stands at place 3"),
        (lambda made: [*made[:2], made[3], made[2], *made[4:]], DamagedLedgerError, "stands at place 2"),
        (lambda made: [*made[:4], made[4].replace(b"1.9263", b"1.9262"), *made[5:]], SignatureError, "does not match"),
        (lambda made: [*made[:4], b"{}", *made[5:]], UnknownEntryError, "version None"),
        (lambda made: [*made[:4], b"", *made[5:]], MalformedEntryError, "not the JSON"),
    ],
)
def test_lines_bent_under_the_old_checkpoint_are_caught(
    bend: Callable[[Lines], Lines], problem: type[BackrowError], says: str
) -> None:
    with pytest.raises(problem, match=says):
        verify_files(replace(GOOD, lines=tuple(bend(LINES))), KEY.public)


@pytest.mark.parametrize(
    ("bend", "problem"),
    [
        (lambda made: [*made[:3], *made[4:]], DamagedLedgerError),
        (lambda made: [*made[:3], made[2], *made[3:]], DamagedLedgerError),
        (lambda made: made[::-1], DamagedLedgerError),
        (lambda made: [*made, sign_entry(KEY, ORIGIN, 10, 5, BODIES[0]).encode()], ClockError),
        (lambda made: [*made, sign_entry(KEY, "backrow/other", 10, 2000, BODIES[0]).encode()], DamagedLedgerError),
        (lambda made: [*made, sign_entry(OTHER_KEY, ORIGIN, 10, 2000, BODIES[0]).encode()], SignatureError),
        (lambda made: [*made[:4], made[4].replace(b"1.9263", b"1.9262"), *made[5:]], SignatureError),
    ],
)
def test_lines_bent_under_a_new_checkpoint_are_caught(
    bend: Callable[[Lines], Lines], problem: type[BackrowError]
) -> None:
    with pytest.raises(problem):
        verify_files(resigned(bend(LINES)), KEY.public)


def test_a_ledger_written_anew_with_another_key_is_caught_by_the_pinned_one() -> None:
    forged = resigned(lines(key=OTHER_KEY), OTHER_KEY)
    verify_files(forged, OTHER_KEY.public)
    with pytest.raises(SignatureError):
        verify_files(forged, KEY.public)
    with pytest.raises(SignatureError):
        verify_files(resigned(lines(key=OTHER_KEY), KEY), KEY.public)


def test_a_checkpoint_of_other_entries_is_caught() -> None:
    other = resigned([*LINES[:-1], sign_entry(KEY, ORIGIN, 9, 1009, BODIES[6]).encode()])
    verify_files(other, KEY.public)
    with pytest.raises(DamagedLedgerError, match="not those of the checkpoint"):
        verify_files(replace(GOOD, checkpoint=other.checkpoint), KEY.public)


@pytest.mark.parametrize("note", [b"", b"text\n", GOOD.checkpoint[:-1], b"\xff" * 200, GOOD.checkpoint * 2])
def test_a_damaged_checkpoint_is_caught(note: bytes) -> None:
    with pytest.raises(NoteError):
        verify_files(replace(GOOD, checkpoint=note), KEY.public)
