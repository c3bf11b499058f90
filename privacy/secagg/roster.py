"""The committed cohort, who of it advertised, and what follows from both: positions, graph, keys' bindings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backrow.privacy.errors import RosterError, UnsafeCohortError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.secagg.messages import flags
from backrow.privacy.secagg.parameters import Neighbourhood, Tolerance, neighbourhood
from backrow.privacy.secagg.roster_tree import RosterTree
from backrow.privacy.secagg.session import Session

_COHORT = b"backrow/secagg-cohort/1"
_PRECISION = 10**12


class Cohort:
    """The committed devices, ordered by identity key. The coordinator holds it; an auditor can make it again.

    Its digest is signed by the coordinator in the opening of the round. The ledger holds none of it: of those who took
    part, the release's participants root says it afterwards, by pseudonyms.

    Args:
        members: name of each device to its Ed25519 identity key, 32 bytes.

    Raises:
        RosterError: two devices have one key, or a key has another length.
    """

    __slots__ = ("_tree", "digest", "identities", "index", "names", "names_digest")

    def __init__(self, members: Mapping[str, bytes]) -> None:
        ordered = sorted((identity, name) for name, identity in members.items())
        self.identities = tuple(identity for identity, _ in ordered)
        self.names = tuple(name for _, name in ordered)
        if not ordered or any(len(identity) != 32 for identity in self.identities):
            raise RosterError("a cohort is named with the 32-byte identity key of each of its devices")
        if len(set(self.identities)) != len(self.identities):
            raise RosterError(
                "two devices of the cohort have one identity key: enrol them again, with keys of their own"
            )
        self.index = {name: index for index, name in enumerate(self.names)}
        self._tree = RosterTree(self.identities)
        names = (name.encode() for name in self.names)
        self.names_digest = sha256(b"".join(len(name).to_bytes(2, "big") + name for name in names))
        self.digest = committed_digest(self._tree.root, self.names_digest, len(ordered))

    @property
    def members(self) -> bytes:
        """Root of the tree over the identity keys."""
        return self._tree.root

    def prove(self, indices: Sequence[int]) -> tuple[bytes, ...]:
        """Proof that the identities at these places are in the cohort."""
        return tuple(self._tree.prove(indices))


def cohort_digest(members: Mapping[str, bytes]) -> bytes:
    """What the opening names, signed, and `Session.cohort` holds, 32 bytes. Raises RosterError as `Cohort`."""
    return Cohort(members).digest


def committed_digest(members: bytes, names: bytes, devices: int) -> bytes:
    """Digest of a cohort of this size, from the root over its keys and the digest of its names."""
    return sha256(_COHORT + devices.to_bytes(4, "big") + members + names)


@dataclass(frozen=True)
class Roster:
    """Who advertised in a session. Positions are 0 .. size - 1 in the order of the committed cohort.

    Attributes:
        present: bitmap over the committed cohort.
        keys: root of the `RosterTree` over everybody's advertisement, in the order of the roster; `present` binds
            its size. A device sees that its own is in it, which nobody knew before, and takes the rest as it is told:
            told another one, it has another graph and other masks than the others.
        indices: place of each position in the committed cohort.
        digest: 32 bytes that stand for all of it; bound into every key, box and signature that follows.
    """

    session: Session
    present: bytes
    keys: bytes
    indices: tuple[int, ...] = field(init=False, repr=False)
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        here = np.flatnonzero(flags(self.present, self.session.devices))
        object.__setattr__(self, "indices", tuple(here.tolist()))
        object.__setattr__(self, "digest", sha256(self.session.binding("roster") + self.present + self.keys))

    @property
    def size(self) -> int:
        """How many advertised."""
        return len(self.indices)

    @property
    def graph_seed(self) -> bytes:
        """Decides who is whose neighbour."""
        return sha256(self.session.binding("graph") + self.digest)

    def info(self, label: str, *positions: int) -> bytes:
        """What a key is for: session, roster, purpose and the devices at these positions."""
        return self.session.binding(label) + self.digest + b"".join(place.to_bytes(4, "big") for place in positions)

    def pair_info(self, one: int, other: int) -> bytes:
        """What the mask between two positions is for; the same from both sides."""
        return self.info("pair", min(one, other), max(one, other))

    def signed_survivors(self, survivors: bytes) -> bytes:
        """What the coordinator and the survivors sign."""
        return self.info("survivors") + survivors


def neighbourhood_on(roster: Roster) -> Neighbourhood:
    """Neighbours and threshold on this roster. Devices and the coordinator run it.

    The adversaries are counted in the committed cohort: a coordinator that leaves honest devices out must not
    gain by it. Drop-outs are counted on the roster, because who did not advertise has done no harm.

    Raises:
        UnsafeCohortError: as `neighbourhood` and `tolerance_on`.
    """
    return neighbourhood(roster.size, tolerance_on(roster))


def tolerance_on(roster: Roster) -> Tolerance:
    """The session's tolerance, with the committed cohort's adversaries as a fraction of the roster.

    Raises:
        UnsafeCohortError: nobody would be left who is honest and present.
    """
    tolerance, devices = roster.session.tolerance, roster.session.devices
    if roster.size == devices:
        return tolerance
    adversaries, _ = tolerance.counts(devices)
    try:
        # Rounded down to a decimal number, of which `Tolerance.counts` makes the same number of adversaries.
        return Tolerance(adversaries * _PRECISION // roster.size / _PRECISION, tolerance.dropouts)
    except ValueError as problem:
        raise UnsafeCohortError(f"too few of the cohort advertised: {problem}") from None
