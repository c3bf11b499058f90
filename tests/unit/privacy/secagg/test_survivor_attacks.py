"""A coordinator that lies about who shared and who survived, and one that asks twice."""

from collections.abc import Callable

import numpy as np
import pytest

from backrow.privacy.errors import (
    BackrowError,
    OutOfTurnError,
    RepeatedAnswerError,
    SignatureError,
    SurvivorsError,
    TamperedError,
    UnsafeCohortError,
)
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.graph import ring
from backrow.privacy.secagg.messages import bitmap, flags
from backrow.privacy.secagg.roster import Roster
from backrow.privacy.secagg.state import Agreed, Masked, View
from backrow.privacy.signing import SECAGG_AGREE, SECAGG_FREEZE, SigningKey
from tests.secure_sums import COORDINATOR, Run, identities, run_of

VICTIM = "d0003"


def after(step: int, **changes: object) -> Run:
    """A run up to this step, with the next messages made but not delivered."""
    run = run_of(20, **changes).until(step)
    send = {2: run.secure.send_boxes, 3: run.secure.send_survivors, 4: run.secure.send_agreements}[step]
    run.sent[step + 1] = send()
    return run


def view(run: Run, name: str = VICTIM) -> View:
    state = run.devices[name].state
    assert isinstance(state, Masked | Agreed)
    return state.masked.view if isinstance(state, Agreed) else state.view


def frozen(roster: Roster, alive: np.ndarray, key: SigningKey = COORDINATOR) -> bytes:
    survivors = bitmap(alive)
    return messages.encode_survivors(survivors, key.sign(SECAGG_FREEZE, roster.signed_survivors(survivors)))


def everybody(run: Run) -> np.ndarray:
    return np.ones(view(run).roster.size, dtype=bool)


def without(run: Run, *positions: int) -> bytes:
    alive = everybody(run)
    alive[list(positions)] = False
    return frozen(view(run).roster, alive)


# Step 3


def test_a_changed_box_sends_nothing() -> None:
    run = after(2)
    data = run.sent[3][VICTIM]
    for place in range(len(data) - messages.BOX_BYTES, len(data), 13):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(TamperedError, match="nothing of it is used"):
            run.devices[VICTIM].mask(changed, run.answers[VICTIM])


def test_boxes_in_another_order_or_of_another_round_send_nothing() -> None:
    run, other = after(2), after(2, round=2)
    shared, boxes = messages.decode_boxes(run.sent[3][VICTIM], 4)
    for replayed in (messages.encode_boxes(shared, boxes[::-1]), other.sent[3][VICTIM]):
        with pytest.raises(TamperedError, match="another pair or round"):
            run.devices[VICTIM].mask(replayed, run.answers[VICTIM])


def test_fewer_boxes_than_the_threshold_send_nothing() -> None:
    run = after(2)
    _, boxes = messages.decode_boxes(run.sent[3][VICTIM], 4)
    with pytest.raises(UnsafeCohortError, match="2 neighbours shared secrets, 3 are needed"):
        run.devices[VICTIM].mask(messages.encode_boxes((True, True, False, False), boxes[:2]), run.answers[VICTIM])


def test_a_second_vector_is_never_masked() -> None:
    run = run_of(20).until(3)
    device = run.devices[VICTIM]
    with pytest.raises(RepeatedAnswerError, match="masked already"):
        device.mask(run.sent[3][VICTIM], run.answers[VICTIM])
    with pytest.raises(RepeatedAnswerError, match="masked already"):
        SecureDevice.restore(device.save(), run.keys[VICTIM]).mask(run.sent[3][VICTIM], run.answers[VICTIM] + 1)


# Step 4


def test_a_list_of_survivors_that_the_coordinator_did_not_sign_is_refused() -> None:
    run = after(3)
    message = frozen(view(run).roster, everybody(run), SigningKey(b"x" * 32))
    with pytest.raises(SignatureError, match="not signed by the pinned coordinator"):
        run.devices[VICTIM].agree(message)


