"""Report 1: the claim sheet. Who is protected, against whom, for how long, and what is not covered."""

import math
from dataclasses import dataclass

from backrow.privacy.audit.model import Closing, Report
from backrow.privacy.audit.report_material import Material
from backrow.privacy.audit.report_parts import (
    Block,
    Bullets,
    Facts,
    Gap,
    Plot,
    Prose,
    Ref,
    Section,
    Terms,
    Words,
    count,
    figure,
    when,
)
from backrow.privacy.audit.report_plots import Bar, epsilon_plot, purpose_plot
from backrow.privacy.ledger.entries import EnrolmentEntry, PublicationEntry, RetractionEntry
from backrow.privacy.plan import Aggregation, Noise
from backrow.privacy.units import Adjacency, PrivacyUnit, odds

_WIDE, _NARROW = (940, 380), (350, 320)
_MODELS = 5
"""Published models that are shown, the last ones."""


@dataclass(frozen=True, slots=True)
class Head:
    """The top of the page."""

    title: str
    terms: str
    meaning: str
    stamps: tuple[tuple[str, bool], ...]
    """Short words in a frame, and whether they are alarming."""


def counted(material: Material) -> float | None:
    """Epsilon of everything reserved, as the auditor counted it; None where none is claimed or none was counted."""
    total = material.total
    if total is None or material.report.policy is None or material.report.policy.epsilon is None or not total.rounds:
        return None
    return total.epsilon


def head_of(material: Material) -> Head:
    """The claim in three lines, and what the audit says of it."""
    report, terms, epsilon = material.report, material.terms, counted(material)
    stamps = [_verdict(report)]
    if material.simulated:
        stamps.append(("simulated: no production claim", True))
    total = material.total
    if terms is None or total is None:
        missing = "The files are not whole, or state no rules: nothing that they claim is repeated here."
        return Head("No claim can be shown", report.origin or "ledger without a name", missing, tuple(stamps))
    if report.findings:
        cost = f"as it states its noise, {terms.say(epsilon, total.rounds)}"
        return Head("This ledger does not verify", cost, report.findings[0].fault.meaning, tuple(stamps))
    if epsilon is None or math.isinf(epsilon):
        words = (
            "Nothing has been reserved yet."
            if not total.rounds
            else "These releases carry no noise that bounds epsilon: whoever sees them may learn what single devices "
            "hold."
        )
        return Head("No privacy is claimed", f"no ε · {terms.beside(total.rounds)}", words, tuple(stamps))
    beside = terms.beside(total.rounds).replace(", ", " · ")
    whom = "each device that takes part" if terms.unit is PrivacyUnit.DEVICE else "each single event"
    return Head(f"ε = {figure(epsilon)} for {whom}", beside, _meaning(terms, epsilon), tuple(stamps))


def claim_sheet(material: Material) -> Section:
    """Section 1."""
    blocks: list[Block] = []
    terms, epsilon = material.terms, counted(material)
    if material.report.findings and material.total is not None:
        warning = Gap("This ledger does not verify. What follows is what it states, and may not be relied on: ")
        blocks.append(Prose((warning, Ref("findings", "verification"))))
    if terms is None or material.total is None:
        blocks.append(Prose(("No claim is shown, because the audit could not judge the ledger: see ",
                             Ref("verification", "verification"), ".")))  # fmt: skip
    else:
        blocks += [Facts(_sheet(material, terms, epsilon)), *_plots(material, terms)]
    blocks.append(Prose(("What is not covered:",)))
    blocks.append(Bullets(_uncovered(material)))
    return Section("claim", "1 Claim sheet", tuple(blocks))


def _verdict(report: Report) -> tuple[str, bool]:
    if report.findings:
        return f"does not verify: {count(len(report.findings), 'finding')}", True
    if not report.pinned:
        return "verified, but the key was not pinned", False
    return "verified: no fault in what was checked", False


