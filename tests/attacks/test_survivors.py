"""A coordinator that lies about who survived: two lists, a list for each, too few, and a sum that comes apart."""

from collections.abc import Callable, Collection

import numpy as np
import pytest

from backrow.privacy.errors import (
    OutOfTurnError,
    RepeatedAnswerError,
    SurvivorsError,
    UnsafeCohortError,
    VoidRoundError,
)
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.masks import from_ring
from backrow.privacy.secagg.sealing import KeyPair
from backrow.privacy.signing import SECAGG_AGREE
from tests.attacks.malice import (
    VICTIM,
    Spied,
    combined,
    exposes,
    frozen,
    kept_by,
    on_ring,
    opened_secret,
    said,
    seating,
    secrets_of,
    shares_in,
    spied,
    stays_silent,
    weaken,
    without_own_mask,
    without_pair_mask,
)

Attack = Callable[[], np.ndarray]


def victim_vector(run: Spied, seed: bytes, shared: dict[str, bytes]) -> np.ndarray:
    """The victim's answer, from its own seed and from what it shares with each of its neighbours, by name."""
    seats = seating(run)
    at = seats.names.index(VICTIM)
    vector = without_own_mask(messages.decode_masked(said(run, VICTIM, 3), run.session), seats.roster, at, seed)
    for other in seats.neighbours[at]:
        vector = without_pair_mask(vector, seats.roster, at, other, shared[seats.names[other]])
    return from_ring(vector)


def key_of(run: Spied, owner: str, answers: dict[str, bytes]) -> KeyPair:
    """Mask key of a device that these holders were told had vanished."""
    shares: dict[int, bytes] = {}
    for holder, answer in answers.items():
        shares |= shares_in(run, holder, owner, answer)
    return KeyPair(combined(shares, seating(run).rule.threshold))


def near(run: Spied, name: str) -> list[str]:
    seats = seating(run)
    return [seats.names[other] for other in seats.neighbours[seats.names.index(name)]]


def countersigned(run: Spied, name: str, alive: Collection[str]) -> bytes:
    """Step 5's message, with the countersignatures that its surviving neighbours gave last."""
    flags = [other in alive for other in near(run, name)]
    given = [messages.decode_agreement(said(run, other, 4)) for other in near(run, name) if other in alive]
    return messages.encode_agreements(flags, given)


# Two lists, one after the other: the victim alive and dead. What a host that forgets would answer


def two_lists(run: Spied, restarted: Callable[[str], None]) -> np.ndarray:
    """After an honest round, `restarted` devices are asked again, with a list without the victim."""
    seed, gone = opened_secret(run, VICTIM), frozen(run, [VICTIM])
    others = [name for name in run.keys if name != VICTIM]
    for name in others:
        restarted(name)
        run.reply(4, name, gone)
    for name in near(run, VICTIM):
        run.reply(5, name, countersigned(run, name, others))
    key = key_of(run, VICTIM, {name: said(run, name, 5) for name in near(run, VICTIM)})
    seats = seating(run)
    publics = dict(zip(seats.names, (each.mask_key for each in seats.advertisements), strict=True))
    return victim_vector(run, seed, {name: key.exchange(publics[name]) for name in near(run, VICTIM)})


def honest_round() -> tuple[Spied, dict[int, dict[str, bytes]]]:
    """A whole round; what every device saved after each step."""
    run, saved = spied(20), {}
    for step in (1, 2, 3, 4, 5):
        run.take(step, run.step(step))
        saved[step] = {name: device.save() for name, device in run.devices.items()}
    return run, saved


def back_to(run: Spied, saved: dict[str, bytes]) -> Callable[[str], None]:
    def restarted(name: str) -> None:
        run.devices[name] = SecureDevice.restore(saved[name], run.keys[name])

    return restarted


def test_seed_and_key_of_the_victim_come_out_if_hosts_go_back_to_what_they_were() -> None:
    run, saved = honest_round()
    exposes(run, lambda: two_lists(run, back_to(run, saved[3])))


