"""What an audit says: one frozen report, for the command line, the HTML report and machines. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from backrow.privacy.audit.findings import Finding
from backrow.privacy.ledger.entries import PolicyEntry
from backrow.privacy.ledger.parts import Basis, Mechanism, Purpose, Spent
from backrow.privacy.ledger.signed_entry import SignedEntry


class Topic(StrEnum):
    """What is checked, in this order."""

    STRUCTURE = "structure"
    """Lines, places, times, the Merkle root."""
    SIGNATURES = "signatures"
    """Of every entry and of the checkpoint."""
    OBSERVERS = "observers"
    """Against checkpoints that others have seen."""
    WITNESSES = "witnesses"
    """Who else has signed the checkpoint."""
    RULES = "rules"
    """The policy and its file, stamps, unit."""
    ORDER = "order"
    """Reserve first, schedule kept, one close per reserve."""
    BUDGET = "budget"
    """Every epsilon, at every prefix."""
    CROWD = "crowd"
    """Minimum survivors and opt-outs, by numbers and roots."""
    LISTS = "lists"
    """Opt-outs, by the lists themselves."""
    MODELS = "models"
    """Publications and the bundle at hand."""
    SENTINELS = "sentinels"
    """Measured noise."""
    VALUES = "values"
    """The released integers, where they are at hand."""


class State(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One topic.

    Attributes:
        sentence: what was done, or what is needed to do it.
    """

    topic: Topic
    state: State
    sentence: str


class Closing(StrEnum):
    """How a reserved round ended."""

    RELEASED = "released"
    VOID = "void"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One reserved round. Epsilons are the auditor's own figures unless they say `claimed`.

    Attributes:
        reserve, close: indices of its entries; close None while it is open.
        time, close_time: Unix seconds.
        noise_multiplier: 0 claims no privacy.
        sensitivity, noise_scale: in the answer's own unit.
        invited, survived, sentinels: of the release; None if there is none.
        alone, cumulative, purpose_cumulative: exact epsilon of this round, of everything reserved up to it, and
            of that with the same purpose, at the policy's delta; infinity if a round among them has no noise. From
            the first added round on, the last two are counted by zCDP.
        rdp_cumulative: upper bound of `cumulative` by Renyi DP.
        claimed: `cumulative` as the ledger says it.
    """

    reserve: int
    close: int | None
    time: int
    close_time: int | None
    run: str
    round: int
    purpose: Purpose
    query: str
    basis: Basis
    simulated: bool
    mechanism: Mechanism
    dimension: int
    noise_multiplier: float
    sensitivity: float
    noise_scale: float
    minimum: int
    closing: Closing
    invited: int | None
    survived: int | None
    sentinels: int | None
    alone: float
    cumulative: float
    purpose_cumulative: float
    rdp_cumulative: float
    claimed: Spent


@dataclass(frozen=True, slots=True)
class Account:
    """Epsilon of the same rounds, counted independently. Infinity where a round carries no noise.

    Attributes:
        purpose: None for everything together.
        budget: None if there is none.
        closed_form: exact, with scipy.
        with_sampler: closed form by backrow's own quadrature, plus what the integer sampler's error costs.
        pld: by dp-accounting's privacy loss distributions; None where not computed (one purpose of several).
        rdp: by Renyi DP, an upper bound.
        rounds: how many were reserved.
        added: some of them outside the committed schedule: what counts is then `rdp`, which is zCDP's figure.
    """

    purpose: Purpose | None
    budget: float | None
    delta: float
    closed_form: float
    with_sampler: float
    pld: float | None
    rdp: float
    rounds: int
    added: bool = False

    @property
    def epsilon(self) -> float:
        """What these rounds may be said to cost."""
        return self.rdp if self.added else max(self.closed_form, self.with_sampler)


@dataclass(frozen=True, slots=True)
class SentinelTest:
    """Measured noise against claimed noise.

    Attributes:
        release: index of the ReleaseEntry; None for all together.
        ratio: measured over claimed standard deviation.
        p_value: chance that honest noise is as small as this.
        level: below it, it is a finding.
    """

    release: int | None
    coordinates: int
    ratio: float
    p_value: float
    level: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The released integers that a run folder keeps.

    Attributes:
        at_hand: there is a folder for them.
        releases, there: releases of the ledger, and how many of them have their integers in it.
    """

    at_hand: bool
    releases: int
    there: int


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A witness' verified cosignature on the checkpoint.

    Attributes:
        name: what the witness signs as.
        key: public, 32 bytes.
        time: when it had seen the checkpoint, in Unix seconds, by its own word.
    """

    name: str
    key: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one audit found.

    Attributes:
        source: what was verified, as the auditor named it.
        origin: identity of the ledger; empty if it could not be read.
        entries, root: size and Merkle root of what was read.
        key: the public key that was verified against; None if there was none.
        pinned: whether the auditor brought the key herself.
        production: whether production claims were asked for.
        policy: the rules; None if there are none.
        findings: gravest first; empty if all is well.
        checks: one per topic.
        rounds: every reserved round, in order.
        accounts: everything first, then each purpose.
        sentinels: all together first, then each release.
        witnesses: who has cosigned the checkpoint, of those whose keys the auditor brought; one a key.
        others: every entry that is no reservation, release or void, in order.
        needs: keys and lists that would allow more to be checked.
        notes: what is no fault and yet worth knowing.
    """

    source: str
    origin: str
    entries: int
    root: bytes
    key: bytes | None
    pinned: bool
    production: bool
    policy: PolicyEntry | None
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    rounds: tuple[RoundRow, ...]
    accounts: tuple[Account, ...]
    sentinels: tuple[SentinelTest, ...]
    witnesses: tuple[Cosigned, ...]
    others: tuple[SignedEntry, ...]
    needs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """No fault was found in what was checked."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """0, or that of the gravest finding."""
        return min((finding.fault.exit_code for finding in self.findings), default=0)
