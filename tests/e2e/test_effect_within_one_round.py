"""Effect within one round (CONSENT): after a withdrawal no contribution, and none is lost that should count.

Random schedules on real devices, in the clear and masked: who is in each released sum is what a model says, to the
device. Builds that heed a withdrawal too late, or not at all, or for too long, must be found by the same schedules.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from backrow.client import Device
from backrow.client.edge import DeviceEdge
from backrow.client.gates import Gates
from backrow.privacy import wire
from backrow.privacy.secagg.steps import AGREE, MASK, SHARE
from backrow.server.settings import RunSettings
from backrow.server.strategy import Coordinator
from tests.hosted import ANSWER, ENROL, name_of
from tests.schedules import NODES, OWNERS, Does, Expected, Loss, Moment, Part, Schedule, expected, schedules
from tests.worlds import EXTRA, IN_THE_CLEAR, MASKED, MISSING, run_schedule, wrongs

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SEARCH = settings(SLOW, max_examples=200, phases=[Phase.generate], database=None)
EVERYBODY = frozenset(range(OWNERS))
BOTH = pytest.mark.parametrize("run", [IN_THE_CLEAR, MASKED], ids=lambda run: run.run_id)


@settings(SLOW, max_examples=40)
@given(schedules(IN_THE_CLEAR))
def test_before_trusted_edges_every_sum_is_of_those_who_allow_it_and_of_no_one_else(schedule: Schedule) -> None:
    assert wrongs(schedule) == []


@settings(SLOW, max_examples=30)
@given(schedules(MASKED))
def test_every_secure_sum_is_of_those_who_allow_it_and_of_no_one_else(schedule: Schedule) -> None:
    assert wrongs(schedule) == []


@pytest.mark.long
@settings(SLOW, max_examples=600)
@given(schedules(IN_THE_CLEAR))
def test_many_schedules_before_trusted_edges(schedule: Schedule) -> None:
    assert wrongs(schedule) == []


@pytest.mark.long
@settings(SLOW, max_examples=600)
@given(schedules(MASKED))
def test_many_schedules_of_secure_sums(schedule: Schedule) -> None:
    assert wrongs(schedule) == []


def one(
    run: RunSettings, *events: tuple[Moment, Does], losses: frozenset[Loss] = frozenset(), nodes: int = NODES
) -> Schedule:
    """Everybody grants; these things happen to owner 3."""
    return Schedule(run, (True,) * OWNERS, tuple((moment, 3, does) for moment, does in events), losses, nodes)


@BOTH
def test_who_withdraws_after_her_vector_is_given_counts_once_more_and_then_not_until_she_grants(
    run: RunSettings,
) -> None:
    given_at = ANSWER if run is IN_THE_CLEAR else MASK
    schedule = one(run, ((1, given_at, Part.AFTER), Does.WITHDRAW), ((3, ENROL, Part.BEFORE), Does.GRANT))
    assert run_schedule(schedule)[0] == [EVERYBODY, EVERYBODY - {3}, EVERYBODY]
    assert wrongs(schedule) == []


@pytest.mark.parametrize(
    ("moment", "nodes", "first"),
    [
        ((1, SHARE, Part.AFTER), NODES, EVERYBODY - {3}),
        ((1, MASK, Part.BEFORE), NODES, EVERYBODY - {3}),
        ((1, MASK, Part.AFTER), OWNERS, EVERYBODY - {3}),  # her vector came alone: it drops out with her
        ((1, MASK, Part.AFTER), NODES, None),  # half of the cohort came in one piece with hers: too many to lose
        ((1, AGREE, Part.BEFORE), OWNERS, EVERYBODY),
    ],
)
def test_an_opt_out_leaves_a_sum_that_is_not_frozen_and_comes_too_late_for_one_that_is(
    moment: Moment, nodes: int, first: frozenset[int] | None
) -> None:
    schedule = one(MASKED, (moment, Does.OPT_OUT), nodes=nodes)
    assert run_schedule(schedule)[0] == [first, EVERYBODY - {3}, EVERYBODY - {3}]
    assert wrongs(schedule) == []


@BOTH
@pytest.mark.parametrize("reply", [False, True])
def test_a_lost_message_costs_its_round_and_no_other(run: RunSettings, reply: bool) -> None:
    given_at = ANSWER if run is IN_THE_CLEAR else MASK
    schedule = one(run, losses=frozenset({Loss(2, given_at, name_of(3), reply)}))
    assert run_schedule(schedule)[0] == [EVERYBODY, EVERYBODY - {3}, EVERYBODY]


def test_random_schedules_reach_every_verdict_of_the_model() -> None:
    for verdict in (True, False, None):
        search = settings(SEARCH, max_examples=2000)
        assert find(schedules(MASKED), lambda made, v=verdict: verdict_in(v, expected(made)), settings=search)


def verdict_in(verdict: bool | None, rounds: list[Expected]) -> bool:
    return any(each.released is verdict for each in rounds)


def caught(run: RunSettings, wrong: str, schedule: Schedule, edge: type[DeviceEdge] = DeviceEdge) -> bool:
    """Whether this schedule shows this wrong in who is in a sum, and random ones do too."""

    def shown(made: Schedule) -> bool:
        return any(each.startswith(wrong) and "in the sum" in each for each in wrongs(made, edge))

    if run is IN_THE_CLEAR:  # a quick search; raises NoSuchExample if it finds none
        find(schedules(run), shown, settings=SEARCH, random=Random(1))
    return shown(schedule)


@BOTH
def test_devices_that_ask_for_consent_at_enrolment_only_are_caught(
    run: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = one(run, ((1, ENROL, Part.AFTER), Does.WITHDRAW))
    assert wrongs(schedule) == []
    monkeypatch.setattr(Gates, "_pass", lambda gates, purpose, so: None)
    monkeypatch.setattr(Device, "take_part", lambda device, call: device._contributor.reply(call))
    assert caught(run, EXTRA, schedule)


@BOTH
def test_a_coordinator_that_does_not_read_its_list_is_caught(run: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = one(run, ((1, ENROL, Part.BEFORE), Does.OPT_OUT), ((1, ENROL, Part.BEFORE), Does.GRANT))
    assert wrongs(schedule) == []
    monkeypatch.setattr(Coordinator, "_opted_out", lambda coordinator: frozenset())
    assert caught(run, EXTRA, schedule)


class Grudge(DeviceEdge):
    """Never asks again who has withheld once."""

    def enrol(self, call: bytes) -> bytes:
        reply = super().enrol(call)
        read = wire.decode(reply)
        assert isinstance(read, wire.EnrolReply)
        self._devices = {name: device for name, device in self._devices.items() if name in read.devices}
        return reply


@BOTH
def test_an_edge_that_does_not_let_owners_come_back_is_caught(run: RunSettings) -> None:
    schedule = one(run, ((2, ENROL, Part.BEFORE), Does.WITHDRAW), ((3, ENROL, Part.BEFORE), Does.GRANT))
    assert wrongs(schedule) == []
    assert caught(run, MISSING, schedule, Grudge)