@pytest.mark.parametrize(("step", "error"), [(4, RepeatedAnswerError), (5, OutOfTurnError)])
def test_a_second_list_is_not_countersigned_after_a_restart(step: int, error: type[Exception]) -> None:
    run, saved = honest_round()
    stays_silent(run, error, "nothing more is said|early or late", lambda: two_lists(run, back_to(run, saved[step])))


# A list for each device, so that the living of one are the dead of another: at once, and no list is a large lie

Forge = Callable[[Spied, str, Collection[str]], bytes]
"""(run, name, whom it was told to be alive) to the countersignatures that it is shown."""


class Cut:
    """The victim and the accomplice beside it are cut out of the ring.

    Each of seven others is told that one device more has vanished than did. Their three false dead are the victim's
    honest neighbours, whose keys so come out; and they and all others say of the victim that it lives.
    """

    def __init__(self) -> None:
        self.run = spied(20, minimum=15).until(1)
        secrets = secrets_of(self.run)
        for step in (2, 3):
            self.run.take(step, self.run.step(step))
        order = on_ring(self.run)
        self.accomplice, after, before, second = order[1], order[2], order[-1], order[-2]
        self.dead = {after: (3, 4), before: (-2, 0), second: (-4, -1, -3)}
        self.told = {order[place]: name for name, places in self.dead.items() for place in places}
        self.secret = secrets[self.accomplice][0]

    def lie(self) -> None:
        """Step 4. Every single list is one that its device accepts."""
        for name in self.run.keys:
            if name != self.accomplice:
                self.run.reply(4, name, frozen(self.run, self.listed(name)))

    def listed(self, name: str) -> list[str]:
        """Whom this device is told to be dead."""
        return [self.told[name]] if name in self.told else []

    def open(self, name: str, forge: Forge) -> None:
        """Step 5 with one device."""
        self.run.reply(5, name, forge(self.run, name, set(self.run.keys) - set(self.listed(name))))

    def attack(self, forge: Forge) -> np.ndarray:
        self.lie()
        for name in self.run.keys:
            if name != self.accomplice:
                self.open(name, forge)
        own = seating(self.run).advertisements[seating(self.run).names.index(VICTIM)].mask_key
        shared = {name: KeyPair(self.opened(name, dead=True)).exchange(own) for name in self.dead}
        shared[self.accomplice] = self.secret.exchange(own)
        return victim_vector(self.run, self.opened(VICTIM, dead=False), shared)

    def opened(self, owner: str, *, dead: bool) -> bytes:
        """A secret, from those that were told so of its owner, and from the accomplice, who kept a share of each."""
        seats, kept, found = seating(self.run), kept_by(self.run.devices[self.accomplice]), dict[int, bytes]()
        of = seats.names.index(owner)
        for holder in near(self.run, owner):
            if holder == self.accomplice:
                place = kept.view.neighbours.index(of)
                found[seats.places[of][seats.names.index(holder)] + 1] = (kept.keys if dead else kept.seeds)[place]
            elif (self.told.get(holder) == owner) is dead:
                found |= shares_in(self.run, holder, owner, said(self.run, holder, 5))
        return combined(found, seats.rule.threshold)


def made_up(run: Spied, name: str, alive: Collection[str]) -> bytes:
    flags = [other in alive for other in near(run, name)]
    return messages.encode_agreements(flags, [bytes(64)] * sum(flags))


def none_at_all(run: Spied, name: str, alive: Collection[str]) -> bytes:
    return messages.encode_agreements([False] * 4, [])


