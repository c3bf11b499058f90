"""A session: bound whole, or refused."""

from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.session import Session
from tests.secure_sums import identities, session_of

SESSION = session_of(identities(20))
OTHER = {
    "run_id": "runs",
    "round": 2,
    "cohort": b"x" * 32,
    "question": b"x" * 32,
    "checkpoint": b"x" * 32,
    "coordinator": b"x" * 32,
    "devices": 21,
    "minimum": 4,
    "dimension": 5,
    "tolerance": Tolerance(0.05, 0.06),
}


def test_every_field_is_bound() -> None:
    assert set(OTHER) == {field.name for field in fields(Session)}
    bindings = {replace(SESSION, **{name: value}).binding("mask") for name, value in OTHER.items()}
    bindings |= {SESSION.binding("mask"), SESSION.binding("masks"), SESSION.binding("")}
    assert len(bindings) == len(OTHER) + 3


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32))
def test_a_session_comes_back_equal(run_id: str, number: int, question: bytes) -> None:
    session = replace(SESSION, run_id=run_id, round=number, question=question)
    assert Session.decode(session.encode()) == session


@given(st.integers(0, 500), st.binary(max_size=8))
@example(168, b"\x00")  # a share of drop-outs that differs in its last bit
def test_changed_bytes_are_refused_by_name_or_are_all_of_another_session(cut: int, more: bytes) -> None:
    data = SESSION.encode()
    changed = data[:cut] + more
    if changed == data:
        return
    try:
        other = Session.decode(changed)
    except MalformedMessageError:
        return
    assert other != SESSION
    assert other.encode() == changed


@pytest.mark.parametrize(
    "wrong",
    [
        {"cohort": b"short"},
        {"coordinator": b""},
        {"run_id": ""},
        {"round": -1},
        {"minimum": 2},
        {"minimum": 21},
        {"devices": 2**20 + 1},
        {"dimension": 0},
        {"dimension": 2**28 + 1},
    ],
    ids=str,
)
def test_a_field_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"secure sum|vector"):
        replace(SESSION, **wrong)
