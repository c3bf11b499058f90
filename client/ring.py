"""A log in the notes of a vault that keeps its newest entries, each in a note of its own."""

from collections.abc import Sequence

from backrow.client.vault.store import Vault


class Ring:
    """At most `size` entries; the oldest gives way. Not for two threads at once.

    Args:
        name: of the log in the vault.
    """

    def __init__(self, vault: Vault, name: str, size: int) -> None:
        self._vault, self._name, self._size = vault, name, size

    def entries(self) -> list[bytes]:
        """What is kept, oldest first."""
        count = self._count()
        return [self._entry(number) for number in range(max(0, count - self._size), count)]

    def adding(self, entries: Sequence[bytes]) -> tuple[dict[str, bytes], list[bytes]]:
        """The notes that add these entries, for one transaction, and the entries that give way, oldest first.

        Raises:
            ValueError: they would push one another out.
        """
        if len(entries) > self._size:
            raise ValueError(f"a log of {self._size} entries cannot take {len(entries)} at once")
        count = self._count()
        after = count + len(entries)
        leaving = [self._entry(number) for number in range(max(0, count - self._size), max(0, after - self._size))]
        notes = {self._slot(count + place): entry for place, entry in enumerate(entries)}
        return {**notes, self._name: str(after).encode()}, leaving

    def _count(self) -> int:
        return int(self._vault.note(self._name) or b"0")

    def _entry(self, number: int) -> bytes:
        entry = self._vault.note(self._slot(number))
        assert entry is not None  # written with the count, in one transaction
        return entry

    def _slot(self, number: int) -> str:
        return f"{self._name}/{number % self._size}"