def _meaning(terms: Terms, epsilon: float) -> str:
    what = "one device's whole history" if terms.unit is PrivacyUnit.DEVICE else "one event of one history"
    than = "an empty one" if terms.unit is PrivacyUnit.DEVICE else "its absence"
    return (
        f"Whoever sees everything that was released, and knows everything about everybody else, can hardly tell {what} "
        f"from {than}: whatever they conclude is at most {odds(epsilon)} times likelier with it than without, "
        "but for a failure probability of δ."
    )


def _sheet(material: Material, terms: Terms, epsilon: float | None) -> tuple[tuple[str, Words], ...]:
    policy, total = material.report.policy, material.total
    assert policy is not None and total is not None
    spent = "No epsilon is claimed for" if epsilon is None else f"{terms.say(epsilon, total.rounds)} for"
    kept = [row for row in material.report.rounds if row.closing is Closing.RELEASED]
    sheet: list[tuple[str, Words]] = [
        ("Who is protected", (_protected(material, terms),)),
        ("Against whom", (_adversary(material),)),
        ("For how long", _duration(material)),
        ("What it costs so far", (f"{spent} everything reserved, whether or not it was released. Counted ",
                                  Ref("independently", "accounts"), " by the auditor.")),
        ("Budget", (f"{terms.say(policy.epsilon, None)}: the most that this ledger may ever reserve. It is not "
                    "refreshed. Set by ", material.entry(0, material.anchors), ".")),
        ("Privacy unit", (_UNITS[terms.unit],)),
        ("Adjacency", (_ADJACENCIES[terms.adjacency],)),
        ("Releases", (f"{count(len(kept), 'sum')} released of {count(total.rounds, 'reserved round')}: ",
                      Ref("all rounds", "rounds"), ".")),
    ]  # fmt: skip
    sheet += [("Published model", words) for words in _publications(material, terms)]
    return tuple(sheet)


_UNITS = {
    PrivacyUnit.DEVICE: "device: everything that one device ever answers. A person with several devices is several "
    "units, and the epsilons of her devices add up.",
    PrivacyUnit.EVENT: "event: one watched title of one device. A whole history is many events, whose epsilons add up.",
}
_ADJACENCIES = {
    Adjacency.ZERO_OUT: "zero-out: the device takes part in both worlds; in one of them its answer is empty.",
    Adjacency.ADD_OR_REMOVE: "add-or-remove: in one of the two worlds the unit is not there at all.",
}


def _protected(material: Material, terms: Terms) -> str:
    devices = [each.body.devices for each in material.report.others if isinstance(each.body, EnrolmentEntry)]
    enrolled = f" {devices[-1]:,} devices were enrolled." if devices else ""
    if material.simulated:
        enrolled += " In a simulation these are records of a data set, and the noise protects nobody."
    if terms.unit is PrivacyUnit.EVENT:
        return f"Every single event on a device that takes part.{enrolled}"
    return f"The owner of every device that takes part, with her whole history.{enrolled}"


def _adversary(material: Material) -> str:
    everyone = "Everybody who sees what was released: the noisy sums, the models made from them, this ledger. They may "
    everyone += "know everything about everybody else and compute for ever."
    plans = material.plans
    if any(plan.aggregation is Aggregation.TRUSTED for plan in plans):
        everyone += " Not against the edge that adds the answers: it sees each of them, and is trusted."
    if any(plan.noise in (Noise.ONCE, Noise.CORRELATED) for plan in plans):
        everyone += " Not against the coordinator, which adds the noise to the sum and is trusted to forget it."
    if bounds := sorted({(each.participations, each.separation) for plan in plans if (each := plan.correlation)}):
        often = " or ".join(f"{most} times, at least {apart} releases apart" for most, apart in bounds)
        everyone += " Where noise is correlated over releases, it holds for a device that answers them at most "
        everyone += f"{often}: the device keeps that bound, as it keeps its clip norm, and no ledger shows it."
    if shared := [plan.omitted for plan in plans if plan.noise is Noise.SHARES]:
        everyone += " Where devices add the noise in shares, it holds against the coordinator too, as long as at most "
        everyone += f"{100 * min(shared):.3g} % of the devices in a sum leave their share out or let others know it."
    if any(plan.noise is Noise.BLOCK for plan in plans):
        everyone += " Its noise is floating point, added in shares: good for simulation only."
    return everyone


