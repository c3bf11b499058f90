"""A device that withholds consent, and the same run without that device: the same bytes (CONSENT, test (a)).

Byte for byte equal: every message that the coordinator sees or sends, in order, every release, every ledger line
and all else in the run folder. `test_absence_leaks` shows that the comparison finds builds that leak.
"""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backrow.client import EventKind, WatchEvent
from backrow.privacy.plan import Aggregation
from backrow.privacy.wire_secure import UNMASK
from backrow.server.settings import RunSettings
from tests.absence import ACTS, Silence, compare, nothing
from tests.hosted import ANSWER, ENROL, ENROLLED, NOW, SECURE, TRUSTED, Person, watched

WITH_SEARCHES = st.lists(st.integers(0, 11), max_size=6).map(
    lambda titles: (*watched(titles), WatchEvent(EventKind.SEARCH, NOW - 5, query=f"films about {len(titles)}"))
)
PEOPLE = st.builds(Person, WITH_SEARCHES, st.sampled_from([True] * 7 + [False]))


@st.composite
def scenes(draw: st.DrawFn, aggregation: Aggregation) -> tuple[list[Person], Silence, RunSettings, int]:
    """A population, who withholds in it and how, the run, and how many nodes."""
    fewest = 5 if aggregation is Aggregation.SECURE else 4
    people = draw(st.lists(PEOPLE, min_size=fewest, max_size=ENROLLED))
    owner, rounds = draw(st.integers(0, len(people) - 1)), draw(st.integers(0, 2))
    last = UNMASK if aggregation is Aggregation.SECURE else ANSWER
    when = draw(st.sampled_from(["never granted", "before the run", "in the run", "in the run"]))
    moments = list(itertools.product(range(1, rounds + 2), range(ENROL, last + 1)))
    since = draw(st.sampled_from(moments)) if when == "in the run" else None
    never = when == "never granted"
    people[owner] = replace(people[owner], grants=not never)
    silence = Silence(owner, nothing if never else draw(st.sampled_from(ACTS)), since)
    run = SECURE if aggregation is Aggregation.SECURE else TRUSTED
    return people, silence, replace(run, rounds=rounds), draw(st.integers(1, 3))


def check(scene: tuple[list[Person], Silence, RunSettings, int]) -> None:
    people, silence, run, nodes = scene
    compare(people, silence, run, nodes=nodes)


SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@settings(SLOW, max_examples=25)
@given(scenes(Aggregation.TRUSTED))
def test_before_trusted_edges_a_device_that_withholds_is_absent_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)


@settings(SLOW, max_examples=15)
@given(scenes(Aggregation.SECURE))
def test_in_secure_sums_a_device_that_withholds_is_absent_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)


@pytest.mark.long
@settings(SLOW, max_examples=400)
@given(st.one_of(scenes(Aggregation.TRUSTED), scenes(Aggregation.SECURE)))
def test_many_devices_that_withhold_are_absent_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)
