"""Report 2: verification. Every check with its result, the figures, the rounds and the entries they stand in."""

from typing import assert_never

from backrow.privacy.audit.model import Account, Closing, RoundRow, State
from backrow.privacy.audit.report_material import Material
from backrow.privacy.audit.report_parts import (
    DASH,
    Block,
    Bullets,
    Facts,
    Gap,
    Good,
    Mark,
    Piece,
    Prose,
    Section,
    Table,
    Terms,
    Words,
    count,
    figure,
    series,
    significant,
    when,
)
from backrow.privacy.ledger.entries import (
    EnrolmentEntry,
    FindingEntry,
    OptOutEntry,
    PolicyEntry,
    PublicationEntry,
    ReleaseEntry,
    ReserveEntry,
    RetractionEntry,
    ScheduleEntry,
    VoidEntry,
)
from backrow.privacy.ledger.signed_entry import SignedEntry

_WORST = 8
"""Sentinel tests of single releases that are shown, the quietest first."""


def verification(material: Material) -> Section:
    """Section 2."""
    report = material.report
    key = "none" if report.key is None else report.key.hex()
    pinned = "pinned by the auditor" if report.pinned else "the run's own word: nobody brought it from elsewhere"
    blocks: list[Block] = [
        Facts((
            ("Ledger", (report.origin or DASH,)),
            ("Verified as", (report.source,)),
            ("Size", (count(report.entries, "entry", "entries"),)),
            ("Merkle root", (report.root.hex(),)),
            ("Public key", (f"{key} ({pinned})" if report.key is not None else key,)),
            ("Witnesses", _witnesses(material)),
            ("Offered as", ("production" if report.production else "not offered as a production claim",)),
            ("Result", (Good("no fault in what was checked"),) if report.passed else (
                Gap(f"{count(len(report.findings), 'finding')}; backrow audit verify exits with {report.exit_code}"),)),
        )),
        *_findings(material),
        Table("Checks", ("check", "result", "what was done, or would be needed"),
              tuple(((check.topic.value,), (_state(check.state),), (check.sentence,)) for check in report.checks),
              names=3, foot=_beside(material), wraps=(2,)),
    ]  # fmt: skip
    if report.needs:
        blocks += [Prose(("Not checked, and what that would take:",)), Bullets(tuple((need,) for need in report.needs))]
    if report.notes:
        blocks += [Prose(("Worth knowing:",)), Bullets(tuple((note,) for note in report.notes))]
    blocks += [*_accounts(material), *_sentinels(material)]
    return Section("verification", "2 Verification", tuple(blocks))


def rounds_section(material: Material) -> Section:
    """Every round that was reserved; evidence for the others."""
    terms, rounds = material.terms, material.report.rounds
    if terms is None or not rounds:
        words = "No round was reserved." if material.total is not None else "No round is shown: nothing was judged."
        return Section("rounds", "Rounds", (Prose((words,)),))
    place = {row.reserve: number for number, row in enumerate(rounds, 1)}
    shown = material.shown_rounds
    lines = tuple(_round(row, place[row.reserve], terms, material) for row in shown)
    left_out = len(rounds) - len(shown)
    note = f" {count(left_out, 'round')} in between left out: backrow audit show lists them." if left_out else ""
    head = (
        "round", "purpose", "query", "outcome", "invited", "in the sum", "noise", "ε alone", "ε so far", "ε claimed",
        "δ", "releases", "entries",
    )  # fmt: skip
    foot = (
        f"Unit {terms.unit}, adjacency {terms.adjacency}. ε alone covers 1 release; ε so far and claimed cover as many "
        "as the column releases says, counting what was reserved. ε so far is the auditor's own figure, ε claimed the "
        f"coordinator's. Noise: standard deviation over sensitivity.{note}"
    )
    blocks: list[Block] = [Table("Rounds", head, lines, names=4, foot=(foot,))]
    voids = [row for row in shown if row.closing is Closing.VOID and row.close in material.details.voids]
    if voids:
        reasons = tuple(
            (f"Round {row.round} of run {row.run}: ", material.details.voids[row.close or 0], ".") for row in voids
        )
        blocks += [Prose(("Why rounds released nothing, in the coordinator's words:",)), Bullets(reasons)]
    return Section("rounds", "Rounds", tuple(blocks))


def entries_section(material: Material) -> Section:
    """What else stands in the ledger; evidence for the others."""
    shown, all_of_them = material.shown_others, material.report.others
    lines = tuple(
        ((Mark(str(each.index), f"entry-{each.index}"),), (each.kind,), (when(each.time),), summary(each, material))
        for each in shown
    )
    if not lines:
        return Section("entries", "Other entries", (Prose(("None could be read.",)),))
    foot = f"Of {count(len(all_of_them), 'such entry', 'such entries')}."
    return Section("entries", "Other entries", (
        Table("Other entries", ("entry", "kind", "time", "what it says"), lines, names=4, foot=(foot,), wraps=(3,)),
    ))  # fmt: skip


