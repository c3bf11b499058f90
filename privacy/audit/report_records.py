"""Reports 5 and 6: records of processing, and the annex to an impact assessment with what attacks measured."""

import math
from collections import Counter

from backrow.privacy.accounting.gaussian import compose
from backrow.privacy.audit.empirical import largest_auc
from backrow.privacy.audit.report_attacks import Attacks
from backrow.privacy.audit.report_claim import counted
from backrow.privacy.audit.report_material import Material
from backrow.privacy.audit.report_parts import (
    DASH,
    Block,
    Bullets,
    Facts,
    Gap,
    Good,
    Piece,
    Prose,
    Ref,
    Section,
    Table,
    Words,
    count,
    figure,
    series,
)
from backrow.privacy.audit.sequences import multipliers
from backrow.privacy.ledger.entries import EnrolmentEntry, PublicationEntry
from backrow.privacy.plan import Aggregation, Noise

_PURPOSES = {
    "train": "training of a shared model (train)",
    "trends": "counts of what is watched (trends)",
    "experiments": "comparison of variants (experiments)",
    "feedback": "surveys (feedback)",
}


def records(material: Material) -> Section:
    """Section 5."""
    report, anchors = material.report, material.anchors
    enrolments = [each for each in report.others if isinstance(each.body, EnrolmentEntry)]
    enrolled: Words = ("no enrolment is recorded",)
    if enrolments and isinstance(enrolments[-1].body, EnrolmentEntry):
        enrolled = (f"owners of {enrolments[-1].body.devices:,} enrolled devices, ",
                    material.entry(enrolments[-1].index, anchors))  # fmt: skip
    rounds = sorted(Counter(row.purpose.value for row in report.rounds).items())
    purposes = "; ".join(f"{_PURPOSES.get(name, name)}, {count(number, 'round')}" for name, number in rounds)
    rows: tuple[tuple[str, Words], ...] = (
        ("Controller", material.stated("controller")),
        ("Data protection officer", material.stated("officer")),
        ("Purposes", (purposes or "none so far",)),
        ("Whose data", enrolled),
        ("What data leaves a device", _answers(material)),
        ("What stays on the device", ("watch histories, searches, ratings, and what is inferred from them",)),
        ("Recipients of answers", (_recipients(material),)),
        ("Recipients of releases", _published(material)),
        ("Further recipients", material.stated("recipients")),
        ("Transfers to other countries", material.stated("transfers")),
        ("Time limits for erasure", material.stated("retention")),
        ("Protective measures", _measures(material)),
        ("Accountability", ("signed, append-only ledger of every release: ", Ref("verification", "verification"))),
        ("Code and settings", _provenance(material)),
    )  # fmt: skip
    lead = (
        "What Article 30 of the GDPR asks a controller to record, as far as a ledger shows it. These are facts for "
        "such a record, not an opinion on the law.",
    )
    return Section("records", "5 Records of processing", (Prose(lead), Facts(rows)))


def impact(material: Material) -> Section:
    """Section 6."""
    terms, epsilon = material.terms, counted(material)
    blocks: list[Block] = []
    if terms is not None and epsilon is not None and math.isfinite(epsilon) and material.total is not None:
        rows = [row.noise_multiplier for row in material.report.rounds]
        together = any(plan.correlation for plan in material.plans)
        bound = largest_auc(compose(1 / each for each in (multipliers(material.plans) if together else rows)))
        blocks.append(Prose((
            f"What the claim leaves possible: at {terms.say(epsilon, material.total.rounds)}, with the noise that the "
            f"ledger claims, no attack that sees every release tells members from others with an area under its curve "
            f"above {_up(bound)}; .5 is guessing.",
        )))  # fmt: skip
    else:
        blocks.append(Prose(("No bound on what an attack may find: there is no epsilon to derive it from.",)))
    blocks += _risks(material)
    if material.attacks is None:
        blocks.append(Prose((
            Gap("No attack result was given: this claim was derived, not tested."),
            " An attack can refute a claim, never prove it. backrow audit attack SCENARIO.toml --json makes one, and "
            "--attacks shows it here.",
        )))  # fmt: skip
    else:
        blocks += _attacked(material.attacks, material)
    if material.report.sentinels:
        pooled = material.report.sentinels[0]
        blocks.append(Prose((
            f"Measured in this ledger: {pooled.coordinates:,} coordinates of pure noise, {100 * pooled.ratio:.4g} % of "
            "the claimed standard deviation, ", Ref("sentinels", "sentinels"), ".",
        )))  # fmt: skip
    return Section("attacks", "6 Impact assessment, annex: measured attacks", tuple(blocks))


