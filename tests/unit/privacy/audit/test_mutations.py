"""Over a thousand random mutations of an honest ledger: each is caught, and under the right name.

Right means, for each kind: a flipped bit of the ledger is found in its files or signatures, at the line that it
is in or the one after; a flipped bit of the checkpoint is found there; an entry that was rewritten and signed with
another key bears a bad signature, and the checkpoint too; a flipped bit of a cosignature or of the released
integers is found there; a lie with the right key is the fault it was made as,
and no graver one is found beside it.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Evidence, Witnesses
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report
from backrow.privacy.audit.verify import Audit
from backrow.privacy.ledger import entries
from backrow.privacy.ledger.entries import ReleaseEntry, ReserveEntry
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.keys import Kind
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.parts import Basis, Purpose, Stamp
from backrow.privacy.ledger.releases import ZCDP
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.units import Adjacency, PrivacyUnit
from tests.ledgers import KEY, ORIGIN, OTHER_KEY, START, Draft, honest, keep, note_of

DRAFT = honest(void=(2,), sentinels=8, rows=12)
LINES = DRAFT.lines()
NOTE = note_of(LINES)
RESERVES = [i for i, body in enumerate(DRAFT.bodies) if isinstance(body, ReserveEntry)]
RELEASES = [i for i, body in enumerate(DRAFT.bodies) if isinstance(body, ReleaseEntry)]
WITNESS = Signer("eve", OTHER_KEY, Kind.COSIGNATURE)
FLIPS_OF_LEDGER, FLIPS_OF_CHECKPOINT, REPLACED, LIES = 500, 150, 150, 300
FLIPS_OF_COSIGNATURE, FLIPS_OF_INTEGERS = 100, 60


def audit(lines: list[bytes], note: bytes = NOTE, kept: Path | None = None, demanded: int = 0) -> Report:
    evidence = Evidence("a mutation", note, KEY.public.hex().encode(), DRAFT.policy, releases=kept)
    return Audit(evidence, KEY.public, witnesses=Witnesses((WITNESS.verifier,), demanded)).over(lines)


def names(report: Report) -> set[Fault]:
    return {finding.fault for finding in report.findings}


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def test_the_mutated_ledger_is_honest_before_it_is_mutated() -> None:
    assert audit(LINES).findings == ()


def test_there_are_a_thousand_mutations() -> None:
    assert FLIPS_OF_LEDGER + FLIPS_OF_CHECKPOINT + REPLACED + LIES >= 1000


def test_flipped_bits_of_the_ledger_are_found_at_their_line() -> None:
    rng, whole = random.Random(1), b"".join(LINES)
    structural = {fault for fault in Fault if fault.exit_code < 30}
    for _ in range(FLIPS_OF_LEDGER):
        at = rng.randrange(len(whole))
        report = audit(list(BytesIO(flipped(whole, at, rng.randrange(8)))))
        line = whole.count(b"\n", 0, at)
        assert names(report), f"byte {at} of line {line}"
        assert names(report) <= structural
        told = {index for finding in report.findings for index in finding.entries}
        assert told & {line, line + 1}, (at, [str(finding) for finding in report.findings])


def test_flipped_bits_of_the_checkpoint_are_found_there() -> None:
    rng = random.Random(2)
    for _ in range(FLIPS_OF_CHECKPOINT):
        at = rng.randrange(len(NOTE))
        report = audit(LINES, flipped(NOTE, at, rng.randrange(8)))
        assert names(report) in ({Fault.CHECKPOINT}, {Fault.CHECKPOINT_SIGNATURE}), at


def test_flipped_bits_of_a_cosignature_are_found_there() -> None:
    rng, note = random.Random(5), NOTE + WITNESS.sign(Note.parse(NOTE).text, START).line().encode()
    assert audit(LINES, note, demanded=1).findings == ()
    known = {Fault.CHECKPOINT, Fault.CHECKPOINT_SIGNATURE, Fault.COSIGNATURE, Fault.WITNESSES}
    for _ in range(FLIPS_OF_COSIGNATURE):
        at = rng.randrange(len(NOTE), len(note))
        report = audit(LINES, flipped(note, at, rng.randrange(8)), demanded=1)
        assert names(report), at
        assert names(report) <= known, at


def test_flipped_bits_of_the_released_integers_are_found_there(tmp_path: Path) -> None:
    rng, kept = random.Random(6), keep(tmp_path, DRAFT)
    files = {path: path.read_bytes() for path in sorted(kept.iterdir())}
    assert audit(LINES, kept=kept).findings == ()
    for _ in range(FLIPS_OF_INTEGERS):
        path = rng.choice(list(files))
        whole = files[path]
        mutated = rng.choice([flipped(whole, rng.randrange(len(whole)), rng.randrange(8)), whole[:-8], whole * 2, b""])
        path.write_bytes(mutated)
        assert names(audit(LINES, kept=kept)) == {Fault.CHANGED_VALUES}
        path.write_bytes(whole)


def test_entries_rewritten_and_signed_with_another_key_are_found() -> None:
    rng = random.Random(3)
    for _ in range(REPLACED):
        fault = rng.choice(list(KINDS))
        mutated = KINDS[fault](DRAFT, rng)
        changed = [i for i, body in enumerate(mutated.bodies) if i >= len(LINES) or body != DRAFT.bodies[i]]
        lines = list(LINES)
        for i in changed:
            line = sign_entry(OTHER_KEY, ORIGIN, i, START + i, mutated.bodies[i]).encode() + b"\n"
            lines[i : i + 1] = [line]
        report = audit(lines, note_of(lines, OTHER_KEY))
        assert names(report) == {Fault.SIGNATURE, Fault.CHECKPOINT_SIGNATURE}, fault
        (bad,) = [finding for finding in report.findings if finding.fault is Fault.SIGNATURE]
        assert list(bad.entries) == changed


def test_everything_signed_again_with_another_key_is_one_finding() -> None:
    bodies = DRAFT.swap(0, coordinator=OTHER_KEY.public)
    lines = bodies.lines(OTHER_KEY)
    assert names(audit(lines, note_of(lines, OTHER_KEY))) == {Fault.WRONG_KEY}


@pytest.mark.parametrize("part", range(6))
def test_lies_with_the_right_key_are_named(part: int, tmp_path: Path) -> None:
    rng, kept = random.Random(40 + part), keep(tmp_path, DRAFT)
    for _ in range(LIES // 6):
        fault = rng.choice(list(KINDS))
        mutated = KINDS[fault](DRAFT, rng)
        assert mutated != DRAFT
        lines = mutated.lines()
        report = audit(lines, note_of(lines), kept)
        assert report.findings, fault
        assert report.findings[0].fault is fault, [str(finding) for finding in report.findings]


Lie = Callable[[Draft, random.Random], Draft]


def release(change: Callable[[ReleaseEntry, random.Random], dict[str, object]]) -> Lie:
    def lie(draft: Draft, rng: random.Random) -> Draft:
        at = rng.choice(RELEASES)
        body = draft.bodies[at]
        assert isinstance(body, ReleaseEntry)
        return draft.swap(at, **change(body, rng))

    return lie


def crowd(change: Callable[[ReleaseEntry, random.Random], dict[str, object]]) -> Lie:
    return release(lambda body, rng: {"crowd": replace(body.crowd, **change(body, rng))})  # type: ignore[arg-type]


def less(draft: Draft, rng: random.Random) -> Draft:
    """Somewhere an epsilon is said to be smaller than it is."""
    at, factor = rng.choice([*RESERVES, *RELEASES, len(LINES) - 1]), rng.uniform(0.2, 0.99)
    body = draft.bodies[at]
    what = "claim" if at == len(LINES) - 1 else "cumulative"
    if isinstance(body, ReleaseEntry):
        what = rng.choice(["alone", "cumulative"])
    said = getattr(body, what)
    if what == "claim":  # a model may claim what its own releases cost, which is less than everything
        factor *= 0.6
    return draft.swap(at, **{what: replace(said, epsilon=said.epsilon * factor)})


def more(draft: Draft, rng: random.Random) -> Draft:
    at, factor = rng.choice(RESERVES), rng.uniform(1.02, 5)
    said = draft.bodies[at].cumulative  # type: ignore[union-attr]
    return draft.swap(at, cumulative=replace(said, epsilon=said.epsilon * factor))


def replanned(draft: Draft, rng: random.Random) -> Draft:
    at = rng.choice(RESERVES)
    plan = draft.bodies[at].plan  # type: ignore[union-attr]
    how = rng.choice(
        [
            replace(plan, noise_multiplier=plan.noise_multiplier * rng.uniform(1.01, 3)),
            replace(plan, query=replace(plan.query, clip_norm=plan.query.clip_norm * rng.uniform(0.1, 0.9))),
            replace(plan, scale=plan.scale / 2),
        ]
    )
    return draft.swap(at, plan=how)


def appended(*bodies: entries.Body) -> Lie:
    return lambda draft, rng: replace(draft, bodies=(*draft.bodies, rng.choice(bodies)))


KINDS: dict[Fault, Lie] = {
    Fault.POLICY_MISMATCH: lambda draft, rng: draft.swap(
        0, **rng.choice([{"epsilon": 3 * rng.uniform(1.01, 9)}, {"minimum": 1}, {"stamp": Stamp.PRODUCTION}])
    ),
    Fault.STAMP: release(lambda body, rng: {"stamp": Stamp.PRODUCTION}),
    Fault.UNIT: release(
        lambda body, rng: rng.choice([{"unit": PrivacyUnit.EVENT}, {"adjacency": Adjacency.ADD_OR_REMOVE}])
    ),
    Fault.UNRESERVED: release(lambda body, rng: {"reserve": rng.choice([0, 1, 2, 3, 99])}),
    Fault.OFF_SCHEDULE: replanned,
    Fault.ADDITION: lambda draft, rng: draft.swap(RESERVES[-1], basis=Basis.ADDITION),
    Fault.DIFFERS: release(lambda body, rng: {"purpose": rng.choice([Purpose.FEEDBACK, Purpose.TRENDS])}),
    Fault.CLOSED_TWICE: appended(*(entries.VoidEntry(at, "again") for at in RESERVES)),
    Fault.DANGLING: appended(entries.RetractionEntry(50, "gone"), entries.FindingEntry("x", (50,), "gone")),
    Fault.UNDERSTATED: less,
    Fault.MISSTATED: more,
    Fault.UNFIT: release(lambda body, rng: {"accountant": ZCDP[0]}),
    Fault.NOISE: release(lambda body, rng: {"noise_scale": body.noise_scale * rng.uniform(1.001, 4)}),
    Fault.SENSITIVITY: release(lambda body, rng: {"sensitivity": body.sensitivity * rng.uniform(0.1, 0.999)}),
    Fault.COVER: release(lambda body, rng: {"alone": replace(body.alone, delta=rng.uniform(0.001, 0.5))}),
    Fault.SURVIVORS: crowd(lambda body, rng: {"survived": rng.randrange(2)}),
    Fault.MINIMUM: crowd(lambda body, rng: {"minimum": rng.randrange(2)}),
    Fault.CROWD: crowd(lambda body, rng: {"survived": rng.randrange(91, 1000)}),
    Fault.PARTICIPATION: crowd(lambda body, rng: {"participation_bound": rng.randrange(2, 50)}),
    Fault.OPT_OUTS: crowd(
        lambda body, rng: rng.choice([{"opt_out_root": rng.randbytes(32)}, {"opt_out_time": rng.randrange(START)}])
    ),
    Fault.UNBACKED: lambda draft, rng: draft.swap(len(LINES) - 1, releases=(rng.choice([0, 4, 6, 99]),)),
    Fault.QUIET: release(lambda body, rng: {"sentinels": (0,) * len(body.sentinels)}),
    Fault.SENTINELS: release(lambda body, rng: {"sentinels": body.sentinels[: rng.randrange(8)]}),
    Fault.CHANGED_VALUES: release(lambda body, rng: {"values": rng.randbytes(32)}),
    Fault.OTHER_SENTINELS: release(
        lambda body, rng: {"sentinels": tuple(Wide(value + rng.choice([-1, 1])) for value in body.sentinels)}
    ),
}
