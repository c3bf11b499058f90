"""Many signatures at once: the same verdicts as one by one, in order, whatever the number of threads."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.signatures import Signatures
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger import entries
from backrow.privacy.signing import ENTRY
from tests.ledgers import KEY, OTHER_KEY, honest, note_of, write

SIGNED = [(b"%d" % number, KEY.sign(ENTRY, b"%d" % number)) for number in range(500)]


@pytest.mark.parametrize("processors", [1, 2, 3, 64, None])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 499, 500])
def test_every_signature_has_its_own_verdict(
    processors: int | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    some, bad = list(SIGNED[:size]), set(range(0, size, 7))
    for place in bad:
        some[place] = (some[place][0] + b"x", some[place][1])
    with Signatures(KEY.public) as signatures:
        assert signatures.check(some) == [place not in bad for place in range(size)]
        assert signatures.check(SIGNED[:size]) == [True] * size


def test_without_a_key_nothing_is_signed() -> None:
    with Signatures(None) as signatures:
        assert signatures.check(SIGNED) == [False] * len(SIGNED)
    with Signatures(OTHER_KEY.public) as signatures:
        assert signatures.check(SIGNED) == [False] * len(SIGNED)


def test_faults_far_into_a_long_ledger_are_found_at_their_places(tmp_path: Path) -> None:
    # More lines than are verified together.
    draft = honest()
    many = tuple(entries.RetractionEntry(5, f"because {number}") for number in range(2500))
    folder = write(tmp_path / "run", replace(draft, bodies=(*draft.bodies, *many)))
    lines = (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    lines[1023] = lines[1023].replace(b"because", b"becuase")
    lines[1024] = lines[1024].replace(b"because", b"becuase")
    lines[2300] = b"not an entry\n"
    lines[-1] = lines[-1][:-1]
    (folder / "ledger.jsonl").write_bytes(b"".join(lines))
    found = {finding.fault: finding.entries for finding in verify(folder, KEY.public).findings}
    assert found == {
        Fault.SIGNATURE: (1023, 1024),
        Fault.MALFORMED: (2300,),
        Fault.UNFINISHED: (len(lines) - 1,),
    }


def test_what_stands_before_a_line_that_cannot_be_read_is_judged(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", honest())
    lines = honest().lines()
    lines[2] = lines[2].replace(b'"devices":100', b'"devices":101')
    (folder / "ledger.jsonl").write_bytes(b"".join(lines) + b"x" * (2**24 + 10))
    (folder / "checkpoint").write_bytes(note_of(honest().lines()))
    report = verify(folder, KEY.public)
    assert [finding.fault for finding in report.findings] == [Fault.UNREADABLE, Fault.SIGNATURE]
    assert report.entries == len(lines)
