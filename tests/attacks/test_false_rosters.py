"""A coordinator that puts its own keys, devices or places where the victim's neighbours should be.

With all secrets of the neighbours it opens the victim's boxes, and has the vector as soon as it is sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from backrow.privacy.errors import RosterError, SignatureError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import checks, messages
from backrow.privacy.secagg.messages import Advertisement, RosterMessage
from backrow.privacy.secagg.roster import Cohort, committed_digest
from backrow.privacy.secagg.roster_tree import RosterTree
from backrow.privacy.secagg.seating import Seating
from backrow.privacy.secagg.session import Session
from backrow.privacy.signing import SigningKey
from tests.attacks.malice import (
    OURS,
    VICTIM,
    Pair,
    Spied,
    at_step_2,
    exposes,
    listing,
    pair,
    said,
    seating,
    secrets_of,
    signed,
    spied,
    stays_silent,
    swallow,
    weaken,
)
from tests.secure_sums import identities

INVENTED = {f"x{n:04}": SigningKey(SeededRandom(n, "invented").bytes(32)) for n in range(60)}
Attack = Callable[[], np.ndarray]


def by_ours(session: Session, key: SigningKey, keys: Pair) -> Advertisement:
    return signed(session, key, keys[0].public, keys[1].public)


# Other keys for the same devices


def substituted_keys() -> tuple[Spied, Attack]:
    run = at_step_2()
    ours = [(mask.public, seal.public) for mask, seal in OURS]
    message = listing(run, lambda place, each: replace(each, mask_key=ours[place][0], seal_key=ours[place][1]))
    return run, lambda: swallow(run, message, OURS[:4])


def test_substituted_keys_expose_the_victim_if_nobody_checks_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "signed_by_their_devices")
    exposes(*substituted_keys())


def test_substituted_keys_are_not_signed_by_their_devices() -> None:
    run, attack = substituted_keys()
    stays_silent(run, SignatureError, "not signed by its device", attack)


def keys_of_a_former_round() -> tuple[Spied, Attack]:
    """A thief has the memory of the victim's neighbours as it was in round 1, where they vanished after step 1."""
    run, former = at_step_2(round=2), at_step_2(round=1)
    by_identity = {key.public: name for name, key in run.keys.items()}
    stolen = secrets_of(former)
    names = [by_identity[each.identity] for each in listing(run, lambda _, each: each).neighbours]
    old = [messages.decode_advertisement(former.replies[1][name]) for name in names]
    return run, lambda: swallow(run, listing(run, lambda place, _: old[place]), [stolen[name] for name in names])


def test_stolen_keys_of_a_former_round_expose_the_victim_if_signatures_are_of_any_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, attack = keys_of_a_former_round()
    verified = checks.advertised_by_device
    monkeypatch.setattr(checks, "advertised_by_device", lambda session, each: verified(replace(session, round=1), each))
    exposes(run, attack)


def test_stolen_keys_of_a_former_round_are_not_signed_for_this_one() -> None:
    run, attack = keys_of_a_former_round()
    stays_silent(run, SignatureError, "for this round", attack)


# Other devices


def invented_neighbours() -> tuple[Spied, Attack]:
    run = at_step_2()
    own = run.keys[VICTIM].public
    ordered = sorted(INVENTED.values(), key=lambda key: key.public)
    seats = seating(run)
    position = seats.names.index(VICTIM)
    below = sum(other < position for other in seats.neighbours[position])
    lower = [key for key in ordered if key.public < own]
    chosen = lower[len(lower) - below :] + [key for key in ordered if key.public > own][: 4 - below]
    message = listing(run, lambda place, _: by_ours(run.session, chosen[place], OURS[place]))
    return run, lambda: swallow(run, message, OURS[:4])


def test_invented_neighbours_expose_the_victim_if_nobody_asks_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "committed_identities")
    exposes(*invented_neighbours())


def test_invented_neighbours_are_not_in_the_committed_cohort() -> None:
    run, attack = invented_neighbours()
    stays_silent(run, RosterError, "not in the committed cohort", attack)


def among_strangers(run: Spied, members: Mapping[str, SigningKey]) -> tuple[RosterMessage, list[Pair]]:
    """The victim's roster in a cohort all of whose other devices are the coordinator's."""
    session = run.session
    cohort = Cohort({name: key.public for name, key in members.items()})
    by_place = {cohort.index[name]: by_ours(session, key, pair(cohort.index[name])) for name, key in members.items()}
    by_place[cohort.index[VICTIM]] = messages.decode_advertisement(said(run, VICTIM, 1))
    seats = Seating.of(session, cohort, by_place)
    position = seats.names.index(VICTIM)
    message = messages.decode_roster(seats.roster_message(position), session.devices)
    return message, [pair(other) for other in seats.neighbours[position]]


