"""What one secure sum is about. Everything that is signed, derived or sealed in it is bound to this.

A device builds its session from the signed call and its own pinned policy; the coordinator from the ledger.
"""

import struct
from dataclasses import dataclass

from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.secagg.parameters import FEWEST_DEVICES, Tolerance

PROTOCOL = b"backrow/secagg/1"
DIGEST_BYTES = 32
MOST_DEVICES = 2**20
MOST_COORDINATES = 2**28

_FIXED = struct.Struct(">Q32s32s32s32sIIIdd")


@dataclass(frozen=True, slots=True)
class SecurePolicy:
    """What a device pins, whatever a coordinator says.

    Attributes:
        minimum: fewest devices in a sum.
        adversaries: smallest fraction of the committed cohort that a round must stand as adversaries.
    """

    minimum: int
    adversaries: float = 0.05


@dataclass(frozen=True, slots=True)
class Session:
    """One round's secure sum.

    Attributes:
        run_id, round: of the call.
        cohort: digest of the committed cohort (`roster.cohort_digest`), 32 bytes.
        question: SHA-256 of the whole call (model, plan, settings, catalogue, ledger), 32 bytes.
        checkpoint: SHA-256 of the ledger checkpoint under which the budget was reserved, 32 bytes.
        coordinator: its pinned Ed25519 public key, 32 bytes.
        devices: size of the committed cohort.
        minimum: fewest devices in the sum.
        dimension: coordinates of the vector.
        tolerance: adversaries and drop-outs that the round stands, as fractions of the committed cohort.

    Raises:
        ValueError: a field is out of range.
    """

    run_id: str
    round: int
    cohort: bytes
    question: bytes
    checkpoint: bytes
    coordinator: bytes
    devices: int
    minimum: int
    dimension: int
    tolerance: Tolerance

    def __post_init__(self) -> None:
        digests = self.cohort, self.question, self.checkpoint, self.coordinator
        if any(not isinstance(value, bytes) or len(value) != DIGEST_BYTES for value in digests):
            raise ValueError("cohort, question, checkpoint and coordinator of a secure sum have 32 bytes each")
        if not 0 < len(self.run_id.encode()) < 2**16 or not 0 <= self.round < 2**64:
            raise ValueError("a secure sum belongs to a round of a run that has a name")
        if not FEWEST_DEVICES <= self.minimum <= self.devices <= MOST_DEVICES:
            raise ValueError(
                f"a secure sum has {FEWEST_DEVICES} to {MOST_DEVICES} devices and a minimum among them, "
                f"got {self.devices} and {self.minimum}"
            )
        if not 1 <= self.dimension <= MOST_COORDINATES:
            raise ValueError(f"a vector has 1 to {MOST_COORDINATES} coordinates, got {self.dimension}")

    def encode(self) -> bytes:
        """Canonical bytes: length of the run's name, name, then the other fields in their order, big-endian."""
        run = self.run_id.encode()
        numbers = self.devices, self.minimum, self.dimension, self.tolerance.adversaries, self.tolerance.dropouts
        digests = self.cohort, self.question, self.checkpoint, self.coordinator
        return len(run).to_bytes(2, "big") + run + _FIXED.pack(self.round, *digests, *numbers)

    @classmethod
    def decode(cls, data: bytes) -> "Session":
        """The session with these bytes.

        Raises:
            MalformedMessageError: there is none.
        """
        try:
            length = int.from_bytes(data[:2], "big")
            number, *digests, devices, minimum, dimension, adversaries, dropouts = _FIXED.unpack(data[2 + length :])
            cohort, question, checkpoint, coordinator = digests
            tolerance, run = Tolerance(adversaries, dropouts), data[2 : 2 + length].decode()
            session = cls(
                run, number, cohort, question, checkpoint, coordinator, devices, minimum, dimension, tolerance
            )
        except (ValueError, struct.error) as problem:
            raise MalformedMessageError(f"these bytes are no session of a secure sum ({problem})") from None
        if session.encode() != data:
            raise MalformedMessageError("these bytes are no session of a secure sum")
        return session

    def binding(self, label: str) -> bytes:
        """32 bytes that stand for this session, protocol version and purpose: SHA-256 over them all."""
        name = label.encode()
        prefix = len(PROTOCOL).to_bytes(2, "big") + PROTOCOL + len(name).to_bytes(2, "big") + name
        return sha256(prefix + self.encode())
