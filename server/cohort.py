"""Who is invited: only devices that an edge reported as granting. Pure."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from backrow.privacy.errors import CohortError
from backrow.privacy.names import Names, merged
from backrow.privacy.wire import EnrolReply


@dataclass(frozen=True, slots=True)
class Cohort:
    """The devices of one round, by the node that hosts them. Built by `invite` only.

    Attributes:
        nodes: pseudonyms by Flower node id, ascending.
        identities: pseudonym to its Ed25519 public key, for a secure sum.
    """

    nodes: Mapping[int, Sequence[str]]
    identities: Mapping[str, bytes] = field(default_factory=dict)
    _everybody: Names = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_everybody", merged(self.nodes.values()))

    @property
    def size(self) -> int:
        """Devices invited in all."""
        return len(self._everybody)

    def devices(self) -> Names:
        """Their pseudonyms, sorted."""
        return self._everybody

    def digest(self) -> str:
        """SHA-256 over the sorted pseudonyms, each on a line of its own, hex."""
        digest = hashlib.sha256()
        for place, chunk in enumerate(self._everybody.chunks()):
            digest.update(b"\n".join([b""] * (place > 0) + chunk))
        return digest.hexdigest()


def invite(
    replies: Mapping[int, EnrolReply], minimum: int, population: int, opted_out: Collection[str] = frozenset()
) -> Cohort:
    """Everybody who grants and has not opted out. No sampling: every eligible device may take part once per round.

    Args:
        replies: by Flower node id.
        minimum: the smallest cohort that may be summed.
        population: N, the public number of enrolled devices.
        opted_out: pseudonyms on the suppression list: as if they had said nothing.

    Raises:
        CohortError: a device is named twice or two have one identity key, there are too few, or more than ever
            enrolled.
    """
    replies = {node: _without(reply, opted_out) for node, reply in replies.items()}
    identities: dict[str, bytes] = {}
    for reply in replies.values():
        if reply.identities:
            identities.update(zip(reply.devices, reply.identities, strict=True))
    cohort = Cohort(
        {node: Names.of(reply.devices).sorted() for node, reply in replies.items() if len(reply.devices)}, identities
    )
    if (device := cohort.devices().doubled()) is not None:
        raise CohortError(
            f"device {device!r} is named twice in one cohort: its data would count twice against one "
            "sensitivity; remove the duplicate enrolment"
        )
    if len(set(identities.values())) != len(identities):
        raise CohortError("two devices have one identity key: their masks would not hide them; enrol them again")
    if cohort.size < minimum:
        raise CohortError(
            f"{cohort.size} devices grant contributions, the smallest cohort allowed is {minimum}: "
            "wait for more, or commit a schedule with a smaller minimum and its larger noise"
        )
    if cohort.size > population:
        raise CohortError(f"{cohort.size} devices answer but only {population} are enrolled: commit a new schedule")
    return cohort


def _without(reply: EnrolReply, opted_out: Collection[str]) -> EnrolReply:
    """A reply as if these devices were offline."""
    devices = Names.of(reply.devices)
    kept = ~devices.among(opted_out)
    keys = tuple(key for key, stays in zip(reply.identities, kept, strict=True) if stays) if reply.identities else ()
    return EnrolReply(reply.run_id, devices.take(kept), keys)
