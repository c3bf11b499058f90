"""Every fault has a ledger that has it and nothing else, and the audit names exactly that."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Lists, Seen, Witnesses
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger import entries
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.parts import Additions, Basis, Purpose, PurposeBudget, Spent, Stamp
from backrow.privacy.ledger.pseudonyms import PseudonymList
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.units import PrivacyUnit
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
    SCHEDULE,
    START,
    Draft,
    honest,
    keep,
    note_of,
    sentinels_of,
    spent,
    with_last_added,
    with_policy,
    write,
)

LAST = len(honest().bodies) - 1
WITNESS = Signer("eve", OTHER_KEY, Kind.COSIGNATURE)
Case = Callable[[Path], Report]


def audit(folder: Path, **options: object) -> Report:
    return verify(folder, KEY.public, **options)  # type: ignore[arg-type]


def lie(make: Callable[[Draft], Draft], **options: object) -> Case:
    """The right key signs what is not true."""
    return lambda folder: audit(write(folder, make(honest())), **options)


def forge(change: Callable[[list[bytes]], list[bytes]], *, sealed: bool = False) -> Case:
    """Lines are changed; with `sealed` the coordinator signs a checkpoint over them."""

    def case(folder: Path) -> Report:
        write(folder, honest())
        lines = change(honest().lines())
        (folder / "ledger.jsonl").write_bytes(b"".join(lines))
        if sealed:
            (folder / "checkpoint").write_bytes(note_of(lines))
        return audit(folder)

    return case


def put(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder


def without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def entry(index: int, body: entries.Body, *, origin: str = ORIGIN, time: int | None = None) -> bytes:
    return sign_entry(KEY, origin, index, START + index if time is None else time, body).encode() + b"\n"


def on_release(**changes: object) -> Callable[[Draft], Draft]:
    return lambda draft: draft.swap(RELEASE, **changes)


def on_crowd(**changes: object) -> Callable[[Draft], Draft]:
    def make(draft: Draft) -> Draft:
        return draft.swap(RELEASE, crowd=replace(draft.bodies[RELEASE].crowd, **changes))  # type: ignore[union-attr, arg-type]

    return make


def appended(*bodies: entries.Body) -> Callable[[Draft], Draft]:
    return lambda draft: replace(draft, bodies=(*draft.bodies, *bodies))


def claimed(what: str, factor: float) -> Callable[[Draft], Draft]:
    def make(draft: Draft) -> Draft:
        said: Spent = getattr(draft.bodies[RELEASE], what)
        assert said.epsilon is not None
        return draft.swap(RELEASE, **{what: replace(said, epsilon=said.epsilon * factor)})

    return make


def scheduled(draft: Draft, **changes: object) -> Draft:
    return draft.swap(SCHEDULE, schedule=replace(draft.bodies[SCHEDULE].schedule, **changes))  # type: ignore[union-attr, arg-type]


def added_round(draft: Draft) -> Draft:
    """A fourth round that the schedule does not know, over a budget that is spent."""
    plans = draft.bodies[SCHEDULE].schedule.rounds  # type: ignore[union-attr]
    extra = replace(plans[-1], round=4)
    reserve = entries.ReserveEntry(Purpose.FEEDBACK, extra, Basis.ADDITION, spent([*plans, extra], added=True))
    longer = replace(draft, bodies=(*draft.bodies, reserve, entries.VoidEntry(len(draft.bodies), "nobody came")))
    return with_policy(longer, additions=Additions.ZCDP)


def last_round_added(draft: Draft) -> Draft:
    """The budget holds in closed form, which is not allowed to be used once rounds are added."""
    return with_last_added(draft, 3.0)


def counted_in_closed_form(draft: Draft) -> Draft:
    """The budget holds, and what is claimed of it is the smaller figure."""
    plans = draft.bodies[SCHEDULE].schedule.rounds  # type: ignore[union-attr]
    return with_last_added(draft, 3.4).swap(LAST, claim=spent(plans))


def addition_refused(draft: Draft) -> Draft:
    return with_policy(with_last_added(draft, 4.0), additions=Additions.REFUSED)


def other_purpose(draft: Draft) -> Draft:
    return draft.swap(RESERVE, purpose=Purpose.FEEDBACK).swap(RELEASE, purpose=Purpose.FEEDBACK)


def left_open(folder: Path) -> Report:
    draft = honest(void=(2,))
    (void,) = [index for index, body in enumerate(draft.bodies) if isinstance(body, entries.VoidEntry)]
    return audit(write(folder, draft.put(void, entries.FindingEntry("note", (), "no word about the round"))))


def opted_out_took_part(folder: Path) -> Report:
    people = (*INVITED[:-1], OPTED_OUT[0])
    root = PseudonymList(EPOCH_KEY, people).commitment.root
    draft = on_crowd(participants_root=root)(honest())
    return audit(write(folder, draft), lists=Lists((EPOCH_KEY,), {RELEASE: people}, {OPT_OUTS: OPTED_OUT}))


def taken_off_the_list(folder: Path) -> Report:
    """A shorter list at the end, and nobody's word for it."""
    listed = PseudonymList(EPOCH_KEY, OPTED_OUT[1:]).commitment
    draft = honest()
    draft = replace(draft, bodies=(*draft.bodies, entries.OptOutEntry(listed.size, listed.root)))
    held = Lists((EPOCH_KEY,), {}, {OPT_OUTS: OPTED_OUT, LAST + 1: OPTED_OUT[1:]}, {}, ())
    return audit(write(folder, draft), lists=held)


