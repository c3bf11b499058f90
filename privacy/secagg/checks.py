"""Every rule of the device, one function each; each returns, or raises the error that names what is wrong.

`device` calls them through this module, so that a test can take exactly one of them away and show the attack
that it stops. docs/threat-model.md lists them.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from backrow.privacy.errors import (
    RepeatedAnswerError,
    RosterError,
    SignatureError,
    SurvivorsError,
    TamperedError,
    UnsafeCohortError,
    WeakKeyError,
)
from backrow.privacy.secagg import roster_tree
from backrow.privacy.secagg.graph import check_gaps
from backrow.privacy.secagg.messages import Advertisement, flags
from backrow.privacy.secagg.parameters import largest_gap
from backrow.privacy.secagg.roster import Roster, committed_digest, tolerance_on
from backrow.privacy.secagg.sealing import check_public_key, open_sealed
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.secagg.shamir import PRIME
from backrow.privacy.signing import SECAGG_ADVERTISE, SECAGG_AGREE, SECAGG_FREEZE, verify


def policy_kept(session: Session, policy: SecurePolicy) -> None:
    """The round is no weaker than what this device pinned."""
    if session.minimum < policy.minimum:
        raise UnsafeCohortError(f"a sum of {session.minimum} devices: this device wants at least {policy.minimum}")
    if session.tolerance.adversaries < policy.adversaries:
        raise UnsafeCohortError(
            f"the round stands {session.tolerance.adversaries:.1%} adversaries: "
            f"this device wants at least {policy.adversaries:.1%}"
        )


def first_answer(request: bytes, answered: bytes) -> None:
    """The request is the one that was answered, not a second one for the same step."""
    if request != answered:
        raise RepeatedAnswerError("this step was answered already, to another request: nothing more is said")


def enough_advertised(roster: Roster) -> None:
    """The sum can still have the minimum."""
    if roster.size < roster.session.minimum:
        raise UnsafeCohortError(f"{roster.size} devices advertised, the sum needs {roster.session.minimum}")


def own_place(roster: Roster, index: int) -> None:
    """This device is on the roster."""
    if index not in roster.indices:
        raise RosterError("this device is not on the roster that it was sent")


def own_advertisement_counted(
    roster: Roster, position: int, advertisement: Advertisement, proof: Sequence[bytes]
) -> None:
    """What this device advertised is in the root that the graph is drawn from, so nobody knew the graph before it."""
    try:
        roster_tree.check(roster.keys, roster.size, {position: advertisement.encode()}, proof)
    except RosterError:
        raise RosterError(
            "the graph is not drawn from what this device advertised, so it may have been chosen beforehand: "
            "leave this round"
        ) from None


def committed_cohort(session: Session, members: bytes, names: bytes) -> None:
    """The roster is of the cohort that the coordinator signed in the opening."""
    if committed_digest(members, names, session.devices) != session.cohort:
        raise RosterError("the roster is of another cohort than the one that the coordinator opened the round with")


def committed_identities(
    session: Session, members: bytes, identities: Mapping[int, bytes], proof: Sequence[bytes]
) -> None:
    """These devices, this one among them, have these places in the committed cohort."""
    try:
        roster_tree.check(members, session.devices, identities, proof)
    except RosterError:
        raise RosterError("a neighbour is not in the committed cohort, or not at its place: leave this round") from None


def neighbours_complete(advertised: int, neighbours: int) -> None:
    """As many neighbours as this device computed, no more and no fewer."""
    if advertised != neighbours:
        raise RosterError(f"the roster gives {advertised} neighbours, the graph has {neighbours} for this device")


def identities_distinct(identities: Mapping[int, bytes]) -> None:
    """Nobody stands there twice: in the order of the cohort, identity keys ascend."""
    ordered = [identities[index] for index in sorted(identities)]
    if any(first >= second for first, second in pairwise(ordered)):
        raise RosterError("a device stands on the roster twice, or out of its order")


def signed_by_their_devices(session: Session, neighbours: Sequence[Advertisement]) -> None:
    """Every neighbour's keys are its own, and of this session."""
    for neighbour in neighbours:
        advertised_by_device(session, neighbour)


def advertised_by_device(session: Session, advertisement: Advertisement) -> None:
    """The keys were signed by this identity for this session."""
    try:
        verify(
            advertisement.identity,
            SECAGG_ADVERTISE,
            session.binding("advertise") + advertisement.keys,
            advertisement.signature,
        )
    except (SignatureError, ValueError):
        raise SignatureError(
            "an advertised key is not signed by its device for this round, cohort and question: it was exchanged, "
            "or somebody was told something else"
        ) from None


