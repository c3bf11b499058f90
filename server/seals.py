"""The suppression lists that a ledger has sealed, and whom they bind. Secret: it holds pseudonyms."""

from collections.abc import Collection

from backrow.privacy.errors import SuppressionError
from backrow.privacy.ledger.entries import OptOutEntry
from backrow.privacy.ledger.pseudonyms import EMPTY, Commitment, PseudonymList, check_disjoint
from backrow.privacy.names import Names
from backrow.server.suppression import SuppressionList


class Seals:
    """One ledger's sealed lists, in order.

    Args:
        epoch_key: 32 secret bytes that pseudonyms are hashed under.

    Attributes:
        current: commitment to the list that was sealed last, and when.
        people: the pseudonyms on it.
        lists: entry to the pseudonyms on each, sorted.
    """

    def __init__(self, epoch_key: bytes) -> None:
        self._key = epoch_key
        self.current: tuple[Commitment, int] = (EMPTY, 0)
        self.people: frozenset[str] = frozenset()
        self.lists: dict[int, tuple[str, ...]] = {}

    def entry(self, suppression: SuppressionList | None) -> OptOutEntry:
        """What there is to seal now; None: opt-outs are not taken."""
        people = frozenset[str]() if suppression is None else suppression.opted_out
        listed = PseudonymList(self._key, people).commitment
        asked = None if suppression is None else suppression.oldest(people - self.people)
        return OptOutEntry(listed.size, listed.root, asked, None if suppression is None else suppression.digest)

    def take(self, index: int, entry: OptOutEntry, time: int, people: Collection[str]) -> None:
        """A list was sealed."""
        self.current = (Commitment(entry.size, entry.root), time)
        self.people = frozenset(people)
        self.lists[index] = tuple(sorted(people))

    def named_by(self, entry: OptOutEntry, suppression: SuppressionList | None) -> tuple[str, ...]:
        """Whom an entry found in the ledger names, by the journal of opt-outs.

        Raises:
            SuppressionError: the journal never held this list.
        """
        listed = Commitment(entry.size, entry.root)
        if listed == EMPTY:
            return ()
        for people in () if suppression is None else suppression.states(listed.size, entry.statements):
            if PseudonymList(self._key, people).commitment == listed:
                return people
        raise SuppressionError(
            f"the ledger has sealed a list of {listed.size} opt-outs that the coordinator's own list never held: it is "
            "older, or another one; restore the newest copy. Until then nobody is asked"
        )

    def check(self, participants: Collection[str]) -> None:
        """Return if none of them is on the list that was sealed last.

        Raises:
            OptOutError: somebody is; says how many, not who.
        """
        asked = Names.of(participants)
        both = asked.among(self.people)
        if both.any():
            check_disjoint(PseudonymList(self._key, asked.take(both)), PseudonymList(self._key, self.people))
