"""Whatever lies in the files, the answer is a named finding and never a traceback."""

import json
import random
from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Lists, Seen, read_key, read_seen
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import LedgerError, NoteError
from backrow.privacy.ledger.canonical import LARGEST_LINE
from backrow.privacy.ledger.keys import VerifierKey
from tests.ledgers import KEY, ORIGIN, OTHER_KEY, honest, note_of, write

GOOD = honest().lines()


def names(folder: Path, key: bytes | None = KEY.public) -> set[Fault]:
    return {finding.fault for finding in verify(folder, key).findings}


def with_ledger(folder: Path, data: bytes) -> Path:
    write(folder, honest())
    (folder / "ledger.jsonl").write_bytes(data)
    return folder


def with_line(folder: Path, line: bytes) -> Path:
    return with_ledger(folder, b"".join([*GOOD[:4], line, *GOOD[5:]]))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda line: line.replace(b"reserve", b"\xff\xfe\xfd"), Fault.MALFORMED),
        (lambda line: b'{"a":1,"a":2}\n', Fault.MALFORMED),
        (lambda line: line.replace(b'{"body"', b'{"body":1,"body"'), Fault.MALFORMED),
        (lambda line: line.replace(b'"version":1', b'"version":1.0'), Fault.MALFORMED),
        (lambda line: line.replace(b'"delta":"1e-05"', b'"delta":1e-05'), Fault.MALFORMED),
        (lambda line: line.replace(b'"round":1', b'"round":NaN'), Fault.MALFORMED),
        (lambda line: line.replace(b'"round":1', b'"round":true'), Fault.MALFORMED),
        (lambda line: line.replace(b'"round":1', b'"round":0'), Fault.MALFORMED),
        (lambda line: line.replace(b'"body":{', b'"body":{"extra":1,'), Fault.MALFORMED),
        (lambda line: b" " + line, Fault.MALFORMED),
        (lambda line: b"\n", Fault.MALFORMED),
        (lambda line: b"[1,2,3]\n", Fault.MALFORMED),
        (lambda line: b"[" * 100_000 + b"\n", Fault.MALFORMED),
        (lambda line: b'{"version":1,"kind":' + b"9" * 5000 + b"}\n", Fault.MALFORMED),
        (lambda line: line.replace(b'"kind":"reserve"', b'"kind":"wish"'), Fault.UNKNOWN),
        (lambda line: line.replace(b'"version":1', b'"version":2'), Fault.UNKNOWN),
        (lambda line: b"{}\n", Fault.UNKNOWN),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, change: object, fault: Fault) -> None:
    line = change(GOOD[4])  # type: ignore[operator]
    assert line != GOOD[4]
    assert names(with_line(tmp_path / "run", line)) == {fault}


def test_a_line_of_eighteen_megabytes_is_refused_unread(tmp_path: Path) -> None:
    assert names(with_line(tmp_path / "run", b"x" * (LARGEST_LINE + 2**20) + b"\n")) == {Fault.UNREADABLE}
    assert names(with_ledger(tmp_path / "first", b"x" * (LARGEST_LINE + 2**20))) == {Fault.UNREADABLE}


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 1000, b"\xff" * 1000, random.Random(1).randbytes(10_000)])
def test_rubbish_is_a_finding(tmp_path: Path, data: bytes) -> None:
    assert names(with_ledger(tmp_path / "run", data))
    assert names(with_ledger(tmp_path / "run", data), None)


@pytest.mark.parametrize("name", ["ledger.jsonl", "checkpoint", "policy.toml", "coordinator.pub"])
def test_a_file_that_is_missing_or_a_folder_is_no_traceback(tmp_path: Path, name: str) -> None:
    for at, make in enumerate([lambda path: None, lambda path: path.mkdir()]):
        folder = write(tmp_path / f"run{at}", honest())
        (folder / name).unlink()
        make(folder / name)
        found = names(folder)
        assert bool(found) == (name != "coordinator.pub")  # with a pinned key nobody needs it


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_a_truncated_ledger_is_named(tmp_path: Path, cut: int) -> None:
    whole = b"".join(GOOD)
    assert names(with_ledger(tmp_path / "run", whole[:-cut])) == {Fault.UNFINISHED}


def test_a_run_that_is_not_there_is_one_finding(tmp_path: Path) -> None:
    assert names(tmp_path / "nowhere") == {Fault.UNREADABLE}


def test_two_forks_are_proved_to_anybody(tmp_path: Path) -> None:
    from backrow.privacy.audit.evidence import open_lines, read_evidence
    from backrow.privacy.audit.verify import Audit

    mine = write(tmp_path / "mine", honest())
    theirs = write(tmp_path / "theirs", honest(void=(1,)))
    audit = Audit(read_evidence(mine), KEY.public, seen=[read_seen(theirs)])
    with open_lines(mine) as lines:
        report = audit.over(lines)
    assert {finding.fault for finding in report.findings} == {Fault.FORKED}
    (proof,) = audit.forks
    proof.verify(VerifierKey(ORIGIN, KEY.public))


def test_a_checkpoint_of_somebody_else_is_the_auditor_s_mistake(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    for note in (note_of(GOOD, OTHER_KEY), b"", note_of(GOOD, origin="backrow/other")):
        with pytest.raises(LedgerError, match="checkpoint"):
            verify(folder, KEY.public, seen=[Seen("a friend", note)])
    with pytest.raises(LedgerError, match="cannot be read"):
        read_seen(tmp_path / "nothing")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"format":"backrow-lists/1"}', b'{"format":"backrow-lists/1","keys":["00"]}']
)
def test_a_file_that_holds_no_lists_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(LedgerError, match="pseudonym lists"):
        Lists.parse(data)


def test_lists_whose_people_are_no_names_are_refused() -> None:
    text = json.dumps({"format": "backrow-lists/1", "keys": [], "participants": {"5": [1]}})
    with pytest.raises(LedgerError, match="no list of names"):
        Lists.parse(text.encode())


def test_a_key_is_read_in_three_spellings() -> None:
    vkey = str(VerifierKey("log", KEY.public))
    for data in (KEY.public, KEY.public.hex().encode() + b"\n", vkey.encode()):
        assert read_key(data) == KEY.public


@pytest.mark.parametrize("data", [b"", b"key", b"\xff\xfe", b"0" * 63, b"g" * 64, b"a+b+c"])
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        read_key(data)


def test_a_damaged_coordinator_pub_is_found_when_no_key_is_pinned(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    (folder / "coordinator.pub").write_bytes(b"not a key")
    assert names(folder, None) == {Fault.WRONG_KEY}