def keys_sound(neighbours: Sequence[Advertisement]) -> None:
    """No key is of low order or spelled in a second way."""
    for neighbour in neighbours:
        check_public_key(neighbour.mask_key)
        check_public_key(neighbour.seal_key)


def keys_distinct(advertisements: Sequence[Advertisement]) -> None:
    """No two keys are equal, this device's own among them, whatever they are for."""
    keys = [key for each in advertisements for key in (each.mask_key, each.seal_key)]
    if len(set(keys)) != len(keys):
        raise WeakKeyError("two keys of the roster are one: somebody stands there with another's key")


def enough_shared(shared: Sequence[bool], threshold: int) -> None:
    """So many neighbours hold shares that the masks with them hide the vector."""
    if sum(shared) < threshold:
        raise UnsafeCohortError(f"{sum(shared)} neighbours shared secrets, {threshold} are needed: nothing is sent")


def opened_box(key: bytes, aad: bytes, sealed: bytes) -> tuple[bytes, bytes]:
    """Both shares in a neighbour's box: of its self-mask seed and of its mask key."""
    text = open_sealed(key, aad, sealed)
    shares = text[:32], text[32:]
    if any(int.from_bytes(share, "big") >= PRIME for share in shares):
        raise TamperedError("a neighbour's box holds no shares: nothing is sent")
    return shares


def frozen_by_coordinator(roster: Roster, survivors: bytes, signature: bytes) -> None:
    """The list of survivors is signed by the pinned coordinator for this roster."""
    try:
        verify(roster.session.coordinator, SECAGG_FREEZE, roster.signed_survivors(survivors), signature)
    except SignatureError:
        raise SignatureError("the list of survivors is not signed by the pinned coordinator for this roster") from None


def survivors_enough(roster: Roster, survivors: bytes) -> None:
    """The whole sum, not only this neighbourhood, has the minimum."""
    count = int(flags(survivors, roster.size).sum())
    if count < roster.session.minimum:
        raise UnsafeCohortError(f"{count} devices are in the sum, at least {roster.session.minimum} must be")


def survivors_have_me(roster: Roster, survivors: bytes, position: int) -> None:
    """This device is in the sum that it helps to open."""
    if not flags(survivors, roster.size)[position]:
        raise SurvivorsError("this device gave its vector and is not among the survivors: it helps nobody")


def survivors_shared(roster: Roster, survivors: bytes, neighbours: Sequence[int], shared: Sequence[bool]) -> None:
    """No neighbour survives that, as this device was told, never shared."""
    alive = flags(survivors, roster.size)
    if any(alive[position] and not has for position, has in zip(neighbours, shared, strict=True)):
        raise SurvivorsError("a neighbour is among the survivors that had shared no secrets: two stories were told")


def survivors_near(roster: Roster, survivors: bytes, neighbours: Sequence[int], threshold: int) -> None:
    """Enough neighbours survive: fewer could not hide this device."""
    count = int(flags(survivors, roster.size)[list(neighbours)].sum())
    if count < threshold:
        raise UnsafeCohortError(f"{count} neighbours survive, {threshold} are needed: nothing is opened")


def survivors_together(roster: Roster, survivors: bytes, neighbours: int) -> None:
    """Nowhere on the ring are so many missing that the sum could come apart there."""
    check_gaps(
        roster.graph_seed,
        flags(survivors, roster.size).tolist(),
        neighbours,
        largest_gap(roster.size, tolerance_on(roster), neighbours),
    )


def agreements_enough(signed: Sequence[bool], threshold: int) -> None:
    """So many neighbours countersigned that no two lists can both have them."""
    if sum(signed) < threshold:
        raise SurvivorsError(f"{sum(signed)} neighbours countersigned the survivors, {threshold} must")


def agreements_of_survivors(roster: Roster, survivors: bytes, signers: Sequence[int]) -> None:
    """Only who is in the sum countersigns it."""
    if not flags(survivors, roster.size)[list(signers)].all():
        raise SurvivorsError("a countersignature is of a device that is not in the sum")


def agreed_on(roster: Roster, survivors: bytes, identities: Sequence[bytes], signatures: Sequence[bytes]) -> None:
    """These neighbours countersigned this very list."""
    for identity, signature in zip(identities, signatures, strict=True):
        agreed_by(roster, survivors, identity, signature)


def agreed_by(roster: Roster, survivors: bytes, identity: bytes, signature: bytes) -> None:
    """This device countersigned this very list."""
    try:
        verify(identity, SECAGG_AGREE, roster.signed_survivors(survivors), signature)
    except (SignatureError, ValueError):
        raise SurvivorsError(
            "a neighbour countersigned another list of survivors, or none: nothing is opened"
        ) from None