def _duration(material: Material) -> Words:
    times = material.times
    when_words = f"from {when(times[0])} to {when(times[-1])}" if times else "of this ledger"
    return (
        f"For ever, for the releases {when_words}: what is published is not taken back, and its epsilon does not fade. "
        "Releases of other ledgers about the same devices come on top.",
    )


def _publications(material: Material, terms: Terms) -> list[Words]:
    others, anchors, lines = material.report.others, material.anchors, list[Words]()
    withdrawn = {each.body.entry: each.index for each in others if isinstance(each.body, RetractionEntry)}
    for each in [each for each in others if isinstance(each.body, PublicationEntry)][-_MODELS:]:
        assert isinstance(each.body, PublicationEntry)
        claim = each.body.claim
        said = terms.say(claim.epsilon, claim.releases, claim.delta)
        words: Words = (material.entry(each.index, anchors), f", {when(each.time)}: claims {said}")
        if each.index in withdrawn:
            words = (*words, "; ", Gap("withdrawn by "), material.entry(withdrawn[each.index], anchors))
        lines.append(words)
    return lines


def _plots(material: Material, terms: Terms) -> list[Block]:
    report = material.report
    rounds, plots = report.rounds, list[Block]()
    budget = None if report.policy is None else report.policy.epsilon
    if budget is None:
        return plots
    if rounds and math.isfinite(rounds[-1].cumulative):
        beside = terms.beside(len(rounds))
        wide, narrow = (epsilon_plot(rounds, budget, beside, *size) for size in (_WIDE, _NARROW))
        caption = f"ε of everything reserved so far; {beside} in the end. Filled: released. Hollow: reserved, nothing "
        plots.append(Plot(wide, narrow, (f"{caption}released, and spent all the same.",)))
    bars = _bars(report)
    if bars and all(math.isfinite(bar.spent) for bar in bars):
        beside = terms.beside(len(rounds))
        wide, narrow = (purpose_plot(bars, beside, size[0]) for size in (_WIDE, _NARROW))
        caption = f"Budget by purpose: ε, {beside} together. Epsilons of purposes do not add up: together they cost "
        plots.append(Plot(wide, narrow, (f"{caption}less than their sum.",)))
    return plots


def _bars(report: Report) -> list[Bar]:
    """Every purpose that has rounds, or a budget only."""
    bars = [Bar(account.purpose, account.closed_form, account.budget) for account in report.accounts]
    counted_ones = {bar.purpose for bar in bars}
    budgets = report.policy.purposes if report.policy is not None and bars else ()
    return bars + [Bar(each.purpose, 0.0, each.epsilon) for each in budgets if each.purpose not in counted_ones]


def _uncovered(material: Material) -> tuple[Words, ...]:
    items = [
        "What many people have in common: that is what is learned, on purpose, and it may tell something about "
        "somebody who never took part.",
        "Who is enrolled, who took part and when: the coordinator sees it, by pseudonym.",
        "Whatever the service learns elsewhere: accounts, payments, streams it delivers.",
        "Devices whose owners withhold consent: they send nothing; their silence protects them, not epsilon.",
        "Whatever was tuned on private data before the first round (rounds, learning rates): no ledger shows it.",
    ]
    if any(plan.aggregation is Aggregation.TRUSTED for plan in material.plans):
        items.append("Single answers, from the edge that adds them: they are bounded, but not hidden from it.")
    if material.simulated:
        items.insert(0, "Anything in production: this is a simulation; whoever knows its seed can subtract the noise.")
    return tuple((item,) for item in items)
