"""Entries as lines: one form per kind, signed as a whole, strictly read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import LedgerError, MalformedEntryError, SignatureError, UnknownEntryError
from backrow.privacy.ledger import entries, parts
from backrow.privacy.ledger.canonical import encode
from backrow.privacy.ledger.entries import Body
from backrow.privacy.ledger.parts import Mechanism, Stamp
from backrow.privacy.ledger.releases import release_entry
from backrow.privacy.ledger.signed_entry import decode_entry, sign_entry
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.quantise import Rounding
from backrow.privacy.signing import ENTRY
from tests.unit.privacy.ledger.samples import (
    BODIES,
    CROWD,
    KEY,
    ORIGIN,
    OTHER_KEY,
    PROVENANCE,
    RELEASE,
    RESERVE,
    SCHEDULE,
    SPENT,
    lines,
)

GOLDEN = Path(__file__).with_name("golden_entries.jsonl")
SECURE: dict[str, Any] = {"aggregation": Aggregation.SECURE, "rounding": Rounding.DEVICE_NEAREST}
LINES = lines()
RELEASE_LINE = LINES[5]


def edited(line: bytes, **changes: Any) -> bytes:
    return encode({**json.loads(line), **changes})


def with_body(line: bytes, **changes: Any) -> bytes:
    data = json.loads(line)
    return encode({**data, "body": {**data["body"], **changes}})


def test_the_samples_hold_every_kind_of_entry() -> None:
    assert {type(body) for body in BODIES} == set(get_args(Body))


def test_the_format_has_not_changed() -> None:
    # Ledgers live for years. Whoever changes a line here counts up signed_entry.VERSION and still reads version 1.
    assert b"\n".join(LINES) + b"\n" == GOLDEN.read_bytes()


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["kind"])
def test_every_kind_is_read_back_as_it_was_and_its_signature_is_good(line: bytes) -> None:
    entry = decode_entry(line)
    assert entry.encode() == line
    assert entry.body == BODIES[entry.index]
    assert entry.kind == json.loads(line)["kind"]
    entry.verify(KEY.public)
    with pytest.raises(SignatureError):
        entry.verify(OTHER_KEY.public)


def test_an_epsilon_of_nothing_claimed_is_left_out() -> None:
    body = replace(RESERVE, cumulative=replace(SPENT, epsilon=None))
    line = sign_entry(KEY, ORIGIN, 0, 0, body).encode()
    assert "epsilon" not in json.loads(line)["body"]["cumulative"]
    assert decode_entry(line).body == body


@pytest.mark.parametrize("field", ["origin", "index", "time", "body"])
def test_the_signature_covers_everything(field: str) -> None:
    entry = decode_entry(RELEASE_LINE)
    changes: dict[str, Any] = {
        "origin": "backrow/other",
        "index": 6,
        "time": 1006,
        "body": replace(RELEASE, alone=replace(SPENT, epsilon=1.0)),
    }
    with pytest.raises(SignatureError):
        replace(entry, **{field: changes[field]}).verify(KEY.public)


def test_an_entry_s_signature_is_bound_to_entries() -> None:
    entry = decode_entry(RELEASE_LINE)
    payload = encode({name: value for name, value in json.loads(RELEASE_LINE).items() if name != "signature"})
    assert KEY.sign(ENTRY, payload) == entry.signature
    with pytest.raises(SignatureError):
        replace(entry, signature=KEY.sign("backrow/bundle/1", payload)).verify(KEY.public)


@pytest.mark.parametrize("changes", [{"kind": "joke"}, {"version": 2}, {"version": 0}, {"version": "1"}, {"kind": 5}])
def test_unknown_kinds_and_versions_are_refused_by_that_name(changes: dict[str, Any]) -> None:
    with pytest.raises(UnknownEntryError, match="newer backrow"):
        decode_entry(edited(RELEASE_LINE, **changes))


@pytest.mark.parametrize(
    "line",
    [
        edited(RELEASE_LINE, extra=1),
        encode({k: v for k, v in json.loads(RELEASE_LINE).items() if k != "time"}),
        edited(RELEASE_LINE, index=-1),
        edited(RELEASE_LINE, index="5"),
        edited(RELEASE_LINE, time="1005"),
        edited(RELEASE_LINE, origin=7),
        edited(RELEASE_LINE, signature="00"),
        edited(RELEASE_LINE, signature="AB" * 64),
        edited(RELEASE_LINE, signature="zz" * 64),
        edited(RELEASE_LINE, body="body"),
        edited(RELEASE_LINE, body={}),
        edited(RELEASE_LINE, kind="void"),
        with_body(RELEASE_LINE, surprise=1),
        with_body(RELEASE_LINE, noise_scale="2.50"),
        with_body(RELEASE_LINE, noise_scale="inf"),
        with_body(RELEASE_LINE, values="00" * 31),
        with_body(RELEASE_LINE, bits=-64),
        with_body(RELEASE_LINE, stamp="real"),
        with_body(RELEASE_LINE, accountant=""),
        with_body(RELEASE_LINE, accountant="two\nlines"),
        with_body(RELEASE_LINE, accountant="x" * 1001),
        with_body(RELEASE_LINE, sentinels=["1", 2]),
        with_body(LINES[1], purposes=["train"]),
        with_body(LINES[0], coordinator="00"),
        RELEASE_LINE.replace(b'"noise_scale":"', b'"noise_scale":').replace(b'","plan"', b',"plan"'),
        RELEASE_LINE.replace(b'"reserve":4', b'"reserve":4,"reserve":4'),
        RELEASE_LINE.replace(b'"reserve":4', b'"reserve": 4'),
        RELEASE_LINE.replace(b'"minimum":2', b'"minimum":1000'),
        RELEASE_LINE + b" ",
        RELEASE_LINE[:-1],
        b"",
        b"\xff",
    ],
)
def test_a_line_that_is_not_exactly_an_entry_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedEntryError):
        decode_entry(line)


@settings(deadline=None)
@given(st.sampled_from(LINES), st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_passes(line: bytes, place: int, change: int) -> None:
    changed = bytearray(line)
    changed[place % len(line)] ^= change
    with pytest.raises((LedgerError, SignatureError)):
        decode_entry(bytes(changed)).verify(KEY.public)


def test_what_cannot_be_written_is_not_signed() -> None:
    for body in (replace(RESERVE, cumulative=replace(SPENT, delta=float("nan"))), replace(RELEASE, bits=2**53)):
        with pytest.raises(ValueError, match=r".+"):
            sign_entry(KEY, ORIGIN, 0, 0, body)


def test_a_release_says_what_its_plan_says() -> None:
    plan = RESERVE.plan
    assert RELEASE.plan == plan
    assert (RELEASE.stamp, RELEASE.mechanism, RELEASE.bits) == (Stamp.SIMULATED, Mechanism.ROUNDED_GAUSSIAN, 64)
    assert RELEASE.noise_scale / RELEASE.sensitivity == pytest.approx(plan.noise_multiplier, rel=1e-15)
    assert RELEASE.cumulative == RESERVE.cumulative
    assert (RELEASE.unit, RELEASE.adjacency) == (SCHEDULE.unit, SCHEDULE.adjacency)


@pytest.mark.parametrize(
    ("changes", "mechanism", "stamp", "bits"),
    [
        ({"noise": Noise.BLOCK}, Mechanism.FLOAT_GAUSSIAN, Stamp.SIMULATED, 64),
        ({"noise_multiplier": 0.0}, Mechanism.NONE, Stamp.SIMULATED, 64),
        ({**SECURE, "simulated": False}, Mechanism.ROUNDED_GAUSSIAN, Stamp.PRODUCTION, 32),
        ({**SECURE, "noise": Noise.SHARES, "scale": 2.0**10}, Mechanism.DISCRETE_GAUSSIAN_SHARES, Stamp.SIMULATED, 32),
    ],
)
def test_mechanism_stamp_and_width_follow_the_plan(
    changes: dict[str, Any], mechanism: Mechanism, stamp: Stamp, bits: int
) -> None:
    reserve = replace(RESERVE, plan=replace(RESERVE.plan, **changes))
    made = release_entry(4, reserve, SCHEDULE, CROWD, PROVENANCE, bytes(32), SPENT, ("a", "1"))
    assert (made.mechanism, made.stamp, made.bits) == (mechanism, stamp, bits)
    assert made.noise_scale == pytest.approx(reserve.plan.noise_multiplier * made.sensitivity)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (entries.EnrolmentEntry(1, bytes(32)), {"devices": -1}),
        (entries.EnrolmentEntry(1, bytes(32)), {"key": b"short"}),
        (entries.OptOutEntry(0, bytes(32)), {"root": b""}),
        (entries.OptOutEntry(0, bytes(32)), {"statements": b""}),
        (entries.VoidEntry(1, "why"), {"reason": ""}),
        (entries.RetractionEntry(1, "why"), {"entry": -1}),
        (BODIES[7], {"releases": (1, -1)}),
        (BODIES[8], {"entries": (-1,)}),
        (PROVENANCE, {"model_out": b"short"}),
        (CROWD, {"survived": -1}),
        (CROWD, {"threshold": -1}),
    ],
)
def test_a_record_that_makes_no_sense_cannot_be_made(kind: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(kind, **changes)


def test_the_words_of_the_ledger_are_fixed() -> None:
    words = (parts.Purpose, parts.Stamp, parts.Additions, parts.Basis, parts.Mechanism, parts.Sampling)
    assert {word.value for kind in words for word in kind} == {
        "train", "trends", "experiments", "feedback", "simulated", "production", "refused", "zcdp", "scheduled",
        "addition", "rounded-gaussian", "float-gaussian", "discrete-gaussian-shares",
        "correlated-rounded-gaussian", "none", "everybody",
    }  # fmt: skip
