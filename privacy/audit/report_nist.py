"""Answers to what NIST SP 800-226 (March 2025) tells evaluators to look at, each with its evidence.

The publication puts no numbered questions; these are ours, in its order: from epsilon down to how data is collected.
"""

from dataclasses import dataclass

from backrow.privacy.audit.model import State, Topic
from backrow.privacy.audit.report_claim import counted
from backrow.privacy.audit.report_material import Material
from backrow.privacy.audit.report_parts import (
    Block,
    Gap,
    Good,
    Piece,
    Prose,
    Ref,
    Section,
    Table,
    Words,
    count,
    series,
    significant,
)
from backrow.privacy.audit.report_records import same_claim
from backrow.privacy.ledger.entries import OptOutEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Additions, Mechanism
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.units import Adjacency, PrivacyUnit

_TITLE = "Answers to NIST SP 800-226"


@dataclass(frozen=True, slots=True)
class Answer:
    """One question of the evaluation.

    Attributes:
        part: of the pyramid.
        words: a `Gap` among them leaves the question open.
        evidence: where on this page it is shown.
    """

    part: str
    question: str
    words: Words
    evidence: tuple[Piece, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether no gap is left."""
        return not any(isinstance(piece, Gap) for piece in self.words)


def answers(material: Material) -> tuple[Answer, ...]:
    """All of them, in order."""
    return (*_guarantee(material), *_algorithms(material), *_trust(material), *_collection(material))


def nist(material: Material) -> Section:
    """The last section."""
    every = answers(material)
    lines = tuple(
        ((each.part,), (each.question,), each.words, series([(piece,) for piece in each.evidence]) or ("",))
        for each in every
    )
    left = sum(not each.answered for each in every)
    said: Piece = Gap(f"{left} of {len(every)} are open.") if left else Good(f"All {len(every)} are answered.")
    lead = (
        "What NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025), tells an "
        "evaluator to look at, from epsilon down to the collection of data. The publication numbers no questions; the "
        "wording is ours. What neither ledger nor operator answers is red. ",
        said,
    )
    beside: Words = ()
    if material.terms is not None and material.total is not None:
        beside = (f"Every ε here: {material.terms.beside(material.total.rounds)} unless the answer says otherwise.",)
    head = ("part", "question", "answer", "evidence")
    blocks: tuple[Block, ...] = (Prose(lead), Table(_TITLE, head, lines, names=4, foot=beside, wraps=(1, 2)))
    return Section("nist", _TITLE, blocks)


def _guarantee(material: Material) -> tuple[Answer, ...]:
    terms, total, epsilon = material.terms, material.total, counted(material)
    claim, rounds, accounts = Ref("claim", "claim"), Ref("rounds", "rounds"), Ref("accounts", "accounts")
    unknown = Gap("open: the audit could not judge this ledger")
    if terms is None or total is None:
        return tuple(Answer("Parameters", question, (unknown,)) for question in (_EPSILON, _UNIT, _ADJACENCY, _PERIOD))
    committed = any(isinstance(each.body, ScheduleEntry) for each in material.report.others)
    adaptive = material.report.policy is not None and material.report.policy.additions is Additions.ZCDP
    order = "a schedule that was committed before its first round" if committed else "no committed schedule"
    order += ", and additions that a zCDP filter allows" if adaptive else ", and no additions"
    return (
        Answer("Epsilon", _EPSILON, (terms.say(epsilon, total.rounds) + ".",), (claim, accounts)),
        Answer("Epsilon", "Which variant of differential privacy is it?",
               ("Approximate, by Gaussian noise; " + ("counted by zCDP, since rounds were added." if total.added else
                "computed exactly, by PLD, and bounded by Rényi divergence."),),
               (accounts,)),
        Answer("Epsilon", "Is everything that is released counted together?",
               (f"Yes, within this ledger: {count(total.rounds, 'round')}, one budget, {order}.",), (rounds,)),
        Answer("Epsilon", "What else is published about the same people?", material.stated("other_releases")),
        Answer("Unit", _UNIT, (_UNITS[terms.unit],), (claim,)),
        Answer("Unit", _ADJACENCY, (_ADJACENCIES[terms.adjacency],), (claim,)),
        Answer("Unit", "Can one person be several units?",
               ("Yes, with several devices: epsilons add up. How many: ", *material.stated("devices_per_person"))),
        Answer("Unit", _PERIOD, ("For ever; the budget is not refreshed.",),
               (claim, material.entry(0, material.anchors))),
    )  # fmt: skip


_EPSILON = "What are epsilon and delta, and of how many releases?"
_UNIT = "What is the unit of privacy?"
_ADJACENCY = "How do neighbouring data sets differ?"
_PERIOD = "For how long does the guarantee hold?"
_UNITS = {
    PrivacyUnit.DEVICE: "One device with everything it ever answers.",
    PrivacyUnit.EVENT: "One event; a person is many of them, and her epsilon is many times larger.",
}
_ADJACENCIES = {
    Adjacency.ZERO_OUT: "In one the device's answer is empty (zero-out); the number of devices is public in both.",
    Adjacency.ADD_OR_REMOVE: "In one the unit is missing (add-or-remove).",
}


def _algorithms(material: Material) -> tuple[Answer, ...]:
    report, plans = material.report, material.plans
    rounds, sentinels = Ref("rounds", "rounds"), Ref("sentinels", "sentinels")
    bounds = sorted({plan.query.clip_norm for plan in plans})
    norms = ", ".join(significant(bound) for bound in bounds[:6])
    floating = any(row.mechanism is Mechanism.FLOAT_GAUSSIAN for row in report.rounds)
    shares = [plan.noise is Noise.SHARES for plan in plans]
    where = "each device's" if shares and all(shares) else "the coordinator's"
    where += " or each device's" if any(shares) and not all(shares) else ""
    source = "From a seed: this is a simulation." if material.simulated else f"From {where} operating system."
    attacks = material.attacks
    tested: Words = (Gap("open: no attack result was given"),)
    if attacks is not None:
        tested = ("Yes; nothing refuted the claim.",)
        if attacks.findings:
            tested = (Gap("yes, and the claim was refuted"),)
        elif not same_claim(attacks, material):
            tested = (Gap("open: the attack that was given was on another claim"),)
        if attacks.noise_factor != 1:
            tested = (Gap("open: the attack that was given was a demonstration with too little noise"),)
    measured: Words = (Gap("open: nothing was measured"),)
    if report.sentinels:
        pooled = report.sentinels[0]
        measured = (f"Yes: {pooled.coordinates:,} coordinates, {100 * pooled.ratio:.4g} % of the claimed deviation.",)
    return (
        Answer("Mechanism", "How is one contribution bounded?",
               (f"Clipped on the device, L2 norm at most {norms}, one answer a round." if bounds else
                Gap("open: no round"),), (rounds,)),
        Answer("Mechanism", "What noise is added, and is it safe against floating point?",
               (Gap("Gaussian in floating point: not safe, simulation only") if floating else
                "Gaussian, drawn as integers on an integer sum; no floating point is released.",), (rounds,)),
        Answer("Mechanism", "Where does the randomness come from?", (source,), (Ref("claim", "claim"),)),
        Answer("Mechanism", "Is the noise that was added measured?", measured,
               (sentinels,) if report.sentinels else ()),
        Answer("Mechanism", "Was the implementation attacked?", tested, (Ref("attacks", "attacks"),)),
        Answer("Mechanism", "Was it examined for timing and other side channels?", material.stated("side_channels")),
        Answer("Utility", "How useful are the releases?", material.stated("utility")),
        Answer("Bias", "Who is served worse because of the noise?", material.stated("bias")),
        Answer("Bias", "Was anything tuned on private data outside epsilon?", material.stated("tuning")),
    )  # fmt: skip


def _trust(material: Material) -> tuple[Answer, ...]:
    plans = material.plans
    trusted = any(plan.aggregation is Aggregation.TRUSTED for plan in plans)
    once = any(plan.noise in (Noise.ONCE, Noise.CORRELATED) for plan in plans)
    model = "Central, federated: "
    model += "the edge that adds answers is trusted with each of them" if trusted else "nobody sees single answers"
    model += "; the coordinator is trusted to add the noise." if once else "."
    signed = _passed(material, Topic.STRUCTURE) and _passed(material, Topic.SIGNATURES)
    others = ["extends what others have seen"] if _passed(material, Topic.OBSERVERS) else []
    others += [f"cosigned by {', '.join(each.name for each in material.report.witnesses)}"] * _passed(
        material, Topic.WITNESSES
    )
    verification = Ref("verification", "verification")
    alone = Gap("no witness' cosignature and nobody else's checkpoint was compared")
    kept: Words = ("Append-only and signed; ", f"{', '.join(others)}." if others else alone)
    return (
        Answer("Threat model", "Who is trusted, with what?", (model,) if plans else (Gap("open: no round"),),
               (Ref("claim", "claim"),)),
        Answer("Threat model", "Who can put questions to the data?",
               ("The coordinator, by known queries that devices check; nobody else.",), (Ref("rounds", "rounds"),)),
        Answer("Threat model", "Can the record of releases be changed afterwards?",
               kept if signed else (Gap("it was, or cannot be read: see the findings"),), (verification,)),
        Answer("Security", "Where is raw data, and who can reach it?",
               ("On each device, encrypted; it is never collected.",), (Ref("records", "records"),)),
        Answer("Security", "Who holds the keys?", material.stated("custody")),
    )  # fmt: skip


def _collection(material: Material) -> tuple[Answer, ...]:
    sealed = [each for each in material.report.others if isinstance(each.body, OptOutEntry)]
    evidence: tuple[Piece, ...] = (Ref("opt-outs", "opt-outs"),)
    if sealed:
        evidence = (*evidence, material.entry(sealed[-1].index, material.anchors))
    states = {check.state for check in material.report.checks if check.topic is Topic.LISTS}
    kept: Words = (
        "Yes, compared person by person." if State.PASSED in states else
        Gap("not by the lists that were handed over: see what verification found") if State.FAILED in states else
        Gap("by sizes and roots only: the lists were not handed to the auditor"),
    )  # fmt: skip
    return (
        Answer("Collection", "What is collected before noise is added?",
               ("Bounded answers, by the edge that adds them; nothing that owners have not consented to.",),
               (Ref("records", "records"),)),
        Answer("Collection", "How long is it kept?", material.stated("retention")),
        Answer("Collection", "Can people stay out, and was that kept?", ("Yes: consent is off until given. ", *kept),
               evidence),
    )  # fmt: skip


def _passed(material: Material, topic: Topic) -> bool:
    return any(check.topic is topic and check.state is State.PASSED for check in material.report.checks)
