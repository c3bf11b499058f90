"""Keys and masks that are weaker than they look: of low order, copied, made from a short seed, used twice."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.privacy.errors import RepeatedAnswerError, WeakKeyError
from backrow.privacy.secagg import device as device_module
from backrow.privacy.secagg import masks, messages, sealing
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.masks import from_ring
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.roster import Roster
from backrow.privacy.secagg.sealing import KeyPair
from tests.attacks.malice import (
    OURS,
    VICTIM,
    Spied,
    at_step_2,
    exposes,
    listing,
    opened_secret,
    said,
    seating,
    secrets_of,
    signed,
    spied,
    stays_silent,
    swallow,
    weaken,
    without_own_mask,
    without_pair_mask,
)

Attack = Callable[[], np.ndarray]
NOTHING = bytes(32)

# Low order. Signatures are out of the way in these: they say whose a key is, not that it is good.


def low_order() -> tuple[Spied, Attack]:
    run = at_step_2()
    message = listing(run, lambda _, each: replace(each, mask_key=NOTHING, seal_key=NOTHING))
    return run, lambda: swallow(run, message, OURS, lambda *_: NOTHING)


def test_keys_of_low_order_expose_the_victim_if_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "signed_by_their_devices", "keys_sound", "keys_distinct")
    exchange = KeyPair.exchange
    monkeypatch.setattr(KeyPair, "exchange", lambda own, peer: NOTHING if peer == NOTHING else exchange(own, peer))
    exposes(*low_order())


@pytest.mark.parametrize("without", ["the look at the roster", "the look at every exchange"])
def test_keys_of_low_order_are_refused_twice(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    weaken(monkeypatch, "signed_by_their_devices", "keys_distinct")
    if without == "the look at every exchange":
        monkeypatch.setattr(sealing, "check_public_key", lambda _: None)
    else:
        weaken(monkeypatch, "keys_sound")
    run, attack = low_order()
    stays_silent(run, WeakKeyError, "low order", attack)


# Copied keys


def copied_keys() -> tuple[Spied, Attack, str]:
    """Two accomplices above the victim copy the mask keys of its honest neighbours below: minus one mask, plus it."""
    run = at_step_2()
    seats = seating(run)
    sides = [([o for o in near if o < n], [o for o in near if o > n]) for n, near in enumerate(seats.neighbours)]
    place = next(n for n, (below, above) in enumerate(sides) if len(below) == len(above))
    victim, copies = seats.names[place], {}
    for honest, accomplice in zip(*sides[place], strict=True):
        theirs, own = seats.advertisements[honest], seats.advertisements[accomplice]
        key = run.keys[seats.names[accomplice]]
        copies[own.identity] = signed(run.session, key, theirs.mask_key, own.seal_key)
    message = messages.decode_roster(run.sent[2][victim], 20)
    forged = replace(message, neighbours=tuple(copies.get(each.identity, each) for each in message.neighbours))

    def attack() -> np.ndarray:
        run.reply(2, victim, messages.encode_roster(forged))
        for name, sent in run.sent[2].items():
            if name != victim:
                run.reply(2, name, sent)
        run.take(2, {name: said(run, name, 2) for name in run.keys})
        for step in (3, 4, 5):
            run.take(step, run.step(step))
        vector = messages.decode_masked(said(run, victim, 3), run.session)
        return from_ring(without_own_mask(vector, seats.roster, place, opened_secret(run, victim)))

    return run, attack, victim


def whoever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of pairs that do not depend on the pair."""
    monkeypatch.setattr(Roster, "pair_info", lambda roster, *_: roster.info("pair"))


def test_copied_keys_cancel_the_victims_masks_if_copies_pass_and_masks_are_not_of_a_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weaken(monkeypatch, "keys_distinct")
    whoever_they_are(monkeypatch)
    exposes(*copied_keys())


def test_copied_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whoever_they_are(monkeypatch)
    run, attack, _ = copied_keys()
    stays_silent(run, WeakKeyError, "two keys of the roster are one", attack)


def test_masks_of_copied_keys_do_not_cancel_because_each_is_of_its_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "keys_distinct")
    run, attack, victim = copied_keys()
    assert not np.any(attack() == run.answers[victim])


