"""The device's side of a secure sum: five steps, each from one message to one reply. Pure; nothing is sent here.

    device, reply = SecureDevice.begin(session, policy, identity, random)   # -> coordinator, and so on
    device, reply = device.share(roster, random)
    device, reply = device.mask(boxes, values)         # int64 answer, clipped and noised; reply -> edge
    device, reply = device.agree(survivors)
    device, reply = device.unmask(agreements)

Before a host hands a reply out it makes `device.save()` durable (encrypted: it holds secrets) and, after `mask`,
the reply too. After a restart `SecureDevice.restore(saved, identity)` goes on from there, and the request that
was answered last gets the same bytes again (after `mask`: the host's copy). A host begins a session once: it
remembers (run, round) before the first reply leaves. Whatever raises, nothing is sent and the device has dropped
out; its state is unchanged. Edges add the vectors of several devices with `edge.add_blind`.
"""

import struct
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import (
    BackrowError,
    MalformedMessageError,
    OutOfTurnError,
    RepeatedAnswerError,
    SecureSumError,
)
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg import checks, messages
from backrow.privacy.secagg.graph import neighbours_of
from backrow.privacy.secagg.masks import add_mask, mask_key, to_ring
from backrow.privacy.secagg.messages import Advertisement, RosterMessage, flags
from backrow.privacy.secagg.roster import Roster, neighbourhood_on
from backrow.privacy.secagg.sealing import KeyPair, seal
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.secagg.shamir import SHARE_BYTES, draw, split
from backrow.privacy.secagg.state import STATES, Advertised, Agreed, Answered, Masked, Shared, State, View, join, part
from backrow.privacy.signing import SECAGG_ADVERTISE, SECAGG_AGREE, SigningKey

Int64Array = NDArray[np.int64]

_S = TypeVar("_S", Advertised, Shared, Masked, Agreed, Answered)
_SAVED = b"backrow/secagg-device/1"