def forked(folder: Path) -> Report:
    other = on_release(values=bytes(32))(honest()).lines()
    return audit(write(folder, honest()), seen=[Seen("a witness", note_of(other))])


def rolled_back(folder: Path) -> Report:
    lines = appended(entries.VoidEntry(RESERVE, "later"))(honest()).lines()
    return audit(write(folder, honest()), seen=[Seen("a witness", note_of(lines))])


def unfinished_sampler(folder: Path) -> Report:
    """At such a delta the exact formula says 3, and the integer sampler cannot keep it."""
    return audit(write(folder, honest(delta=1e-28)))


def bundle(folder: Path, draft: Draft) -> Report:
    put(put(folder, "bundle/manifest.json", b"manifest"), "bundle/model.safetensors", b"another model")
    return audit(write(folder, draft))


def with_integers(change: Callable[[Path], Path], make: Callable[[Draft], Draft] = lambda draft: draft) -> Case:
    """The released integers are at hand, and something is done to them or said of them."""

    def case(folder: Path) -> Report:
        write(folder, make(honest()))
        change(keep(folder / "releases", honest()))
        return audit(folder)

    return case


def other_sentinels(draft: Draft) -> Draft:
    return draft.swap(RELEASE, sentinels=draft.bodies[RELEASE].sentinels[::-1])  # type: ignore[union-attr]


def cosigned(folder: Path, seen: list[bytes] | None = None) -> Path:
    """With a witness' cosignature, made for these lines or the ones that are there."""
    note = Note.parse((folder / "checkpoint").read_bytes())
    text = note.text if seen is None else Note.parse(note_of(seen)).text
    return put(folder, "checkpoint", note.with_signature(WITNESS.sign(text, START)).encode())


