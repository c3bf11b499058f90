"""Query schemas: the bounded vectors that may leave a device, and nothing else may."""

from dataclasses import dataclass
from enum import StrEnum


class Query(StrEnum):
    """Every question a coordinator can ask. A device refuses names it does not know."""

    POPULARITY = "popularity"
    RECENT = "recent"
    SUBSPACE = "subspace"
    GRADIENT = "gradient"


@dataclass(frozen=True, slots=True)
class QuerySchema:
    """The shape and bound of one query's answer.

    Attributes:
        query: which question.
        rows: titles in the public catalogue, and after them the sentinels.
        columns: 1 for counts, the number of factors for item factors.
        clip_norm: L2 bound of one device's answer, in the answer's own unit, > 0.
        sentinels: trailing rows that no device touches and that are zero in every public tensor: the raw sum
            there is pure noise, which an auditor can measure.
        version: of the meaning of the answer; a device refuses versions it does not know.
    """

    query: Query
    rows: int
    columns: int
    clip_norm: float
    sentinels: int = 0
    version: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.sentinels < max(self.rows, 1):
            raise ValueError(f"of {self.rows} rows, {self.sentinels} cannot be sentinels")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"a query needs at least one row and column, got {self.rows} x {self.columns}")
        if not 0 < self.clip_norm < float("inf"):
            raise ValueError(f"clip_norm must be a positive number, got {self.clip_norm}")

    @property
    def titles(self) -> int:
        """Rows that stand for titles."""
        return self.rows - self.sentinels

    @property
    def dimension(self) -> int:
        """Number of coordinates of the answer."""
        return self.rows * self.columns
