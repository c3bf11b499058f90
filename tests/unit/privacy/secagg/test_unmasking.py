"""False shares: found and left out, or the round is void. Never a wrong sum."""

import numpy as np
import pytest

from backrow.privacy.errors import VoidRoundError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.roster import Cohort
from backrow.privacy.secagg.shamir import PRIME, split
from backrow.privacy.secagg.state import Agreed
from backrow.privacy.secagg.unmasking import Recovery
from tests.secure_sums import Run, identities, run_of

SECRET = SeededRandom(5).bytes(31).rjust(32, b"\0")


def shares(threshold: int, holders: int) -> dict[int, tuple[int, int]]:
    points = range(1, holders + 1)
    values = split(int.from_bytes(SECRET, "big"), threshold, points, SeededRandom(1))
    return {10 * point: (point, value) for point, value in zip(points, values, strict=True)}


def recovered(recovery: Recovery, held: dict[int, tuple[int, int]]) -> bytes:
    return recovery.secret(held, lambda secret: secret == SECRET)


def falsified(share: tuple[int, int]) -> tuple[int, int]:
    point, value = share
    return point, (value + int.from_bytes(SeededRandom(point).bytes(31), "big")) % PRIME


@pytest.mark.parametrize(
    ("false", "named"),
    [
        ((), ()),
        ((10,), (10,)),
        ((50,), (50,)),
        ((70,), ()),
        ((10, 20), (10, 20)),
        ((20, 50), (20, 50)),
        ((40, 70), (40,)),
        ((60, 70), ()),
    ],
)
def test_up_to_two_false_shares_are_found(false: tuple[int, ...], named: tuple[int, ...]) -> None:
    recovery, held = Recovery(threshold=5), shares(5, 7)
    for holder in false:
        held[holder] = falsified(held[holder])
    assert recovered(recovery, held) == SECRET
    assert recovery.left_out == set(named)  # a false share that was not needed stays unnoticed


def test_more_false_shares_than_two_end_the_round() -> None:
    held = shares(5, 7)
    for holder in (10, 30, 50):
        held[holder] = falsified(held[holder])
    with pytest.raises(VoidRoundError, match="garbage"):
        recovered(Recovery(5), held)


def test_who_gave_a_false_share_is_asked_last_from_then_on() -> None:
    recovery, held = Recovery(threshold=5), shares(5, 8)
    for holder in (20, 30):
        held[holder] = falsified(held[holder])
    assert recovered(recovery, held) == SECRET
    held[10] = falsified(held[10])  # three false ones: found, because two are known
    assert recovered(recovery, held) == SECRET
    assert recovery.left_out == {10, 20, 30}
    with pytest.raises(VoidRoundError, match="garbage"):
        recovered(Recovery(5), {holder: share for holder, share in held.items() if holder != 80})


def test_without_a_share_to_spare_a_false_one_ends_the_round() -> None:
    held = shares(5, 5)
    assert recovered(Recovery(5), held) == SECRET
    held[10] = falsified(held[10])
    with pytest.raises(VoidRoundError, match="false"):
        recovered(Recovery(5), held)
    del held[10]
    with pytest.raises(VoidRoundError, match="4 shares of a secret came back, 5 are needed"):
        recovered(Recovery(5), held)


def tampered(run: Run, name: str) -> None:
    """All steps, with this device's answer false in every share."""
    run.until(4)
    replies = run.step(5)
    data = replies[name]
    replies[name] = data[:2] + bytes(byte ^ (place % 32 == 31) for place, byte in enumerate(data[2:]))
    run.take(5, replies)


@pytest.mark.parametrize("liar", ["d0000", "d0007", "d0019"])
def test_a_device_that_lies_about_all_shares_is_named_and_the_sum_is_exact(liar: str) -> None:
    run = run_of(20)
    tampered(run, liar)
    result = run.secure.result()
    np.testing.assert_array_equal(result.values, run.expected(result.survivors))
    assert {(p.device, p.step, p.kind) for p in run.secure.problems} <= {(liar, 5, "TamperedError")}


def test_a_false_share_of_a_secret_with_no_share_to_spare_is_never_garbage() -> None:
    probe = run_of(20, tolerance=Tolerance(0.05, 0.05)).until(2)
    near = messages.decode_roster(probe.sent[2]["d0001"], 20).neighbours
    names = {key.public: name for name, key in probe.keys.items()}
    gone, liar = (names[each.identity] for each in near[:2])
    run = run_of(20, dropped={gone: 3})
    tampered(run, liar)
    with pytest.raises(VoidRoundError, match="garbage"):
        run.secure.result()


def test_a_false_share_of_a_vanished_devices_key_is_found_whoever_gives_it() -> None:
    gone = "d0001"
    places = {
        name: place for place, name in enumerate(Cohort({n: key.public for n, key in identities(20).items()}).names)
    }
    for liar in sorted(set(places) - {gone}):
        run = run_of(20, dropped={gone: 3}).until(4)
        state, replies = run.devices[liar].state, run.step(5)
        assert isinstance(state, Agreed)
        near = state.masked.view.neighbours
        if places[gone] not in near:
            continue
        start = 2 + 32 * near.index(places[gone])
        data = replies[liar]
        replies[liar] = data[: start + 5] + bytes([data[start + 5] ^ 1]) + data[start + 6 :]
        run.take(5, replies)
        result = run.secure.result()
        np.testing.assert_array_equal(result.values, run.expected(result.survivors))


def test_a_false_commitment_ends_the_round() -> None:
    run = run_of(20).until(1)
    replies = run.step(2)
    replies["d0001"] = replies["d0001"][:2] + bytes(32) + replies["d0001"][34:]
    run.take(2, replies)
    for number in (3, 4, 5):
        run.take(number, run.step(number))
    with pytest.raises(VoidRoundError, match="cannot be recovered"):
        run.secure.result()


def test_an_answer_that_holds_no_shares_is_left_out() -> None:
    run = run_of(20).until(4)
    replies = run.step(5)
    replies["d0001"] = replies["d0001"][:2] + b"\xff" * (len(replies["d0001"]) - 2)
    run.take(5, replies)
    assert [(p.device, p.step, p.kind) for p in run.secure.problems] == [("d0001", 5, "TamperedError")]
    np.testing.assert_array_equal(run.secure.result().values, run.expected(list(run.keys)))
