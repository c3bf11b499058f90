"""The parts of a report that say what was checked, what was not, and what that would take. Pure."""

from dataclasses import dataclass

from backrow.privacy.audit.budget import Prefixes
from backrow.privacy.audit.crowd import Compared
from backrow.privacy.audit.findings import Fault, Findings, counted
from backrow.privacy.audit.model import Check, Closing, Cosigned, Kept, RoundRow, SentinelTest, State, Topic
from backrow.privacy.audit.story import Reserved, Story
from backrow.privacy.audit.trust import Trust
from backrow.privacy.ledger.entries import FindingEntry, OptOutEntry
from backrow.privacy.ledger.parts import Basis, Stamp
from backrow.privacy.ledger.releases import mechanism_of, sensitivity_of

_SIGNATURES = (Fault.WRONG_KEY, Fault.SIGNATURE, Fault.CHECKPOINT_SIGNATURE, Fault.CHECKPOINT)
_OBSERVERS = (Fault.ROLLED_BACK, Fault.FORKED)
_VALUES = (Fault.CHANGED_VALUES, Fault.OTHER_SENTINELS, Fault.MISSING_VALUES)
_TENS = {
    3: Topic.RULES,
    4: Topic.ORDER,
    5: Topic.BUDGET,
    6: Topic.CROWD,
    7: Topic.MODELS,
    8: Topic.SENTINELS,
    9: Topic.WITNESSES,
}


@dataclass(frozen=True, slots=True)
class Done:
    """What an audit could do.

    Attributes:
        whole: the files are whole and signed; otherwise nothing that they say was judged.
        judged: the entries were judged against usable rules.
        seen: how many checkpoints of others were compared.
        witnesses: how many witnesses' keys were at hand.
        cosigned, strangers: those of them who have cosigned, and names on the checkpoint without a key at hand.
        compared: what the pseudonym lists allowed; None: they were not handed over, or nothing was judged.
        bundle: what was compared, in words; empty if there was none.
        kept: the released integers.
    """

    whole: bool
    judged: bool
    trust: Trust
    seen: int
    witnesses: int
    cosigned: tuple[Cosigned, ...]
    strangers: tuple[str, ...]
    compared: Compared | None
    bundle: str
    tests: tuple[SentinelTest, ...]
    kept: Kept