def test_a_list_of_survivors_of_another_round_or_roster_is_refused() -> None:
    run, other, smaller = after(3), after(3, round=2), after(3, dropped={"d0000": 1})
    alive = everybody(run)
    for roster in (view(other).roster, view(smaller).roster):
        with pytest.raises(SignatureError, match="for this roster"):
            run.devices[VICTIM].agree(frozen(roster, alive))


def test_a_device_that_is_left_out_helps_nobody() -> None:
    run = after(3)
    with pytest.raises(SurvivorsError, match="not among the survivors"):
        run.devices[VICTIM].agree(without(run, view(run).position))


def test_a_sum_below_the_minimum_is_not_opened_though_all_neighbours_are_in_it() -> None:
    run = after(3, minimum=10)
    alive = ~everybody(run)
    alive[[view(run).position, *view(run).neighbours]] = True
    with pytest.raises(UnsafeCohortError, match="5 devices are in the sum, at least 10"):
        run.devices[VICTIM].agree(frozen(view(run).roster, alive))


def test_too_few_surviving_neighbours_open_nothing() -> None:
    run = after(3)
    with pytest.raises(UnsafeCohortError, match="2 neighbours survive, 3 are needed"):
        run.devices[VICTIM].agree(without(run, *view(run).neighbours[:2]))


def test_a_neighbour_that_never_shared_cannot_survive() -> None:
    run = run_of(20).until(2)
    boxes = run.secure.send_boxes()
    shared, sealed = messages.decode_boxes(boxes[VICTIM], 4)
    boxes[VICTIM] = messages.encode_boxes((False, *shared[1:]), sealed[1:])
    for name in boxes:
        run.reply(3, name, boxes[name])
    with pytest.raises(SurvivorsError, match="two stories"):
        run.devices[VICTIM].agree(frozen(view(run).roster, everybody(run)))


def test_a_gap_on_the_ring_that_no_chance_explains_opens_nothing() -> None:
    run = after(3)
    far = [n for n in range(20) if n not in (view(run).position, *view(run).neighbours)]
    order = [place for place in ring(view(run).roster.graph_seed, 20).tolist() if place in far]
    with pytest.raises(SurvivorsError, match="come apart"):
        run.devices[VICTIM].agree(without(run, *order[4:9]))


def test_two_lists_of_survivors_are_never_both_countersigned() -> None:
    run = after(3)
    dead = view(run).neighbours[0]
    first, again = run.devices[VICTIM].agree(run.sent[4][VICTIM])
    assert first.agree(run.sent[4][VICTIM]) == (first, again)
    for device in (first, SecureDevice.restore(first.save(), run.keys[VICTIM])):
        with pytest.raises(RepeatedAnswerError):
            device.agree(without(run, dead))


# Step 5


def agreements(
    run: Run, change: Callable[[list[bytes]], list[bytes]] = list, flag: tuple[bool, ...] = (True,) * 4
) -> bytes:
    names = [name for position in view(run).neighbours for name, place in positions(run).items() if place == position]
    signatures = [messages.decode_agreement(run.replies[4][name]) for name in names]
    return messages.encode_agreements(flag, change(signatures))


def positions(run: Run) -> dict[str, int]:
    return {name: view(run, name).position for name in run.devices}


def test_active_and_dead_lists_cannot_overlap() -> None:
    # The victim agreed that everybody survives. Its neighbours were shown a list without one of them.
    run = after(3)
    survivor, _ = run.devices[VICTIM].agree(run.sent[4][VICTIM])
    roster, alive = view(run).roster, everybody(run)
    alive[view(run).neighbours[0]] = False
    others = {place: name for name, place in positions(run).items()}
    signatures = [
        run.keys[others[place]].sign(SECAGG_AGREE, roster.signed_survivors(bitmap(alive)))
        for place in view(run).neighbours[1:]
    ]
    with pytest.raises(SurvivorsError, match="another list"):
        survivor.unmask(messages.encode_agreements((False, True, True, True), signatures))


def test_too_few_countersignatures_open_nothing() -> None:
    run = after(4)
    message = agreements(run, lambda s: s[:2], (True, True, False, False))
    with pytest.raises(SurvivorsError, match="2 neighbours countersigned"):
        run.devices[VICTIM].unmask(message)


