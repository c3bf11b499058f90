"""Nobody leaves a list of opt-outs but by a newer statement, signed by the key that put her there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backrow.privacy.audit.cli import app
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report, State, Topic
from backrow.privacy.audit.report import render
from backrow.privacy.audit.report_material import signed_entries
from backrow.privacy.audit.verify import verify
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, read_opt_out, sign_opt_out, sign_record
from backrow.privacy.errors import BackrowError, LedgerError
from backrow.privacy.ledger.entries import OptOutEntry, PublicationEntry, ReleaseEntry
from backrow.privacy.ledger.pseudonyms import PseudonymList
from backrow.privacy.signing import SigningKey
from backrow.privacy.statements import Statement, digest, read_statement
from tests.ledgers import EPOCH_KEY, INVITED, KEY, OPT_OUTS, RELEASE, START, Draft, honest, write

HER, OTHER = "device-090", "device-091"
KEYS = {HER: SigningKey(b"h" * 32), OTHER: SigningKey(b"i" * 32)}
STRANGER = SigningKey(b"s" * 32)
LATER = RELEASE + 1
"""Place of the second sealed list, between two rounds."""
BACK = LATER + 2
"""Place of the release of the second round."""
AGAIN = (*INVITED[1:], HER)
"""Who is invited to it: she, too."""


def opt_out(name: str = HER, counter: int = 1, key: SigningKey | None = None, pseudonym: str | None = None) -> bytes:
    key = key or KEYS[name]
    record = ConsentRecord(key.public, EVERYTHING, False, counter, START - 100)
    return sign_opt_out(OptOutRequest(record, name if pseudonym is None else pseudonym), key)


def lift(name: str = HER, counter: int = 2, key: SigningKey | None = None) -> bytes:
    key = key or KEYS[name]
    return sign_record(ConsentRecord(key.public, EVERYTHING, True, counter, START - 100), key)


def line(signed: bytes, name: str = HER, at: int = START - 50) -> bytes:
    """As the coordinator keeps it; what is in it need not be true."""
    return Statement(name, at, signed, read_statement(opt_out())[0]).line()


BEFORE = (line(opt_out()), line(opt_out(OTHER), OTHER))
LIFTED = (*BEFORE, line(lift(), at=START + LATER))


def draft(
    after: Sequence[bytes] | None = LIFTED,
    second: Sequence[str] = (OTHER,),
    invited: Sequence[str] = AGAIN,
    before: Sequence[bytes] | None = BEFORE,
) -> Draft:
    """Two rounds: both owners on the list before the first, `second` on the one before the other.

    Args:
        before, after: the statements that the two lists commit to; None: to none.
    """
    made = honest((0.5, 0.5))
    listed = [PseudonymList(EPOCH_KEY, people).commitment for people in ((HER, OTHER), second)]
    said = [None if lines is None else digest(lines) for lines in (before, after)]
    one, two = (OptOutEntry(each.size, each.root, None, signed) for each, signed in zip(listed, said, strict=True))
    first, reserve, release, publication = made.bodies[RELEASE : RELEASE + 4]
    assert isinstance(first, ReleaseEntry)
    assert isinstance(release, ReleaseEntry)
    assert isinstance(publication, PublicationEntry)
    first = replace(first, crowd=replace(first.crowd, opt_out_root=one.root))
    root = PseudonymList(EPOCH_KEY, invited).commitment.root
    crowd = replace(release.crowd, opt_out_root=two.root, opt_out_time=START + LATER, participants_root=root)
    rest = (
        first, two, reserve, replace(release, reserve=LATER + 1, crowd=crowd),
        replace(publication, releases=(RELEASE, BACK)),
    )  # fmt: skip
    return replace(made, bodies=(*made.bodies[:OPT_OUTS], one, made.bodies[OPT_OUTS + 1], *rest))


def lists(
    statements: Sequence[bytes] | None = LIFTED, second: Sequence[str] = (OTHER,), invited: Sequence[str] = AGAIN
) -> Lists:
    """What is handed over."""
    held = Lists(
        (EPOCH_KEY,), {RELEASE: INVITED, BACK: invited}, {OPT_OUTS: (HER, OTHER), LATER: second}, statements=statements
    )
    return Lists.parse(held.encode())


def audit(folder: Path, made: Draft, held: Lists, *receipts: bytes) -> Report:
    return verify(
        write(folder / "run", made), KEY.public, lists=held, receipts=[read_opt_out(each) for each in receipts]
    )


def faults(report: Report) -> set[Fault]:
    return {finding.fault for finding in report.findings}


def dropped(report: Report) -> str:
    return " ".join(finding.sentence for finding in report.findings if finding.fault is Fault.DROPPED)


def test_who_takes_her_opt_out_back_is_invited_again(tmp_path: Path) -> None:
    report = audit(tmp_path, draft(), lists(), opt_out())
    assert report.passed, report.findings
    (checked,) = [check for check in report.checks if check.topic is Topic.LISTS]
    assert checked.state is State.PASSED
    assert "3 signed statements: somebody left a list 1 time; 1 receipt of an owner" in checked.sentence


def test_a_list_that_shrinks_without_a_statement_is_named(tmp_path: Path) -> None:
    report = audit(tmp_path, draft(BEFORE), lists(BEFORE))
    assert faults(report) == {Fault.DROPPED}
    assert report.exit_code == 67
    assert f"1 person who stood on the list of opt-outs before entry {LATER} left it" in dropped(report)
    assert "leaves out" not in dropped(report)  # the same person is not counted twice
    page = render(report, signed_entries(tmp_path / "run", KEY.public))
    assert "opt-out-dropped" in page


@pytest.mark.parametrize("committed", [True, False])
def test_a_list_that_shrinks_is_named_where_no_statements_are_handed_over(tmp_path: Path, committed: bool) -> None:
    made = draft(LIFTED, before=BEFORE) if committed else draft(None, before=None)
    report = audit(tmp_path, made, lists(None))
    assert faults(report) == {Fault.DROPPED}
    assert "was handed over that allows it" in dropped(report)
    assert any("signed statements behind the lists" in need for need in report.needs)


FORGED = line(lift()[:-1] + b"\x01")
ILL_SIGNED = line(bytes([lift()[0] ^ 1]) + lift()[1:])


@pytest.mark.parametrize(
    ("before", "bad"),
    [
        (BEFORE, ILL_SIGNED),
        (BEFORE, FORGED),
        (BEFORE, line(lift(key=STRANGER))),
        (BEFORE, line(lift(OTHER))),
        (BEFORE, line(lift(counter=1))),
        ((line(opt_out()), line(lift()), line(opt_out(counter=3)), BEFORE[1]), line(lift())),
        (BEFORE, line(opt_out(counter=2))[:-4] + b'00"}\n'),
        (BEFORE, b'{"at": 1, "pseudonym": "device-090", "statement": ""}\n'),
        (BEFORE, b'{"at": 1}\n'),
    ],
    ids=["signature", "changed", "another key", "another's", "equal counter", "replayed", "longer", "empty", "none"],
)  # fmt: skip
def test_no_other_statement_lifts_an_opt_out(tmp_path: Path, before: tuple[bytes, ...], bad: bytes) -> None:
    said = (*before, bad)
    report = audit(tmp_path, draft(said, before=before), lists(said))
    assert faults(report) == {Fault.DROPPED, Fault.STATEMENT}
    assert report.exit_code == Fault.DROPPED.exit_code
    assert f"Statement {len(said)} " in report.findings[-1].sentence


def test_a_lift_that_came_after_the_list_was_sealed_does_not_count(tmp_path: Path) -> None:
    report = audit(tmp_path, draft(BEFORE), lists(LIFTED))
    assert faults(report) == {Fault.DROPPED}
    # A ledger that commits to no statements cannot tell when it came.
    older = audit(tmp_path / "older", draft(None, before=None), lists(LIFTED))
    assert older.passed
    assert any("the ledger does not commit to them" in check.sentence for check in older.checks)
    # Nor may an entry fall silent after one that has committed.
    assert faults(audit(tmp_path / "silent", draft(None), lists(LIFTED))) == {Fault.DROPPED}


def test_one_lift_serves_once(tmp_path: Path) -> None:
    early = (BEFORE[0], line(lift()), line(opt_out(counter=3)), BEFORE[1])
    report = audit(tmp_path, draft(early, before=early), lists(early))
    assert faults(report) == {Fault.DROPPED}
    assert "leaves out" in dropped(report)


def test_whose_newest_statement_is_an_opt_out_stands_on_the_list_that_commits_to_it(tmp_path: Path) -> None:
    third = line(sign_opt_out(OptOutRequest(ConsentRecord(STRANGER.public, EVERYTHING, False, 1, START)), STRANGER),
                 "device-092")  # fmt: skip
    said = (*BEFORE, third)
    report = audit(tmp_path, draft(said, (HER, OTHER), INVITED), lists(said, (HER, OTHER), INVITED))
    assert faults(report) == {Fault.DROPPED}
    assert "leaves out 1 person" in dropped(report)


@pytest.mark.parametrize(
    "statements",
    [LIFTED[::-1], LIFTED[1:], (BEFORE[0], line(opt_out(OTHER), OTHER, at=START - 49), LIFTED[2]), ()],
    ids=["another order", "one missing", "dated otherwise", "none"],
)
def test_statements_are_the_committed_ones(tmp_path: Path, statements: tuple[bytes, ...]) -> None:
    report = audit(tmp_path, draft(), lists(statements))
    assert report.exit_code == Fault.LISTS.exit_code
    assert "are not those that entry" in report.findings[0].sentence


def test_an_entry_takes_no_statement_back(tmp_path: Path) -> None:
    report = audit(tmp_path, draft(BEFORE, before=LIFTED, second=(HER, OTHER), invited=INVITED),
                   lists(LIFTED, (HER, OTHER), INVITED))  # fmt: skip
    assert faults(report) == {Fault.LISTS}


def test_a_device_that_was_enrolled_anew_opts_out_under_both_pseudonyms(tmp_path: Path) -> None:
    said, unnamed = (*BEFORE, line(opt_out(pseudonym="", counter=3), "device-092")), opt_out(pseudonym="")
    people = (HER, OTHER, "device-092")
    report = audit(tmp_path, draft(said, people, INVITED), lists(said, people, INVITED), unnamed)
    assert report.passed, report.findings
    found = audit(tmp_path / "invited", draft(said, people, AGAIN), lists(said, people, AGAIN), unnamed)
    assert faults(found) == {Fault.OPTED_OUT, Fault.DROPPED}


def test_her_receipt_shows_that_a_coordinator_put_another_key_in_the_place_of_hers(tmp_path: Path) -> None:
    said = (line(opt_out(key=STRANGER)), BEFORE[1], line(lift(key=STRANGER)))
    made = draft(said, before=said[:2])
    assert audit(tmp_path / "without", made, lists(said)).passed  # nobody else can tell
    report = audit(tmp_path / "with", made, lists(said), opt_out())
    assert faults(report) == {Fault.DROPPED}
    assert "another key than hers" in dropped(report)


def test_her_receipt_shows_that_a_request_was_never_heeded(tmp_path: Path) -> None:
    said = BEFORE[1:]
    made = draft(said, before=said)
    made = made.swap(OPT_OUTS, **committed_to((OTHER,)))
    first = made.bodies[RELEASE]
    assert isinstance(first, ReleaseEntry)
    made = made.swap(
        RELEASE, crowd=replace(first.crowd, opt_out_root=PseudonymList(EPOCH_KEY, (OTHER,)).commitment.root)
    )
    held = replace(lists(said), opt_outs={OPT_OUTS: (OTHER,), LATER: (OTHER,)})
    assert audit(tmp_path / "without", made, held).passed
    report = audit(tmp_path / "with", made, held, opt_out())
    assert faults(report) == {Fault.DROPPED}
    assert report.findings[0].entries == (BACK,)
    assert "1 round of which a sum was released" in dropped(report)
    # Another owner's receipt accuses nobody, nor does a request made after the last round.
    assert audit(tmp_path / "other", made, held, opt_out(OTHER)).passed
    late = ConsentRecord(KEYS[HER].public, EVERYTHING, False, 1, START + BACK)
    assert audit(tmp_path / "late", made, held, sign_opt_out(OptOutRequest(late, HER), KEYS[HER])).passed


def committed_to(people: Sequence[str]) -> dict[str, object]:
    listed = PseudonymList(EPOCH_KEY, people).commitment
    return {"size": listed.size, "root": listed.root}


def test_her_receipt_counts_from_when_the_ledger_knew_it_whatever_time_is_written_beside_it(tmp_path: Path) -> None:
    # On neither list, invited twice; the statement is dated to the far future, but the first list commits to it.
    said = (line(opt_out(), at=START + 10**6), BEFORE[1])
    made = draft(said, before=said)
    report = audit(tmp_path, made, lists(said), opt_out())
    assert faults(report) == {Fault.DROPPED}
    assert "was not heeded" in dropped(report)


def test_the_command_takes_receipts(tmp_path: Path) -> None:
    def call(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    said = (line(opt_out(key=STRANGER)), BEFORE[1], line(lift(key=STRANGER)))
    run, held = write(tmp_path / "run", draft(said, before=said[:2])), tmp_path / "lists.json"
    held.write_bytes(lists(said).encode())
    receipt, other = tmp_path / "opt-out.bin", tmp_path / "other.bin"
    receipt.write_bytes(opt_out())
    other.write_bytes(lift())
    words = ("verify", run, "--key", KEY.public.hex(), "--lists", held)
    assert call(*words).exit_code == 0
    assert call(*words, "--receipt", receipt).exit_code == 67
    assert isinstance(call(*words, "--receipt", other).exception, BackrowError)
    assert call("report", run, "--lists", held, "--receipt", receipt, "--out", tmp_path / "r.html").exit_code == 67
    assert "was replaced" in (tmp_path / "r.html").read_text()
    # What she can do without the lists: she is not on the list that was sealed after her request.
    proofs = {place: tmp_path / f"{place}.json" for place in (LATER, BACK, RELEASE)}
    for place, file in proofs.items():
        done = call("prove", run, "--entry", place, "--absent", HER, "--lists", held, "--out", file)
        assert done.exit_code == (1 if place == BACK else 0)  # she was invited: there is no absence to prove
    against = ("--key", KEY.public.hex(), "--receipt", receipt)
    shown = call("check-proof", proofs[LATER], *against)
    assert (shown.exit_code, "was not heeded" in shown.output) == (67, True)
    shown = call("check-proof", proofs[RELEASE], *against)
    assert (shown.exit_code, "Nothing in this proof" in shown.output) == (0, True)
    plain = tmp_path / "plain"
    call("prove", run, "--entry", LATER, "--out", plain)
    assert isinstance(call("check-proof", plain, *against).exception, LedgerError)


def test_a_receipt_without_lists_or_a_pseudonym_is_refused(tmp_path: Path) -> None:
    folder, unnamed = write(tmp_path / "run", draft()), read_opt_out(opt_out(pseudonym=""))
    with pytest.raises(LedgerError, match="--lists"):
        verify(folder, KEY.public, receipts=[unnamed])
    with pytest.raises(LedgerError, match="names no pseudonym"):
        verify(folder, KEY.public, lists=lists(None), receipts=[unnamed])
    assert verify(folder, KEY.public, lists=lists(), receipts=[unnamed]).passed


@pytest.mark.parametrize("statements", ["{}", '["x"]', "[1]", '{"at": 1}', '"x"'])
def test_what_is_no_list_of_statements_is_refused(statements: str) -> None:
    with pytest.raises(LedgerError, match="no list of statements"):
        Lists.parse(b'{"format": "backrow-lists/1", "keys": [], "statements": %s}' % statements.encode())
