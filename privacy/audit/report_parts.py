"""What pages of the HTML report are made of: words with links and gaps, and blocks of them. Pure; no markup here.

Everything is text until the template escapes it, because ledgers come from strangers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from backrow.privacy.ledger.entries import PolicyEntry
from backrow.privacy.units import Adjacency, PrivacyUnit, round_up

DASH = "\N{EN DASH}"
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Ref:
    """A link to evidence on the same page."""

    kind: ClassVar[str] = "ref"
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that `Ref`s lead to."""

    kind: ClassVar[str] = "mark"
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """What nobody has answered; shown in red."""

    kind: ClassVar[str] = "gap"
    text: str


@dataclass(frozen=True, slots=True)
class Good:
    """A result that is well."""

    kind: ClassVar[str] = "good"
    text: str


Piece = str | Ref | Mark | Gap | Good
Words = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    words: Words


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they are; the title may be empty."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, Words], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    kind: ClassVar[str] = "bullets"
    items: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first `names` columns hold words, the others numbers.

    Attributes:
        foot: what must stand beside its figures; may be empty.
        wraps: columns that hold sentences, which may break; counted from 0.
        anchor: for `Ref`s; may be empty.
    """

    kind: ClassVar[str] = "table"
    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[Words, ...], ...]
    names: int
    foot: Words = ()
    wraps: tuple[int, ...] = ()
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """SVG for wide pages and for narrow ones, made by `report_plots` only: the one thing that is not escaped."""

    kind: ClassVar[str] = "plot"
    wide: str
    narrow: str
    caption: Words


Block = Prose | Facts | Bullets | Table | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """One report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What stands beside every epsilon of one ledger."""

    delta: float
    unit: PrivacyUnit
    adjacency: Adjacency

    @classmethod
    def of(cls, policy: PolicyEntry) -> "Terms":
        """Those of a ledger's rules."""
        return cls(policy.delta, policy.unit, policy.adjacency)

    def say(self, epsilon: float | None, releases: int | None, delta: float | None = None) -> str:
        """An epsilon with everything that must be said beside it.

        Args:
            releases: how many it covers; None: all of the ledger.
            delta: where it is claimed at another than the rules'.
        """
        said = "no privacy" if epsilon is None else "no bound on ε" if math.isinf(epsilon) else f"ε {figure(epsilon)}"
        return f"{said} ({self.beside(releases, delta)})"

    def beside(self, releases: int | None, delta: float | None = None) -> str:
        """Everything but the epsilon."""
        words = f"δ {self.delta if delta is None else delta:g}, unit {self.unit}, adjacency {self.adjacency}"
        return f"{words}, {'all releases' if releases is None else count(releases, 'release')}"


def figure(epsilon: float | None) -> str:
    """A bare epsilon, never less than it is; `Terms` or a table says the rest."""
    if epsilon is None:
        return "none"
    return "no bound" if not math.isfinite(epsilon) else round_up(epsilon, _DIGITS)


def count(number: int, word: str, plural: str = "") -> str:
    """1 release, 1,200 releases."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def significant(value: float) -> str:
    """Three digits."""
    return "0" if value == 0 else f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.3g}"


def when(time: int) -> str:
    """A time in UTC, to the second."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OverflowError:
        return f"{time} s after 1970"


def lasting(seconds: int) -> str:
    """0 s, 12 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
    size = abs(seconds)
    sign = "-" if seconds < 0 else ""
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if size >= large:
            return f"{sign}{size // large:,} {names[0]} {size % large // small:02d} {names[1]}"
    return f"{sign}{size} s"


def series(parts: Sequence[Words], between: str = ", ") -> Words:
    """Several words in a row."""
    joined: list[Piece] = []
    for place, words in enumerate(parts):
        joined += [between, *words] if place else list(words)
    return tuple(joined)
