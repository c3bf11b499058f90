"""Who sits where in a round, and who is whose neighbour, as the coordinator sees it."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from backrow.privacy.secagg import messages
from backrow.privacy.secagg.graph import all_neighbours
from backrow.privacy.secagg.messages import Advertisement, RosterMessage
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.privacy.secagg.roster import Cohort, Roster, neighbourhood_on
from backrow.privacy.secagg.roster_tree import RosterTree
from backrow.privacy.secagg.session import Session


@dataclass(frozen=True, slots=True)
class Seating:
    """The roster with everything that follows from it, by position.

    Attributes:
        names: of the devices.
        advertisements: theirs.
        tree: over the advertisements.
        neighbours: positions, ascending.
        places: position of each neighbour to its place among the neighbours, from 0.
    """

    cohort: Cohort
    roster: Roster
    rule: Neighbourhood
    names: tuple[str, ...]
    advertisements: tuple[Advertisement, ...]
    tree: RosterTree
    neighbours: list[list[int]]
    places: list[dict[int, int]]

    @classmethod
    def of(cls, session: Session, cohort: Cohort, advertised: Mapping[int, Advertisement]) -> "Seating":
        """From the advertisements, by place in the cohort.

        Raises:
            UnsafeCohortError: no safe graph joins them.
        """
        tree = RosterTree([advertised[index].encode() for index in sorted(advertised)])
        roster = Roster(session, messages.bitmap([index in advertised for index in range(session.devices)]), tree.root)
        rule = neighbourhood_on(roster)
        rows: list[list[int]] = all_neighbours(roster.graph_seed, roster.size, rule.neighbours).tolist()
        return cls(
            cohort,
            roster,
            rule,
            tuple(cohort.names[index] for index in roster.indices),
            tuple(advertised[index] for index in roster.indices),
            tree,
            rows,
            [{other: place for place, other in enumerate(row)} for row in rows],
        )

    def named(self, positions: Iterable[int]) -> dict[str, int]:
        """Name to position."""
        return {self.names[position]: position for position in sorted(positions)}

    def among(self, position: int, some: Collection[int]) -> list[int]:
        """The neighbours of a position that are among `some`."""
        return [other for other in self.neighbours[position] if other in some]

    def roster_message(self, position: int) -> bytes:
        """What a device is sent at step 2."""
        neighbours, indices = self.neighbours[position], self.roster.indices
        return messages.encode_roster(
            RosterMessage(
                index=indices[position],
                members=self.cohort.members,
                names=self.cohort.names_digest,
                keys=self.roster.keys,
                present=self.roster.present,
                neighbours=tuple(self.advertisements[other] for other in neighbours),
                own_proof=tuple(self.tree.prove([position])),
                proof=self.cohort.prove([indices[other] for other in [position, *neighbours]]),
            )
        )

    def boxes_message(self, position: int, shared: Mapping[int, tuple[bytes, list[bytes]]]) -> bytes:
        """What a device is sent at step 3."""
        neighbours = self.neighbours[position]
        boxes = [shared[other][1][self.places[other][position]] for other in neighbours if other in shared]
        return messages.encode_boxes([other in shared for other in neighbours], boxes)

    def agreements_message(self, position: int, signatures: Mapping[int, bytes]) -> bytes:
        """What a device is sent at step 5: of the neighbours that signed, as many as it needs."""
        signers = self.among(position, signatures)[: self.rule.threshold]
        flagged = [other in signers for other in self.neighbours[position]]
        return messages.encode_agreements(flagged, [signatures[other] for other in signers])

    def held_shares(
        self, answers: Mapping[int, list[bytes]], shared: Collection[int]
    ) -> dict[int, dict[int, tuple[int, int]]]:
        """Position of each owner of a secret to position of each holder to its point and share."""
        held: dict[int, dict[int, tuple[int, int]]] = {owner: {} for owner in shared}
        for holder, answer in answers.items():
            for owner, share in zip(self.among(holder, shared), answer, strict=True):
                held[owner][holder] = self.places[owner][holder] + 1, int.from_bytes(share, "big")
        return held


def with_shared_keys(advertised: Mapping[int, Advertisement]) -> list[int]:
    """Places of the devices that have a key which another one has too, or one key for both uses."""
    uses = Counter(key for each in advertised.values() for key in (each.mask_key, each.seal_key))
    return [place for place, each in sorted(advertised.items()) if uses[each.mask_key] > 1 or uses[each.seal_key] > 1]
