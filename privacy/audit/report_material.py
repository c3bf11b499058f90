"""Everything a report is written from: the audit, what signed entries add, attacks, and the operator's own words."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backrow.privacy.audit.evidence import open_lines
from backrow.privacy.audit.model import Account, Closing, Report, RoundRow
from backrow.privacy.audit.report_attacks import Attacks
from backrow.privacy.audit.report_parts import Gap, Piece, Ref, Terms, Words
from backrow.privacy.errors import BackrowError, DamagedLedgerError, LedgerError
from backrow.privacy.ledger.entries import ReleaseEntry, ReserveEntry, ScheduleEntry, VoidEntry
from backrow.privacy.ledger.parts import Crowd, Provenance, Stamp
from backrow.privacy.ledger.signed_entry import SignedEntry, open_entry
from backrow.privacy.plan import RoundPlan

FIRST_ROUNDS, LAST_ROUNDS, ODD_ROUNDS, OTHERS = 60, 20, 40, 120
"""How much of a long ledger a page shows: rounds at both ends and those that released nothing; other entries."""

STATEMENTS = {
    "name": "name of the deployment",
    "controller": "controller, and how to reach it",
    "officer": "data protection officer",
    "intended_use": "what the releases are used for",
    "region": "region",
    "sector": "sector",
    "curator_type": "kind of organisation",
    "recipients": "further recipients",
    "transfers": "transfers to other countries",
    "retention": "how long edges and coordinator keep what they receive",
    "other_releases": "what else is published about the same people",
    "devices_per_person": "how many devices one person has",
    "tuning": "what was tuned on whose data before the first round",
    "utility": "how useful the releases are",
    "bias": "who is served worse because of the noise",
    "side_channels": "timing and other side channels",
    "custody": "who holds the signing key and the pseudonym key",
}
"""What no ledger can know and an operator may state; a file of these is not checked by anybody."""


@dataclass(frozen=True, slots=True)
class Released:
    """What a release entry says beyond `RoundRow`."""

    crowd: Crowd
    provenance: Provenance
    accountant: str


@dataclass(frozen=True, slots=True)
class Details:
    """What entries say beyond the audit's report, by their index.

    Attributes:
        plans: of reserved rounds.
        voids: reasons.
    """

    plans: Mapping[int, RoundPlan] = field(default_factory=dict)
    releases: Mapping[int, Released] = field(default_factory=dict)
    voids: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[SignedEntry]) -> "Details":
        """Read every entry once; the long lists of measured noise are let go."""
        plans: dict[int, RoundPlan] = {}
        releases: dict[int, Released] = {}
        voids: dict[int, str] = {}
        for signed in entries:
            match signed.body:
                case ReserveEntry(plan=plan):
                    plans[signed.index] = plan
                case ReleaseEntry() as body:
                    accountant = f"{body.accountant} {body.accountant_version}"
                    releases[signed.index] = Released(body.crowd, body.provenance, accountant)
                case VoidEntry(reason=reason):
                    voids[signed.index] = reason
                case _:
                    pass
        return cls(plans, releases, voids)


def signed_entries(run: Path, key: bytes | None) -> Iterator[SignedEntry]:
    """The entries of a ledger that this key has signed; others are left out, which `verify` has named."""
    if key is None:
        return
    try:
        with open_lines(run) as lines:
            for line in lines:
                try:
                    yield open_entry(line.removesuffix(b"\n"), key)
                except BackrowError:
                    continue
    except (OSError, DamagedLedgerError):
        return


def parse_statements(data: bytes) -> dict[str, str]:
    """An operator's own words: a TOML file of some of the keys of `STATEMENTS`, each a text.

    Raises:
        LedgerError: it is none.
    """
    known = f"known are {', '.join(STATEMENTS)}"
    try:
        read = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as problem:
        raise LedgerError(f"the operator's statements are not TOML ({problem}): {known}") from None
    for key, value in read.items():
        if key not in STATEMENTS:
            raise LedgerError(f"the operator's statements name {key!r}, which no report asks for: {known}")
        if not isinstance(value, str) or not value.strip():
            raise LedgerError(f"the operator's statement {key!r} must be a text")
    return read


@dataclass(frozen=True, slots=True)
class Material:
    """All of it, with the anchors that the page will have."""

    report: Report
    details: Details
    attacks: Attacks | None
    statements: Mapping[str, str]

    @property
    def terms(self) -> Terms | None:
        """What stands beside every epsilon; None where no rules were read."""
        return None if self.report.policy is None else Terms.of(self.report.policy)

    @property
    def total(self) -> Account | None:
        """Everything together; None where nothing was counted."""
        return next((account for account in self.report.accounts if account.purpose is None), None)

    @property
    def simulated(self) -> bool:
        """Whether the noise protects nobody."""
        return self.report.policy is not None and self.report.policy.stamp is Stamp.SIMULATED

    @property
    def plans(self) -> tuple[RoundPlan, ...]:
        """Of every reserved round, or, where the entries are not at hand, of every committed one."""
        if self.details.plans:
            return tuple(self.details.plans.values())
        schedules = [each.body.schedule for each in self.report.others if isinstance(each.body, ScheduleEntry)]
        return tuple(plan for schedule in schedules for plan in schedule.rounds)

    @property
    def times(self) -> tuple[int, ...]:
        """First and last time in the ledger; empty if there is none."""
        times = [each.time for each in self.report.others]
        times += [row.time for row in self.report.rounds]
        times += [row.close_time for row in self.report.rounds if row.close_time is not None]
        return (min(times), max(times)) if times else ()

    @property
    def shown_rounds(self) -> tuple[RoundRow, ...]:
        """All rounds, or of a long ledger both ends and what released nothing."""
        rounds = self.report.rounds
        if len(rounds) <= FIRST_ROUNDS + LAST_ROUNDS:
            return rounds
        odd = [row for row in rounds if row.closing is not Closing.RELEASED][:ODD_ROUNDS]
        chosen = {row.reserve for row in (*rounds[:FIRST_ROUNDS], *odd, *rounds[-LAST_ROUNDS:])}
        return tuple(row for row in rounds if row.reserve in chosen)

    @property
    def shown_others(self) -> tuple[SignedEntry, ...]:
        """Other entries, as many as a page shows; each place once."""
        return tuple({each.index: each for each in reversed(self.report.others[:OTHERS])}.values())[::-1]

    @property
    def anchors(self) -> frozenset[int]:
        """Entries that the page shows."""
        rounds = {index for row in self.shown_rounds for index in (row.reserve, row.close) if index is not None}
        return frozenset(rounds | {each.index for each in self.shown_others})

    def entry(self, index: int, anchors: frozenset[int], text: str | None = None) -> Piece:
        """A link to an entry, or its words where the page does not show it."""
        said = f"entry {index}" if text is None else text
        return Ref(said, f"entry-{index}") if index in anchors else said

    def stated(self, key: str) -> Words:
        """The operator's own words, named as such, or a gap."""
        if key in self.statements:
            return (self.statements[key], " (stated by the operator; not checked)")
        assert key in STATEMENTS, key
        return (Gap("not answered: for the operator to state"),)