# A short seed: Flower's SecAgg folds a pair's secret to 28 to 32 bits, into a generator of no cryptographic strength

BITS = 16
SMALL = 2**20
"""Answers are far smaller than the ring: a wrong guess shows."""


TWISTER = np.random.RandomState(0)


def folded_stream(seed: int, size: int) -> NDArray[np.uint32]:
    TWISTER.seed(seed)
    return TWISTER.randint(0, 2**32, size, dtype=np.uint32)


def add_folded(total: NDArray[np.uint32], key: bytes, *, subtract: bool = False) -> None:
    stream = folded_stream(int.from_bytes(key, "big") % 2**BITS, total.size)
    (np.subtract if subtract else np.add)(total, stream, out=total)


def guessed(masked: NDArray[np.uint32], above: bool) -> np.ndarray | None:
    """The one answer that leaves small numbers, of all seeds there are."""
    for seed in range(2**BITS):
        stream = folded_stream(seed, masked.size)
        numbers = from_ring(masked - stream if above else masked + stream)
        if np.abs(numbers).max() < SMALL:
            return numbers
    return None


def brute_force(monkeypatch: pytest.MonkeyPatch | None) -> tuple[Spied, np.ndarray | None]:
    """Three devices, one of them an accomplice: one mask is left to guess."""
    if monkeypatch is not None:
        monkeypatch.setattr(device_module, "add_mask", add_folded)
        monkeypatch.setattr("tests.attacks.malice.add_mask", add_folded)
    run = spied(3, tolerance=Tolerance(0.05, 0.0), dimension=8)
    victim, other, accomplice = sorted(run.keys)
    for answer in run.answers.values():
        answer %= 1000
    run.until(1)
    keys = secrets_of(run)[accomplice][0]
    for step in (2, 3, 4, 5):
        run.take(step, run.step(step))
    seats = seating(run)
    at, of = seats.names.index(victim), seats.names.index(accomplice)
    vector = messages.decode_masked(said(run, victim, 3), run.session)
    vector = without_own_mask(vector, seats.roster, at, opened_secret(run, victim))
    vector = without_pair_mask(vector, seats.roster, at, of, keys.exchange(seats.advertisements[at].mask_key))
    return run, guessed(vector, above=seats.names.index(other) > at)


def test_a_mask_from_a_short_seed_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = brute_force(monkeypatch)
    np.testing.assert_array_equal(found, run.answers[sorted(run.keys)[0]])


def test_our_masks_are_not_among_those_of_short_seeds_and_their_keys_have_256_bits() -> None:
    run, found = brute_force(None)
    assert found is None
    np.testing.assert_array_equal(run.secure.result().values, run.expected(list(run.keys)))
    assert 8 * masks.KEY_BYTES == 256


# The same masks twice


def two_vectors(run: Spied, device: Callable[[], SecureDevice]) -> np.ndarray:
    """What tells two masked vectors of one device apart: their plain difference."""
    message, sent = run.sent[3][VICTIM], said(run, VICTIM, 3)
    _, again = device().mask(message, np.zeros(4, dtype=np.int64))
    run.heard.append((VICTIM, 3, again))
    first, second = (messages.decode_masked(each, run.session) for each in (sent, again))
    return from_ring(first - second)


def test_the_same_masks_on_two_vectors_expose_the_victim_if_its_host_forgets() -> None:
    run = spied(20).until(2)
    before = run.devices[VICTIM].save()
    run.take(3, run.step(3))
    # The second question is one to which the answer is known: nothing.
    exposes(run, lambda: two_vectors(run, lambda: SecureDevice.restore(before, run.keys[VICTIM])))


def test_the_same_masks_are_never_used_for_a_second_vector() -> None:
    run = spied(20).until(3)
    kept = run.devices[VICTIM].save()
    restored = SecureDevice.restore(kept, run.keys[VICTIM])
    for device in (run.devices[VICTIM], restored):
        stays_silent(run, RepeatedAnswerError, "masked already", lambda d=device: two_vectors(run, lambda: d))
