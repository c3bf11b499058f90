"""A device that withholds consent, and the same run without that device: the same bytes (CONSENT, tests (a), (b)).

Byte for byte equal: every message that the coordinator sees or sends, in order, every release, every ledger line
and all else in the run folder. `test_absence_leaks` shows that the comparison finds builds that leak.
"""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backrow.client import EventKind, WatchEvent
from backrow.privacy import wire
from backrow.privacy.plan import Aggregation
from backrow.privacy.secagg.steps import UNMASK
from backrow.server.settings import RunSettings
from tests.absence import ACTS, Silence, compare, nothing, opt_out, opt_out_but_grant_here, outcome_of
from tests.hosted import ANSWER, ENROL, ENROLLED, NOW, SECURE, TRUSTED, Person, watched
from tests.transcripts import CAME, DifferentError, assert_same

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
@settings(SLOW, max_examples=200)
@given(st.one_of(scenes(Aggregation.TRUSTED), scenes(Aggregation.SECURE)))
def test_many_devices_that_withhold_are_absent_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)


@st.composite
def opt_outs(draw: st.DrawFn) -> tuple[list[Person], Silence, RunSettings, int]:
    """The same scenes, but the owner tells the coordinator."""
    people, silence, run, nodes = draw(st.one_of(scenes(Aggregation.TRUSTED), scenes(Aggregation.SECURE)))
    return people, replace(silence, act=opt_out, listed=True), run, nodes


@settings(SLOW, max_examples=12)
@given(opt_outs())
def test_a_device_that_opts_out_is_one_that_opts_out_and_is_offline_from_then_on_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)


@pytest.mark.long
@settings(SLOW, max_examples=100)
@given(opt_outs())
def test_many_devices_that_opt_out_are_offline_from_then_on_to_the_byte(
    scene: tuple[list[Person], Silence, RunSettings, int],
) -> None:
    check(scene)


@pytest.mark.parametrize("run", [TRUSTED, SECURE], ids=lambda run: run.run_id)
def test_a_device_on_the_list_that_still_grants_changes_nothing_but_its_edges_enrolment(run: RunSettings) -> None:
    people = [Person(watched([owner, owner + 2])) for owner in range(7)]
    silence = Silence(3, opt_out_but_grant_here, (2, ENROL), listed=True)
    there, gone = (outcome_of(people, silence, run, absent=absent) for absent in (False, True))
    with pytest.raises(DifferentError, match="what came"):
        assert_same(there, gone)
    for transcript in (there, gone):
        transcript.exchanges = [
            [each for each in batch if not (each.kind == wire.ENROL_ACTION and each.direction == CAME)]
            for batch in transcript.exchanges
        ]
    assert_same(there, gone)
