"""Reports 3 and 4: how fast an opt-out takes effect, and what was withdrawn."""

from bisect import bisect
from dataclasses import dataclass
from statistics import median

from backrow.privacy.audit.model import RoundRow
from backrow.privacy.audit.report_checks import summary
from backrow.privacy.audit.report_material import Material
from backrow.privacy.audit.report_parts import (
    DASH,
    Block,
    Facts,
    Gap,
    Piece,
    Prose,
    Ref,
    Section,
    Table,
    Words,
    count,
    lasting,
    when,
)
from backrow.privacy.ledger.entries import OptOutEntry, RetractionEntry
from backrow.privacy.ledger.signed_entry import SignedEntry

_MOST = 60
"""Sealed lists and retractions that are shown; figures are over all."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed suppression list and the rounds about it.

    Attributes:
        open: the round that was open when it was sealed; its release may still hold people who are on the list.
        lasted: seconds until that round was closed; 0 if none was open; None if it is open still.
        next: the first round reserved after it.
        current: whether the open round's release was checked against this very list; None if nobody can tell.
        waited: seconds that the oldest request on it had waited; None if the entry does not say.
    """

    entry: SignedEntry
    size: int
    more: int
    open: RoundRow | None
    lasted: int | None
    next: RoundRow | None
    current: bool | None
    waited: int | None = None


def sealed_lists(material: Material) -> tuple[Sealed, ...]:
    """Every sealed list, in order."""
    rounds, lists, before = material.report.rounds, list[Sealed](), 0
    reserves = [row.reserve for row in rounds]
    for each in material.report.others:
        if not isinstance(each.body, OptOutEntry):
            continue
        place = bisect(reserves, each.index)
        after = rounds[place] if place < len(rounds) else None
        during = rounds[place - 1] if place else None
        if during is not None and during.close is not None and during.close < each.index:
            during = None
        lasted: int | None = 0
        current = None
        if during is not None:
            lasted = None if during.close_time is None else max(during.close_time - each.time, 0)
            released = material.details.releases.get(during.close) if during.close is not None else None
            if released is not None:
                current = (released.crowd.opt_out_root, released.crowd.opt_out_time) == (each.body.root, each.time)
        waited = None if each.body.asked is None else max(each.time - each.body.asked, 0)
        lists.append(Sealed(each, each.body.size, each.body.size - before, during, lasted, after, current, waited))
        before = each.body.size
    return tuple(lists)


def opt_outs(material: Material) -> Section:
    """Section 3."""
    lists = sealed_lists(material)
    rule = (
        "A round that is reserved after a list was sealed asks nobody on it: the effect comes with the seal. A round "
        "that was open then releases no sum that may hold somebody on it. Whoever withdraws on her own device only is "
        "out at once, tells nobody, and appears nowhere in this ledger.",
    )
    waits = (("From request to seal", (_to_seal(lists),)), *_figures(lists), ("From request to effect", _whole(lists)))
    blocks: list[Block] = [Prose(rule), Facts(waits)]
    if lists:
        lines = tuple(_line(one, material) for one in lists[:_MOST])
        foot = f"Sizes, not names: {count(len(lists), 'list')} in all. A list may "
        foot += "shrink only by a newer statement, signed by the key that asked: see lists, under verification."
        head = ("sealed by", "at", "on the list", "change", "round open then", "closed after", "first round after")
        blocks.append(Table("Sealed suppression lists", head, lines, names=2, foot=(foot,)))
    return Section("opt-outs", "3 Opt-outs: from request to effect", tuple(blocks))


