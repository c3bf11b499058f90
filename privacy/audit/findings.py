"""Every fault that an audit can name: a closed set, each with its own exit code. Names and codes never change."""

from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """One class of fault: its name, the exit code of `backrow audit verify`, and what it means.

    Codes are grouped by ten: 10 and 20 files and signatures, 30 rules and stamps, 40 order, 50 budget,
    60 people, 70 models, 80 noise and released integers, 90 witnesses. Where an audit has several findings, it exits
    with the smallest code.
    """

    UNREADABLE = ("unreadable-ledger", 10, "A file of the ledger is missing, or cannot be read.")
    EMPTY = ("empty-ledger", 11, "The ledger has no entry.")
    MALFORMED = ("malformed-entry", 12, "A line is not an entry in its one canonical form.")
    UNKNOWN = ("unknown-entry", 13, "An entry is of a kind or version that this program does not know.")
    UNFINISHED = ("unfinished-line", 14, "The last line breaks off.")
    REMOVED = ("entry-removed", 15, "An entry that was there is missing between others.")
    REPEATED = ("entry-repeated", 16, "An entry stands in the ledger twice.")
    MOVED = ("entry-moved", 17, "Entries do not stand in the order in which they were signed.")
    FOREIGN = ("foreign-entry", 18, "An entry was signed for another ledger.")
    CLOCK = ("clock-backwards", 19, "An entry is dated before the one that precedes it.")
    CUT_OFF = ("entries-cut-off", 20, "The ledger has fewer entries than its checkpoint covers.")
    UNCOVERED = ("entries-uncovered", 21, "Entries follow that no checkpoint covers.")
    REWRITTEN = ("rewritten-history", 22, "The entries are not those that the checkpoint was signed for.")
    CHECKPOINT = ("damaged-checkpoint", 23, "The checkpoint is not a readable signed note.")
    WRONG_KEY = ("wrong-key", 24, "The ledger is of another coordinator than the one whose key is pinned.")
    SIGNATURE = ("bad-signature", 25, "An entry was changed after it was signed, or signed by somebody else.")
    CHECKPOINT_SIGNATURE = ("checkpoint-signature", 26, "The checkpoint is not signed by the coordinator.")
    ROLLED_BACK = ("rolled-back", 27, "The coordinator has shown more entries before than it shows now.")
    FORKED = ("forked", 28, "The coordinator has signed two ledgers that contradict one another.")

    NO_POLICY = ("missing-policy", 30, "The ledger, or the run folder, does not state the rules it is to keep.")
    POLICY_CHANGED = ("policy-changed", 31, "The rules were changed after the ledger had begun.")
    POLICY_MISMATCH = ("policy-mismatch", 32, "policy.toml does not say what the ledger's first entry says.")
    SCHEDULE_OVER_BUDGET = ("schedule-over-budget", 33, "A committed schedule costs, or allows itself, too much.")
    SIMULATED = ("simulated-as-production", 34, "A simulation is offered as protection of real people.")
    STAMP = ("stamp-contradiction", 35, "An entry is stamped otherwise than its ledger or its own noise.")
    UNIT = ("unit-changed", 36, "An entry counts privacy in another unit or adjacency than the rules.")

    UNRESERVED = ("unreserved-release", 40, "Something was closed for which no budget had been reserved.")
    CLOSED_TWICE = ("closed-twice", 41, "One reservation was used for more than one release.")
    LEFT_OPEN = ("left-open", 42, "A round was begun while the one before it had not been closed.")
    OFF_SCHEDULE = ("off-schedule", 43, "A round is not the next one of the committed schedule.")
    ADDITION = ("addition-refused", 44, "A round was added although the rules allow none.")
    DIFFERS = ("release-differs", 45, "A release is not of the round that was reserved for it.")
    DANGLING = ("dangling-reference", 46, "An entry speaks of another that is not there.")

    BUDGET = ("budget-exceeded", 50, "More of the budget was reserved than the rules allow.")
    PURPOSE_BUDGET = ("purpose-budget-exceeded", 51, "More was reserved for one purpose than the rules allow.")
    FILTER = ("filter-exceeded", 52, "Added rounds cost more, counted as added rounds must be, than is allowed.")
    UNDERSTATED = ("understated-epsilon", 53, "An epsilon is claimed that is smaller than the true one.")
    MISSTATED = ("misstated-epsilon", 54, "An epsilon is missing, or larger than its releases can explain.")
    NOISE = ("misstated-noise", 55, "The noise that is claimed is not the noise that the plan implies.")
    SENSITIVITY = ("misstated-sensitivity", 56, "The influence of one person is not the one that the plan implies.")
    COVER = ("misstated-cover", 57, "An epsilon names another delta, or another number of releases.")
    ACCOUNTANTS = ("accountants-disagree", 58, "Independent calculations of epsilon do not agree.")
    UNFIT = ("unfit-accountant", 59, "An epsilon is counted in a way that does not hold where rounds are added.")

    SURVIVORS = ("too-few-survivors", 60, "A sum of fewer people than the stated minimum was released.")
    MINIMUM = ("minimum-lowered", 61, "A round's minimum is lower than the rules demand.")
    CROWD = ("impossible-crowd", 62, "The numbers of people contradict one another.")
    PARTICIPATION = ("repeated-participation", 63, "One person may count more than once in a single sum.")
    OPT_OUTS = ("stale-opt-outs", 64, "A round was not checked against the latest list of those who opted out.")
    LISTS = ("list-mismatch", 65, "A list or key that was handed over is not the one in the ledger.")
    OPTED_OUT = ("opted-out-took-part", 66, "Somebody who had opted out was asked to take part.")
    DROPPED = ("opt-out-dropped", 67, "A signed opt-out does not stand, although its signer has not taken it back.")
    STATEMENT = ("forged-statement", 68, "A statement about opting out is not one that its device has signed so.")

    UNBACKED = ("unbacked-publication", 70, "A model was published without releases of this ledger to show for it.")
    CHANGED_BUNDLE = ("changed-bundle", 71, "The model at hand is not the model whose publication was recorded.")
    UNPUBLISHED = ("unpublished-bundle", 72, "There is a model at hand, but the ledger records no publication of it.")

    QUIET = ("noise-too-small", 80, "The measured noise is smaller than the claimed noise.")
    SENTINELS = ("sentinels-missing", 81, "A release does not show the noise measurements that its plan commits to.")
    CHANGED_VALUES = ("changed-values", 82, "The integers kept of a release are not those that were recorded.")
    OTHER_SENTINELS = ("other-sentinels", 83, "A release shows noise measurements that are not in its own integers.")
    MISSING_VALUES = ("values-missing", 84, "The integers of some releases are kept, those of others are missing.")

    COSIGNATURE = ("bad-cosignature", 90, "A cosignature on the checkpoint is not by the witness that it names.")
    WITNESSES = ("too-few-witnesses", 91, "Fewer witnesses have cosigned the checkpoint than were demanded.")

    def __init__(self, label: str, exit_code: int, meaning: str) -> None:
        self.label = label
        self.exit_code = exit_code
        self.meaning = meaning

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, found.

    Attributes:
        entries: indices of the entries it is about, from 0; empty if it is about a file.
        sentence: what was found, for people who read contracts rather than code.
    """

    fault: Fault
    entries: tuple[int, ...]
    sentence: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.sentence}"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


MOST_ALIKE = 20
"""Findings of one fault that are kept; the others are counted."""


class Findings:
    """Collects what an audit finds; the first few of each fault, and how many more there are."""

    def __init__(self) -> None:
        self._kept: dict[Fault, list[Finding]] = {}
        self._more: dict[Fault, list[int]] = {}

    def add(self, fault: Fault, sentence: str, *entries: int) -> None:
        """Note a fault."""
        kept = self._kept.setdefault(fault, [])
        if len(kept) < MOST_ALIKE:
            kept.append(Finding(fault, entries, sentence))
        else:
            self._more.setdefault(fault, []).append(entries[0] if entries else -1)

    def __contains__(self, fault: Fault) -> bool:
        return fault in self._kept

    def __bool__(self) -> bool:
        return bool(self._kept)

    def absorb(self, others: "Findings") -> None:
        """Take over what another collection holds."""
        for fault, kept in others._kept.items():
            for finding in kept:
                self.add(fault, finding.sentence, *finding.entries)
            self._more.setdefault(fault, []).extend(others._more.get(fault, []))

    def all(self) -> tuple[Finding, ...]:
        """Every finding, the gravest fault (the smallest exit code) first."""
        found: list[Finding] = []
        for fault in sorted(self._kept, key=lambda each: each.exit_code):
            found += self._kept[fault]
            if more := self._more.get(fault):
                where = tuple(sorted({entry for entry in more if entry >= 0})[:MOST_ALIKE])
                found.append(Finding(fault, where, f"The same was found {len(more)} more times."))
        return tuple(found)