def summary(signed: SignedEntry, material: Material) -> Words:
    """One line of what an entry says."""
    anchors = material.anchors
    match signed.body:
        case PolicyEntry() as body:
            terms = Terms.of(body)
            parts = [f"budget {terms.say(body.epsilon, None)}"]
            parts += [f"of it for {each.purpose} {terms.say(each.epsilon, None)}" for each in body.purposes]
            parts += [f"at least {body.minimum} devices a sum", f"additions {body.additions}", f"{body.stamp}"]
            return ("; ".join(parts),)
        case ScheduleEntry(schedule=schedule):
            return (f"run {schedule.run_id}: {count(len(schedule.rounds), 'round')} committed",)
        case EnrolmentEntry(devices=devices):
            return (f"{count(devices, 'device')} enrolled",)
        case OptOutEntry(size=size):
            return (f"suppression list sealed: {count(size, 'pseudonym')}",)
        case PublicationEntry() as body:
            made, claim, rules = f"model {body.model.hex()[:16]}…: claims ", body.claim, material.terms
            said = "what is not repeated" if rules is None else rules.say(claim.epsilon, claim.releases, claim.delta)
            return (made, said)
        case FindingEntry(finding=finding, sentence=sentence):
            return (f"{finding}: {sentence}",)
        case RetractionEntry(entry=entry, reason=reason):
            return ("withdraws ", material.entry(entry, anchors), f": {reason}")
        case ReserveEntry() | ReleaseEntry() | VoidEntry():
            return ("",)
        case _:
            assert_never(signed.body)


def _witnesses(material: Material) -> Words:
    witnesses = material.report.witnesses
    if not witnesses:
        return (Gap("none known: nobody but the coordinator is known to stand behind this checkpoint"),)
    behind = "; ".join(f"{each.name} ({each.key.hex()[:16]}…), {when(each.time)}" for each in witnesses)
    return (f"{count(len(witnesses), 'independent witness', 'independent witnesses')}: {behind}",)


def _state(state: State) -> Piece:
    match state:
        case State.PASSED:
            return Good(state.value)
        case State.FAILED:
            return Gap(state.value)
        case State.NOT_CHECKED:
            return state.value


def _beside(material: Material) -> Words:
    terms, total = material.terms, material.total
    if terms is None:
        return ()
    return (f"Every ε here: {terms.beside(0 if total is None else total.rounds)} unless a sentence says otherwise.",)


def _findings(material: Material) -> list[Block]:
    anchors = material.anchors
    lines = tuple(
        (
            (Gap(finding.fault.label),),
            (finding.sentence,),
            series([(material.entry(index, anchors, str(index)),) for index in finding.entries]) or (DASH,),
            (str(finding.fault.exit_code),),
        )
        for finding in material.report.findings
    )
    if not lines:
        return []
    head = ("fault", "what was found", "entries", "exit code")
    return [Table("Findings", head, lines, names=3, foot=_beside(material), wraps=(1, 2))]


def _accounts(material: Material) -> list[Block]:
    terms = material.terms
    if terms is None or not material.report.accounts:
        return []
    lines = tuple(_account(account) for account in material.report.accounts)
    added = "; for Gaussian noise zCDP's, which counts here, since rounds were added"
    foot = (
        f"Unit {terms.unit}, adjacency {terms.adjacency}. Closed form: exact, for Gaussian releases whose costs were "
        "fixed beforehand. With sampler: closed form by another quadrature, plus the integer sampler's error. "
        "PLD: dp-accounting's privacy loss distributions. RDP: an upper bound by Rényi divergence"
        f"{added if material.report.accounts[0].added else ''}."
    )
    head = ("ε of", "releases", "δ", "budget", "closed form", "with sampler", "PLD", "RDP")
    return [Table("Epsilon, counted independently", head, lines, names=1, foot=(foot,), anchor="accounts")]


def _account(account: Account) -> tuple[Words, ...]:
    return (
        ("everything" if account.purpose is None else account.purpose.value,),
        (f"{account.rounds:,}",),
        (f"{account.delta:g}",),
        (DASH if account.budget is None else f"{account.budget:g}",),
        (figure(account.closed_form),),
        (figure(account.with_sampler),),
        (DASH if account.pld is None else figure(account.pld),),
        (figure(account.rdp),),
    )


def _sentinels(material: Material) -> list[Block]:
    tests = material.report.sentinels
    if not tests:
        return [Prose(("No noise was measured: the ledger holds no sentinels.",))]
    single = sorted((test for test in tests if test.release is not None), key=lambda test: test.p_value)
    lines = tuple(
        (
            ("all together",) if test.release is None else (material.entry(test.release, material.anchors),),
            (f"{test.coordinates:,}",),
            (f"{100 * test.ratio:.4g} %",),
            (f"{test.p_value:.2g}",),
            (f"{test.level:.0e}",),
        )
        for test in (*(test for test in tests if test.release is None), *single[:_WORST])
    )
    foot = "Rows that no device touches hold noise only. Measured over claimed standard deviation; p is the chance "
    foot += "that honest noise is as small as this, and below the level it is a finding. This catches mistakes, not a "
    foot += "coordinator that adds noise to these rows only."
    if len(single) > _WORST:
        foot += f" The {_WORST} quietest of {len(single):,} releases are shown."
    head = ("noise measured in", "coordinates", "of the claimed noise", "p", "level")
    return [Table("Noise sentinels", head, lines, names=1, foot=(foot,), anchor="sentinels")]


def _round(row: RoundRow, releases: int, terms: Terms, material: Material) -> tuple[Words, ...]:
    entries: list[Piece] = [Mark(str(row.reserve), f"entry-{row.reserve}")]
    if row.close is not None:
        entries += [" ", Mark(str(row.close), f"entry-{row.close}")]
    claimed = row.claimed
    said = figure(claimed.epsilon)
    if (claimed.delta, claimed.releases) != (terms.delta, releases):
        said += f" (δ {claimed.delta:g}, {count(claimed.releases, 'release')})"
    return (
        (f"{row.round:,}",),
        (row.purpose.value,),
        (row.query,),
        (row.closing.value,),
        (DASH if row.invited is None else f"{row.invited:,}",),
        (DASH if row.survived is None else f"{row.survived:,}",),
        (significant(row.noise_multiplier),),
        (figure(row.alone),),
        (figure(row.cumulative),),
        (said,),
        (f"{terms.delta:g}",),
        (f"{releases:,}",),
        tuple(entries),
    )
