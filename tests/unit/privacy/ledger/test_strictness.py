"""Whatever is read is written as the same line: an entry need not be encoded again to know that it is canonical."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import LedgerError, MalformedEntryError
from backrow.privacy.ledger.signed_entry import decode_entry, payload_of
from tests.unit.privacy.ledger.samples import lines

LINES = lines()
LEAVES = st.one_of(
    st.integers(-(2**54), 2**54),
    st.booleans(),
    st.none(),
    st.floats(),
    st.floats(allow_nan=False).map(repr),
    st.integers().map(str),
    st.binary(max_size=40).map(bytes.hex),
    st.sampled_from(["train", "AB", " 1", "1.50", "e\u0301", "\u00e9", "\ud800", "a\nb", "\u2028", "", [], {}]),
    st.text(max_size=5),
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, item in inner for below in leaves(item, (*path, key)))][0 if path else 1 :]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(LINES), st.integers(0, 10**6), LEAVES, st.booleans())
def test_whatever_is_read_is_written_as_the_same_line(line: bytes, place: int, leaf: Any, plain: bool) -> None:
    data = json.loads(line)
    *path, last = leaves(data)[place % len(leaves(data))]
    inner = data
    for key in path:
        inner = inner[key]
    inner[last] = leaf
    try:
        changed = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=plain).encode()
        entry = decode_entry(changed)
    except (LedgerError, UnicodeEncodeError):
        return
    assert entry.encode() == changed
    assert json.loads(payload_of(changed, entry)) == {k: v for k, v in data.items() if k != "signature"}


@pytest.mark.parametrize("field", ["origin", "reason"])
@pytest.mark.parametrize(("text", "good"), [("caf\u00e9", True), ("cafe\u0301", False), ("\ud800", False)])
def test_text_is_spelled_in_one_way(field: str, text: str, good: bool) -> None:
    data = json.loads(next(line for line in LINES if b'"kind":"void"' in line))
    (data if field == "origin" else data["body"])[field] = text
    for plain in (True, False):
        changed = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=plain).encode(
            errors="surrogatepass"
        )
        if good and not plain:
            assert decode_entry(changed).encode() == changed
        else:
            with pytest.raises(MalformedEntryError):
                decode_entry(changed)
