"""The coordinator: wrong replies are left out one by one, and what ends a round has a reason."""

from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.errors import OutOfTurnError, RosterError, VoidRoundError
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.edge import add_blind
from backrow.privacy.secagg.roster import Cohort, cohort_digest
from backrow.privacy.secagg.sealing import KeyPair
from backrow.privacy.signing import SECAGG_ADVERTISE, SigningKey
from tests.secure_sums import COORDINATOR, Run, identities, run_of, session_of

ONE, TWO = "d0001", "d0002"


def kinds(run: Run) -> list[tuple[str, int, str]]:
    return [(problem.device, problem.step, problem.kind) for problem in run.secure.problems]


def finished(run: Run, from_step: int) -> set[str]:
    """Go on from a step and check the sum."""
    for number in range(from_step, 6):
        run.take(number, run.step(number))
    result = run.secure.result()
    np.testing.assert_array_equal(result.values, run.expected(result.survivors))
    return set(result.survivors)


def test_an_honest_round_gives_the_exact_sum_and_no_problem() -> None:
    run = run_of(20)
    result = run.finish()
    np.testing.assert_array_equal(result.values, run.expected(list(run.keys)))
    assert result.survivors == tuple(sorted(run.keys))
    assert run.secure.problems == []


def test_two_devices_with_one_identity_key_are_no_cohort() -> None:
    keys = identities(5)
    members = {name: key.public for name, key in keys.items()} | {TWO: keys[ONE].public}
    with pytest.raises(RosterError, match="one identity key"):
        cohort_digest(members)
    with pytest.raises(RosterError, match="one identity key"):
        SecureRound(session_of(keys), members, COORDINATOR)


def test_a_cohort_is_its_names_and_its_keys() -> None:
    members = {name: key.public for name, key in identities(5).items()}
    swapped = members | {ONE: members[TWO], TWO: members[ONE]}
    assert Cohort(dict(reversed(members.items()))).digest == Cohort(members).digest
    assert len({Cohort(each).digest for each in (members, swapped, {"x": bytes(32), **members})}) == 3


def test_a_session_of_another_cohort_or_coordinator_is_misuse() -> None:
    keys = identities(5)
    members = {name: key.public for name, key in keys.items()}
    with pytest.raises(ValueError, match="another cohort"):
        SecureRound(session_of(keys, cohort=b"x" * 32), members, COORDINATOR)
    with pytest.raises(ValueError, match="another coordinator"):
        SecureRound(session_of(keys), members, SigningKey(b"x" * 32))


def test_bad_advertisements_are_left_out_one_by_one() -> None:
    run = run_of(20)
    replies = run.step(1)
    good = messages.decode_advertisement(replies[ONE])
    replies["d0005"] = replies["d0006"]  # another device's
    replies["d0007"] = b""
    replies["d0008"] = replies["d0008"][:-1] + bytes([replies["d0008"][-1] ^ 1])
    replies["stranger"] = replies["d0009"]
    old, _ = SecureDevice.begin(replace(run.session, round=0), run.policy, run.keys["d0010"], run.random["d0010"])
    replies["d0010"] = old.reply
    assert good.identity == run.keys[ONE].public
    run.take(1, replies)
    assert kinds(run) == [
        ("d0005", 1, "RosterError"),
        ("d0007", 1, "MalformedMessageError"),
        ("d0008", 1, "SignatureError"),
        ("d0010", 1, "SignatureError"),
        ("stranger", 1, "RosterError"),
    ]
    assert len(finished(run, 2)) == 16


def signed(run: Run, name: str, mask_key: bytes, seal_key: bytes) -> bytes:
    key = run.keys[name]
    signature = key.sign(SECAGG_ADVERTISE, run.session.binding("advertise") + key.public + mask_key + seal_key)
    return messages.encode_advertisement(messages.Advertisement(key.public, mask_key, seal_key, signature))


def test_devices_that_share_a_key_and_weak_keys_are_left_out() -> None:
    run = run_of(20)
    replies = run.step(1)
    stolen = messages.decode_advertisement(replies[ONE])
    fresh = KeyPair.generate(run.random[TWO]).public
    replies[TWO] = signed(run, TWO, fresh, stolen.mask_key)
    replies["d0003"] = signed(run, "d0003", fresh[:31] + b"\0", fresh[:31] + b"\0")
    replies["d0004"] = signed(run, "d0004", bytes(32), fresh[:31] + b"\1")
    run.take(1, replies)
    run.dropped = dict.fromkeys((ONE, TWO, "d0003", "d0004"), 2)
    survivors = finished(run, 2)
    assert sorted(kinds(run)) == [
        (ONE, 1, "WeakKeyError"),
        (TWO, 1, "WeakKeyError"),
        ("d0003", 1, "WeakKeyError"),
        ("d0004", 1, "WeakKeyError"),
    ]
    assert survivors == set(run.keys) - set(run.dropped)


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_a_reply_twice_counts_once_and_a_different_second_one_not_at_all(step: int) -> None:
    run = run_of(20).until(step - 1)
    replies = run.step(step)
    run.take(step, replies)
    run.take(step, replies)
    assert kinds(run) == []
    run.take(step, {ONE: replies[ONE][:-1] + bytes([replies[ONE][-1] ^ 1])})
    assert kinds(run) == [(ONE, step, "RepeatedAnswerError")]
    for number in range(step + 1, 6):
        run.take(number, run.step(number))
    np.testing.assert_array_equal(run.secure.result().values, run.expected(list(run.keys)))


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_late_and_early_replies_are_not_used(step: int) -> None:
    run = run_of(20).until(5)
    other = run_of(20).until(step - 1)
    run.take(step, run.replies[step])
    if step == 5:
        run.secure.result()
        run.take(5, run.replies[5])
    assert {(s, kind) for _, s, kind in kinds(run)} == {(step, "OutOfTurnError")}
    late = 5 if step < 4 else 1
    other.take(late, run.replies[late])
    assert {(s, kind) for _, s, kind in kinds(other)} == {(late, "OutOfTurnError")}


