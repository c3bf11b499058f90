"""Query schemas: the bounded vectors that may leave a device, and nothing else may."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Query(StrEnum):
    """Every question a coordinator can ask. A device refuses names it does not know."""

    POPULARITY = "popularity"
    RECENT = "recent"
    SUBSPACE = "subspace"
    GRADIENT = "gradient"
    SEQUENCE = "sequence"
    EVAL = "eval"


class Metric(StrEnum):
    """The rows of an evaluation, in order. Each is in 0..1; all are 0 for a device without a fresh title."""

    EVALUATED = "evaluated"
    """1 for a device that watched a fresh title, one that the model was not made from."""
    HIT = "hr@10"
    """1 if that title is among the first ten of the device's own ranking."""
    NDCG = "ndcg@10"
    """1 / log2(rank + 2) if it is, its rank counted from 0."""
    POPULAR_HIT = "popular hr@10"
    """The same in the order of popularity."""
    POPULAR_NDCG = "popular ndcg@10"


@dataclass(frozen=True, slots=True)
class QuerySchema:
    """The shape and bound of one query's answer.

    Attributes:
        query: which question.
        rows: titles in the public catalogue (of an evaluation: its metrics), and after them the sentinels.
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
        """Rows that stand for titles; of an evaluation: for metrics."""
        return self.rows - self.sentinels

    @property
    def over_titles(self) -> bool:
        """Whether the rows are titles."""
        return self.query is not Query.EVAL

    @property
    def dimension(self) -> int:
        """Number of coordinates of the answer."""
        return self.rows * self.columns


def evaluation_schema() -> QuerySchema:
    """Schema of an evaluation: metrics in 0..1, whose L2 norm is at most the root of how many there are."""
    return QuerySchema(Query.EVAL, len(Metric), 1, clip_norm=math.sqrt(len(Metric)))
