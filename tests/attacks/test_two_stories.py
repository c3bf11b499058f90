"""A coordinator that tells its devices different things, or asks for less than they pinned."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.errors import RosterError, SignatureError, UnsafeCohortError, VoidRoundError
from backrow.privacy.secagg import device as device_module
from backrow.privacy.secagg import messages
from backrow.privacy.secagg import seating as seating_module
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance
from backrow.privacy.secagg.roster import Cohort
from backrow.privacy.secagg.seating import Seating
from backrow.privacy.secagg.session import SecurePolicy, Session
from tests.attacks.malice import (
    VICTIM,
    Spied,
    at_step_2,
    exposes,
    opened_by,
    said,
    seating,
    spied,
    stays_silent,
    weaken,
)

Attack = Callable[[], np.ndarray]

# Different questions, ledgers or cohorts


def other_names(run: Spied) -> Cohort:
    """The same keys under other names: what only the victim is told."""
    return Cohort({f"other {name}": key.public for name, key in run.keys.items()})


def two_stories(monkeypatch: pytest.MonkeyPatch, field: str) -> tuple[Spied, Attack]:
    """The victim is told something else than all others; the coordinator looks the other way.

    With another question: one to which all others' answer is zero (a model that they cannot improve), so that the sum
    is the victim's vector alone.
    """
    monkeypatch.setattr(SecureRound, "_advertisement", lambda _, __, data: messages.decode_advertisement(data))
    run = spied(20)
    told = {"question": b"z" * 32, "checkpoint": b"z" * 32, "cohort": other_names(run).digest}[field]
    common, theirs = run.session, replace(run.session, **{field: told})
    own = run.keys[VICTIM].public
    if field == "question":
        for name in set(run.keys) - {VICTIM}:
            run.answers[name][:] = 0

    def attack() -> np.ndarray:
        for name in run.keys:
            run.session = theirs if name == VICTIM else common
            run.reply(1, name, b"")
        run.session = common
        run.take(1, {name: said(run, name, 1) for name in run.keys})
        rosters = run.secure.send_rosters()
        cohort = other_names(run) if field == "cohort" else seating(run).cohort
        seats = Seating.of(theirs, cohort, run.secure._advertised)
        run.reply(2, VICTIM, seats.roster_message(seats.names.index(cohort.names[cohort.identities.index(own)])))
        for name in set(rosters) - {VICTIM}:
            run.reply(2, name, rosters[name])
        run.take(2, {name: said(run, name, 2) for name in run.keys})
        boxes = run.secure.send_boxes()
        for name in run.keys:
            run.reply(3, name, boxes[name])
        vectors = {name: said(run, name, 3) for name in run.keys}
        vectors[VICTIM] = vectors[VICTIM][:2] + common.binding("masked") + vectors[VICTIM][34:]
        run.take(3, vectors)
        for step in (4, 5):
            run.take(step, run.step(step))
        result = run.secure.result()
        assert VICTIM in result.survivors
        return result.values

    return run, attack


def blind_to(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Nothing is bound to this field of the session any more."""
    bound = Session.binding
    monkeypatch.setattr(Session, "binding", lambda self, label: bound(replace(self, **{field: bytes(32)}), label))


def test_another_question_for_the_victim_exposes_it_if_nothing_is_bound_to_the_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blind_to(monkeypatch, "question")
    exposes(*two_stories(monkeypatch, "question"))


