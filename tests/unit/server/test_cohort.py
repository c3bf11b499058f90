"""Cohorts: only who grants, nobody twice, never too few."""

import pytest

from backrow.privacy.errors import CohortError
from backrow.privacy.wire import EnrolReply
from backrow.server.cohort import invite


def test_a_cohort_holds_exactly_the_devices_that_grant() -> None:
    cohort = invite({1: EnrolReply("r", ("b", "a")), 2: EnrolReply("r", ()), 3: EnrolReply("r", ("c",))}, 1, 10)
    assert cohort.nodes == {1: ("a", "b"), 3: ("c",)}
    assert cohort.size == 3


def test_the_digest_does_not_depend_on_who_hosts_whom() -> None:
    one = invite({1: EnrolReply("r", ("a", "b", "c"))}, 1, 10)
    other = invite({1: EnrolReply("r", ("c",)), 2: EnrolReply("r", ("b", "a"))}, 1, 10)
    assert one.digest() == other.digest()
    assert one.digest() != invite({1: EnrolReply("r", ("a", "b"))}, 1, 10).digest()


@pytest.mark.parametrize(
    "replies", [{1: EnrolReply("r", ("a", "a"))}, {1: EnrolReply("r", ("a",)), 2: EnrolReply("r", ("a",))}]
)
def test_a_device_named_twice_is_refused(replies: dict[int, EnrolReply]) -> None:
    with pytest.raises(CohortError, match="named twice"):
        invite(replies, 1, 10)


def test_too_few_and_too_many_devices_are_refused() -> None:
    replies = {1: EnrolReply("r", ("a", "b", "c"))}
    with pytest.raises(CohortError, match="smallest cohort allowed is 4"):
        invite(replies, 4, 10)
    with pytest.raises(CohortError, match="only 2 are enrolled"):
        invite(replies, 1, 2)


def test_who_has_opted_out_is_as_if_she_had_said_nothing() -> None:
    keys = (b"a" * 32, b"b" * 32, b"b" * 32)
    one = invite({1: EnrolReply("r", ("a", "b", "c"), keys), 2: EnrolReply("r", ("c",), keys[:1])}, 1, 1, {"b", "c"})
    assert one == invite({1: EnrolReply("r", ("a",), keys[:1]), 2: EnrolReply("r", ())}, 1, 1)
    with pytest.raises(CohortError, match="smallest cohort"):
        invite({1: EnrolReply("r", ("a", "b"))}, 2, 10, {"b"})
