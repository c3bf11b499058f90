"""The coordinator's side of a secure sum. Pure: it takes replies and gives messages, by name of the device.

    secure = SecureRound(session, members, key)             # members: name to identity key, as committed
    secure.take_advertisements(replies)                     # as often as replies arrive
    for name, message in secure.send_rosters().items(): ... # closes step 1
    secure.take_shares(replies)
    for name, message in secure.send_boxes().items(): ...
    secure.add_masked(names, vector)                        # uint32, from each edge
    for name, message in secure.send_survivors().items(): ...
    secure.take_agreements(replies)
    for name, message in secure.send_agreements().items(): ...
    secure.take_answers(replies)
    result = secure.result()                                # values int64, names of the survivors

A reply that is wrong, late, repeated or of a stranger is left out and kept in `problems`; it never ends the round.
What ends it is `VoidRoundError`, from any `send_...` or `result`: its budget stays reserved.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import (
    BackrowError,
    MalformedMessageError,
    RepeatedAnswerError,
    RosterError,
    TamperedError,
    VoidRoundError,
    WeakKeyError,
)
from backrow.privacy.secagg import checks, messages
from backrow.privacy.secagg.inbox import Inbox, Problem
from backrow.privacy.secagg.masks import from_ring
from backrow.privacy.secagg.messages import Advertisement, bitmap
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.privacy.secagg.pieces import Pieces
from backrow.privacy.secagg.roster import Cohort
from backrow.privacy.secagg.seating import Seating, with_shared_keys
from backrow.privacy.secagg.session import Session
from backrow.privacy.secagg.shamir import PRIME
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.secagg.unmasking import Recovery, key_fits, remove_own_mask, remove_pair_masks, seed_fits
from backrow.privacy.signing import SECAGG_FREEZE, SigningKey

Int64Array = NDArray[np.int64]
Uint32Array = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class SecureSum:
    """What came out.

    Attributes:
        values: the sum of the survivors' answers, int64, shape (dimension,), if it lies within +-2^31.
        survivors: names, sorted.
    """

    values: Int64Array
    survivors: tuple[str, ...]


class SecureRound:
    """One secure sum, from the first reply to the result.

    Args:
        session: as the devices have it.
        members: name of each device of the committed cohort to its identity key.
        key: the coordinator's.

    Raises:
        RosterError: two devices have one key.
        ValueError: the session is of another cohort or coordinator.
    """

    def __init__(self, session: Session, members: Mapping[str, bytes], key: SigningKey) -> None:
        cohort = Cohort(members)
        if session.cohort != cohort.digest or session.devices != len(members):
            raise ValueError("the session is of another cohort")
        if session.coordinator != key.public:
            raise ValueError("the session names another coordinator's key")
        self.session, self._cohort, self._key = session, cohort, key
        self._inbox = Inbox(cohort.index)
        self._advertised: dict[int, Advertisement] = {}  # by place in the cohort; all others by position
        self._shared: dict[int, tuple[bytes, list[bytes]]] = {}
        self._pieces = Pieces(session.dimension)
        self._total: Uint32Array
        self._alive: set[int] = set()
        self._signatures: dict[int, bytes] = {}
        self._answers: dict[int, list[bytes]] = {}

    @property
    def problems(self) -> list[Problem]:
        """Why replies were left out."""
        return self._inbox.problems

    @property
    def rule(self) -> Neighbourhood:
        """Neighbours and threshold; known from `send_rosters` on."""
        return self._seating.rule

    def take_advertisements(self, replies: Mapping[str, bytes]) -> None:
        """Step 1: replies of `SecureDevice.begin`."""
        self._inbox.take(ADVERTISE, replies, self._advertised, self._advertisement)

    def send_rosters(self) -> dict[str, bytes]:
        """Close step 1; the message for each device that advertised.

        Raises:
            VoidRoundError: too few advertised, or no safe graph joins them.
        """
        for place in with_shared_keys(self._advertised):
            del self._advertised[place]
            twice = WeakKeyError("two devices advertised one key: both are left out")
            self._inbox.note(self._cohort.names[place], ADVERTISE, twice)
        self._enough(self._advertised, "advertised")
        try:
            self._seating = Seating.of(self.session, self._cohort, self._advertised)
        except BackrowError as problem:
            raise VoidRoundError(str(problem)) from None
        positions = self._seating.named(range(self._seating.roster.size))
        self._inbox.close(ADVERTISE, positions)
        return {name: self._seating.roster_message(position) for name, position in positions.items()}

    def take_shares(self, replies: Mapping[str, bytes]) -> None:
        """Step 2: replies of `SecureDevice.share`."""
        self._inbox.take(SHARE, replies, self._shared, self._shares)

    def send_boxes(self) -> dict[str, bytes]:
        """Close step 2; the message for each device that shared.

        Raises:
            VoidRoundError: too few shared.
        """
        self._enough(self._shared, "shared their secrets")
        positions = self._seating.named(self._shared)
        self._inbox.close(SHARE, positions)
        return {name: self._seating.boxes_message(position, self._shared) for name, position in positions.items()}

    def add_masked(self, names: Collection[str], vector: Uint32Array) -> None:
        """Step 3: the sum modulo 2^32 of these devices' masked vectors, as their edge added it.

        If one of them may not be in it (unknown, repeated, late), nothing of it is added and those that are not
        in the sum yet have dropped out.
        """
        dimension = self.session.dimension
        try:
            self._inbox.in_turn(MASK)
            if vector.dtype != np.uint32 or vector.shape != (dimension,):
                raise MalformedMessageError(f"a masked sum is {dimension} uint32 numbers, got {vector.shape}")
            places = [self._inbox.place(name) for name in names]
            if not places or len(set(places)) != len(places) or self._alive.intersection(places):
                raise RepeatedAnswerError("a device would be in the sum twice: nothing of this vector is added")
        except BackrowError as problem:
            for name in names:
                self._inbox.note(name, MASK, problem)
            return
        self._pieces.add(places, vector)
        self._alive.update(places)

    def leave_out(self, names: Collection[str]) -> int:
        """Before `send_survivors`: these devices have dropped out, although they gave a vector.

        With them go all whose vectors came in one piece with theirs, for an edge adds blind. None of these vectors is
        ever unmasked.

        Returns:
            How many devices went; nobody says who.
        """
        self._inbox.in_turn(MASK)
        places = {place for place in self._alive if self._seating.names[place] in names}
        gone = self._pieces.leave_out(places)
        self._alive -= gone
        return len(gone)

    def send_survivors(self) -> dict[str, bytes]:
        """Close step 3: who is in the sum is frozen and signed; the message for each of them.

        Raises:
            VoidRoundError: too few gave a vector, a secret that is needed has too few holders left, or so many
                are missing in one place that devices would refuse.
        """
        self._enough(self._alive, "gave a vector")
        for position in self._owners():
            if len(self._seating.among(position, self._alive)) < self._seating.rule.threshold:
                raise VoidRoundError("too many neighbours of one device vanished: its masks cannot be taken out")
        roster = self._seating.roster
        self._survivors = bitmap([position in self._alive for position in range(roster.size)])
        try:
            checks.survivors_together(roster, self._survivors, self._seating.rule.neighbours)
        except BackrowError as problem:
            raise VoidRoundError(str(problem)) from None
        signature = self._key.sign(SECAGG_FREEZE, roster.signed_survivors(self._survivors))
        message = messages.encode_survivors(self._survivors, signature)
        positions = self._seating.named(self._alive)
        self._inbox.close(MASK, positions)
        self._total = self._pieces.total()
        return dict.fromkeys(positions, message)

    def take_agreements(self, replies: Mapping[str, bytes]) -> None:
        """Step 4: replies of `SecureDevice.agree`."""
        self._inbox.take(AGREE, replies, self._signatures, self._agreement)

    def send_agreements(self) -> dict[str, bytes]:
        """Close step 4; the message for each survivor that agreed and whose neighbours let it answer.

        Raises:
            VoidRoundError: too few can answer.
        """
        seating = self._seating
        able = [p for p in self._signatures if len(seating.among(p, self._signatures)) >= seating.rule.threshold]
        if len(able) < seating.rule.threshold:
            raise VoidRoundError(f"{len(able)} survivors may answer, {seating.rule.threshold} are needed")
        positions = seating.named(able)
        self._inbox.close(AGREE, positions)
        return {name: seating.agreements_message(place, self._signatures) for name, place in positions.items()}

    def take_answers(self, replies: Mapping[str, bytes]) -> None:
        """Step 5: replies of `SecureDevice.unmask`."""
        self._inbox.take(UNMASK, replies, self._answers, self._answer)

    def result(self) -> SecureSum:
        """Close step 5: recover the secrets, take out the masks.

        Raises:
            VoidRoundError: too few answered, or shares are false.
        """
        self._inbox.close(UNMASK, {})
        seating, roster = self._seating, self._seating.roster
        recovery, held = Recovery(seating.rule.threshold), seating.held_shares(self._answers, self._shared)
        for position in self._owners():
            if position in self._alive:
                fits = seed_fits(roster, position, self._shared[position][0])
                remove_own_mask(self._total, roster, position, recovery.secret(held[position], fits))
            else:
                secret = recovery.secret(held[position], key_fits(seating.advertisements[position].mask_key))
                near = seating.among(position, self._alive)
                keys = {other: seating.advertisements[other].mask_key for other in near}
                remove_pair_masks(self._total, roster, position, secret, keys)
        for position in sorted(recovery.left_out):
            odd = TamperedError("a secret came out only without its share: one of the shares is false")
            self._inbox.note(seating.names[position], UNMASK, odd)
        return SecureSum(from_ring(self._total), tuple(sorted(seating.names[position] for position in self._alive)))

    def _advertisement(self, place: int, data: bytes) -> Advertisement:
        advertisement = messages.decode_advertisement(data)
        if advertisement.identity != self._cohort.identities[place]:
            raise RosterError("the advertisement names another identity key than the cohort does for this device")
        checks.advertised_by_device(self.session, advertisement)
        checks.keys_sound([advertisement])
        return advertisement

    def _shares(self, _: int, data: bytes) -> tuple[bytes, list[bytes]]:
        return messages.decode_shares(data, self._seating.rule.neighbours)

    def _agreement(self, position: int, data: bytes) -> bytes:
        signature = messages.decode_agreement(data)
        identity = self._seating.advertisements[position].identity
        checks.agreed_by(self._seating.roster, self._survivors, identity, signature)
        return signature

    def _answer(self, position: int, data: bytes) -> list[bytes]:
        shares = messages.decode_answer(data, len(self._seating.among(position, self._shared)))
        if any(int.from_bytes(share, "big") >= PRIME for share in shares):
            raise TamperedError("an answer holds no shares")
        return shares

    def _enough(self, devices: Collection[int], what: str) -> None:
        if len(devices) < self.session.minimum:
            raise VoidRoundError(f"{len(devices)} devices {what}, {self.session.minimum} are needed")

    def _owners(self) -> list[int]:
        """Whose secret is needed: of all that shared, but not if it vanished and no neighbour of it survived."""
        return [p for p in sorted(self._shared) if p in self._alive or self._seating.among(p, self._alive)]
