"""A coordinator that lies about who takes part: every lie is named by the device that is told it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from backrow.privacy.errors import (
    BackrowError,
    MalformedMessageError,
    RosterError,
    SignatureError,
    UnsafeCohortError,
    WeakKeyError,
)
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg import messages
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.messages import Advertisement, RosterMessage, bitmap
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.roster import Cohort, committed_digest
from backrow.privacy.secagg.roster_tree import RosterTree
from backrow.privacy.secagg.sealing import KeyPair
from backrow.privacy.secagg.seating import Seating
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.signing import SECAGG_ADVERTISE, SigningKey
from tests.secure_sums import Run, identities, run_of, session_of

ORDER_8 = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
VICTIM = "d0003"


@pytest.fixture
def run() -> Run:
    started = run_of(20).until(1)
    started.sent[2] = started.secure.send_rosters()
    return started


def share(run: Run, message: RosterMessage) -> None:
    run.devices[VICTIM].share(messages.encode_roster(message), run.random[VICTIM])


def roster(run: Run) -> RosterMessage:
    return messages.decode_roster(run.sent[2][VICTIM], run.session.devices)


def signed(session: Session, key: SigningKey, mask_key: bytes, seal_key: bytes) -> Advertisement:
    signature = key.sign(SECAGG_ADVERTISE, session.binding("advertise") + key.public + mask_key + seal_key)
    return Advertisement(key.public, mask_key, seal_key, signature)


def with_neighbour(run: Run, place: int, change: Callable[[Advertisement], Advertisement]) -> RosterMessage:
    message = roster(run)
    neighbours = list(message.neighbours)
    neighbours[place] = change(neighbours[place])
    return replace(message, neighbours=tuple(neighbours))


def key_of(run: Run, identity: bytes) -> SigningKey:
    return next(key for key in run.keys.values() if key.public == identity)


def test_the_honest_roster_is_accepted(run: Run) -> None:
    share(run, roster(run))


@pytest.mark.parametrize("which", ["mask_key", "seal_key"])
def test_a_substituted_key_is_not_its_devices(run: Run, which: str) -> None:
    with pytest.raises(SignatureError, match="not signed by its device"):
        share(run, with_neighbour(run, 1, lambda a: replace(a, **{which: SeededRandom(1).bytes(31) + b"\0"})))


def test_an_invented_device_is_not_in_the_committed_cohort(run: Run) -> None:
    stranger = SigningKey(b"s" * 32)
    fake = signed(run.session, stranger, SeededRandom(1).bytes(31) + b"\0", SeededRandom(2).bytes(31) + b"\0")
    with pytest.raises(RosterError, match="not in the committed cohort"):
        share(run, with_neighbour(run, 0, lambda _: fake))


def test_keys_of_another_round_cannot_be_replayed(run: Run) -> None:
    other = replace(run.session, round=2)
    with pytest.raises(SignatureError, match="for this round"):
        share(run, with_neighbour(run, 2, lambda a: signed(other, key_of(run, a.identity), a.mask_key, a.seal_key)))


@pytest.mark.parametrize("field", ["question", "checkpoint", "cohort"])
def test_a_neighbour_that_was_told_another_story_is_found(run: Run, field: str) -> None:
    told = replace(run.session, **{field: b"x" * 32})
    with pytest.raises(SignatureError, match="somebody was told something else"):
        share(run, with_neighbour(run, 0, lambda a: signed(told, key_of(run, a.identity), a.mask_key, a.seal_key)))


def test_two_neighbours_with_one_key_are_refused(run: Run) -> None:
    taken = roster(run).neighbours[0].mask_key
    with pytest.raises(WeakKeyError, match="another's key"):
        share(run, with_neighbour(run, 1, lambda a: signed(run.session, key_of(run, a.identity), taken, a.seal_key)))


def test_a_neighbour_with_this_devices_own_key_is_refused(run: Run) -> None:
    own = messages.decode_advertisement(run.replies[1][VICTIM])
    for taken in (own.mask_key, own.seal_key):
        fake = with_neighbour(run, 1, lambda a, t=taken: signed(run.session, key_of(run, a.identity), t, a.seal_key))
        with pytest.raises(WeakKeyError, match="another's key"):
            share(run, fake)


def test_one_key_for_both_uses_is_refused(run: Run) -> None:
    with pytest.raises(WeakKeyError, match="are one"):
        share(
            run,
            with_neighbour(run, 1, lambda a: signed(run.session, key_of(run, a.identity), a.mask_key, a.mask_key)),
        )


@pytest.mark.parametrize("weak", [bytes(32), b"\1" + bytes(31), ORDER_8, b"\xec" + b"\xff" * 30 + b"\x7f"])
@pytest.mark.parametrize("which", ["mask", "seal"])
def test_a_key_of_low_order_is_refused(run: Run, weak: bytes, which: str) -> None:
    def weakened(a: Advertisement) -> Advertisement:
        keys = (weak, a.seal_key) if which == "mask" else (a.mask_key, weak)
        return signed(run.session, key_of(run, a.identity), *keys)

    with pytest.raises(WeakKeyError, match="low order"):
        share(run, with_neighbour(run, 1, weakened))


def test_a_second_spelling_of_a_key_is_refused(run: Run) -> None:
    def respelled(a: Advertisement) -> Advertisement:
        taken = roster(run).neighbours[0].mask_key
        return signed(run.session, key_of(run, a.identity), taken[:31] + bytes([taken[31] | 0x80]), a.seal_key)

    with pytest.raises(WeakKeyError, match="second way"):
        share(run, with_neighbour(run, 1, respelled))


def test_another_neighbour_than_the_graph_gives_is_refused(run: Run) -> None:
    message = roster(run)
    listed = {each.identity for each in message.neighbours}
    everybody = {n: messages.decode_advertisement(data) for n, data in run.replies[1].items() if n != VICTIM}
    stranger = next(each for each in everybody.values() if each.identity not in listed)
    with pytest.raises(RosterError, match="not at its place"):
        share(run, replace(message, neighbours=(stranger, *message.neighbours[1:])))


def test_neighbours_in_another_order_are_refused(run: Run) -> None:
    message = roster(run)
    with pytest.raises(RosterError, match="not at its place"):
        share(run, replace(message, neighbours=message.neighbours[::-1]))


def test_one_neighbour_listed_twice_is_refused(run: Run) -> None:
    message = roster(run)
    with pytest.raises(RosterError):
        share(run, replace(message, neighbours=(message.neighbours[1], *message.neighbours[1:])))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_fewer_or_more_neighbours_than_the_rule_are_refused(run: Run, count: int) -> None:
    message = roster(run)
    with pytest.raises(RosterError, match="the graph has 4"):
        share(run, replace(message, neighbours=(message.neighbours * 2)[:count]))


def test_another_place_than_its_own_is_refused(run: Run) -> None:
    message = roster(run)
    for index in (0, 19, 20, 2**32 - 1):
        with pytest.raises(RosterError):
            share(run, replace(message, index=index if index != message.index else 1))


def test_a_roster_without_this_device_is_refused(run: Run) -> None:
    message = roster(run)
    present = bitmap([index != message.index for index in range(20)])
    with pytest.raises(RosterError, match="not on the roster"):
        share(run, replace(message, present=present))


def drawn_without_it(run: Run, own: Advertisement | None, place: int | None = None) -> RosterMessage:
    """A roster that is sound but for the victim's leaf. Args: `own`: what stands there; `place`: exchanged with it."""
    index = roster(run).index
    listed = {n: run.secure._advertised[n] for n in range(20)}
    if place is not None:
        listed[index], listed[place] = listed[place], listed[index]
    seats = Seating.of(run.session, run.secure._cohort, listed | ({index: own} if own else {}))
    return messages.decode_roster(seats.roster_message(index), 20)


