"""Account-wide opt-outs in whole runs: out within one round, and a coordinator that looks away is named."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.client.edge import SimulatedEdge
from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.model import Report, State, Topic
from backrow.privacy.audit.proofs import check_proof, prove_absence
from backrow.privacy.audit.verify import verify
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, read_opt_out, sign_opt_out, sign_record
from backrow.privacy.errors import OptOutError, SuppressionError
from backrow.privacy.ledger.entries import OptOutEntry, ReleaseEntry, ReserveEntry, VoidEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.pseudonyms import keyed_hash
from backrow.privacy.ledger.verification import verify_files
from backrow.privacy.secagg.steps import AGREE, MASK, SHARE
from backrow.privacy.wire import EnrolReply
from backrow.privacy.wire_secure import SecureCall
from backrow.server import strategy
from backrow.server.cohort import Cohort, invite
from backrow.server.seals import Seals
from backrow.server.strategy import Outcome, RoundReport
from backrow.server.suppression import COORDINATOR, SUPPRESSION, SuppressionList, keep_enrolled, read_enrolled
from backrow.simulations.pipeline import Prepared, changes_of, commit, prepare
from backrow.simulations.population import device_key, device_name
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import coordinator_key, epoch_key, train
from tests.unit.simulations.small_data import two_tastes

SEED = 3
PEOPLE = 40
ALICE = 7


@pytest.fixture
def views(tmp_path: Path) -> Path:
    data = two_tastes(PEOPLE, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return tmp_path / "views.csv"


def scenario(views: Path, aggregation: str, **consent: float) -> Scenario:
    sections = {"privacy": {"aggregation": aggregation, "dropouts": 0.25}, "cohort": {"minimum": 20}}
    made = {"seed": SEED, "trainer": "gradient", "data": {"path": str(views)}, "model": {"rounds": 2}}
    return Scenario.model_validate({**made, **sections, "consent": consent})


def everybody_grants(prepared: Prepared) -> Prepared:
    """Devices on the list that their edges report all the same."""
    population = prepared.population
    return replace(prepared, population=replace(population, granted=np.ones(len(population), dtype=bool)))


def run(
    made: Scenario,
    prepared: Prepared,
    folder: Path,
    observe: Callable[[RoundReport], None] = lambda report: None,
    engine: str = "inprocess",
    nodes: int = 2,
) -> Outcome:
    folder.mkdir()
    (folder / "coordinator.pub").write_text(coordinator_key(SEED).public.hex() + "\n")
    return train(
        commit(made, prepared), prepared.population, folder, engine=engine, nodes=nodes, seed=SEED,
        changes=changes_of(made), observe=observe, publish=lambda outcome, spent: (bytes(32), bytes(32)),
    ).outcome  # fmt: skip


def opt_out(folder: Path, slot: int = ALICE, counter: int = 1) -> None:
    """What an owner sends, as the command takes it."""
    key, place = device_key(SEED, slot), folder / COORDINATOR
    request = OptOutRequest(ConsentRecord(key.public, EVERYTHING, False, counter, 1), device_name(slot))
    enrolled = {device_name(each): device_key(SEED, each).public for each in range(PEOPLE)}
    keep_enrolled(place, enrolled)
    SuppressionList.open(place).add(sign_opt_out(request, key), enrolled, 1)


def lists_of(folder: Path) -> Lists:
    return Lists.parse((folder / "auditor" / "lists.json").read_bytes())


def audited(folder: Path) -> Report:
    return verify(folder, coordinator_key(SEED).public, lists=lists_of(folder))


def bodies(folder: Path) -> list[object]:
    return [entry.body for entry in verify_files(read_files(folder), coordinator_key(SEED).public).entries]


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, step: int, happens: Callable[[], None]) -> None:
    """Once, when the devices have answered a step of a round's secure sum."""
    relayed, done = SimulatedEdge.secure, []

    def secure(edge: SimulatedEdge, data: bytes, memory: Memory) -> bytes:
        call, reply = wire.decode(data), relayed(edge, data, memory)
        assert isinstance(call, SecureCall)
        if (call.round, call.step) == (number, step) and not done:
            done.append(True)
            happens()
        return reply

    monkeypatch.setattr(SimulatedEdge, "secure", secure)