CASES: dict[Fault, Case] = {
    Fault.UNREADABLE: lambda folder: audit(without(write(folder, honest()), "ledger.jsonl")),
    Fault.EMPTY: lambda folder: audit(write(folder, Draft((), policy=honest().policy))),
    Fault.MALFORMED: forge(lambda lines: [*lines[:5], b"not json\n", *lines[6:]]),
    Fault.UNKNOWN: forge(lambda lines: [*lines[:5], lines[5].replace(b'"release"', b'"relief"'), *lines[6:]]),
    Fault.UNFINISHED: forge(lambda lines: [*lines[:-1], lines[-1][:-10]]),
    Fault.REMOVED: forge(lambda lines: [*lines[:5], *lines[6:]]),
    Fault.REPEATED: forge(lambda lines: [*lines[:5], *lines[4:]]),
    Fault.MOVED: forge(lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]]),
    Fault.FOREIGN: forge(
        lambda lines: [*lines[:-1], entry(LAST, entries.VoidEntry(4, "no"), origin="backrow/other")], sealed=True
    ),
    Fault.CLOCK: forge(
        lambda lines: [*lines, entry(LAST + 1, entries.RetractionEntry(LAST, "withdrawn"), time=START)], sealed=True
    ),
    Fault.CUT_OFF: forge(lambda lines: lines[:-1]),
    Fault.UNCOVERED: forge(lambda lines: [*lines, entry(LAST + 1, entries.RetractionEntry(LAST, "withdrawn"))]),
    Fault.REWRITTEN: forge(lambda lines: [*lines[:-1], entry(LAST, entries.RetractionEntry(5, "withdrawn"))]),
    Fault.CHECKPOINT: lambda folder: audit(put(write(folder, honest()), "checkpoint", b"not a note\n")),
    Fault.WRONG_KEY: lambda folder: verify(write(folder, honest()), OTHER_KEY.public),
    Fault.SIGNATURE: forge(
        lambda lines: [*lines[:5], lines[5].replace(b'"survived":88', b'"survived":89'), *lines[6:]]
    ),
    Fault.CHECKPOINT_SIGNATURE: lambda folder: audit(
        put(write(folder, honest()), "checkpoint", note_of(honest().lines(), OTHER_KEY))
    ),
    Fault.ROLLED_BACK: rolled_back,
    Fault.FORKED: forked,
    Fault.NO_POLICY: lie(lambda draft: replace(draft, bodies=draft.bodies[1:])),
    Fault.POLICY_CHANGED: lie(lambda draft: appended(draft.bodies[0])(draft)),
    Fault.POLICY_MISMATCH: lie(lambda draft: draft.swap(0, epsilon=5.0)),
    Fault.SCHEDULE_OVER_BUDGET: lie(lambda draft: scheduled(draft, epsilon=4.0)),
    Fault.SIMULATED: lie(lambda draft: draft, production=True),
    Fault.STAMP: lie(on_release(stamp=Stamp.PRODUCTION)),
    Fault.UNIT: lie(on_release(unit=PrivacyUnit.EVENT)),
    Fault.UNRESERVED: lie(appended(entries.VoidEntry(RELEASE, "no such reservation"))),
    Fault.CLOSED_TWICE: lie(appended(entries.VoidEntry(RESERVE, "released before"))),
    Fault.LEFT_OPEN: left_open,
    Fault.OFF_SCHEDULE: lie(other_purpose),
    Fault.ADDITION: lie(addition_refused),
    Fault.DIFFERS: lie(on_release(purpose=Purpose.FEEDBACK)),
    Fault.DANGLING: lie(appended(entries.RetractionEntry(99, "not there"))),
    Fault.BUDGET: lie(added_round),
    Fault.PURPOSE_BUDGET: lie(lambda draft: with_policy(draft, purposes=(PurposeBudget(Purpose.TRAIN, 1.0),))),
    Fault.FILTER: lie(last_round_added),
    Fault.UNDERSTATED: lie(claimed("alone", 0.99)),
    Fault.MISSTATED: lie(claimed("alone", 1.01)),
    Fault.NOISE: lie(lambda draft: draft.swap(RELEASE, noise_scale=draft.bodies[RELEASE].noise_scale * 1.1)),  # type: ignore[union-attr]
    Fault.SENSITIVITY: lie(on_release(sensitivity=0.5)),
    Fault.COVER: lie(lambda draft: draft.swap(RELEASE, alone=replace(draft.bodies[RELEASE].alone, releases=2))),
    Fault.ACCOUNTANTS: unfinished_sampler,
    Fault.UNFIT: lie(counted_in_closed_form),
    Fault.SURVIVORS: lie(on_crowd(survived=1)),
    Fault.MINIMUM: lie(on_crowd(minimum=1)),
    Fault.CROWD: lie(on_crowd(survived=95)),
    Fault.PARTICIPATION: lie(on_crowd(participation_bound=2)),
    Fault.OPT_OUTS: lie(on_crowd(opt_out_time=START)),
    Fault.LISTS: lie(lambda draft: draft, lists=Lists((EPOCH_KEY,), {RELEASE: INVITED[1:]})),
    Fault.OPTED_OUT: opted_out_took_part,
    Fault.DROPPED: taken_off_the_list,
    Fault.STATEMENT: lie(lambda draft: draft, lists=Lists((EPOCH_KEY,), statements=(b"I never signed this\n",))),
    Fault.UNBACKED: lie(lambda draft: draft.swap(LAST, releases=(RESERVE,))),
    Fault.CHANGED_BUNDLE: lambda folder: bundle(folder, honest()),
    Fault.UNPUBLISHED: lambda folder: bundle(folder, replace(honest(), bodies=honest().bodies[:-1])),
    Fault.QUIET: lie(
        lambda draft: draft.swap(
            RELEASE,
            sentinels=tuple(map(Wide, sentinels_of(draft.bodies[RELEASE].plan, 0.2))),  # type: ignore[union-attr]
        )
    ),
    Fault.SENTINELS: lie(on_release(sentinels=())),
    Fault.CHANGED_VALUES: with_integers(lambda folder: put(folder, "0002.i8", (folder / "0002.i8").read_bytes()[::-1])),
    Fault.OTHER_SENTINELS: with_integers(lambda folder: folder, other_sentinels),
    Fault.MISSING_VALUES: with_integers(lambda folder: without(folder, "0003.i8")),
    Fault.COSIGNATURE: lambda folder: audit(
        cosigned(write(folder, honest()), honest().lines()[:-1]), witnesses=Witnesses((WITNESS.verifier,))
    ),
    Fault.WITNESSES: lambda folder: audit(
        cosigned(write(folder, honest())),
        witnesses=Witnesses((WITNESS.verifier, VerifierKey("other", KEY.public[::-1], Kind.COSIGNATURE)), 2),
    ),
}


