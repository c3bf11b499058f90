"""Pseudonyms by the million: packed, of one width, read as text only where somebody asks for it. Pure.

A tuple of a million names takes 70 MB and a second to hash; packed they take 9 MB, and sorting, comparing and
merging them is one array operation. Bytes of UTF-8 sort as their code points do, so that packed names have the
order of the texts.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import MalformedMessageError

LONGEST = 255
"""Bytes of a pseudonym, at most: all of a list are as wide as its longest."""
_CHUNK = 65_536

ByteArray = NDArray[np.uint8]
Packed = NDArray[np.bytes_]


class Names(Sequence[str]):
    """A sequence of pseudonyms; equal to a tuple of the same texts.

    Args:
        packed: shape (names,), dtype S, UTF-8. Use `of` or `from_bytes`, which check it.
    """

    __slots__ = ("packed",)

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Pack texts, in their order.

        Raises:
            MalformedMessageError: one is empty, longer than `LONGEST` bytes, holds a NUL or is no valid text.
        """
        if isinstance(names, Names):
            return names
        try:
            encoded = [name.encode() for name in names]
        except UnicodeEncodeError:
            raise MalformedMessageError("a pseudonym is no valid text: enrol its device under another one") from None
        if any(not 0 < len(name) <= LONGEST or 0 in name for name in encoded):
            raise MalformedMessageError(
                f"a pseudonym has 1 to {LONGEST} bytes and holds no NUL: enrol its device under another one"
            )
        return cls(np.array(encoded, dtype=np.bytes_)) if encoded else cls(np.zeros(0, dtype="S1"))

    @classmethod
    def from_bytes(cls, rows: ByteArray) -> "Names":
        """Unpack what `to_bytes` gave; what comes from a wire is checked here.

        Args:
            rows: shape (names, width), each row a name filled up with NUL.

        Raises:
            MalformedMessageError: of another shape, wider than `LONGEST` or than the longest name, an empty name, a
                NUL inside one, or no UTF-8.
        """
        if rows.ndim != 2 or rows.shape[1] > LONGEST or (rows.size == 0) != (rows.shape == (0, 0)):
            raise MalformedMessageError("the names of a message do not have the shape of names: it is ignored")
        if not rows.size:
            return cls(np.zeros(0, dtype="S1"))
        filled = rows != 0
        if filled.all():
            pass  # all of one length, as most are
        elif not filled[:, 0].all() or np.any(filled[:, 1:] & ~filled[:, :-1]) or not filled[:, -1].any():
            raise MalformedMessageError("a name in a message is empty, holds a NUL or is padded: it is ignored")
        if rows.max() >= 0x80:
            _check_utf8(rows)
        return cls(np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").ravel())

    def to_bytes(self) -> ByteArray:
        """Shape (names, width): each row a name filled up with NUL, as wide as the longest. (0, 0) for nobody."""
        if not len(self.packed):
            return np.zeros((0, 0), dtype=np.uint8)
        rows = np.ascontiguousarray(self.packed).view(np.uint8).reshape(len(self.packed), -1)
        width = rows.shape[1]
        while not rows[:, width - 1].any():
            width -= 1
        return np.ascontiguousarray(rows[:, :width])

    @property
    def ascending(self) -> bool:
        """Strictly: sorted, and nobody twice."""
        return bool(np.all(self.packed[:-1] < self.packed[1:]))

    def sorted(self) -> "Names":
        """The same, ascending; nothing is copied if they are."""
        return self if self.ascending else Names(np.sort(self.packed, kind="stable"))

    def doubled(self) -> str | None:
        """The first name, ascending, that is here twice; None: nobody is."""
        ordered = self.sorted().packed
        twice = np.flatnonzero(ordered[:-1] == ordered[1:])
        return ordered[twice[0]].decode() if len(twice) else None

    def among(self, people: Collection[str]) -> NDArray[np.bool_]:
        """Which of these are in `people`, shape (names,). What is no pseudonym there is none of these."""
        known = people if isinstance(people, Names) else Names.of(filter(_packable, people))
        if not len(known) or not len(self):
            return np.zeros(len(self), dtype=np.bool_)
        if not self.ascending:
            return np.isin(self.packed, known.packed)
        found = np.zeros(len(self), dtype=np.bool_)
        place = np.minimum(np.searchsorted(self.packed, known.packed), len(self) - 1)
        found[place[self.packed[place] == known.packed]] = True
        return found

    def take(self, chosen: NDArray[Any]) -> "Names":
        """Those chosen by a mask or by places, in that order."""
        return Names(self.packed[chosen])

    def chunks(self) -> Iterator[list[bytes]]:
        """All, as bytes, some ten thousand at a time."""
        for start in range(0, len(self.packed), _CHUNK):
            yield self.packed[start : start + _CHUNK].tolist()

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Names": ...
    def __getitem__(self, place: int | slice) -> "str | Names":
        if isinstance(place, slice):
            return Names(self.packed[place])
        return bytes(self.packed[place]).decode()

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks():
            yield from map(bytes.decode, chunk)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(np.any(self.packed == name.encode()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return len(self) == len(other) and bool(np.all(self.packed == other.packed))
        if isinstance(other, tuple):
            return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"<{len(self)} names>"


def merged(parts: Iterable[Sequence[str]]) -> Names:
    """All of several lists, ascending; who is in two of them is there twice."""
    packed = [Names.of(part).packed for part in parts]
    return Names(np.concatenate(packed)).sorted() if packed else Names.of(())


def _packable(name: str) -> bool:
    return 0 < len(name.encode(errors="surrogatepass")) <= LONGEST and not any(
        each == "\0" or "\ud800" <= each <= "\udfff" for each in name
    )


def _check_utf8(rows: ByteArray) -> None:
    """Rows that begin with no continuation byte are whole texts if all of them, end to end, are one text."""
    try:
        if np.any((rows[:, 0] & 0xC0) == 0x80):
            raise ValueError
        rows.tobytes().decode()
    except ValueError:
        raise MalformedMessageError("a name in a message is no UTF-8: it is ignored") from None
