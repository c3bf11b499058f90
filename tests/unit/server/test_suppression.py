"""The list of account-wide opt-outs: signed, durable, never empty by accident."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backrow.privacy.consent import (
    EVERYTHING,
    ConsentRecord,
    OptOutRequest,
    Purpose,
    sign_opt_out,
    sign_record,
)
from backrow.privacy.errors import BackrowError, MalformedMessageError, SignatureError, SuppressionError
from backrow.privacy.signing import SigningKey
from backrow.server.suppression import ENROLLED, SUPPRESSION, SuppressionList, keep_enrolled, read_enrolled

KEYS = {f"d{number}": SigningKey(bytes([number]) * 32) for number in range(4)}
ENROLLED_KEYS = {name: key.public for name, key in KEYS.items()}


def said(name: str, counter: int, granted: bool = False, at: int = 7) -> ConsentRecord:
    return ConsentRecord(KEYS[name].public, EVERYTHING, granted, counter, at)


def opt_out(name: str, counter: int = 1, pseudonym: str | None = None, at: int = 7) -> bytes:
    request = OptOutRequest(said(name, counter, at=at), name if pseudonym is None else pseudonym)
    return sign_opt_out(request, KEYS[name])


def lift(name: str, counter: int) -> bytes:
    return sign_record(said(name, counter, granted=True), KEYS[name])


def add(listed: SuppressionList, signed: bytes, at: int = 100) -> bool:
    return listed.add(signed, ENROLLED_KEYS, at)


def test_an_opt_out_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    assert add(SuppressionList.create(tmp_path), opt_out("d1"))
    assert SuppressionList.open(tmp_path).opted_out == {"d1"}


def test_a_request_may_name_its_pseudonym_or_leave_it_to_the_identity_key(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    add(listed, opt_out("d1", pseudonym=""))
    assert listed.opted_out == {"d1"}
    with pytest.raises(SignatureError, match="under this pseudonym"):
        add(listed, opt_out("d2", pseudonym="d3"))
    assert SuppressionList.open(tmp_path).opted_out == {"d1"}


def test_another_key_under_the_same_pseudonym_changes_nothing(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    add(listed, opt_out("d1"))
    anew = {"d1": KEYS["d2"].public}
    for signed in (lift("d2", 9), opt_out("d2", 9, "d1")):
        with pytest.raises(SuppressionError, match="another identity key"):
            listed.add(signed, anew, 100)
    assert SuppressionList.open(tmp_path).opted_out == {"d1"}


@pytest.mark.parametrize(
    ("signed", "error"),
    [
        (opt_out("d1")[:-1] + b"?", SignatureError),
        (bytes(64) + opt_out("d1")[64:], SignatureError),
        (sign_opt_out(OptOutRequest(ConsentRecord(SigningKey(b"x" * 32).public, EVERYTHING, False, 1, 7)),
                      SigningKey(b"x" * 32)), SignatureError),
        (b"please forget me", MalformedMessageError),
        (b"", MalformedMessageError),
        (opt_out("d1") * 20, MalformedMessageError),
        (sign_record(ConsentRecord(KEYS["d1"].public, Purpose.TRAIN, True, 9, 7), KEYS["d1"]), MalformedMessageError),
        (sign_record(said("d1", 9), KEYS["d1"]), MalformedMessageError),
        (lift("d1", 9), SuppressionError),
    ],
)  # fmt: skip
def test_forged_foreign_and_other_statements_change_nothing(
    tmp_path: Path, signed: bytes, error: type[BackrowError]
) -> None:
    listed = SuppressionList.create(tmp_path)
    before = (tmp_path / SUPPRESSION).read_bytes()
    with pytest.raises(error):
        add(listed, signed)
    assert not listed.opted_out
    assert (tmp_path / SUPPRESSION).read_bytes() == before


def test_one_bad_statement_among_many_leaves_the_list_as_it_was(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    with pytest.raises(MalformedMessageError):
        listed.add_all([opt_out("d1"), b"garbage"], ENROLLED_KEYS, 1)
    assert not listed.opted_out
    assert not SuppressionList.open(tmp_path).opted_out
    assert listed.add_all([opt_out("d1"), opt_out("d2"), opt_out("d1")], ENROLLED_KEYS, 1) == 2


def test_the_higher_counter_wins_and_lifting_takes_a_newer_statement(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    add(listed, opt_out("d1", 3))
    for replayed in (lift("d1", 2), lift("d1", 3), opt_out("d1", 2)):
        with pytest.raises(SuppressionError, match="newer"):
            add(listed, replayed)
        assert listed.opted_out == {"d1"}
    assert add(listed, lift("d1", 4))
    assert listed.opted_out == frozenset()
    with pytest.raises(SuppressionError, match="newer"):
        add(listed, opt_out("d1", 3))
    assert SuppressionList.open(tmp_path).opted_out == frozenset()


def test_at_equal_counters_the_withdrawal_wins_whichever_comes_first(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    add(listed, opt_out("d1", 1))
    add(listed, lift("d1", 2))
    assert add(listed, opt_out("d1", 2))
    with pytest.raises(SuppressionError):
        add(listed, lift("d1", 2))
    assert listed.opted_out == {"d1"}


def test_a_copy_says_nothing_new_and_keeps_the_time_of_the_first(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    assert add(listed, opt_out("d1"), at=10)
    assert not add(listed, opt_out("d1"), at=20)
    assert listed.oldest({"d1", "d2"}) == 10
    assert listed.oldest({"d2"}) is None


def test_what_another_process_added_is_read(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    add(SuppressionList.open(tmp_path), opt_out("d1"))
    assert not listed.opted_out
    listed.refresh()
    assert listed.opted_out == {"d1"}
    add(SuppressionList.open(tmp_path), opt_out("d2"))
    add(listed, opt_out("d3"))
    assert SuppressionList.open(tmp_path).opted_out == listed.opted_out == {"d1", "d2", "d3"}


def test_every_former_state_can_be_found_by_its_size(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    for signed in (opt_out("d1"), opt_out("d2"), lift("d1", 2), opt_out("d3")):
        add(listed, signed)
    assert list(listed.states(1)) == [("d2",), ("d1",)]
    assert list(listed.states(2)) == [("d2", "d3"), ("d1", "d2")]
    assert list(listed.states(0)) == [()]


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "no header": lambda data: data.partition(b"\n")[2],
    "other format": _swap(b"suppression/1", b"suppression/2"),
    "half a line": lambda data: data[:-9],
    "no newline": lambda data: data[:-1],
    "text": lambda data: data + b"d3 please\n",
    "no object": lambda data: data + b"[]\n",
    "binary": lambda data: data + bytes(range(256)) + b"\n",
    "unknown field": _swap(b'"at"', b'"by": 1, "at"'),
    "no time": _swap(b'"at": 100', b'"at": true'),
    "other pseudonym": _swap(b'"d1"', b'"d2"'),
    "changed statement": lambda data: data[:-5] + (b"0" if data[-5:-4] != b"0" else b"1") + data[-4:],
    "the same twice": lambda data: data + data.splitlines(keepends=True)[-1],
    "spaced out": _swap(b'"at": ', b'"at":  '),
    "deep": lambda data: data + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_list_with_garbage_is_never_taken_for_an_empty_one(tmp_path: Path, name: str) -> None:
    listed = SuppressionList.create(tmp_path)
    add(listed, opt_out("d1"))
    path = tmp_path / SUPPRESSION
    spoilt = GARBAGE[name](path.read_bytes())
    assert spoilt != path.read_bytes()
    path.write_bytes(spoilt)
    for use in (lambda: SuppressionList.open(tmp_path), listed.refresh, lambda: add(listed, opt_out("d2"))):
        with pytest.raises(SuppressionError, match="nobody is asked"):
            use()
    assert path.read_bytes() == spoilt


def test_a_missing_or_older_list_is_refused(tmp_path: Path) -> None:
    listed = SuppressionList.create(tmp_path)
    older = (tmp_path / SUPPRESSION).read_bytes()
    add(listed, opt_out("d1"))
    (tmp_path / SUPPRESSION).write_bytes(older)
    with pytest.raises(SuppressionError, match="older"):
        listed.refresh()
    (tmp_path / SUPPRESSION).unlink()
    with pytest.raises(SuppressionError, match="somebody may be on it"):
        listed.refresh()
    with pytest.raises(SuppressionError, match="somebody may be on it"):
        SuppressionList.open(tmp_path)


def test_a_list_is_never_begun_twice(tmp_path: Path) -> None:
    SuppressionList.create(tmp_path)
    with pytest.raises(SuppressionError, match="never begun again"):
        SuppressionList.create(tmp_path)


def test_on_a_full_disk_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = SuppressionList.create(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SuppressionError, match="No space left"):
        add(listed, opt_out("d1"))
    monkeypatch.undo()
    assert not listed.opted_out
    assert add(listed, opt_out("d1"))
    assert SuppressionList.open(tmp_path).opted_out == {"d1"}


def test_identity_keys_come_back_as_they_were_kept_or_not_at_all(tmp_path: Path) -> None:
    keep_enrolled(tmp_path, ENROLLED_KEYS)
    assert read_enrolled(tmp_path) == ENROLLED_KEYS
    one = ENROLLED_KEYS["d1"].hex()
    for spoilt in ("[]", "{", '{"d1": 5}', '{"d1": "ab"}', json.dumps({"d1": one, "d2": one})):
        (tmp_path / ENROLLED).write_text(spoilt)
        with pytest.raises(SuppressionError, match="no list of identity keys"):
            read_enrolled(tmp_path)
    (tmp_path / ENROLLED).unlink()
    with pytest.raises(SuppressionError, match="forged"):
        read_enrolled(tmp_path)


def test_an_operator_adds_a_request_by_command(tmp_path: Path) -> None:
    import typer

    from backrow.server.cli import opt_out as command

    app, runner = typer.Typer(), CliRunner()
    app.command()(command)
    run = tmp_path / "run"
    SuppressionList.create(run / "coordinator")
    keep_enrolled(run / "coordinator", ENROLLED_KEYS)
    (tmp_path / "request").write_bytes(opt_out("d1"))
    done = runner.invoke(app, [str(run), str(tmp_path / "request")])
    assert (done.exit_code, "On the list: 1 device." in done.output) == (0, True)
    again = runner.invoke(app, [str(run / "coordinator"), str(tmp_path / "request")])
    assert "Nothing new" in again.output
    (tmp_path / "request").write_bytes(b"forged")
    refused = runner.invoke(app, [str(run), str(tmp_path / "request")])
    assert isinstance(refused.exception, MalformedMessageError)
    assert isinstance(runner.invoke(app, [str(tmp_path), str(tmp_path / "request")]).exception, SuppressionError)
    assert SuppressionList.open(run / "coordinator").opted_out == {"d1"}