def test_countersignatures_that_are_exchanged_or_repeated_open_nothing() -> None:
    run = after(4)
    for change in (lambda s: s[::-1], lambda s: [s[0]] * 4):
        with pytest.raises(SurvivorsError, match="another list of survivors, or none"):
            run.devices[VICTIM].unmask(agreements(run, change))


def test_the_vanished_do_not_countersign() -> None:
    run = after(3)
    dead = view(run).neighbours[0]
    message = without(run, dead)
    others = {place: name for name, place in positions(run).items()}
    survivor, _ = run.devices[VICTIM].agree(message)
    survivors, _ = messages.decode_survivors(message, 20)
    signed = view(run).roster.signed_survivors(survivors)
    signatures = [run.keys[others[place]].sign(SECAGG_AGREE, signed) for place in view(run).neighbours]
    with pytest.raises(SurvivorsError, match="not in the sum"):
        survivor.unmask(messages.encode_agreements((True,) * 4, signatures))


def test_an_answer_is_given_once_also_after_a_restart() -> None:
    run = after(4)
    all_sign, three_sign = agreements(run), agreements(run, lambda s: s[1:], (False, True, True, True))
    answered, reply = run.devices[VICTIM].unmask(all_sign)
    for device in (answered, SecureDevice.restore(answered.save(), run.keys[VICTIM])):
        assert device.unmask(all_sign)[1] == reply
        with pytest.raises(RepeatedAnswerError, match="nothing more is said"):
            device.unmask(three_sign)


def test_after_its_answer_a_device_remembers_no_share() -> None:
    run = after(4)
    state = run.devices[VICTIM].state
    assert isinstance(state, Agreed)
    answered, reply = run.devices[VICTIM].unmask(run.sent[5][VICTIM])
    assert all(seed in reply for seed in state.masked.seeds)
    assert not any(key in answered.save() for key in state.masked.keys)


def test_a_device_gives_a_seed_or_a_key_and_never_both() -> None:
    near = view(after(3)).identities
    gone = next(name for name, key in identities(20).items() if key.public in near)
    run = after(4, dropped={gone: 3})
    state = run.devices[VICTIM].state
    assert isinstance(state, Agreed)
    alive = flags(state.survivors, 20)
    assert not all(alive[list(view(run).neighbours)])
    shares = messages.decode_answer(run.devices[VICTIM].unmask(run.sent[5][VICTIM])[1], 4)
    expected = [
        seed if alive[other] else key
        for other, seed, key in zip(view(run).neighbours, state.masked.seeds, state.masked.keys, strict=True)
    ]
    assert shares == expected


# Order


def test_every_message_at_another_step_is_out_of_turn() -> None:
    run = run_of(20).until(5)
    full = run.sent
    states = {0: run_of(20).until(1), 2: run_of(20).until(2), 3: run_of(20).until(3), 4: run_of(20).until(4), 5: run}
    asks: dict[int, Callable[[SecureDevice], object]] = {
        2: lambda device: device.share(full[2][VICTIM], run.random[VICTIM]),
        3: lambda device: device.mask(full[3][VICTIM], run.answers[VICTIM]),
        4: lambda device: device.agree(full[4][VICTIM]),
        5: lambda device: device.unmask(full[5][VICTIM]),
    }
    right = {0: 2, 2: 3, 3: 4, 4: 5}
    for done, at in states.items():
        for step, ask in asks.items():
            if step in (right.get(done), done):
                continue
            with pytest.raises(OutOfTurnError, match="early or late"):
                ask(at.devices[VICTIM])


def test_a_message_of_another_kind_is_refused() -> None:
    run = run_of(20).until(4)
    for step in (2, 3, 4):
        with pytest.raises(BackrowError, match="expected message AGREEMENTS"):
            run.devices[VICTIM].unmask(run.sent[step][VICTIM])


def test_a_refusal_leaves_the_device_as_it_was() -> None:
    run = after(3)
    before = run.devices[VICTIM].save()
    with pytest.raises(SurvivorsError):
        run.devices[VICTIM].agree(without(run, view(run).position))
    assert run.devices[VICTIM].save() == before
    run.devices[VICTIM].agree(run.sent[4][VICTIM])