STRANGERS = dict(list(INVENTED.items())[:19]) | {VICTIM: identities(20)[VICTIM]}


def another_cohort() -> tuple[Spied, Attack]:
    """The victim was told one cohort, and is given a roster of another."""
    run = at_step_2()
    message, peers = among_strangers(run, STRANGERS)
    return run, lambda: swallow(run, message, peers)


def test_a_roster_of_another_cohort_exposes_the_victim_if_nobody_holds_it_against_the_committed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weaken(monkeypatch, "committed_cohort")
    exposes(*another_cohort())


def test_a_roster_of_another_cohort_is_refused() -> None:
    run, attack = another_cohort()
    stays_silent(run, RosterError, "another cohort than the one", attack)


def test_limit_a_cohort_invented_from_the_start_is_not_found_out_enrolment_is_trusted() -> None:
    # Nothing is weakened here. docs/threat-model.md says it: identity keys must be those of devices.
    committed = Cohort({name: key.public for name, key in STRANGERS.items()}).digest
    run = spied(20, members=STRANGERS)
    assert run.session.cohort == committed
    run.reply(1, VICTIM, b"")
    run.replies[1] = {VICTIM: run.heard[-1][2]}
    message, peers = among_strangers(run, STRANGERS)
    exposes(run, lambda: swallow(run, message, peers))


# One device at many places, and the victim at another's


def one_identity_everywhere() -> tuple[Spied, Attack]:
    """One accomplice sits on all other chairs, each time with new keys."""
    keys = identities(20)
    accomplice, own = INVENTED["x0000"], keys[VICTIM]
    order = sorted([accomplice.public] * 19 + [own.public])
    tree = RosterTree(order)
    run = spied(20, cohort=committed_digest(tree.root, bytes(32), 20))
    run.reply(1, VICTIM, b"")
    run.replies[1] = {VICTIM: run.heard[-1][2]}
    place = order.index(own.public)
    adverts = {n: by_ours(run.session, accomplice, pair(n)) for n in range(20) if n != place}
    adverts[place] = messages.decode_advertisement(run.replies[1][VICTIM])
    seats = Seating.of(run.session, Cohort({name: key.public for name, key in keys.items()}), adverts)
    near = seats.neighbours[place]
    message = RosterMessage(
        place, tree.root, bytes(32), seats.roster.keys, seats.roster.present,
        tuple(adverts[other] for other in near), tuple(seats.tree.prove([place])),
        tuple(tree.prove(sorted([place, *near]))),
    )  # fmt: skip
    return run, lambda: swallow(run, message, [pair(other) for other in near])


def test_one_identity_at_every_place_exposes_the_victim_if_nobody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "identities_distinct")
    exposes(*one_identity_everywhere())


def test_one_identity_at_two_places_is_refused() -> None:
    run, attack = one_identity_everywhere()
    stays_silent(run, RosterError, "stands on the roster twice", attack)


def anothers_place() -> tuple[Spied, Attack]:
    """The victim is told that it sits where three accomplices are near. None of them is its neighbour.

    Its keys stand in the graph's root there, too.
    """
    run = at_step_2()
    own, everything = run.keys[VICTIM].public, secrets_of(run)
    adverts = dict(enumerate(seating(run).advertisements))
    mine = seating(run).names.index(VICTIM)
    for place in adverts:
        seats = Seating.of(run.session, seating(run).cohort, adverts | {place: adverts[mine]})
        near = seats.neighbours[place]
        order = [own if n == place else adverts[n].identity for n in sorted([place, *near])]
        accomplices = [other for other in near if other not in (mine, *seats.neighbours[mine])][:3]
        if place != mine and mine not in near and len(accomplices) == 3 and order == sorted(order):
            break
    else:
        raise AssertionError("no place fits")
    message = messages.decode_roster(seats.roster_message(place), 20)
    peers = [everything[seats.names[other]] if other in accomplices else None for other in near]
    return run, lambda: swallow(run, replace(message, proof=seats.cohort.prove(near)), peers)


def test_anothers_place_exposes_the_victim_if_it_does_not_ask_for_proof_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, attack = anothers_place()
    proven, own = checks.committed_identities, run.keys[VICTIM].public

    def of_the_others(session: Session, members: bytes, listed: Mapping[int, bytes], proof: tuple[bytes, ...]) -> None:
        proven(session, members, {n: identity for n, identity in listed.items() if identity != own}, proof)

    monkeypatch.setattr(checks, "committed_identities", of_the_others)
    exposes(run, attack)


def test_anothers_place_is_refused() -> None:
    run, attack = anothers_place()
    stays_silent(run, RosterError, "not at its place", attack)