def test_replies_in_pieces_and_in_any_order_give_the_same_sum() -> None:
    run = run_of(20)
    for number in (1, 2, 3, 4, 5):
        replies = run.step(number)
        for name in sorted(replies, reverse=True):
            run.take(number, {name: replies[name]})
    np.testing.assert_array_equal(run.secure.result().values, run.expected(list(run.keys)))


def test_who_did_not_advertise_cannot_come_back() -> None:
    run = run_of(20, dropped={ONE: 1}).until(1)
    run.step(2)
    run.take(2, run.replies[2] | {ONE: run.replies[2][TWO]})
    assert kinds(run) == [(ONE, 2, "RosterError")]
    assert ONE not in finished(run, 3)


def test_a_vector_is_added_once() -> None:
    run = run_of(20).until(2)
    replies = run.step(3)
    first = add_blind(run.session, {name: replies[name] for name in (ONE, TWO)})
    run.secure.add_masked(first.names, first.total)
    run.secure.add_masked(first.names, first.total)
    run.secure.add_masked([TWO, "d0003"], first.total)
    run.secure.add_masked(["d0003", "d0003"], first.total)
    run.secure.add_masked(["stranger"], first.total)
    run.secure.add_masked([], first.total)
    run.secure.add_masked(["d0004"], first.total[:-1])
    run.secure.add_masked(["d0004"], first.total.astype(np.int64))
    assert kinds(run) == [
        *[(name, 3, "RepeatedAnswerError") for name in (ONE, TWO, TWO, "d0003", "d0003", "d0003")],
        ("stranger", 3, "RosterError"),
        *[("d0004", 3, "MalformedMessageError")] * 2,
    ]
    run.add(sorted(set(replies) - {ONE, TWO}), replies)
    run.secure.send_survivors()
    run.secure.add_masked([ONE], first.total)
    assert kinds(run)[-1] == (ONE, 3, "OutOfTurnError")


def test_an_edge_adds_only_vectors_of_this_round() -> None:
    run, old = run_of(20).until(2), run_of(20, round=0).until(2)
    replies = run.step(3) | {TWO: old.step(3)[TWO], "d0003": b"", "d0004": run.replies[3]["d0004"] + b"\0"}
    blind = add_blind(run.session, replies)
    assert set(blind.refused) == {TWO, "d0003", "d0004"}
    assert "another round" in blind.refused[TWO]
    assert len(blind.names) == 17
    assert add_blind(run.session, {}).names == ()


def test_a_countersignature_of_another_list_or_device_is_left_out() -> None:
    run = run_of(20).until(3)
    replies = run.step(4)
    replies[ONE], replies["d0003"] = replies[TWO], messages.encode_agreement(bytes(64))
    run.take(4, replies)
    assert kinds(run) == [(ONE, 4, "SurvivorsError"), ("d0003", 4, "SurvivorsError")]
    assert len(finished(run, 5)) == 20


def test_a_cohort_below_the_minimum_is_void_at_every_step() -> None:
    reasons = {1: "advertised", 2: "shared their secrets", 3: "gave a vector"}
    for step, reason in reasons.items():
        run = run_of(20, minimum=20, dropped={ONE: step})
        with pytest.raises(VoidRoundError, match=f"19 devices {reason}, 20 are needed"):
            run.finish()


def test_too_many_vanished_neighbours_make_the_round_void() -> None:
    near = messages.decode_roster(run_of(20).until(2).sent[2][ONE], 20).neighbours
    names = {key.public: name for name, key in identities(20).items()}
    gone = [names[each.identity] for each in near[:2]]
    with pytest.raises(VoidRoundError, match="too many neighbours of one device vanished"):
        run_of(20, dropped=dict.fromkeys(gone, 3)).finish()
    with pytest.raises(VoidRoundError, match=r"2 shares of a secret came back, 3 are needed"):
        run_of(20, dropped=dict.fromkeys(gone, 5)).finish()


def test_when_nearly_nobody_countersigns_nobody_is_asked() -> None:
    with pytest.raises(VoidRoundError, match="survivors may answer"):
        run_of(20, dropped=dict.fromkeys(list(identities(20))[:17], 4)).finish()


def test_steps_are_closed_in_their_order() -> None:
    run = run_of(20).until(1)
    run.secure.send_rosters()
    with pytest.raises(OutOfTurnError):
        run.secure.send_rosters()
    with pytest.raises(OutOfTurnError):
        run.secure.result()


def test_a_round_after_a_void_one_works() -> None:
    keys = identities(20)
    with pytest.raises(VoidRoundError):
        run_of(20, dropped=dict.fromkeys(list(keys)[:10], 3), round=1).finish()
    run = run_of(20, round=2)
    np.testing.assert_array_equal(run.finish().values, run.expected(list(keys)))
