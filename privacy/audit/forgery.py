"""A ledger in the hands of a forger: copies that can be edited, and signed anew with the right or a wrong key. Pure.

Nobody but the coordinator has her key. So the copy that is tampered with is first signed anew with a key of the
demonstration's own: it plays the coordinator, whose right key then signs the lies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.entries import Body, PolicyEntry
from backrow.privacy.ledger.keys import Kind
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.signed_entry import SignedEntry, sign_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Copy:
    """A ledger in hand, signed with the demonstration's keys.

    Attributes:
        lines: with newlines.
        note: the checkpoint.
        kept: folder of the released integers; None if there is none. Nothing is written there.
        changed: files of it that are to be others, and those to be taken out (None).
        lists: what is handed over beside it; None: nothing.
        secret: the run's own lists, that a forger in the coordinator's place has; None: not at hand.
        right, wrong: the key that plays the coordinator's, and somebody else's.
    """

    entries: tuple[SignedEntry, ...]
    lines: tuple[bytes, ...]
    note: bytes
    right: SigningKey
    wrong: SigningKey
    kept: Path | None = None
    changed: Mapping[str, bytes | None] = field(default_factory=dict)
    lists: Lists | None = None
    secret: Lists | None = None

    @classmethod
    def of(
        cls,
        entries: tuple[SignedEntry, ...],
        right: SigningKey,
        wrong: SigningKey,
        kept: Path | None = None,
        secret: Lists | None = None,
    ) -> "Copy":
        """The copy of a ledger, signed anew; its first entry names the new key."""
        bodies = tuple(
            replace(each.body, coordinator=right.public) if isinstance(each.body, PolicyEntry) else each.body
            for each in entries
        )
        return replace(signed_copy(entries, bodies, right, right, wrong), kept=kept, secret=secret)

    @property
    def origin(self) -> str:
        """Identity of the ledger."""
        return self.entries[0].origin

    def with_lines(self, *lines: bytes) -> "Copy":
        """The same with other lines and the old checkpoint."""
        return replace(self, lines=lines)

    def resigned(self, bodies: tuple[Body, ...]) -> "Copy":
        """The same coordinator with other entries, under a new checkpoint: a lie with the right key."""
        made = signed_copy(self.entries, bodies, self.right, self.right, self.wrong)
        return replace(made, kept=self.kept, secret=self.secret)

    def swap(self, index: int, **changes: object) -> "Copy":
        """A lie with the right key about one entry."""
        bodies = [each.body for each in self.entries]
        bodies[index] = replace(bodies[index], **changes)  # type: ignore[arg-type]
        return self.resigned(tuple(bodies))

    @property
    def witness(self) -> Signer:
        """The stranger, as a witness of the honest ledger."""
        return Signer("witness", self.wrong, Kind.COSIGNATURE)

    def first(self, kind: type[Body]) -> SignedEntry | None:
        """The first entry of a kind."""
        return next((each for each in self.entries if isinstance(each.body, kind)), None)


def signed_copy(
    entries: tuple[SignedEntry, ...], bodies: tuple[Body, ...], signer: SigningKey, right: SigningKey, wrong: SigningKey
) -> Copy:
    """These bodies signed in order; further ones get the last time."""
    origin = entries[0].origin
    times = [each.time for each in entries]
    signed = tuple(
        sign_entry(signer, origin, index, times[min(index, len(times) - 1)], body) for index, body in enumerate(bodies)
    )
    lines = tuple(each.encode() + b"\n" for each in signed)
    return Copy(signed, lines, note_over(lines, origin, signer), right, wrong)


def note_over(lines: tuple[bytes, ...], origin: str, key: SigningKey) -> bytes:
    """The signed checkpoint over lines with newlines."""
    tree = Tree(leaf_hash(line.removesuffix(b"\n")) for line in lines)
    return Checkpoint(origin, tree.size, tree.root()).sign(Signer(origin, key)).encode()
