"""Words and parts that entries of the ledger are made of. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum

from backrow.privacy.ledger.tree import HASH_BYTES

LONGEST_TEXT = 1000
"""Characters of a reason or sentence, at most."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Purpose(StrEnum):
    """What a release is for; each may have a budget of its own."""

    TRAIN = "train"
    TRENDS = "trends"
    EXPERIMENTS = "experiments"
    FEEDBACK = "feedback"


class Stamp(StrEnum):
    """Whether a ledger's noise protects anybody. One stamp for a whole ledger."""

    SIMULATED = "simulated"
    PRODUCTION = "production"


class Additions(StrEnum):
    """What happens to a release outside the committed schedule."""

    REFUSED = "refused"
    ZCDP = "zcdp"
    """Allowed while a zCDP filter over everything stays within the budget."""


class Basis(StrEnum):
    """Why a round may be asked."""

    SCHEDULED = "scheduled"
    ADDITION = "addition"


class Mechanism(StrEnum):
    """How a released sum was noised."""

    ROUNDED_GAUSSIAN = "rounded-gaussian"
    """One integer draw per coordinate on the integer sum (docs/mechanisms.md)."""
    FLOAT_GAUSSIAN = "float-gaussian"
    """Floating point, by Opacus, in shares; simulation only."""
    DISCRETE_GAUSSIAN_SHARES = "discrete-gaussian-shares"
    """One integer draw per coordinate and device, added before anybody sees the sum (docs/noise-shares.md)."""
    CORRELATED_GAUSSIAN = "correlated-rounded-gaussian"
    """The same, made from the draws of a whole sequence of releases (docs/continual.md)."""
    NONE = "none"


class Sampling(StrEnum):
    """Who is asked."""

    EVERYBODY = "everybody"
    """Every eligible device; no amplification is claimed."""


@dataclass(frozen=True, slots=True)
class Spent:
    """An epsilon with what it covers.

    Attributes:
        releases: how many.
    """

    epsilon: float | None
    delta: float
    releases: int


@dataclass(frozen=True, slots=True)
class PurposeBudget:
    """The most that the releases of one purpose may cost together, at the policy's delta."""

    purpose: Purpose
    epsilon: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """Whom a release covers.

    Attributes:
        invited, survived: devices asked, and in the sum.
        minimum: fewest survivors with which it would have been released.
        neighbours, threshold: k and t of the secure sum; None where an edge is trusted.
        participation_bound: most answers of one device in this sum.
        participants_size, participants_root: commitment to the pseudonyms of everyone invited.
        opt_out_root, opt_out_time: the suppression list that they were checked against, and its entry's time: the
            last that was sealed before this release.
        survivors_root: commitment to the pseudonyms of those in the sum, as frozen; None where an edge adds, and who
            is in the sum is not known: then everyone invited counts as such.
    """

    invited: int
    survived: int
    minimum: int
    neighbours: int | None
    threshold: int | None
    sampling: Sampling
    participation_bound: int
    participants_size: int
    participants_root: bytes
    opt_out_root: bytes
    opt_out_time: int
    survivors_root: bytes | None = None

    def __post_init__(self) -> None:
        check_counts(invited=self.invited, survived=self.survived, minimum=self.minimum)
        check_counts(participation_bound=self.participation_bound, participants_size=self.participants_size)
        check_counts(neighbours=self.neighbours or 0, threshold=self.threshold or 0, opt_out_time=self.opt_out_time)
        check_hashes(participants_root=self.participants_root, opt_out_root=self.opt_out_root)
        if self.survivors_root is not None:
            check_hashes(survivors_root=self.survivors_root)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a release, as hashes.

    Attributes:
        model_in, model_out: the public model before and after; None where no model is trained.
        config, code, dependencies: of the run's settings, the coordinator's code and its dependency lock.
    """

    model_in: bytes | None
    model_out: bytes | None
    config: bytes
    code: bytes
    dependencies: bytes

    def __post_init__(self) -> None:
        check_hashes(config=self.config, code=self.code, dependencies=self.dependencies)
        for name, model in (("model_in", self.model_in), ("model_out", self.model_out)):
            if model is not None:
                check_hashes(**{name: model})


def check_hashes(**values: bytes) -> None:
    """Refuse what is no SHA-256."""
    for name, value in values.items():
        if len(value) != HASH_BYTES:
            raise ValueError(f"{name}: a hash has {HASH_BYTES} bytes, got {len(value)}")


def check_counts(**values: int) -> None:
    """Refuse negative numbers."""
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}: a count is at least 0, got {value}")


def check_texts(**values: str) -> None:
    """Refuse empty, long and unprintable text."""
    for name, value in values.items():
        if not 0 < len(value) <= LONGEST_TEXT or _CONTROL.search(value):
            raise ValueError(f"{name}: 1 to {LONGEST_TEXT} characters without line breaks, got {value[:80]!r}")