def deletions(material: Material) -> Section:
    """Section 4."""
    anchors = material.anchors
    found = [each for each in material.report.others if isinstance(each.body, RetractionEntry)]
    kinds = {each.index: each for each in material.report.others}
    lines = []
    for each in found[:_MOST]:
        assert isinstance(each.body, RetractionEntry)
        about = kinds.get(each.body.entry)
        what: Words = (DASH,) if about is None else (f"{about.kind}: ", *summary(about, material))
        lines.append((
            (material.entry(each.index, anchors),), (when(each.time),), (material.entry(each.body.entry, anchors),),
            what, (each.body.reason,),
        ))  # fmt: skip
    blocks: list[Block] = []
    if lines:
        head = ("receipt", "time", "withdraws", "which is", "reason")
        foot = f"{count(len(found), 'retraction')} in all. No budget comes back, and nothing is removed."
        blocks.append(Table("Retractions", head, tuple(lines), names=5, foot=(foot,), wraps=(3, 4)))
    else:
        blocks.append(Prose(("No retraction is recorded: no publication and no claim of this ledger was withdrawn.",)))
    blocks.append(Prose((
        "What a deletion is here: an owner who erases destroys the key of her history on her own device, where it was "
        "kept; no ledger records that, because nobody else is told. A contribution that is already in a published "
        "model cannot be subtracted from it; its influence stays bounded by the ",
        Ref("claim", "claim"),
        ". A model without it has to be trained anew, and would stand here as a new publication.",
    )))  # fmt: skip
    return Section("deletions", "4 Deletion receipts", tuple(blocks))


def _figures(lists: tuple[Sealed, ...]) -> tuple[tuple[str, Words], ...]:
    if not any(one.size for one in lists):
        words = "no data: nobody is on any sealed list" if lists else "no data: no list was ever sealed"
        return (("From seal to effect", (f"{words}.",)),)
    caught = [one for one in lists if one.open is not None]
    waits = [one.lasted for one in caught if one.lasted is not None]
    said = f"at once for {len(lists) - len(caught):,} of {count(len(lists), 'list')}"
    if waits:
        said += f"; for {len(waits):,}, sealed while a round was open, after {lasting(int(median(waits)))} (median), "
        said += f"{lasting(max(waits))} (longest)"
    still = len(caught) - len(waits)
    if still:
        said += f"; for {still:,} a round is open still"
    return (("From seal to effect", (f"{said}.",)),)


def _to_seal(lists: tuple[Sealed, ...]) -> Piece:
    """How long the oldest request waited for each list."""
    waits = [one.waited for one in lists if one.waited is not None]
    if not waits:
        return Gap(
            "not measured: no list of this ledger says when a request arrived. The coordinator's own records would "
            "show it"
        )
    many = f"for {count(len(waits), 'list')} the oldest request"
    return (
        f"{many} waited {lasting(int(median(waits)))} (median), {lasting(max(waits))} (longest), by the ledger's clock."
    )


def _whole(lists: tuple[Sealed, ...]) -> Words:
    """From the oldest request of a list until no later sum may hold who made it."""
    waits = [one.waited + one.lasted for one in lists if one.waited is not None and one.lasted is not None]
    if not waits:
        return (Gap("not measured: no list says when a request arrived, or its round is open still"),)
    return (
        f"at most {lasting(max(waits))}, {lasting(int(median(waits)))} in the median: to the seal, and to the close of "
        "a round that was open then.",
    )


def _line(one: Sealed, material: Material) -> tuple[Words, ...]:
    anchors = material.anchors
    during: list[Piece] = [DASH]
    if one.open is not None:
        during = [material.entry(one.open.reserve, anchors, f"round {one.open.round}")]
        if one.current is not None:
            during.append(", checked against this list" if one.current else ", checked against the list before")
    closed = DASH if one.open is None else "open still" if one.lasted is None else lasting(one.lasted)
    after: list[Piece] = ["none yet"]
    if one.next is not None:
        after = [material.entry(one.next.reserve, anchors, f"round {one.next.round}"),
                 f", {lasting(one.next.time - one.entry.time)} later"]  # fmt: skip
    return (
        (material.entry(one.entry.index, anchors),),
        (when(one.entry.time),),
        (f"{one.size:,}",),
        (f"{one.more:+,}",),
        tuple(during),
        (closed,),
        tuple(after),
    )