def of_other_lists(run: Spied, name: str, alive: Collection[str]) -> bytes:
    """The accomplice signs whatever is wanted; the others have signed what they were told."""
    flags, given = [], []
    survivors, _ = messages.decode_survivors(frozen(run, [n for n in run.keys if n not in alive]), 20)
    for other in near(run, name):
        flags.append(other in alive)
        if other in alive and (other, 4) in {(who, step) for who, step, _ in run.heard}:
            given.append(messages.decode_agreement(said(run, other, 4)))
        elif other in alive:
            given.append(run.keys[other].sign(SECAGG_AGREE, seating(run).roster.signed_survivors(survivors)))
    return messages.encode_agreements(flags, given)


@pytest.mark.parametrize(("rule", "forge"), [("agreed_on", made_up), ("agreements_enough", none_at_all)])
def test_a_list_for_each_exposes_the_victim_if_nobody_asks_what_the_others_were_told(
    monkeypatch: pytest.MonkeyPatch, rule: str, forge: Forge
) -> None:
    weaken(monkeypatch, rule)
    cut = Cut()
    assert len(cut.told) == 7
    exposes(cut.run, lambda: cut.attack(forge))


@pytest.mark.parametrize(
    ("forge", "match"),
    [(made_up, "another list"), (none_at_all, "0 neighbours countersigned"), (of_other_lists, "another list")],
)
def test_nobody_who_was_told_a_list_of_its_own_opens_anything(forge: Forge, match: str) -> None:
    cut = Cut()
    cut.lie()
    for name in cut.told:
        stays_silent(cut.run, SurvivorsError, match, lambda n=name: cut.open(n, forge))


# Too few


def of_sixteen(run: Spied) -> np.ndarray:
    """Noise was sized for twenty; every fifth on the ring is said to have vanished."""
    run.dropped = dict.fromkeys(on_ring(run)[::5], 3)
    for step in (3, 4, 5):
        run.take(step, run.step(step))
    return run.secure.result().values


def all_for_one(monkeypatch: pytest.MonkeyPatch) -> Spied:
    monkeypatch.setattr(SecureRound, "_enough", lambda *_: None)
    return spied(20, minimum=20).until(2)


def test_a_sum_of_fewer_than_the_minimum_is_opened_if_devices_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "survivors_enough")
    run = all_for_one(monkeypatch)
    values = of_sixteen(run)
    np.testing.assert_array_equal(values, run.expected([name for name in run.keys if name not in run.dropped]))
    assert len(run.dropped) == 4


def test_a_sum_of_fewer_than_the_minimum_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    run = all_for_one(monkeypatch)
    with pytest.raises(VoidRoundError, match="survivors may answer"):
        of_sixteen(run)
    assert {type(problem) for problem in run.refused.values()} == {UnsafeCohortError}
    assert not [step for _, step, _ in run.heard if step > 3]


def alone(run: Spied) -> np.ndarray:
    """The victim is told that no neighbour shared: nothing but its own mask is on its vector."""
    for name, message in run.secure.send_boxes().items():
        run.reply(3, name, messages.encode_boxes([False] * 4, []) if name == VICTIM else message)
    run.take(3, {name: said(run, name, 3) for name in run.keys})
    message = run.secure.send_survivors()[VICTIM]
    for name in run.keys:
        if name != VICTIM:
            run.reply(4, name, message)
    for name in near(run, VICTIM):
        run.reply(5, name, countersigned(run, name, set(run.keys) - {VICTIM}))
    vector = messages.decode_masked(said(run, VICTIM, 3), run.session)
    seats = seating(run)
    return from_ring(without_own_mask(vector, seats.roster, seats.names.index(VICTIM), opened_secret(run, VICTIM)))


def test_a_vector_without_pair_masks_is_exposed_if_nobody_counts_the_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "enough_shared")
    run = spied(20).until(2)
    exposes(run, lambda: alone(run))


def test_a_vector_without_pair_masks_is_not_sent() -> None:
    run = spied(20).until(2)
    with pytest.raises(UnsafeCohortError, match="nothing is sent"):
        alone(run)
    assert not [step for name, step, _ in run.heard if (name, step) == (VICTIM, 3)]