@dataclass(frozen=True, slots=True, repr=False)
class SecureDevice:
    """One device in one secure sum. Immutable: a step gives the next one. Cannot be printed.

    Attributes:
        session: what it takes part in.
        state: what it remembers.
        request: digest of the message answered last.
        reply: the answer, except a masked vector: the host keeps that.
    """

    session: Session
    identity: SigningKey
    state: State
    request: bytes
    reply: bytes = field(repr=False)

    @classmethod
    def begin(
        cls, session: Session, policy: SecurePolicy, identity: SigningKey, random: RandomSource
    ) -> tuple["SecureDevice", bytes]:
        """Step 1: fresh keys, signed for this session.

        Raises:
            UnsafeCohortError: the session is weaker than the policy.
        """
        checks.policy_kept(session, policy)
        mask, sealing = KeyPair.generate(random), KeyPair.generate(random)
        signature = identity.sign(
            SECAGG_ADVERTISE, session.binding("advertise") + identity.public + mask.public + sealing.public
        )
        reply = messages.encode_advertisement(Advertisement(identity.public, mask.public, sealing.public, signature))
        return cls(session, identity, Advertised(mask.secret, sealing.secret), bytes(32), reply), reply

    def share(self, message: bytes, random: RandomSource) -> tuple["SecureDevice", bytes]:
        """Step 2: check who the neighbours are, and give each a share of both secrets, sealed.

        Raises:
            RosterError, SignatureError, WeakKeyError, UnsafeCohortError, UnsafePlanError: see `checks`.
            OutOfTurnError, RepeatedAnswerError, MalformedMessageError.
        """
        if self._answered(Shared, message):
            return self, self.reply
        secrets = self._at(Advertised)
        mask, sealing = KeyPair(secrets.mask_secret), KeyPair(secrets.seal_secret)
        roster_message = messages.decode_roster(message, self.session.devices)
        own = messages.decode_advertisement(self.reply)
        view = _checked_view(self.session, own, roster_message)
        checks.keys_sound(roster_message.neighbours)
        checks.keys_distinct([own, *roster_message.neighbours])

        roster, position, points = view.roster, view.position, range(1, len(view.neighbours) + 1)
        seed = draw(random)
        own_seed = seed.to_bytes(SHARE_BYTES, "big")
        seed_shares = split(seed, view.threshold, points, random)
        key_shares = split(int.from_bytes(mask.secret, "big"), view.threshold, points, random)
        boxes, mask_keys, box_keys = [], [], []
        for other, peer, seed_share, key_share in zip(
            view.neighbours, roster_message.neighbours, seed_shares, key_shares, strict=True
        ):
            mask_keys.append(mask_key(mask.exchange(peer.mask_key), roster.pair_info(position, other)))
            secret = sealing.exchange(peer.seal_key)
            box_keys.append(mask_key(secret, roster.info("box", other, position)))
            outgoing = roster.info("box", position, other)
            text = seed_share.to_bytes(SHARE_BYTES, "big") + key_share.to_bytes(SHARE_BYTES, "big")
            boxes.append(seal(mask_key(secret, outgoing), outgoing, text))
        own_key = mask_key(own_seed, roster.info("self", position))
        reply = messages.encode_shares(commitment(roster, position, own_seed), boxes)
        return self._next(Shared(view, tuple(mask_keys), tuple(box_keys), own_key), message, reply)

    def mask(self, message: bytes, values: Int64Array) -> tuple["SecureDevice", bytes]:
        """Step 3: open the neighbours' boxes, keep their shares, and mask the answer.

        Args:
            message: the boxes.
            values: int64, `session.dimension` numbers in any shape.

        Raises:
            UnsafeCohortError, TamperedError: see `checks`.
            UnsafePlanError: a number does not fit 32 bits.
            RepeatedAnswerError: a vector was masked already; the host resends its copy or drops out.
            OutOfTurnError, MalformedMessageError.
            ValueError: not so many numbers, or not int64.
        """
        if isinstance(self.state, Masked):
            raise RepeatedAnswerError("a vector was masked already: send the copy that was kept, never another one")
        state = self._at(Shared)
        if values.size != self.session.dimension:
            raise ValueError(f"this sum adds vectors of {self.session.dimension} numbers, got {values.size}")
        view = state.view
        shared, boxes = messages.decode_boxes(message, len(view.neighbours))
        checks.enough_shared(shared, view.threshold)
        from_whom = [index for index, has in enumerate(shared) if has]
        opened = [
            checks.opened_box(
                state.box_keys[index], view.roster.info("box", view.neighbours[index], view.position), sealed
            )
            for index, sealed in zip(from_whom, boxes, strict=True)
        ]
        vector = to_ring(np.ascontiguousarray(values).ravel())
        add_mask(vector, state.own_key)
        for index in from_whom:
            add_mask(vector, state.mask_keys[index], subtract=view.neighbours[index] < view.position)
        masked = Masked(view, shared, tuple(seed for seed, _ in opened), tuple(key for _, key in opened))
        reply = messages.encode_masked(self.session, vector)
        return self._next(masked, message, b"")[0], reply

    def agree(self, message: bytes) -> tuple["SecureDevice", bytes]:
        """Step 4: countersign the frozen list of survivors. One list, never a second.

        Raises:
            SignatureError, SurvivorsError, UnsafeCohortError: see `checks`.
            OutOfTurnError, RepeatedAnswerError, MalformedMessageError.
        """
        if self._answered(Agreed, message):
            return self, self.reply
        state = self._at(Masked)
        view = state.view
        survivors, signature = messages.decode_survivors(message, view.roster.size)
        checks.frozen_by_coordinator(view.roster, survivors, signature)
        checks.survivors_enough(view.roster, survivors)
        checks.survivors_have_me(view.roster, survivors, view.position)
        checks.survivors_shared(view.roster, survivors, view.neighbours, state.shared)
        checks.survivors_near(view.roster, survivors, view.neighbours, view.threshold)
        checks.survivors_together(view.roster, survivors, len(view.neighbours))
        reply = messages.encode_agreement(self.identity.sign(SECAGG_AGREE, view.roster.signed_survivors(survivors)))
        return self._next(Agreed(state, survivors), message, reply)

    def unmask(self, message: bytes) -> tuple["SecureDevice", bytes]:
        """Step 5: for each neighbour that shared, one share: of its seed if it survived, else of its mask key.

        Raises:
            SurvivorsError: see `checks`.
            OutOfTurnError, RepeatedAnswerError, MalformedMessageError.
        """
        if self._answered(Answered, message):
            return self, self.reply
        state = self._at(Agreed)
        masked, view = state.masked, state.masked.view
        signed, signatures = messages.decode_agreements(message, len(view.neighbours))
        signers = [index for index, has in enumerate(signed) if has]
        checks.agreements_enough(signed, view.threshold)
        checks.agreements_of_survivors(view.roster, state.survivors, [view.neighbours[index] for index in signers])
        identities = [view.identities[index] for index in signers]
        checks.agreed_on(view.roster, state.survivors, identities, signatures)
        alive = flags(state.survivors, view.roster.size)
        sharers = [other for other, has in zip(view.neighbours, masked.shared, strict=True) if has]
        shares = [
            seed if alive[other] else key for other, seed, key in zip(sharers, masked.seeds, masked.keys, strict=True)
        ]
        return self._next(Answered(), message, messages.encode_answer(shares))

    def save(self) -> bytes:
        """Everything needed to go on, with secrets in the clear: to be encrypted and made durable by the host."""
        head = [_SAVED, self.session.encode(), self.identity.public, bytes([self.state.NUMBER])]
        return join([*head, self.request, self.reply, *self.state.fields()])

    @classmethod
    def restore(cls, saved: bytes, identity: SigningKey) -> "SecureDevice":
        """The device that was saved.

        Raises:
            MalformedMessageError: these bytes are none.
            SecureSumError: it was saved with another identity key.
        """
        try:
            mark, session_bytes, public, number, request, reply, *fields = part(saved)
            if mark != _SAVED:
                raise ValueError("another version")
            session = Session.decode(session_bytes)
            state = STATES[int.from_bytes(number, "big")].of(session, fields)
        except (ValueError, KeyError, struct.error, BackrowError) as problem:
            raise MalformedMessageError(f"this is no saved state of a device ({problem}): leave the round") from None
        if public != identity.public:
            raise SecureSumError("this state was saved with another identity key: leave the round")
        return cls(session, identity, state, request, reply)

    def __repr__(self) -> str:
        return f"<SecureDevice after step {self.state.NUMBER}>"

    def _answered(self, state: type[State], message: bytes) -> bool:
        """Whether the step that leads to this state is done. Raises if it was for another request."""
        if not isinstance(self.state, state):
            return False
        checks.first_answer(sha256(message), self.request)
        return True

    def _at(self, state: type[_S]) -> _S:
        if not isinstance(self.state, state):
            raise OutOfTurnError(f"the device has done step {self.state.NUMBER}: this message is early or late")
        return self.state

    def _next(self, state: State, message: bytes, reply: bytes) -> tuple["SecureDevice", bytes]:
        return replace(self, state=state, request=sha256(message), reply=reply), reply


def commitment(roster: Roster, position: int, seed: bytes) -> bytes:
    """What a device says of its self-mask seed beforehand, so that a false share is found."""
    return sha256(roster.info("commitment", position) + seed)


def _checked_view(session: Session, own: Advertisement, message: RosterMessage) -> View:
    checks.committed_cohort(session, message.members, message.names)
    roster = Roster(session, message.present, message.keys)
    checks.enough_advertised(roster)
    checks.own_place(roster, message.index)
    rule = neighbourhood_on(roster)
    checks.neighbours_complete(len(message.neighbours), rule.neighbours)
    position = roster.indices.index(message.index)
    checks.own_advertisement_counted(roster, position, own, message.own_proof)
    neighbours = neighbours_of(roster.graph_seed, roster.size, rule.neighbours, position)
    identities = {
        roster.indices[other]: peer.identity for other, peer in zip(neighbours, message.neighbours, strict=False)
    }
    identities[message.index] = own.identity
    checks.committed_identities(session, message.members, identities, message.proof)
    checks.identities_distinct(identities)
    checks.signed_by_their_devices(session, message.neighbours)
    return View(roster, position, neighbours, tuple(peer.identity for peer in message.neighbours), rule.threshold)
