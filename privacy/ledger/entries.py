"""What a ledger can say: a closed union of frozen records. Pure; decoded once, at the edge (`signed_entry`).

Records check their shape only. Whether what they say is true (an epsilon, an order, a budget) is the
auditor's question, who must be able to read a lie to name it.

Hashes are SHA-256, 32 bytes; times are Unix seconds; an epsilon of None claims no privacy.
"""

from dataclasses import dataclass

from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.parts import (
    Additions,
    Basis,
    Crowd,
    Mechanism,
    Provenance,
    Purpose,
    PurposeBudget,
    Spent,
    Stamp,
    check_counts,
    check_hashes,
    check_texts,
)
from backrow.privacy.plan import RoundPlan, Schedule
from backrow.privacy.signing import PUBLIC_KEY_BYTES
from backrow.privacy.units import Adjacency, PrivacyUnit


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """The rules of the ledger; its first entry.

    Attributes:
        policy: hash of policy.toml.
        coordinator: the public key that signs entries and checkpoints, 32 bytes.
        epsilon, delta: budget of everything together.
        purposes: further budgets, each at the same delta.
        minimum: the smallest cohort that any sum may cover.
    """

    policy: bytes
    coordinator: bytes
    stamp: Stamp
    unit: PrivacyUnit
    adjacency: Adjacency
    epsilon: float | None
    delta: float
    purposes: tuple[PurposeBudget, ...]
    additions: Additions
    minimum: int

    def __post_init__(self) -> None:
        check_hashes(policy=self.policy)
        check_counts(minimum=self.minimum)
        if len(self.coordinator) != PUBLIC_KEY_BYTES:
            raise ValueError(f"coordinator: a public key has {PUBLIC_KEY_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """Everything a run may release, committed before its first round.

    Attributes:
        purposes: one for every round.
    """

    schedule: Schedule
    purposes: tuple[Purpose, ...]

    def __post_init__(self) -> None:
        if len(self.purposes) != len(self.schedule.rounds):
            raise ValueError("a schedule names one purpose for every round")


@dataclass(frozen=True, slots=True)
class EnrolmentEntry:
    """How many devices are enrolled: the N of every denominator.

    Attributes:
        key: commitment to the key of the pseudonym lists from here on (`pseudonyms.key_commitment`).
    """

    devices: int
    key: bytes

    def __post_init__(self) -> None:
        check_counts(devices=self.devices)
        check_hashes(key=self.key)


@dataclass(frozen=True, slots=True)
class OptOutEntry:
    """The suppression list as sealed at this entry's time: no later round may ask anybody on it.

    It binds every release after it, also that of a round which is open now, until the next is sealed.

    Attributes:
        size, root: the commitment to the list (`pseudonyms.Commitment`).
        asked: when the oldest of the requests arrived that no earlier list heeds; None: there is no such.
        statements: digest of the signed statements that made the list (`privacy.statements.digest`), 32 bytes; None:
            no opt-outs are taken, or the entry is of a time before they were committed to.
    """

    size: int
    root: bytes
    asked: int | None = None
    statements: bytes | None = None

    def __post_init__(self) -> None:
        check_counts(size=self.size, asked=self.asked or 0)
        check_hashes(root=self.root, statements=self.root if self.statements is None else self.statements)


@dataclass(frozen=True, slots=True)
class ReserveEntry:
    """A round's budget, set aside before its first message. It stays spent, whatever follows.

    Attributes:
        basis: the committed schedule, or the filter that allowed an addition.
        cumulative: everything reserved so far, this round included.
    """

    purpose: Purpose
    plan: RoundPlan
    basis: Basis
    cumulative: Spent


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """A noisy sum that leaves the coordinator. Make it with `releases.release_entry`.

    Attributes:
        reserve: index of its ReserveEntry.
        plan: run, round, query schema, clip norm, noise multiplier, scale, rounding, where noise is added.
        sensitivity: L2, after rounding, in the answer's own unit.
        noise_scale: standard deviation of the noise on the sum, in the same unit.
        bits: width of the integers that were added.
        values: hash of the released integers.
        sentinels: the raw noisy integers of rows that no device touches, before any post-processing.
        alone, cumulative: what this release costs, and everything reserved up to it.
        accountant, accountant_version: who counted (`releases.CLOSED_FORM` or `ZCDP`).
    """

    reserve: int
    purpose: Purpose
    stamp: Stamp
    plan: RoundPlan
    unit: PrivacyUnit
    adjacency: Adjacency
    mechanism: Mechanism
    sensitivity: float
    noise_scale: float
    bits: int
    crowd: Crowd
    provenance: Provenance
    values: bytes
    sentinels: tuple[Wide, ...]
    alone: Spent
    cumulative: Spent
    accountant: str
    accountant_version: str

    def __post_init__(self) -> None:
        check_counts(reserve=self.reserve, bits=self.bits)
        check_hashes(values=self.values)
        check_texts(accountant=self.accountant, accountant_version=self.accountant_version)


@dataclass(frozen=True, slots=True)
class VoidEntry:
    """A reserved round that released nothing.

    Attributes:
        reserve: index of its ReserveEntry.
    """

    reserve: int
    reason: str

    def __post_init__(self) -> None:
        check_counts(reserve=self.reserve)
        check_texts(reason=self.reason)


@dataclass(frozen=True, slots=True)
class PublicationEntry:
    """A model bundle made from releases of this ledger.

    Attributes:
        releases: indices of their ReleaseEntries.
        manifest, model: hashes of the bundle's manifest and tensors.
        claim: what the model may claim.
    """

    run: str
    releases: tuple[int, ...]
    manifest: bytes
    model: bytes
    claim: Spent

    def __post_init__(self) -> None:
        check_texts(run=self.run)
        check_counts(**{f"release {place}": index for place, index in enumerate(self.releases)})
        check_hashes(manifest=self.manifest, model=self.model)


@dataclass(frozen=True, slots=True)
class FindingEntry:
    """Something an audit or a repair found, kept where it cannot be forgotten.

    Attributes:
        finding: the class of fault, a word.
        entries: indices it is about.
        sentence: what happened, for people.
    """

    finding: str
    entries: tuple[int, ...]
    sentence: str

    def __post_init__(self) -> None:
        check_texts(finding=self.finding, sentence=self.sentence)
        check_counts(**{f"entry {place}": index for place, index in enumerate(self.entries)})


@dataclass(frozen=True, slots=True)
class RetractionEntry:
    """An earlier entry (a publication, a claim) is withdrawn. Nothing is removed, no budget comes back.

    Attributes:
        entry: its index.
    """

    entry: int
    reason: str

    def __post_init__(self) -> None:
        check_counts(entry=self.entry)
        check_texts(reason=self.reason)


Body = (
    PolicyEntry
    | ScheduleEntry
    | EnrolmentEntry
    | OptOutEntry
    | ReserveEntry
    | ReleaseEntry
    | VoidEntry
    | PublicationEntry
    | FindingEntry
    | RetractionEntry
)
