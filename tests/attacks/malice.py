"""What a malicious coordinator does with what devices tell it. Nothing here is secret to it but what it finds out.

Every attack of this folder is tried twice: on a copy with one rule taken away, where it must succeed, and on the
protocol as it is, where it must end in a named error before anything is said.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import checks, messages
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.graph import ring
from backrow.privacy.secagg.masks import add_mask, from_ring, mask_key
from backrow.privacy.secagg.messages import Advertisement, RosterMessage, bitmap
from backrow.privacy.secagg.roster import Roster, cohort_digest
from backrow.privacy.secagg.sealing import KeyPair, open_sealed, seal
from backrow.privacy.secagg.seating import Seating
from backrow.privacy.secagg.session import Session
from backrow.privacy.secagg.shamir import Interpolation
from backrow.privacy.secagg.state import Advertised, Agreed, Masked, Shared
from backrow.privacy.signing import SECAGG_ADVERTISE, SECAGG_FREEZE, SigningKey
from tests.secure_sums import COORDINATOR, Run, run_of

Int64Array = NDArray[np.int64]
Uint32Array = NDArray[np.uint32]
Shares = Mapping[int, bytes]
"""Point to share."""

Pair = tuple[KeyPair, KeyPair]
"""Mask key and seal key of one device in one round."""

VICTIM = "d0003"


@dataclass
class Spied(Run):
    """A run of which the coordinator remembers everything that any device ever said.

    Attributes:
        heard: (name, step, reply).
    """

    heard: list[tuple[str, int, bytes]] = field(default_factory=list)

    def reply(self, number: int, name: str, message: bytes) -> bytes:
        reply = super().reply(number, name, message)
        self.heard.append((name, number, reply))
        return reply


def spied(
    devices: int, *, members: Mapping[str, SigningKey] | None = None, cohort: bytes = b"", **changes: object
) -> Spied:
    """`tests.secure_sums.run_of`, spied on.

    Args:
        members: whom the coordinator commits to, if not these devices.
        cohort: what devices are told is the cohort, if not these devices.
    """
    run = run_of(devices, **changes)  # type: ignore[arg-type]
    made = Spied(**{each.name: getattr(run, each.name) for each in fields(Run)})
    told = cohort or (cohort_digest({name: key.public for name, key in members.items()}) if members else b"")
    made.session = replace(made.session, cohort=told) if told else made.session
    return made


def at_step_2(**changes: object) -> Spied:
    """Twenty devices have advertised; the coordinator has made their rosters and not sent them."""
    run = spied(20, **changes).until(1)
    run.sent[2] = run.secure.send_rosters()
    return run


def listing(run: Spied, forge: Callable[[int, Advertisement], Advertisement]) -> RosterMessage:
    """The victim's roster with its neighbours' advertisements, by place, forged."""
    message = messages.decode_roster(run.sent[2][VICTIM], run.session.devices)
    return replace(message, neighbours=tuple(forge(place, each) for place, each in enumerate(message.neighbours)))


def pair(number: int) -> Pair:
    """Keys that the coordinator has made."""
    return KeyPair.generate(SeededRandom(number, "mask")), KeyPair.generate(SeededRandom(number, "seal"))


OURS = [pair(number) for number in range(4)]


def signed(session: Session, key: SigningKey, mask_key: bytes, seal_key: bytes) -> Advertisement:
    """What a device that works with the coordinator signs."""
    public = key.public + mask_key + seal_key
    return Advertisement.of(public + key.sign(SECAGG_ADVERTISE, session.binding("advertise") + public))


def weaken(monkeypatch: pytest.MonkeyPatch, *rules: str) -> None:
    """Take these rules of the device away."""
    for rule in rules:
        assert callable(getattr(checks, rule))
        monkeypatch.setattr(checks, rule, lambda *_: None)


def combined(shares: Shares, threshold: int) -> bytes:
    """The secret that these shares give."""
    points = sorted(shares)[:threshold]
    return Interpolation(points).combine([int.from_bytes(shares[p], "big") for p in points]).to_bytes(32, "big")


def without_own_mask(vector: Uint32Array, roster: Roster, position: int, seed: bytes) -> Uint32Array:
    """A masked vector less its own mask."""
    bare = vector.copy()
    add_mask(bare, mask_key(seed, roster.info("self", position)), subtract=True)
    return bare


def without_pair_mask(vector: Uint32Array, roster: Roster, position: int, other: int, shared: bytes) -> Uint32Array:
    """A masked vector less the mask that its device shares with another; `shared` is what both can compute."""
    bare = vector.copy()
    add_mask(bare, mask_key(shared, roster.pair_info(position, other)), subtract=other > position)
    return bare


def swallow(
    run: Spied,
    message: RosterMessage,
    peers: Sequence[Pair | None],
    exchange: Callable[[KeyPair, bytes], bytes] = KeyPair.exchange,
    name: str = VICTIM,
) -> Int64Array:
    """The device's plain answer, by a coordinator that has the secret keys of its neighbours in this message.

    Args:
        peers: mask and seal key of each neighbour; None: passed off as one that shared nothing.

    Raises: what the device raises.
    """
    reply = run.reply(2, name, messages.encode_roster(message))
    state = run.devices[name].state
    assert isinstance(state, Shared)
    view, own = state.view, messages.decode_advertisement(run.replies[1][name])
    _, boxes = messages.decode_shares(reply, len(view.neighbours))
    roster, position, seeds, keys, back = view.roster, view.position, {}, {}, []
    for place, (other, peer) in enumerate(zip(view.neighbours, peers, strict=True)):
        if peer is not None:
            secret, towards = exchange(peer[1], own.seal_key), roster.info("box", position, other)
            text = open_sealed(mask_key(secret, towards), towards, boxes[place])
            seeds[place + 1], keys[place + 1] = text[:32], text[32:]
            answer = roster.info("box", other, position)
            back.append(seal(mask_key(secret, answer), answer, bytes(64)))
    reply = run.reply(3, name, messages.encode_boxes([peer is not None for peer in peers], back))
    vector = messages.decode_masked(reply, run.devices[name].session)
    vector = without_own_mask(vector, roster, position, combined(seeds, view.threshold))
    secret_key = KeyPair(combined(keys, view.threshold))
    assert secret_key.public == own.mask_key
    for other, peer in zip(view.neighbours, peers, strict=True):
        if peer is not None:
            vector = without_pair_mask(vector, roster, position, other, exchange(peer[0], own.mask_key))
    return from_ring(vector)


def exposes(run: Spied, attack: Callable[[], Int64Array], name: str = VICTIM) -> None:
    """The attack computes what the device wanted to add, to the last digit."""
    np.testing.assert_array_equal(attack(), run.answers[name])


def stays_silent(run: Spied, error: type[Exception], match: str, attack: Callable[[], object]) -> None:
    """The attack ends in this error, and no device has said anything since it began."""
    before = list(run.heard)
    with pytest.raises(error, match=match):
        attack()
    assert run.heard == before


def seating(run: Run) -> Seating:
    """Who sits where."""
    return run.secure._seating


def on_ring(run: Run, start: str = VICTIM) -> list[str]:
    """Names in the order of the ring, from this device on; index -1 is the one before it."""
    seats = seating(run)
    order = [seats.names[position] for position in ring(seats.roster.graph_seed, seats.roster.size)]
    at = order.index(start)
    return order[at:] + order[:at]


def frozen(run: Run, gone: Sequence[str] = ()) -> bytes:
    """A signed list of survivors: everybody on the roster but these."""
    seats = seating(run)
    survivors = bitmap([name not in gone for name in seats.names])
    signature = COORDINATOR.sign(SECAGG_FREEZE, seats.roster.signed_survivors(survivors))
    return messages.encode_survivors(survivors, signature)


def kept_by(device: SecureDevice) -> Masked:
    """What a device holds of its neighbours once it has sent its vector. For accomplices only."""
    state = device.state.masked if isinstance(device.state, Agreed) else device.state
    assert isinstance(state, Masked)
    return state


def opened_by(run: Spied, accomplices: Collection[str]) -> Int64Array:
    """The victim's plain answer, from what so many of its neighbours keep that both of its secrets come out."""
    seats = seating(run)
    at, seeds, keys = seats.names.index(VICTIM), {}, {}
    for name in accomplices:
        kept, point = kept_by(run.devices[name]), seats.places[at][seats.names.index(name)] + 1
        mine = kept.view.neighbours.index(at)
        seeds[point], keys[point] = kept.seeds[mine], kept.keys[mine]
    vector = messages.decode_masked(said(run, VICTIM, 3), run.session)
    vector = without_own_mask(vector, seats.roster, at, combined(seeds, seats.rule.threshold))
    secret = KeyPair(combined(keys, seats.rule.threshold))
    for other in seats.neighbours[at]:
        shared = secret.exchange(seats.advertisements[other].mask_key)
        vector = without_pair_mask(vector, seats.roster, at, other, shared)
    return from_ring(vector)