@pytest.mark.parametrize("field", ["checkpoint", "cohort"])
def test_a_victim_of_another_ledger_or_cohort_is_in_the_sum_if_nothing_is_bound_to_it(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    blind_to(monkeypatch, field)
    run, attack = two_stories(monkeypatch, field)
    np.testing.assert_array_equal(attack(), run.expected(list(run.keys)))


@pytest.mark.parametrize("field", ["question", "checkpoint", "cohort"])
def test_whoever_was_told_something_else_finds_out_before_it_shares_anything(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    run, attack = two_stories(monkeypatch, field)
    with pytest.raises(SignatureError, match="somebody was told something else"):
        attack()
    assert not [step for name, step, _ in run.heard if name == VICTIM and step > 1]


def test_the_coordinator_must_drop_the_minority_and_the_sum_is_of_the_others() -> None:
    run = spied(20)
    replies = run.step(1)
    theirs = replace(run.session, question=b"z" * 32)
    common, run.session = run.session, theirs
    replies[VICTIM] = run.reply(1, VICTIM, b"")
    run.session = common
    run.take(1, replies)
    run.dropped = {VICTIM: 2}
    for step in (2, 3, 4, 5):
        run.take(step, run.step(step))
    result = run.secure.result()
    assert VICTIM not in result.survivors
    assert len(result.survivors) == 19
    np.testing.assert_array_equal(result.values, run.expected(result.survivors))


# Less than what the device pinned

STRICT = SecurePolicy(minimum=10, adversaries=0.1)


def sum_of_three() -> tuple[Spied, Attack]:
    """The victim and two accomplices, in all honesty."""
    run = spied(3, tolerance=Tolerance(0.2, 0.0), policy=STRICT)
    accomplices = sorted(run.keys)[1:]
    return run, lambda: run.finish().values - sum(run.answers[name] for name in accomplices)


def test_a_small_sum_exposes_the_victim_if_it_has_no_minimum_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "policy_kept")
    run, attack = sum_of_three()
    exposes(run, attack, sorted(run.keys)[0])


def test_a_sum_below_the_devices_own_minimum_is_not_begun() -> None:
    run, attack = sum_of_three()
    stays_silent(run, (UnsafeCohortError, VoidRoundError), "this device wants|0 devices advertised", attack)
    assert {type(problem) for problem in run.refused.values()} == {UnsafeCohortError}


def two_neighbours() -> tuple[Spied, Attack]:
    """A round that stands no adversaries gives the victim two neighbours; both are accomplices, of ten per cent."""
    run = spied(20, tolerance=Tolerance(0.0, 0.0), policy=SecurePolicy(minimum=3, adversaries=0.1))

    def attack() -> np.ndarray:
        run.until(3)
        seats = seating(run)
        return opened_by(run, [seats.names[other] for other in seats.neighbours[seats.names.index(VICTIM)]])

    return run, attack


def test_a_round_that_stands_no_adversaries_exposes_the_victim_to_two(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "policy_kept")
    exposes(*two_neighbours())


def test_a_round_that_stands_fewer_adversaries_than_the_device_assumes_is_not_begun() -> None:
    run, attack = two_neighbours()
    stays_silent(run, VoidRoundError, "0 devices advertised", attack)
    assert {type(problem) for problem in run.refused.values()} == {UnsafeCohortError}
    assert len(run.refused) == 20


def one_share_is_enough(monkeypatch: pytest.MonkeyPatch) -> tuple[Spied, Attack]:
    """The coordinator would have a secret open to any one neighbour, and one neighbour is its accomplice."""
    monkeypatch.setattr(seating_module, "neighbourhood_on", lambda _: Neighbourhood(4, 1))
    run = spied(20).until(1)
    for step in (2, 3):
        run.take(step, run.step(step))
    accomplice = seating(run).names[seating(run).neighbours[seating(run).names.index(VICTIM)][0]]
    return run, lambda: opened_by(run, [accomplice])


def test_a_lower_threshold_exposes_the_victim_to_one_accomplice_if_the_device_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_module, "neighbourhood_on", lambda _: Neighbourhood(4, 1))
    exposes(*one_share_is_enough(monkeypatch))


def test_a_lower_threshold_is_not_taken_because_the_device_computes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    run, attack = one_share_is_enough(monkeypatch)
    assert not np.any(attack() == run.answers[VICTIM])


def test_fewer_neighbours_than_the_device_computes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seating_module, "neighbourhood_on", lambda _: Neighbourhood(2, 1))
    run = at_step_2()
    stays_silent(run, RosterError, "the graph has 4", lambda: run.reply(2, VICTIM, run.sent[2][VICTIM]))