def test_a_graph_that_is_drawn_without_this_devices_keys_is_refused(run: Run) -> None:
    own, key = run.secure._advertised[roster(run).index], run.keys[VICTIM]
    for other in (
        replace(own, signature=bytes(64)),
        replace(own, mask_key=own.seal_key, seal_key=own.mask_key),
        signed(replace(run.session, round=0), key, own.mask_key, own.seal_key),
        run.secure._advertised[0 if roster(run).index else 1],
    ):
        with pytest.raises(RosterError, match="not drawn from what this device advertised"):
            share(run, drawn_without_it(run, other))


def test_a_graph_that_counts_this_devices_keys_at_anothers_place_is_refused(run: Run) -> None:
    for place in set(range(20)) - {roster(run).index}:
        with pytest.raises(RosterError, match="not drawn from what this device advertised"):
            share(run, drawn_without_it(run, None, place))


def test_the_roster_made_for_these_refusals_is_accepted_with_the_devices_own_keys(run: Run) -> None:
    assert drawn_without_it(run, None) == roster(run)


def test_the_root_and_every_hash_of_the_proof_count(run: Run) -> None:
    message = roster(run)
    proof = message.own_proof
    assert len(proof) == 5
    changed = [(*proof[:n], bytes([node[0] ^ 1]) + node[1:], *proof[n + 1 :]) for n, node in enumerate(proof)]
    shorter = [(*proof[:n], *proof[n + 1 :]) for n in range(5)]
    exchanged = [(*proof[:n], proof[n + 1], proof[n], *proof[n + 2 :]) for n in range(4)]
    proofs = (replace(message, own_proof=nodes) for nodes in [*changed, *shorter, *exchanged, ()])
    for forged in (replace(message, keys=b"x" * 32), *proofs):
        with pytest.raises(RosterError, match="not drawn from what this device advertised"):
            share(run, forged)