def secrets_of(run: Run) -> dict[str, Pair]:
    """Everybody's keys of the round, after step 1. For accomplices, who show them, and for thieves."""
    found = {}
    for name, device in run.devices.items():
        assert isinstance(device.state, Advertised)
        found[name] = KeyPair(device.state.mask_secret), KeyPair(device.state.seal_secret)
    return found


def shares_in(run: Run, holder: str, owner: str, answer: bytes, hidden: Collection[str] = ()) -> Shares:
    """The share of this owner's secret in a holder's last answer, by its point.

    Args:
        hidden: neighbours of which the holder was told that they had shared nothing.
    """
    seats = seating(run)
    at, of = seats.names.index(holder), seats.names.index(owner)
    listed = [other for other in seats.neighbours[at] if seats.names[other] not in hidden]
    pieces = dict(zip(listed, messages.decode_answer(answer, len(listed)), strict=True))
    return {seats.places[of][at] + 1: pieces[of]} if of in pieces else {}


def said(run: Spied, name: str, step: int) -> bytes:
    """What a device last replied to a step."""
    return [reply for who, at, reply in run.heard if (who, at) == (name, step)][-1]


def opened_secret(run: Spied, owner: str, hidden: Collection[tuple[str, str]] = ()) -> bytes:
    """A device's seed, or its mask key if it was said to have vanished, from what its neighbours told at step 5.

    Args:
        hidden: pairs each of whom was told that the other had shared nothing.
    """
    seats = seating(run)
    shares: dict[int, bytes] = {}
    answered = {name for name, step, _ in run.heard if step == 5}
    for other in seats.neighbours[seats.names.index(owner)]:
        holder = seats.names[other]
        apart = [name for each in hidden if holder in each for name in each]
        if holder in answered:
            shares |= shares_in(run, holder, owner, said(run, holder, 5), apart)
    return combined(shares, seats.rule.threshold)
