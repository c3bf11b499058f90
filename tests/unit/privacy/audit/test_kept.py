"""Released integers beside a ledger: what is compared, what is only said, and what is a fault."""

from dataclasses import replace
from pathlib import Path

from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.kept import file_name
from backrow.privacy.audit.model import State, Topic
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger import entries
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.pseudonyms import Commitment
from tests.ledgers import KEY, OPT_OUTS, RELEASE, SCHEDULE, START, Draft, honest, keep, release_of, spent, write


def said(folder: Path) -> tuple[State, str]:
    report = verify(folder, KEY.public)
    assert report.passed, report.findings
    (check,) = [check for check in report.checks if check.topic is Topic.VALUES]
    return check.state, check.sentence


def faults(folder: Path) -> set[Fault]:
    return {finding.fault for finding in verify(folder, KEY.public).findings}


def test_every_release_is_compared_where_its_integers_are_at_hand(tmp_path: Path) -> None:
    run = write(tmp_path / "run", honest())
    keep(run / "releases", honest())
    state, sentence = said(run)
    assert state is State.PASSED
    assert "3 of 3 releases" in sentence


def test_a_ledger_that_is_handed_over_alone_is_no_fault_and_says_so(tmp_path: Path) -> None:
    run = write(tmp_path / "run", honest())
    assert said(run) == (State.NOT_CHECKED, "the released integers are not at hand: the ledger holds their hashes only")
    (run / "releases").mkdir()
    assert said(run)[0] is State.NOT_CHECKED
    assert any("--releases" in need for need in verify(run, KEY.public).needs)


def test_the_folder_may_lie_elsewhere(tmp_path: Path) -> None:
    run, kept = write(tmp_path / "run", honest()), keep(tmp_path / "kept", honest())
    (check,) = [c for c in verify(run, KEY.public, releases=kept).checks if c.topic is Topic.VALUES]
    assert check.state is State.PASSED


def test_what_a_killed_round_left_is_no_fault(tmp_path: Path) -> None:
    # The integers are written before their entry: a run killed between the two leaves a file that no entry names.
    draft = honest()
    keep(tmp_path / "run" / "releases", draft)
    shorter = replace(draft, bodies=draft.bodies[:-2])
    assert said(write(tmp_path / "run", shorter)) == (
        State.PASSED,
        "integers of 2 of 2 releases, against their hashes and sentinels in the ledger",
    )


def test_a_file_of_another_size_is_not_read_and_not_believed(tmp_path: Path) -> None:
    run = write(tmp_path / "run", honest())
    path = keep(run / "releases", honest()) / file_name(1)
    for data in (b"", b"\0" * 7, path.read_bytes() + b"\0" * 8):
        path.write_bytes(data)
        assert faults(run) == {Fault.CHANGED_VALUES}
    path.unlink()
    path.mkdir()
    assert Fault.CHANGED_VALUES in faults(run) or Fault.MISSING_VALUES in faults(run)


def test_a_plan_of_absurd_size_is_no_traceback(tmp_path: Path) -> None:
    draft = honest((1.0,), epsilon=None)
    plan = draft.bodies[SCHEDULE].schedule.rounds[0]  # type: ignore[union-attr]
    vast = replace(plan, query=replace(plan.query, rows=2**40, columns=1))
    run = write(tmp_path / "run", draft.swap(RELEASE, plan=vast))
    keep(run / "releases", draft)
    assert Fault.CHANGED_VALUES in faults(run)


def test_sentinels_beyond_64_bits_are_not_those_of_the_file(tmp_path: Path) -> None:
    draft = honest()
    shown = draft.bodies[RELEASE].sentinels  # type: ignore[union-attr]
    run = write(tmp_path / "run", draft.swap(RELEASE, sentinels=(Wide(2**80), *shown[1:])))
    keep(run / "releases", draft)
    assert faults(run) == {Fault.OTHER_SENTINELS}


def test_a_round_of_another_run_with_the_same_number_is_not_accused(tmp_path: Path) -> None:
    draft = two_runs()
    run = write(tmp_path / "run", draft)
    keep(run / "releases", honest((0.5, 0.5)))
    assert faults(run) == {Fault.MISSING_VALUES}


def two_runs() -> Draft:
    """Two rounds of one run, and one of another that spends nothing more than the rules allow."""
    draft = honest((0.5, 0.5))
    schedule = draft.bodies[SCHEDULE].schedule  # type: ignore[union-attr]
    quiet = replace(schedule.rounds[0], run_id="other", noise_multiplier=schedule.rounds[0].noise_multiplier * 1e4)
    other = replace(schedule, run_id="other", rounds=(quiet,))
    reserve = entries.ReserveEntry(
        draft.bodies[RELEASE].purpose,  # type: ignore[union-attr]
        quiet,
        draft.bodies[RELEASE - 1].basis,  # type: ignore[union-attr]
        spent([*schedule.rounds, quiet]),
    )
    sealed = draft.bodies[OPT_OUTS]
    assert isinstance(sealed, entries.OptOutEntry)
    place = len(draft.bodies)
    release = release_of(place, reserve, other, Commitment(sealed.size, sealed.root), START + OPT_OUTS)
    bodies = (*draft.bodies, entries.ScheduleEntry(other, (reserve.purpose,)), reserve)
    return replace(draft, bodies=(*bodies, replace(release, reserve=place + 1)))