def test_there_is_a_case_for_every_fault() -> None:
    assert set(CASES) == set(Fault)


@pytest.mark.parametrize("fault", Fault, ids=str)
def test_the_fault_is_found_and_no_other(fault: Fault, tmp_path: Path) -> None:
    report = CASES[fault](tmp_path / "run")
    assert {finding.fault for finding in report.findings} == {fault}, [str(finding) for finding in report.findings]
    assert report.exit_code == fault.exit_code
    assert not report.passed


@pytest.mark.parametrize("fault", Fault, ids=str)
def test_the_sentence_is_one_and_names_entries_that_exist(fault: Fault, tmp_path: Path) -> None:
    report = CASES[fault](tmp_path / "run")
    for finding in report.findings:
        assert not finding.sentence[0].islower() or finding.sentence.startswith(("policy.toml", "a witness"))
        assert finding.sentence.endswith(".")
        assert "Traceback" not in finding.sentence
        assert all(0 <= index <= LAST + 2 for index in finding.entries)


def test_names_and_exit_codes_are_never_shared() -> None:
    assert len({fault.label for fault in Fault}) == len({fault.exit_code for fault in Fault}) == len(Fault)
    assert all(10 <= fault.exit_code < 126 for fault in Fault)  # 126 and up mean something to a shell


def test_the_hash_of_the_rules_is_compared_before_their_content(tmp_path: Path) -> None:
    folder = put(write(tmp_path / "run", honest()), "policy.toml", b"epsilon = 3.0\n")
    assert {finding.fault for finding in audit(folder).findings} == {Fault.POLICY_MISMATCH}


def test_rules_that_are_not_toml_bind_nobody(tmp_path: Path) -> None:
    draft = replace(honest().swap(0, policy=sha256(b"\xff").digest()), policy=b"\xff")
    assert {finding.fault for finding in audit(write(tmp_path / "run", draft)).findings} == {Fault.POLICY_MISMATCH}