def test_who_is_said_to_be_there_decides_how_large_the_tree_is(run: Run) -> None:
    message = roster(run)
    absent = 0 if message.index else 1
    with pytest.raises(RosterError, match="not drawn from what this device advertised"):
        share(run, replace(message, present=bitmap([index != absent for index in range(20)])))


def test_a_part_of_the_cohort_passed_off_as_all_of_it_is_refused(run: Run) -> None:
    names = [VICTIM, *sorted(set(run.keys) - {VICTIM})[:9]]
    part = Cohort({name: run.keys[name].public for name in names})
    with pytest.raises(RosterError, match="another cohort than the one that the coordinator"):
        share(run, replace(roster(run), members=part.members, names=part.names_digest))


def test_a_cohort_with_exchanged_names_is_another_cohort(run: Run) -> None:
    with pytest.raises(RosterError, match="another cohort"):
        share(run, replace(roster(run), names=b"x" * 32))


def test_too_few_on_the_roster_are_refused() -> None:
    run = run_of(20, minimum=10).until(1)
    run.sent[2] = run.secure.send_rosters()
    message = roster(run)
    here = [index == message.index or index < 8 for index in range(20)]
    with pytest.raises(UnsafeCohortError, match="the sum needs 10"):
        share(run, replace(message, present=bitmap(here)))


def test_leaving_honest_devices_out_does_not_make_the_graph_smaller() -> None:
    # 20 % of 100 committed devices may be adversaries: of the 40 that are let in, half may be.
    run = run_of(100, tolerance=Tolerance(0.2, 0.05)).until(1)
    run.sent[2] = run.secure.send_rosters()
    message = messages.decode_roster(run.sent[2][VICTIM], 100)
    here = [index == message.index or index < 39 for index in range(100)]
    with pytest.raises(UnsafeCohortError, match="fewer than half"):
        share(run, replace(message, present=bitmap(here)))


def test_a_session_weaker_than_the_devices_policy_is_not_begun(run: Run) -> None:
    key, random = run.keys[VICTIM], SeededRandom(0)
    for policy in (SecurePolicy(minimum=4), SecurePolicy(minimum=3, adversaries=0.06)):
        with pytest.raises(UnsafeCohortError, match="this device wants"):
            SecureDevice.begin(run.session, policy, key, random)


def test_a_roster_of_another_device_is_refused(run: Run) -> None:
    with pytest.raises(RosterError):
        share(run, messages.decode_roster(run.sent[2]["d0004"], 20))


def test_one_adversary_committed_twice_does_not_count_as_two() -> None:
    keys = sorted((SigningKey(SeededRandom(n).bytes(32)) for n in range(4)), key=lambda key: key.public)
    listed = [keys[0], keys[1], keys[1], keys[2], keys[3]]  # no honest Cohort would commit to this
    tree = RosterTree([key.public for key in listed])
    session = session_of(identities(5), cohort=committed_digest(tree.root, bytes(32), 5))
    device, reply = SecureDevice.begin(session, SecurePolicy(3), keys[3], SeededRandom(0))
    pairs = [(KeyPair.generate(SeededRandom(n, 1)), KeyPair.generate(SeededRandom(n, 2))) for n in range(4)]
    others = tuple(
        signed(session, key, *(pair.public for pair in two)) for key, two in zip(listed[:4], pairs, strict=True)
    )
    own = messages.decode_advertisement(reply)
    drawn = RosterTree([each.encode() for each in (*others, own)])
    message = RosterMessage(
        4, tree.root, bytes(32), drawn.root, bitmap([True] * 5), others, tuple(drawn.prove([4])),
        tuple(tree.prove(range(5))),
    )  # fmt: skip
    assert own.identity == listed[4].public
    with pytest.raises(RosterError, match="stands on the roster twice"):
        device.share(messages.encode_roster(message), SeededRandom(0))


def test_any_changed_byte_is_refused_by_name(run: Run) -> None:
    data = run.sent[2][VICTIM]
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        with pytest.raises(BackrowError) as raised:
            run.devices[VICTIM].share(changed, SeededRandom(0))
        assert isinstance(raised.value, RosterError | SignatureError | MalformedMessageError | UnsafeCohortError)