def _answers(material: Material) -> Words:
    seen: dict[tuple[str, int, float], None] = {}
    for plan in material.plans:
        seen.setdefault((plan.query.query.value, plan.query.dimension, plan.query.clip_norm))
    said = [f"{name}: {size:,} numbers, norm at most {clip:g}" for name, size, clip in list(seen)[:12]]
    if not said:
        return ("nothing so far",)
    return (f"one bounded vector a round, under a pseudonym: {'; '.join(said)}",)


def _recipients(material: Material) -> str:
    modes = {plan.aggregation for plan in material.plans}
    if Aggregation.TRUSTED in modes:
        return "the edge that adds them, which sees each answer; the coordinator sees sums"
    return "nobody singly: answers are masked, and edge and coordinator see sums" if modes else "nobody so far"


def _published(material: Material) -> Words:
    made = [each for each in material.report.others if isinstance(each.body, PublicationEntry)]
    if not made:
        return ("no model was published",)
    links = series([(material.entry(each.index, material.anchors),) for each in made[-5:]])
    return (f"every device and whoever else gets the model bundle, {count(len(made), 'publication')}: ", *links)


def _measures(material: Material) -> Words:
    plans, policy = material.plans, material.report.policy
    measures = ["answers are clipped on the device to a fixed norm"]
    if any(plan.noise is Noise.ONCE for plan in plans):
        measures.append("one draw of integer Gaussian noise on each sum, before it is released")
    if any(plan.noise is Noise.CORRELATED for plan in plans):
        measures.append("integer Gaussian noise, correlated over releases, on each sum before it is released")
    if any(plan.noise is Noise.SHARES for plan in plans):
        measures.append("integer Gaussian noise in shares, which each device adds before its answer leaves it")
    if any(plan.noise is Noise.BLOCK for plan in plans):
        measures.append("Gaussian noise in floating point (simulation only)")
    if any(plan.aggregation is Aggregation.SECURE for plan in plans):
        measures.append("sums of masked answers")
    if policy is not None:
        measures.append(f"no sum of fewer than {policy.minimum:,} devices")
    measures += ["consent is off until given, for each purpose", "a budget that is set aside before a round begins"]
    return ("; ".join(measures),)


def _provenance(material: Material) -> Words:
    made = list(dict.fromkeys(
        (each.provenance.code.hex(), each.provenance.config.hex(), each.provenance.dependencies.hex())
        for each in material.details.releases.values()
    ))  # fmt: skip
    if not made:
        return ("no release is at hand",)
    code, config, lock = made[-1]
    said = f"code {code[:16]}…, settings {config[:16]}…, dependencies {lock[:16]}… (SHA-256)"
    return (f"{said}; {count(len(made) - 1, 'other set')} before" if len(made) > 1 else said,)


def _risks(material: Material) -> list[Block]:
    trusted = any(plan.aggregation is Aggregation.TRUSTED for plan in material.plans)
    once = any(plan.noise in (Noise.ONCE, Noise.CORRELATED) for plan in material.plans)
    claim: tuple[Piece, ...] = ("bounded by the ", Ref("claim", "claim"))
    lines: list[tuple[Words, ...]] = [
        (("releases tell whether somebody took part, or what she watched",), claim),
        (("several releases are put together",), ("all count against one budget: ", Ref("rounds", "rounds"))),
        (("too little noise is added by mistake",),
         ("measured: ", Ref("sentinels", "sentinels")) if material.report.sentinels else (Gap("not measured"),)),
        (("somebody is asked who opted out",),
         ("checked by sizes and roots; by names only with the lists: ", Ref("opt-outs", "opt-outs"))),
        (("an edge looks at single answers",),
         (Gap("possible: aggregation is trusted"),) if trusted else ("masked, as far as the plan says",)),
        (("the coordinator looks at a sum before its noise",),
         (Gap("possible: it adds the noise itself"),) if once else ("noise is added in shares",)),
        (("the ledger is rewritten",), ("signed and append-only: ", Ref("verification", "verification"))),
    ]  # fmt: skip
    return [Table("Risks", ("what could happen", "what stands against it"), tuple(lines), names=2, wraps=(0, 1))]


