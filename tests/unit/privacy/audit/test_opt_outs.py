"""Opt-outs by the lists themselves: who was asked, who is in the sum, and which list binds which release."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report, State, Topic
from backrow.privacy.audit.report import render
from backrow.privacy.audit.report_material import signed_entries
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger.entries import OptOutEntry, ReleaseEntry
from backrow.privacy.ledger.pseudonyms import PseudonymList
from tests.ledgers import EPOCH_KEY, INVITED, KEY, OPT_OUTS, OPTED_OUT, RELEASE, START, SURVIVED, Draft, honest, write

LATE = OPT_OUTS + 2
"""Place of a list that is sealed while the first round is open, between its reservation and its release."""
WITHDRAWN = INVITED[0]
MORE = (*OPTED_OUT, WITHDRAWN)
IN_SUM = INVITED[2:]


def sealed_late(
    people: tuple[str, ...] = MORE, survivors: tuple[str, ...] | None = IN_SUM, asked: int | None = None
) -> Draft:
    """One round: 90 invited, then somebody opts out, then the sum of 88 is frozen and released."""
    draft = honest((1.0,))
    listed = PseudonymList(EPOCH_KEY, people).commitment
    root = None if survivors is None else PseudonymList(EPOCH_KEY, survivors).commitment.root
    release = draft.bodies[RELEASE]
    assert isinstance(release, ReleaseEntry)
    crowd = replace(release.crowd, opt_out_root=listed.root, opt_out_time=START + LATE, survivors_root=root)
    seal = OptOutEntry(listed.size, listed.root, asked)
    publication = replace(draft.bodies[RELEASE + 1], releases=(RELEASE + 1,))  # type: ignore[arg-type]
    return replace(draft, bodies=(*draft.bodies[:RELEASE], seal, replace(release, crowd=crowd), publication))


def lists(**changes: object) -> Lists:
    """What an honest coordinator hands over of that round."""
    whole = Lists((EPOCH_KEY,), {RELEASE + 1: INVITED}, {OPT_OUTS: OPTED_OUT, LATE: MORE}, {RELEASE + 1: IN_SUM})
    return replace(whole, **changes)  # type: ignore[arg-type]


def audit(folder: Path, draft: Draft, held: Lists | None = None) -> Report:
    return verify(write(folder / "run", draft), KEY.public, lists=held)


def faults(report: Report) -> set[Fault]:
    return {finding.fault for finding in report.findings}


def test_who_opted_out_while_a_round_was_open_may_have_been_asked_but_is_not_in_the_sum(tmp_path: Path) -> None:
    assert len(IN_SUM) == SURVIVED
    report = audit(tmp_path, sealed_late(), Lists.parse(lists().encode()))
    assert report.passed, report.findings
    (checked,) = [check for check in report.checks if check.topic is Topic.LISTS]
    assert (checked.state, "1 of 1" in checked.sentence) == (State.PASSED, True)


def test_a_sum_that_holds_somebody_who_had_opted_out_is_named(tmp_path: Path) -> None:
    kept = (WITHDRAWN, *INVITED[3:])
    report = audit(tmp_path, sealed_late(survivors=kept), lists(survivors={RELEASE + 1: kept}))
    assert faults(report) == {Fault.OPTED_OUT}
    assert "before it was frozen" in report.findings[0].sentence
    assert f"entry {LATE}" in report.findings[0].sentence


def test_where_nobody_says_who_is_in_the_sum_everyone_invited_counts(tmp_path: Path) -> None:
    report = audit(tmp_path, sealed_late(survivors=None), lists(survivors={}))
    assert faults(report) == {Fault.OPTED_OUT}


def test_who_stood_on_the_list_before_the_round_may_not_even_be_asked(tmp_path: Path) -> None:
    invited = (*INVITED[:-1], OPTED_OUT[0])
    draft = sealed_late(survivors=INVITED[1:-1])
    release = draft.bodies[RELEASE + 1]
    assert isinstance(release, ReleaseEntry)
    crowd = replace(release.crowd, participants_root=PseudonymList(EPOCH_KEY, invited).commitment.root)
    held = lists(participants={RELEASE + 1: invited}, survivors={RELEASE + 1: INVITED[1:-1]})
    report = audit(tmp_path, draft.swap(RELEASE + 1, crowd=crowd), held)
    assert faults(report) == {Fault.OPTED_OUT}
    assert "invited 1 person" in report.findings[0].sentence


def test_the_list_sealed_last_before_a_release_binds_it_and_no_older_one_does(tmp_path: Path) -> None:
    draft = sealed_late()
    release = draft.bodies[RELEASE + 1]
    assert isinstance(release, ReleaseEntry)
    older = honest((1.0,)).bodies[RELEASE]
    assert isinstance(older, ReleaseEntry)
    report = audit(tmp_path / "older", draft.swap(RELEASE + 1, crowd=older.crowd))
    assert faults(report) == {Fault.OPT_OUTS}
    assert f"entry {LATE}" in report.findings[0].sentence
    # A list that is sealed after a release does not bind it.
    bodies = draft.bodies
    later = OptOutEntry(5, bytes(32))
    publication = replace(bodies[-1], releases=(RELEASE + 1,))  # type: ignore[arg-type]
    assert audit(tmp_path / "later", replace(draft, bodies=(*bodies[:-1], later, publication))).passed


@pytest.mark.parametrize(
    "held",
    [
        lists(opt_outs={OPT_OUTS: MORE, LATE: OPTED_OUT}),
        lists(opt_outs={OPT_OUTS: OPTED_OUT, LATE: OPTED_OUT}),
        lists(opt_outs={OPT_OUTS: OPTED_OUT, LATE: MORE, RELEASE + 1: MORE}),
        lists(participants={RELEASE + 1: INVITED[1:]}),
        lists(survivors={RELEASE + 1: INVITED[1:-1]}),
        lists(survivors={RELEASE + 1: (*IN_SUM[1:], "a stranger")}),
        lists(survivors={RELEASE + 1: IN_SUM, LATE: IN_SUM}),
    ],
    ids=["swapped", "older", "of no list", "participants", "survivors", "stranger", "survivors of no release"],
)
def test_lists_that_are_not_the_committed_ones_are_named(tmp_path: Path, held: Lists) -> None:
    assert Fault.LISTS in faults(audit(tmp_path, sealed_late(), held))


def test_survivors_that_nobody_committed_to_are_no_evidence(tmp_path: Path) -> None:
    held = lists(opt_outs={OPT_OUTS: OPTED_OUT, LATE: OPTED_OUT})
    report = audit(tmp_path, sealed_late(people=OPTED_OUT, survivors=None), held)
    assert faults(report) == {Fault.LISTS}


@pytest.mark.parametrize("missing", [{"survivors": {}}, {"opt_outs": {OPT_OUTS: OPTED_OUT}}])
def test_a_release_whose_lists_are_incomplete_does_not_count_as_compared(
    tmp_path: Path, missing: dict[str, object]
) -> None:
    report = audit(tmp_path, sealed_late(), lists(**missing))
    (checked,) = [check for check in report.checks if check.topic is Topic.LISTS]
    assert "0 of 1" in checked.sentence


def test_how_long_requests_waited_is_said_where_the_ledger_knows(tmp_path: Path) -> None:
    def page(draft: Draft, name: str) -> str:
        folder = write(tmp_path / name, draft)
        report = verify(folder, KEY.public)
        return render(report, signed_entries(folder, KEY.public))

    told = page(sealed_late(asked=START + LATE - 90), "told")
    assert "for 1 list the oldest request waited 1 min 30 s (median)" in told
    assert "at most 1 min 31 s" in told
    assert "no list of this ledger says when a request arrived" in page(sealed_late(), "silent")
