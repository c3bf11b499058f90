"""The audit of one ledger: every check, one report. Runs on anyone's laptop, offline; never repairs anything."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from backrow.privacy.audit.budget import Prefixes, check_budget, prefixes
from backrow.privacy.audit.claims import check_claims, check_schedule
from backrow.privacy.audit.crowd import Compared, check_crowd, check_lists
from backrow.privacy.audit.evidence import Evidence, Lists, Seen, Witnesses, open_lines, read_evidence
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.kept import KeptValues
from backrow.privacy.audit.model import Account, Cosigned, Kept, Report, SentinelTest
from backrow.privacy.audit.models import check_bundle, check_publication
from backrow.privacy.audit.noise import Sentinels
from backrow.privacy.audit.observers import check_seen, check_witnesses, strangers
from backrow.privacy.audit.order import check_order
from backrow.privacy.audit.rules import check_policy, check_production, check_rules
from backrow.privacy.audit.story import Story
from backrow.privacy.audit.structure import Structure
from backrow.privacy.audit.summary import Done, checks_of, needs_of, notes_of, rows_of
from backrow.privacy.audit.trust import Trust, resolve
from backrow.privacy.consent import OptOutRequest
from backrow.privacy.errors import DamagedLedgerError, LedgerError
from backrow.privacy.ledger.fork import ForkProof
from backrow.privacy.ledger.signed_entry import SignedEntry

NOBODY = Witnesses()


def verify(
    run: Path,
    key: bytes | None = None,
    production: bool = False,
    lists: Lists | None = None,
    seen: Sequence[Seen] = (),
    bundle: Path | None = None,
    witnesses: Witnesses = NOBODY,
    releases: Path | None = None,
    receipts: Sequence[OptOutRequest] = (),
) -> Report:
    """Audit a run folder, or a bare ledger with its checkpoint beside it.

    Args:
        run: folder, or path of a ledger.jsonl.
        key: the coordinator's public key, 32 bytes, from somewhere else than the run; None: the run's own word
            is taken, and the report says so.
        production: refuse simulations.
        lists: keys and pseudonym lists, if the coordinator handed them over.
        seen: checkpoints that witnesses, devices or others have kept of this ledger.
        bundle: folder of a model bundle; by default the one in the run folder.
        witnesses: whose cosignatures on the checkpoint count, and how many there must be.
        releases: folder of the released integers; by default the one in the run folder.
        receipts: signed opt-outs that owners have kept, to compare with the lists.

    Guarantees: whatever the files hold, the answer is a report; nothing is written.

    Raises:
        LedgerError: what the auditor herself brought (`seen`, `witnesses`) is not of, or not besides, this
            coordinator; or nobody can tell whom a receipt is about.
    """
    return Audit(read_evidence(run, bundle, releases), key, production, lists, seen, witnesses, receipts).run(run)


class Audit:
    """One audit: fed the lines once, in order. `verify` makes one.

    Attributes:
        forks: proofs of forks that `seen` allowed, for anybody.
    """

    def __init__(
        self,
        evidence: Evidence,
        key: bytes | None = None,
        production: bool = False,
        lists: Lists | None = None,
        seen: Sequence[Seen] = (),
        witnesses: Witnesses = NOBODY,
        receipts: Sequence[OptOutRequest] = (),
    ) -> None:
        if receipts and lists is None:
            raise LedgerError("an opt-out that its owner has kept is compared with the lists: name them with --lists")
        self.forks: tuple[ForkProof, ...] = ()
        self._evidence, self._pinned, self._production = evidence, key, production
        self._lists, self._seen, self._witnesses, self._receipts = lists, seen, witnesses, receipts
        self._found = Findings()
        self._untrue = Findings()
        self._story, self._sentinels, self._kept = Story(), Sentinels(), KeptValues(evidence.releases)

    def run(self, path: Path) -> Report:
        """Audit the ledger at this path."""
        try:
            with open_lines(path) as lines:
                return self.over(lines)
        except OSError as problem:
            return self._unreadable(f"{problem.filename or path}: {problem.strerror}")

    def over(self, lines: Iterable[bytes]) -> Report:
        """Audit these lines, each with its newline."""
        source = iter(lines)
        try:
            first = next(source, b"")
        except DamagedLedgerError as problem:
            return self._unreadable(str(problem))
        trust = resolve(first.removesuffix(b"\n"), self._pinned, self._evidence.public, self._found)
        structure = Structure(trust.key, self._evidence.note, self._found)
        try:
            with _undisturbed():
                for index, signed in structure.feed(chain([first] if first else [], source)):
                    self._take(signed, index)
        except (DamagedLedgerError, OSError) as problem:
            self._found.add(Fault.UNREADABLE, f"The ledger cannot be read beyond its beginning ({problem}).")
        structure.finish()
        return self._report(trust, structure)

    def _unreadable(self, problem: str) -> Report:
        self._found.add(Fault.UNREADABLE, f"The ledger cannot be read ({problem}).")
        return self._report(Trust(self._pinned, self._pinned is not None), Structure(None, b"", Findings()))

    def _take(self, signed: SignedEntry, index: int) -> None:
        for check in (check_rules, check_schedule, check_order, check_claims, check_crowd, check_publication):
            check(signed, index, self._story, self._untrue)
        self._sentinels.check(signed, index, self._untrue)
        self._kept.check(signed, index)
        self._story.tell(signed, index)

    def _report(self, trust: Trust, structure: Structure) -> Report:
        found, story = self._found, self._story
        whole = not found
        if whole and self._seen and trust.key is not None:
            self.forks = check_seen(self._seen, trust.key, structure.signed, structure.tree, found)
        cosigned: tuple[Cosigned, ...] = ()
        unknown: tuple[str, ...] = ()
        if whole and trust.key is not None and (note := self._evidence.note) is not None:
            cosigned = check_witnesses(note, trust.key, self._witnesses, found)
            unknown = strangers(note, trust.key, self._witnesses)
        policy = story.policy
        sums: Prefixes | None = None
        accounts: tuple[Account, ...] = ()
        tests: tuple[SentinelTest, ...] = ()
        compared: Compared | None = None
        bundle, kept = "", Kept(False, 0, 0)
        if whole and policy is None:
            found.add(Fault.NO_POLICY, "The ledger does not begin with the rules it is to keep.", 0)
        elif whole and policy is not None and check_policy(policy, self._evidence.policy, self._evidence.bare, found):
            if self._production:
                check_production(policy, found)
            sums = prefixes(story, policy.delta)
            accounts = check_budget(story, policy, sums, self._untrue)
            tests = self._sentinels.finish(self._untrue)
            kept = self._kept.finish(self._untrue)
            if self._lists is not None:
                compared = check_lists(self._lists, story, self._untrue, self._receipts)
            if self._evidence.bundle is not None:
                bundle = check_bundle(self._evidence.bundle, story, self._untrue)
            found.absorb(self._untrue)
        done = Done(
            whole=whole,
            judged=sums is not None,
            trust=trust,
            seen=len(self._seen),
            witnesses=len(self._witnesses.keys),
            cosigned=cosigned,
            strangers=unknown,
            compared=compared,
            bundle=bundle,
            tests=tests,
            kept=kept,
        )
        return Report(
            source=self._evidence.source,
            origin=structure.origin,
            entries=structure.tree.size,
            root=structure.tree.root(),
            key=trust.key,
            pinned=trust.pinned,
            production=self._production,
            policy=policy,
            findings=found.all(),
            checks=checks_of(done, story, found),
            rounds=rows_of(story, sums) if sums is not None else (),
            accounts=accounts,
            sentinels=tests,
            witnesses=cosigned,
            others=tuple(story.others),
            needs=needs_of(done, story),
            notes=notes_of(done, story, self._production),
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the cycle collector, which would look through 100,000 entries again and again: they hold no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