def _attacked(attacks: Attacks, material: Material) -> list[Block]:
    beside = f"δ {attacks.delta:g}, unit {attacks.unit}, adjacency {attacks.adjacency}"
    claim = "no privacy" if attacks.epsilon is None else f"ε {figure(attacks.epsilon)}"
    blocks: list[Block] = [
        Facts((
            ("Claim attacked", (f"{claim} ({beside}, {count(attacks.releases, 'release')})",)),
            ("Same claim as here", _same(attacks, material)),
            ("Noise really added", ("all of it",) if attacks.noise_factor == 1 else (
                Gap(f"{100 * attacks.noise_factor:.3g} % of the claimed: this attack was a demonstration"),)),
            ("Canary audit", (
                f"{attacks.correct:,} of {attacks.guesses:,} guesses about {attacks.canaries:,} canaries right: ε at "
                f"least {attacks.lower:.3g}, with {attacks.confidence:.0%} confidence; had all been right, at least "
                f"{attacks.reach:.3g} ({beside}, {count(attacks.releases, 'release')})",)),
            ("Noise on untouched rows", (DASH,) if attacks.silent_p is None else (
                f"{attacks.silent_coordinates:,} coordinates, p = {attacks.silent_p:.2g}, one-sided",)),
            ("Result", (Good("nothing refutes the claim; no attack can prove it"),) if not attacks.findings else (
                Gap("refuted"),)),
        )),
    ]  # fmt: skip
    if attacks.findings:
        blocks.append(Bullets(tuple((Gap(f"{sentence} ({beside}, {count(attacks.releases, 'release')})"),)
                                    for sentence in attacks.findings)))  # fmt: skip
    lines = tuple(
        (
            (area.sees,),
            (f"{area.value:.3f}",),
            (f"{area.low:.3f} .. {area.high:.3f} ({area.confidence:.0%})",),
            (f"{area.members:,}",),
            (f"{area.others:,}",),
        )
        for area in attacks.areas
    )
    foot = "Area under the attack's curve; .5 is guessing."
    if attacks.largest_auc is not None:
        foot += f" The attacked claim allows at most {_up(attacks.largest_auc)}."
    head = ("membership attack, given", "area", "interval", "members", "others")
    return [*blocks, Table("Membership attacks", head, lines, names=1, foot=(foot,))]


def same_claim(attacks: Attacks, material: Material) -> bool:
    """Whether an attack was on a claim like this ledger's: its figures within a hundredth, its terms exactly."""
    epsilon, terms, total = counted(material), material.terms, material.total
    if terms is None or total is None:
        return False
    here = (terms.delta, terms.unit.value, terms.adjacency.value, total.rounds)
    near = attacks.epsilon == epsilon or (
        attacks.epsilon is not None and epsilon is not None and math.isclose(attacks.epsilon, epsilon, rel_tol=0.01)
    )
    return near and (attacks.delta, attacks.unit, attacks.adjacency, attacks.releases) == here


def _same(attacks: Attacks, material: Material) -> Words:
    terms, total = material.terms, material.total
    if terms is None or total is None:
        return (Gap("unknown: the ledger's claim was not judged"),)
    if same_claim(attacks, material):
        return ("yes, as far as its figures tell: the attack ran on the scenario, not on this ledger's own rounds",)
    return (Gap(f"no: here it is {terms.say(counted(material), total.rounds)}"),)


def _up(value: float) -> str:
    """Three decimals, never less than it is."""
    return f"{math.ceil(value * 1000) / 1000:.3f}"
