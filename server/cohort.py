"""Who is invited: only devices that an edge reported as granting. Pure."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from backrow.privacy.errors import CohortError
from backrow.privacy.wire import EnrolReply


@dataclass(frozen=True, slots=True)
class Cohort:
    """The devices of one round, by the node that hosts them. Built by `invite` only.

    Attributes:
        nodes: pseudonyms by Flower node id.
        identities: pseudonym to its Ed25519 public key, for a secure sum.
    """

    nodes: Mapping[int, tuple[str, ...]]
    identities: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Devices invited in all."""
        return sum(len(devices) for devices in self.nodes.values())

    def devices(self) -> list[str]:
        """Their pseudonyms, sorted."""
        return sorted(device for devices in self.nodes.values() for device in devices)

    def digest(self) -> str:
        """SHA-256 over the sorted pseudonyms, hex."""
        return hashlib.sha256("\n".join(self.devices()).encode()).hexdigest()


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
    seen: set[str] = set()
    identities: dict[str, bytes] = {}
    for reply in replies.values():
        if reply.identities:
            identities.update(zip(reply.devices, reply.identities, strict=True))
        for device in reply.devices:
            if device in seen:
                raise CohortError(
                    f"device {device!r} is named twice in one cohort: its data would count twice against one "
                    "sensitivity; remove the duplicate enrolment"
                )
            seen.add(device)
    if len(set(identities.values())) != len(identities):
        raise CohortError("two devices have one identity key: their masks would not hide them; enrol them again")
    if len(seen) < minimum:
        raise CohortError(
            f"{len(seen)} devices grant contributions, the smallest cohort allowed is {minimum}: "
            "wait for more, or commit a schedule with a smaller minimum and its larger noise"
        )
    if len(seen) > population:
        raise CohortError(f"{len(seen)} devices answer but only {population} are enrolled: commit a new schedule")
    nodes = {node: tuple(sorted(reply.devices)) for node, reply in replies.items() if reply.devices}
    return Cohort(nodes, identities)


def _without(reply: EnrolReply, opted_out: Collection[str]) -> EnrolReply:
    """A reply as if these devices were offline."""
    kept = [place for place, device in enumerate(reply.devices) if device not in opted_out]
    keys = tuple(reply.identities[place] for place in kept) if reply.identities else ()
    return EnrolReply(reply.run_id, tuple(reply.devices[place] for place in kept), keys)
