"""What a device remembers between two steps, and its bytes. Each step forgets what no later one needs.

The bytes hold secrets of the round in the clear: the host keeps them encrypted (`client.vault`).
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from backrow.privacy.errors import MalformedMessageError
from backrow.privacy.secagg.messages import flags
from backrow.privacy.secagg.roster import Roster
from backrow.privacy.secagg.session import Session

_NUMBERS = struct.Struct(">II")
_KEY = 32


@dataclass(frozen=True, slots=True)
class View:
    """What a device knows of the others once it has checked the roster.

    Attributes:
        position: its own, on the roster.
        neighbours: positions, ascending.
        identities: of the neighbours.
        threshold: how many shares give a secret.
    """

    roster: Roster
    position: int
    neighbours: tuple[int, ...]
    identities: tuple[bytes, ...]
    threshold: int

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        places = b"".join(place.to_bytes(4, "big") for place in self.neighbours)
        numbers = _NUMBERS.pack(self.position, self.threshold)
        return [self.roster.present, self.roster.keys, numbers, places, b"".join(self.identities)]

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "View":
        """From its bytes."""
        present, keys, numbers, places, identities = fields
        position, threshold = _NUMBERS.unpack(numbers)
        neighbours = tuple(place for (place,) in struct.iter_unpack(">I", places))
        view = cls(Roster(session, present, keys), position, neighbours, _keys(identities), threshold)
        _same_length(view.neighbours, view.identities)
        if max((*neighbours, position)) >= view.roster.size:
            raise ValueError("a position is beyond the roster")
        return view


@dataclass(frozen=True, slots=True)
class Advertised:
    """After step 1: the two secret keys."""

    NUMBER: ClassVar[int] = 1
    mask_secret: bytes = field(repr=False)
    seal_secret: bytes = field(repr=False)

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        return [self.mask_secret, self.seal_secret]

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "Advertised":
        """From its bytes."""
        mask_secret, seal_secret = fields
        return cls(_exact(mask_secret), _exact(seal_secret))


@dataclass(frozen=True, slots=True)
class Shared:
    """After step 2: keys of the masks with each neighbour and of the box from each, and of the own mask."""

    NUMBER: ClassVar[int] = 2
    view: View
    mask_keys: tuple[bytes, ...] = field(repr=False)
    box_keys: tuple[bytes, ...] = field(repr=False)
    own_key: bytes = field(repr=False)

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        return [*self.view.fields(), b"".join(self.mask_keys), b"".join(self.box_keys), self.own_key]

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "Shared":
        """From its bytes."""
        *view, mask_keys, box_keys, own_key = fields
        state = cls(View.of(session, view), _keys(mask_keys), _keys(box_keys), _exact(own_key))
        _same_length(state.view.neighbours, state.mask_keys, state.box_keys)
        return state


@dataclass(frozen=True, slots=True)
class Masked:
    """After step 3: no key of a mask, only what the neighbours gave to keep.

    Attributes:
        shared: which neighbours shared; the masks with them are in the vector.
        seeds, keys: their shares of self-mask seed and mask key, one of each for each that shared.
    """

    NUMBER: ClassVar[int] = 3
    view: View
    shared: tuple[bool, ...]
    seeds: tuple[bytes, ...] = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        return [*self.view.fields(), bytes(self.shared), b"".join(self.seeds), b"".join(self.keys)]

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "Masked":
        """From its bytes."""
        *view, shared, seeds, keys = fields
        if set(shared) - {0, 1}:
            raise ValueError("a flag is neither set nor unset")
        state = cls(View.of(session, view), tuple(map(bool, shared)), _keys(seeds), _keys(keys))
        _same_length(state.view.neighbours, state.shared)
        if not len(state.seeds) == len(state.keys) == sum(state.shared):
            raise ValueError("a share is missing")
        return state


@dataclass(frozen=True, slots=True)
class Agreed:
    """After step 4: the one list of survivors that this device countersigned."""

    NUMBER: ClassVar[int] = 4
    masked: Masked
    survivors: bytes

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        return [*self.masked.fields(), self.survivors]

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "Agreed":
        """From its bytes."""
        *masked, survivors = fields
        state = cls(Masked.of(session, masked), survivors)
        flags(survivors, state.masked.view.roster.size)
        return state


@dataclass(frozen=True, slots=True)
class Answered:
    """After step 5: nothing but the answer that was given."""

    NUMBER: ClassVar[int] = 5

    def fields(self) -> list[bytes]:
        """Its bytes, in parts."""
        return []

    @classmethod
    def of(cls, session: Session, fields: Sequence[bytes]) -> "Answered":
        """From its bytes."""
        if fields:
            raise ValueError("a device that has answered remembers nothing")
        return cls()


State = Advertised | Shared | Masked | Agreed | Answered
STATES: dict[int, type[State]] = {state.NUMBER: state for state in (Advertised, Shared, Masked, Agreed, Answered)}


def join(fields: Iterable[bytes]) -> bytes:
    """Parts as one, each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in fields)


def part(data: bytes) -> list[bytes]:
    """The parts again. Raises MalformedMessageError."""
    parts, start = list[bytes](), 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "big")
        if start + 4 > len(data) or end > len(data):
            raise MalformedMessageError("the saved state of a device was cut off")
        parts.append(data[start + 4 : end])
        start = end
    return parts


def _exact(key: bytes) -> bytes:
    if len(key) != _KEY:
        raise ValueError(f"a secret has {_KEY} bytes")
    return key


def _keys(data: bytes) -> tuple[bytes, ...]:
    if len(data) % _KEY:
        raise ValueError("a secret was cut off")
    return tuple(data[start : start + _KEY] for start in range(0, len(data), _KEY))


def _same_length(*parts: Sequence[object]) -> None:
    if len(set(map(len, parts))) != 1:
        raise ValueError("a neighbour is missing")