def topic_of(fault: Fault) -> Topic:
    """The check that finds a fault."""
    if fault in _SIGNATURES:
        return Topic.SIGNATURES
    if fault in _OBSERVERS:
        return Topic.OBSERVERS
    if fault in (Fault.LISTS, Fault.OPTED_OUT, Fault.DROPPED, Fault.STATEMENT):
        return Topic.LISTS
    if fault in _VALUES:
        return Topic.VALUES
    if fault is Fault.SCHEDULE_OVER_BUDGET:
        return Topic.BUDGET
    return _TENS.get(fault.exit_code // 10, Topic.STRUCTURE)


def checks_of(done: Done, story: Story, found: Findings) -> tuple[Check, ...]:
    """One line per topic."""
    failed = {topic_of(finding.fault) for finding in found.all()}
    return tuple(_check(topic, done, story, topic in failed) for topic in Topic)


def _check(topic: Topic, done: Done, story: Story, failed: bool) -> Check:
    sentence, checked = _sentence(topic, done, story)
    state = State.FAILED if failed else State.PASSED if checked else State.NOT_CHECKED
    return Check(topic, state, sentence)


def _sentence(topic: Topic, done: Done, story: Story) -> tuple[str, bool]:
    """What was done for a topic, and whether it was."""
    match topic:
        case Topic.STRUCTURE:
            return "every line is an entry in its place, in time, under the checkpoint's root", True
        case Topic.SIGNATURES:
            if done.trust.key is None:
                return "no public key was at hand", False
            whose = "the pinned key" if done.trust.pinned else "the key that the run itself names (not pinned)"
            return f"every entry and the checkpoint, with {whose}", True
        case _ if not done.whole:
            return "not asked, because the files are not whole", False
        case Topic.OBSERVERS:
            if not done.seen:
                hidden = "a rollback" if done.cosigned else "a rollback or a second ledger"
                return f"nobody else's checkpoint was at hand: {hidden} would not show", False
            return f"the ledger extends the {done.seen} checkpoints that others have seen", True
        case Topic.WITNESSES:
            return _witnesses(done), bool(done.cosigned)
        case Topic.RULES:
            return "policy, its file, stamps, unit and adjacency", story.policy is not None
        case _ if not done.judged:
            return "not asked, because there are no rules to hold the ledger against", False
        case Topic.ORDER:
            return f"{len(story.reserves)} reservations: each first, on schedule, closed at most once", True
        case Topic.BUDGET:
            return "epsilon at every prefix in closed form and by Renyi DP, the whole by quadrature and PLD too", True
        case Topic.CROWD:
            return f"{len(story.releases)} releases: survivors, minimum, and opt-outs by their roots", True
        case Topic.LISTS:
            if done.compared is None:
                return (
                    "pseudonym lists and their key were not handed over: that the lists are disjoint is unchecked",
                    False,
                )
            return _lists(done.compared), True
        case Topic.MODELS:
            published = counted(len(story.publications), "publication", "publications")
            return f"{published}; {done.bundle or 'no bundle at hand'}", True
        case Topic.SENTINELS:
            if not done.tests:
                return "the ledger holds no noise measurements", False
            pooled = done.tests[0]
            return (
                f"{pooled.coordinates:,} measurements: {100 * pooled.ratio:.4g} % of the claimed standard deviation "
                f"(p = {pooled.p_value:.2g})",
                True,
            )
        case Topic.VALUES:
            return _values(done.kept), bool(done.kept.there)


def _lists(compared: Compared) -> str:
    said = f"{compared.releases} of {compared.of} releases compared with the opt-outs, person by person"
    statements, committed, left, receipts = compared.heard
    if statements is None:
        said += "; the signed statements behind the lists were not handed over"
    else:
        gone = "nobody left a list" if not left else f"somebody left a list {counted(left, 'time', 'times')}"
        said += f"; {counted(statements, 'signed statement', 'signed statements')}: {gone}"
        said += "" if committed or not statements else "; the ledger does not commit to them, nor to when they came"
    return said + (f"; {counted(receipts, 'receipt of an owner', 'receipts of owners')}" if receipts else "")


def _witnesses(done: Done) -> str:
    names = ", ".join(each.name for each in done.cosigned)
    unknown = f"; cosigned in names whose keys are not at hand: {', '.join(done.strangers)}" if done.strangers else ""
    match len(done.cosigned):
        case 0 if done.witnesses:
            named = "the witness named has not" if done.witnesses == 1 else f"none of {done.witnesses} witnesses has"
            return f"no independent witness stands behind this checkpoint: {named} cosigned it{unknown}"
        case 0:
            alone = "" if done.strangers else ": nobody but the coordinator has signed it"
            return f"no independent witness is known to stand behind this checkpoint{alone}{unknown}"
        case 1:
            return f"1 independent witness stands behind this checkpoint: {names}{unknown}"
        case number:
            return f"{number} independent witnesses stand behind this checkpoint: {names}{unknown}"


def _values(kept: Kept) -> str:
    if not kept.releases:
        return "nothing was released whose integers could be compared"
    if not kept.at_hand:
        return "the released integers are not at hand: the ledger holds their hashes only"
    if not kept.there:
        return f"the folder of released integers holds none of those of {kept.releases} releases"
    return f"integers of {kept.there} of {kept.releases} releases, against their hashes and sentinels in the ledger"


def rows_of(story: Story, sums: Prefixes) -> tuple[RoundRow, ...]:
    """Every reserved round with the auditor's own figures."""
    return tuple(_row(reserved, sums) for reserved in story.reserves)


def _row(reserved: Reserved, sums: Prefixes) -> RoundRow:
    entry, crowd, place = reserved.entry, reserved.crowd, reserved.position
    plan = entry.plan
    return RoundRow(
        reserve=reserved.index,
        close=reserved.close,
        time=reserved.time,
        close_time=reserved.close_time,
        run=plan.run_id,
        round=plan.round,
        purpose=entry.purpose,
        query=plan.query.query.value,
        basis=entry.basis,
        simulated=plan.simulated,
        mechanism=mechanism_of(plan),
        dimension=plan.query.dimension,
        noise_multiplier=plan.noise_multiplier,
        sensitivity=sensitivity_of(plan),
        noise_scale=plan.noise_scale,
        minimum=plan.minimum,
        closing=reserved.closing,
        invited=None if crowd is None else crowd.invited,
        survived=None if crowd is None else crowd.survived,
        sentinels=reserved.sentinels,
        alone=float(sums.alone[place]),
        cumulative=float(sums.together[place]),
        purpose_cumulative=float(sums.purpose[place]),
        rdp_cumulative=float(sums.bound[place]),
        claimed=entry.cumulative,
    )


def needs_of(done: Done, story: Story) -> tuple[str, ...]:
    """Keys and lists that would allow more to be checked."""
    needs = []
    if not done.trust.pinned:
        needs.append(
            "the coordinator's public key, from somewhere else than this run (--key): without it, whoever wrote the "
            "files could have signed them"
        )
    if not done.seen:
        needs.append("a checkpoint that a witness or a device has kept (--seen), against rollbacks and second ledgers")
    if not done.cosigned:
        needs.append("the key of a witness that has cosigned the checkpoint (--witness-key): a party besides the "
                     "coordinator that has seen this ledger grow")  # fmt: skip
    if done.compared is None:
        sealed = sum(1 for _, entry in story.opt_outs.values() if entry.size)
        needs.append(
            f"the key of each pseudonym list, the {len(story.releases)} lists of participants and {sealed} of "
            "opt-outs with their signed statements (--lists): they name pseudonyms, so the coordinator shows them to "
            "an auditor only"
        )
    elif done.compared.heard.statements is None and any(entry.size for _, entry in story.opt_outs.values()):
        needs.append(
            "the signed statements behind the lists of opt-outs (in the file of lists), to see that whoever left a "
            "list, or is to be on it, has said so herself"
        )
    if not done.bundle and story.publications:
        needs.append("the model bundle (--bundle), to compare it with what was published")
    if not done.kept.there and done.kept.releases:
        needs.append("the released integers (--releases), to compare them and their sentinels with the ledger")
    return tuple(needs)


def notes_of(done: Done, story: Story, production: bool) -> tuple[str, ...]:
    """What is no fault and yet worth knowing."""
    notes = []
    if not done.trust.pinned:
        notes.append("The key was not pinned: this shows that the run agrees with itself, not who wrote it.")
    policy = story.policy
    if policy is not None and policy.stamp is Stamp.SIMULATED and not production:
        notes.append("This is a simulation: it protects nobody, and --production refuses it.")
    if policy is not None and policy.epsilon is None:
        notes.append("The rules claim no privacy: there is no budget to keep.")
    open_rounds = [r.index for r in story.reserves if r.closing is Closing.OPEN]
    if open_rounds:
        notes.append(
            f"Entry {open_rounds[-1]} reserves a round that is not closed yet: its budget counts as spent all the same."
        )
    added = next((r.index for r in story.reserves if r.entry.basis is Basis.ADDITION), None)
    if added is not None:
        notes.append(
            f"Rounds were added from entry {added} on: from there everything together is counted by zCDP, the Renyi "
            "bound; closed form and PLD stand beside it for comparison only."
        )
    told = [each for each in story.others if isinstance(each.body, FindingEntry)]
    notes += [
        f"Entry {each.index} records: {each.body.sentence}" for each in told[:20] if isinstance(each.body, FindingEntry)
    ]
    if story.retracted:
        notes.append(f"Withdrawn by the coordinator: entries {', '.join(map(str, sorted(story.retracted)[:20]))}.")
    if done.judged and not any(isinstance(each.body, OptOutEntry) and each.body.size for each in story.others):
        notes.append("Every sealed list of opt-outs is empty.")
    return tuple(notes)