@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_who_is_on_the_list_is_never_asked_though_edges_name_her(views: Path, tmp_path: Path, aggregation: str) -> None:
    made = scenario(views, aggregation, opt_outs=0.2)
    prepared = everybody_grants(prepare(made))
    outcome = run(made, prepared, tmp_path / "run")
    listed = {device_name(int(slot)) for slot in np.flatnonzero(prepared.population.opted_out)}
    assert 2 < len(listed) < 18
    assert {report.invited for report in outcome.reports} == {PEOPLE - len(listed)}
    lists = lists_of(tmp_path / "run")
    assert lists.opt_outs == {3: tuple(sorted(listed))}
    assert not any(listed & set(people) for people in lists.participants.values())
    report = audited(tmp_path / "run")
    assert report.passed, report.findings
    assert {check.state for check in report.checks if check.topic is Topic.LISTS} == {State.PASSED}


@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_an_opt_out_takes_effect_within_one_round(views: Path, tmp_path: Path, aggregation: str) -> None:
    made, folder = scenario(views, aggregation), tmp_path / "run"
    outcome = run(made, prepare(made), folder, lambda report: opt_out(folder) if report.plan.round == 2 else None)
    assert [report.invited for report in outcome.reports] == [PEOPLE, PEOPLE, *[PEOPLE - 1] * 3]
    sealed = [(place, body) for place, body in enumerate(bodies(folder)) if isinstance(body, OptOutEntry)]
    assert [(place, body.size, body.asked) for place, body in sealed] == [(3, 0, None), (8, 1, 1)]
    assert audited(folder).passed


def test_lifting_an_opt_out_takes_a_newer_signature_and_gives_no_budget_back(views: Path, tmp_path: Path) -> None:
    made, folder = scenario(views, "trusted"), tmp_path / "run"

    def happens(report: RoundReport) -> None:
        if report.plan.round == 1:
            opt_out(folder)
        if report.plan.round == 3:
            key, place = device_key(SEED, ALICE), folder / COORDINATOR
            again = sign_record(ConsentRecord(key.public, EVERYTHING, True, 2, 1), key)
            SuppressionList.open(place).add(again, read_enrolled(place), 1)

    outcome = run(made, prepare(made), folder, happens)
    assert [report.invited for report in outcome.reports] == [PEOPLE, PEOPLE - 1, PEOPLE - 1, PEOPLE, PEOPLE]
    spent = [body.cumulative.epsilon for body in bodies(folder) if isinstance(body, ReserveEntry)]
    assert spent == sorted(spent)
    assert len(set(spent)) == 5
    assert audited(folder).passed


