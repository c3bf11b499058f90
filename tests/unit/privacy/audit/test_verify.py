"""Honest ledgers give no findings; what was and was not checked is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.audit.evidence import Evidence, Lists, Seen, Witnesses
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.machine import to_json
from backrow.privacy.audit.model import Closing, State, Topic
from backrow.privacy.audit.verify import Audit, verify
from backrow.privacy.ledger import entries
from backrow.privacy.ledger.keys import Kind
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.parts import Additions, Basis, Purpose
from backrow.privacy.ledger.store import Ledger
from tests.ledgers import (
    EPOCH_KEY,
    INVITED,
    KEY,
    OPT_OUTS,
    OPTED_OUT,
    ORIGIN,
    OTHER_KEY,
    RELEASE,
    RESERVE,
    START,
    Draft,
    honest,
    keep,
    note_of,
    spent,
    with_policy,
    write,
)

WITNESS = Signer("eve", OTHER_KEY, Kind.COSIGNATURE)


def states(folder: Path, **options: object) -> dict[Topic, State]:
    report = verify(folder, KEY.public, **options)  # type: ignore[arg-type]
    return {check.topic: check.state for check in report.checks}


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=6),
    epsilon=st.one_of(st.none(), st.floats(0.3, 15)),
    void=st.sets(st.integers(1, 6)),
    trends=st.sets(st.integers(1, 6)),
    simulated=st.booleans(),
    sentinels=st.integers(0, 20),
)
def test_an_honest_ledger_gives_no_finding(
    shares: list[float],
    epsilon: float | None,
    void: set[int],
    trends: set[int],
    simulated: bool,
    sentinels: int,
) -> None:
    whole = [share / sum(shares) for share in shares]
    draft = honest(whole, epsilon, void=sorted(void), trends=sorted(trends), simulated=simulated, sentinels=sentinels)
    lines = draft.lines()
    report = Audit(Evidence("run", note_of(lines), policy=draft.policy), KEY.public).over(lines)
    assert report.findings == ()
    assert report.exit_code == 0
    assert len(report.rounds) == len(shares)


def test_a_ledger_that_the_coordinator_s_store_wrote_verifies(tmp_path: Path) -> None:
    draft = honest()
    folder = write(tmp_path / "run", draft)
    (folder / "ledger.jsonl").unlink()
    (folder / "checkpoint").unlink()
    with Ledger.create(folder, ORIGIN, KEY) as ledger:
        for time, body in enumerate(draft.bodies):
            ledger.append(body, 1_700_000_000 + time)
    assert verify(folder, KEY.public).passed


def test_a_simulation_verifies_and_is_refused_as_production(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    assert verify(folder, KEY.public).exit_code == 0
    assert verify(folder, KEY.public, production=True).exit_code == Fault.SIMULATED.exit_code


def test_a_production_ledger_passes_as_production(tmp_path: Path) -> None:
    assert verify(write(tmp_path / "run", honest(simulated=False)), KEY.public, production=True).passed


def test_without_a_key_the_report_says_that_it_was_not_pinned(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    report = verify(folder)
    assert report.passed
    assert not report.pinned
    assert any("not pinned" in note for note in report.notes)
    assert any("--key" in need for need in report.needs)
    assert verify(folder, KEY.public).pinned


def test_without_coordinator_pub_the_key_of_the_first_entry_is_used(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    (folder / "coordinator.pub").unlink()
    assert verify(folder).key == KEY.public


def test_a_bare_ledger_needs_no_policy_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    (folder / "policy.toml").unlink()
    assert verify(folder / "ledger.jsonl", KEY.public).passed
    assert verify(folder, KEY.public).exit_code == Fault.NO_POLICY.exit_code


def test_everything_can_be_checked_if_everything_is_handed_over(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    lists = Lists((EPOCH_KEY,), {RELEASE: INVITED, RELEASE + 2: INVITED, RELEASE + 4: INVITED}, {OPT_OUTS: OPTED_OUT})
    older = Seen("a device", note_of(honest().lines()[:5]))
    keep(folder / "releases", honest())
    note = Note.parse((folder / "checkpoint").read_bytes())
    (folder / "checkpoint").write_bytes(note.with_signature(WITNESS.sign(note.text, START)).encode())
    known = Witnesses((WITNESS.verifier,), 1)
    checked = states(folder, lists=Lists.parse(lists.encode()), seen=[older], witnesses=known)
    assert set(checked.values()) == {State.PASSED}


def test_what_was_not_handed_over_is_not_called_passed(tmp_path: Path) -> None:
    checked = states(write(tmp_path / "run", honest(sentinels=0)))
    missing = {topic for topic, state in checked.items() if state is State.NOT_CHECKED}
    assert missing == {Topic.OBSERVERS, Topic.WITNESSES, Topic.LISTS, Topic.SENTINELS, Topic.VALUES}


def test_nothing_that_a_damaged_ledger_says_is_judged(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    (folder / "ledger.jsonl").write_bytes(b"".join(honest().lines()[:-1]))
    report = verify(folder, KEY.public)
    assert report.rounds == report.accounts == ()
    assert {check.state for check in report.checks if check.topic is Topic.BUDGET} == {State.NOT_CHECKED}


def test_a_round_that_is_still_open_is_no_fault_and_counts_as_spent(tmp_path: Path) -> None:
    draft = replace(honest(), bodies=honest().bodies[: RESERVE + 1])
    report = verify(write(tmp_path / "run", draft), KEY.public)
    assert report.passed
    (row,) = report.rounds
    assert row.closing is Closing.OPEN
    assert report.accounts[0].rounds == 1
    assert any("not closed yet" in note for note in report.notes)


def test_rounds_of_two_runs_may_be_open_at_once(tmp_path: Path) -> None:
    draft = honest()
    schedule = draft.bodies[1]
    assert isinstance(schedule, entries.ScheduleEntry)
    first = schedule.schedule.rounds[0]
    other = replace(schedule.schedule, run_id="other", rounds=(replace(first, run_id="other"),))
    plan = other.rounds[0]
    bodies = (
        *draft.bodies[:-1],
        entries.ScheduleEntry(other, (Purpose.TRAIN,)),
        entries.ReserveEntry(Purpose.TRAIN, plan, Basis.SCHEDULED, spent([*schedule.schedule.rounds, plan])),
    )
    wider = with_policy(Draft(bodies, policy=draft.policy), epsilon=4.0, purposes=())
    assert verify(write(tmp_path / "run", wider), KEY.public).findings == ()


def test_an_addition_within_the_filter_is_no_fault(tmp_path: Path) -> None:
    draft = honest()
    plans = draft.bodies[1].schedule.rounds  # type: ignore[union-attr]
    extra = replace(plans[0], round=9, noise_multiplier=50.0)
    reserve = entries.ReserveEntry(Purpose.TRENDS, extra, Basis.ADDITION, spent([*plans, extra], added=True))
    longer = replace(draft, bodies=(*draft.bodies, reserve))
    allowed = with_policy(longer, additions=Additions.ZCDP, epsilon=3.4)
    assert verify(write(tmp_path / "run", allowed), KEY.public).findings == ()


def test_the_auditor_s_own_figures_stand_in_the_report(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "run", honest()), KEY.public)
    whole = report.accounts[0]
    assert whole.closed_form == pytest.approx(3, rel=1e-6)
    assert whole.pld == pytest.approx(3, rel=5e-3)
    assert whole.rdp == pytest.approx(3.25, rel=1e-3)  # MATH: 3.25 where 3 is exact
    assert [row.cumulative for row in report.rounds] == sorted(row.cumulative for row in report.rounds)
    assert report.rounds[-1].cumulative == pytest.approx(whole.closed_form)
    assert report.rounds[0].cumulative == report.rounds[0].alone


def test_the_json_report_says_everything_and_is_json(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "run", honest(epsilon=None)), KEY.public)
    read = json.loads(to_json(report))
    assert read["passed"] is True
    assert read["rounds"][0]["cumulative"] == "infinity"
    assert read["others"][0]["kind"] == "policy"
    assert read["policy"]["coordinator"] == KEY.public.hex()


def test_verifying_changes_no_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    (folder / "ledger.jsonl").write_bytes(b"".join(honest().lines())[:-9])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    verify(folder, KEY.public)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_one_fault_told_a_thousand_times_is_a_short_report(tmp_path: Path) -> None:
    draft = honest()
    many = tuple(entries.RetractionEntry(10**6, "nothing") for _ in range(1000))
    report = verify(write(tmp_path / "run", replace(draft, bodies=(*draft.bodies, *many))), KEY.public)
    assert len(report.findings) < 30
    assert "980 more times" in report.findings[-1].sentence