def test_a_coordinator_that_forgets_an_opt_out_is_named_by_the_statements_or_by_her_receipt(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = scenario(views, "trusted"), tmp_path / "run"
    counted = SuppressionList._count

    def forget(listed: SuppressionList) -> None:
        counted(listed)
        listed.opted_out = frozenset()

    def happens(report: RoundReport) -> None:
        if report.plan.round == 1:
            opt_out(folder)
        if report.plan.round == 3:
            monkeypatch.setattr(SuppressionList, "_count", forget)
            opt_out(folder, ALICE + 1)

    outcome = run(made, prepare(made), folder, happens)
    assert [report.invited for report in outcome.reports] == [PEOPLE, PEOPLE - 1, PEOPLE - 1, PEOPLE, PEOPLE]
    found = {finding.fault for finding in audited(folder).findings}
    assert found == {Fault.DROPPED}
    lists = lists_of(folder)
    receipt = read_opt_out(bytes.fromhex(json.loads(lists.statements[0])["statement"]))  # type: ignore[index]
    report = verify(folder, coordinator_key(SEED).public, lists=lists, receipts=[receipt])
    (unheeded,) = [finding for finding in report.findings if "was not heeded" in finding.sentence]
    assert set(unheeded.entries) >= set(sorted(lists.participants)[-2:])


def test_before_answers_are_collected_an_opt_out_leaves_the_round_as_if_offline(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = scenario(views, "secure"), tmp_path / "run"
    at_step(monkeypatch, 2, SHARE, lambda: opt_out(folder))
    outcome = run(made, prepare(made), folder)
    assert [report.participants for report in outcome.reports] == [PEOPLE, *[PEOPLE - 1] * 4]
    assert [report.invited for report in outcome.reports] == [PEOPLE, PEOPLE, *[PEOPLE - 1] * 3]
    lists = lists_of(folder)
    releases = sorted(lists.participants)
    assert device_name(ALICE) in lists.participants[releases[1]]
    assert device_name(ALICE) not in lists.survivors[releases[1]]
    report = audited(folder)
    assert report.passed, report.findings


def test_a_sum_of_somebody_who_opted_out_before_it_was_frozen_is_never_unmasked(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder, steps = scenario(views, "secure"), tmp_path / "run", list[tuple[int, int]]()
    at_step(monkeypatch, 2, MASK, lambda: opt_out(folder))
    relayed = SimulatedEdge.secure

    def watched(edge: SimulatedEdge, data: bytes, memory: Memory) -> bytes:
        call = wire.decode(data)
        assert isinstance(call, SecureCall)
        steps.append((call.round, call.step))
        return relayed(edge, data, memory)

    monkeypatch.setattr(SimulatedEdge, "secure", watched)
    # Her edge has answered by then: her masked vector is in its sum.
    outcome = run(made, prepare(made), folder)
    assert [report.outcome == "released" for report in outcome.reports] == [True, False, True, True, True]
    assert "opted out before the sum was frozen" in outcome.reports[1].outcome
    assert (2, AGREE) not in steps
    assert (3, AGREE) in steps
    written = bodies(folder)
    (void,) = [body for body in written if isinstance(body, VoidEntry)]
    assert isinstance(written[void.reserve], ReserveEntry)
    assert [report.invited for report in outcome.reports] == [PEOPLE, PEOPLE, *[PEOPLE - 1] * 3]
    assert audited(folder).passed


def test_after_the_freeze_an_opt_out_binds_from_the_next_round(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = scenario(views, "secure"), tmp_path / "run"
    at_step(monkeypatch, 2, AGREE, lambda: opt_out(folder))
    outcome = run(made, prepare(made), folder)
    assert [report.participants for report in outcome.reports] == [PEOPLE, PEOPLE, *[PEOPLE - 1] * 3]
    kinds = [type(body) for body in bodies(folder)]
    second = [place for place, kind in enumerate(kinds) if kind is ReleaseEntry][1]
    assert kinds[second + 1] is OptOutEntry
    assert audited(folder).passed


def ignoring(replies: Mapping[int, EnrolReply], minimum: int, population: int, opted_out: Collection[str]) -> Cohort:
    """A coordinator that asks whom it may not."""
    return invite(replies, minimum, population)


@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_a_coordinator_that_ignores_its_list_refuses_itself_and_is_named_if_it_does_not(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    made = scenario(views, aggregation, opt_outs=0.1)
    prepared = everybody_grants(prepare(made))
    monkeypatch.setattr(strategy, "invite", ignoring)
    if aggregation == "trusted":
        assert not run(made, prepared, tmp_path / "refused").releases
    monkeypatch.setattr(Seals, "check", lambda self, people: None)
    monkeypatch.setattr(strategy.Coordinator, "_opted_out", lambda self: frozenset())
    assert run(made, prepared, tmp_path / "run").releases
    assert verify(tmp_path / "run", coordinator_key(SEED).public).passed  # roots alone do not tell
    assert {finding.fault for finding in audited(tmp_path / "run").findings} == {Fault.OPTED_OUT}


def test_with_garbage_in_the_list_nothing_more_is_asked(views: Path, tmp_path: Path) -> None:
    made, folder = scenario(views, "trusted"), tmp_path / "run"

    def spoil(report: RoundReport) -> None:
        (folder / COORDINATOR / SUPPRESSION).write_bytes(b"" if report.plan.round == 2 else b"?")

    prepared = prepare(made)
    with pytest.raises(SuppressionError, match="nobody is asked"):
        run(made, prepared, folder, spoil)
    assert sum(isinstance(body, ReserveEntry) for body in bodies(folder)) == 1


def test_a_run_does_not_go_on_with_an_older_list_than_its_ledger(views: Path, tmp_path: Path) -> None:
    made, folder = scenario(views, "trusted", opt_outs=0.1), tmp_path / "run"
    prepared, stop = prepare(made), KeyboardInterrupt

    def interrupt(report: RoundReport) -> None:
        if report.plan.round == 1:
            opt_out(folder)
        else:
            raise stop

    before: list[bytes] = []
    path = folder / COORDINATOR / SUPPRESSION
    with pytest.raises(stop):
        run(made, prepared, folder, lambda report: (before.append(path.read_bytes()), interrupt(report))[1])
    now = path.read_bytes()

    def go_on() -> Outcome:
        return train(
            commit(made, prepared), prepared.population, folder, engine="inprocess", nodes=1, seed=SEED, resume=True,
            observe=lambda report: None, publish=lambda outcome, spent: (bytes(32), bytes(32)),
        ).outcome  # fmt: skip

    for older in (before[0], before[0].splitlines(keepends=True)[0]):
        path.write_bytes(older)
        with pytest.raises(SuppressionError, match="older"):
            go_on()
    path.write_bytes(now)
    assert len(go_on().releases) == 5
    assert audited(folder).passed


def test_an_owner_proves_her_absence_where_others_have_opted_out(views: Path, tmp_path: Path) -> None:
    made = scenario(views, "trusted", opt_outs=0.3)
    prepared = prepare(made)
    run(made, prepared, tmp_path / "run")
    out = device_name(int(np.flatnonzero(prepared.population.opted_out)[0]))
    other = device_name(int(np.flatnonzero(~prepared.population.opted_out)[0]))
    files, lists = read_files(tmp_path / "run"), lists_of(tmp_path / "run")
    lines, release = [line + b"\n" for line in files.lines], min(lists.participants)
    proved = check_proof(prove_absence(lines, files.checkpoint, release, lists, out), coordinator_key(SEED).public)
    assert proved.absent == keyed_hash(epoch_key(SEED), out)
    assert check_proof(prove_absence(lines, files.checkpoint, 3, lists, other), coordinator_key(SEED).public).absent
    for place, who in ((release, other), (3, out)):
        with pytest.raises(OptOutError):
            prove_absence(lines, files.checkpoint, place, lists, who)


@pytest.mark.ray
@pytest.mark.parametrize("aggregation", [pytest.param("trusted", marks=pytest.mark.long), "secure"])
def test_flower_and_one_process_see_the_same_owners_come_and_go(views: Path, tmp_path: Path, aggregation: str) -> None:
    made = scenario(views, aggregation, opt_outs=0.1, flips=0.1, offline=0.1, taste=0.5)
    prepared = prepare(made)
    one = run(made, prepared, tmp_path / "one", nodes=1)
    four = run(made, prepared, tmp_path / "four", engine="flower", nodes=4)
    assert len({report.invited for report in one.reports}) > 1
    for alone, spread in zip(one.reports, four.reports, strict=True):
        assert (alone.invited, alone.outcome) == (spread.invited, spread.outcome)
    digests = [[release.receipt.digest for release in outcome.releases] for outcome in (one, four)]
    assert digests[0] == digests[1] != []
    assert audited(tmp_path / "four").passed
