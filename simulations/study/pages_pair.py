"""What the pages of `compare` and `budget` say."""

from backrow.privacy.units import round_up
from backrow.simulations.report.curves import Chart, Curve, Dot
from backrow.simulations.report.page import Figure, Line, Table
from backrow.simulations.report.study import Content
from backrow.simulations.study.budget import Opinions, Solved, opinions
from backrow.simulations.study.compare import Comparison
from backrow.simulations.study.explain import Explained
from backrow.simulations.study.pages import SIMULATED, TRUTH, rows_terms
from backrow.simulations.wording import NOTHING, epsilon, rate, significant

NAMES = {"hr@10": "HR@10", "ndcg@10": "NDCG@10"}
PLACES = {"full": "full catalogue", "ncf": "NCF protocol"}
_SPAN = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Noise multipliers of the page of `budget solve`, in units of the one that was solved."""


def compare_content(found: Comparison) -> Content:
    """The page of a comparison."""
    first = found.figures[0]
    rows, looked_at = found.rows, len(found.figures)
    ticks = tuple((float(n), f"{NAMES[f.name]}, {f.protocol}") for n, f in enumerate(found.figures))
    dots = tuple(
        Dot(float(n), f.difference.value, f.difference.low, f.difference.high) for n, f in enumerate(found.figures)
    )
    chart = Chart(
        "figure and protocol",
        "second less first",
        (Curve("difference", dots),),
        ticks,
        log=False,
        joined=False,
        zero=False,
    )
    lines = tuple(
        Line(
            (
                f"{NAMES[f.name]}, {PLACES[f.protocol]}",
                f"{f.first:.4f}",
                f"{f.second:.4f}",
                f"{f.difference.value:+.4f}",
                f"{f.difference.low:+.4f} .. {f.difference.high:+.4f}",
                p_words(f.difference.p_value),
            )
        )
        for f in found.figures
    )
    head = ("figure", "first", "second", "difference", "95 %", "p")
    foot = f"{first.difference.resamples:,} resamples of viewers."
    lead = f"{found.viewers:,} viewers with a held-out title, each compared with herself."
    return Content(
        title="backrow compare",
        eyebrow=f"compare · {found.dataset} · split {found.split}",
        headline=verdict(found),
        terms=rows_terms(rows),
        meaning=(f"First: {found.first}, {_run_words(found, 0)}. Second: {found.second}, {_run_words(found, 1)}.",),
        stamp=SIMULATED if found.simulated else "",
        figures=(
            Figure(rate(first.first), f"{NAMES[first.name]} of the first, {PLACES[first.protocol]}"),
            Figure(rate(first.second), f"{NAMES[first.name]} of the second"),
            Figure(p_words(first.difference.p_value), "p-value of the difference, two-sided"),
        ),
        charts=((chart, "Bars: 95 % of the paired bootstrap. What does not touch 0 differs."),),
        tables=(Table("Differences", lead, head, lines, names=1, foot=foot, compares=False),),
        reading=(
            TRUTH,
            "Viewers are resampled, both models stay as they are: this says whether these two models differ for viewers"
            " like these, not whether another seed of the noise would give the same. Sweep over seeds for that.",
            f"p: how often a resample of the centred differences is as far from 0 as what was found. Of {looked_at} "
            f"figures that are looked at, whoever picks the best should ask for less than p = {0.05 / looked_at:g}.",
        ),
        footer="Ranks were computed again from the signed models and checked against what the runs recorded.",
    )  # fmt: skip


def p_words(p_value: float) -> str:
    """A p-value for people."""
    return f"{p_value:.4f}" if p_value >= 0.001 else f"{p_value:.1e}"


def verdict(found: Comparison) -> str:
    """The first figure in words."""
    figure = found.figures[0]
    difference, name = figure.difference, NAMES[figure.name]
    if difference.low <= 0 <= difference.high:
        return f"No difference in {name} that these viewers can tell"
    return (
        f"The {'second' if difference.value > 0 else 'first'} run ranks better: {name} {abs(difference.value):.4f} more"
    )


def _run_words(found: Comparison, which: int) -> str:
    row = found.rows[which]
    return f"{row.trainer}, epsilon {epsilon(row.epsilon)}, seed {row.seed}"


def opinion_lines(told: Opinions) -> tuple[Line, ...]:
    """Four accountants on the same releases."""
    return (
        Line(("closed form: what is claimed", round_up(told.closed_form, 5)), True),
        Line(("PLD", NOTHING if told.pld is None else round_up(told.pld, 5))),
        Line(("RDP", round_up(told.rdp, 5))),
        Line(("zCDP", round_up(told.zcdp, 5))),
    )


def _opinion_table(told: Opinions) -> Table:
    lead = f"Epsilon of {told.releases} releases at delta {told.delta:g}; unit {told.unit}, adjacency {told.adjacency}."
    foot = (
        "Rounded up. The closed form includes the integer sampler's error; PLD is numerical and must agree within .5 %;"
        " RDP and zCDP are valid and never tight, and zCDP also holds for costs chosen on the way."
    )
    return Table("Accountants", lead, ("accountant", "epsilon"), opinion_lines(told), names=1, foot=foot, compares=True)


def solve_content(found: Solved) -> Content:
    """The page of `budget solve`."""
    multipliers = [found.noise_multiplier * factor for factor in _SPAN]
    told = [opinions((z,) * found.participation, found.delta) for z in multipliers]
    curves = tuple(
        Curve(name, tuple(Dot(z, getattr(each, field)) for z, each in zip(multipliers, told, strict=True)))
        for name, field in (("closed form", "closed_form"), ("RDP", "rdp"))
    )
    ticks = tuple((z, significant(z)) for z in multipliers)
    chart = Chart("noise multiplier (log scale)", "epsilon", curves, ticks)
    return Content(
        title="backrow budget",
        eyebrow="budget",
        headline=f"ε = {round_up(found.epsilon)} with noise multiplier {significant(found.noise_multiplier)}",
        terms=terms_of(found.opinions),
        meaning=(solved_words(found),),
        charts=((chart, "Epsilon of the same rounds at other noise."),),
        tables=(_opinion_table(found.opinions),),
        reading=(
            "No sampling is claimed: a device pays for every round that it takes part in, and its own policy has to "
            "keep to that number.",
            "Noise multiplier: standard deviation of the noise on the sum, over sensitivity. Noise scale: the same in"
            " the unit of an answer.",
            "Choosing by looking at results is outside epsilon.",
        ),
        footer="backrow budget solve computes; nothing was run.",
    )


def terms_of(told: Opinions) -> str:
    """What must stand beside an epsilon."""
    return f"delta {told.delta:.3g} · unit {told.unit} · adjacency {told.adjacency} · {told.releases} releases"


def solved_words(found: Solved) -> str:
    """The budget in one sentence."""
    each = "all of them" if found.participation == found.rounds else f"{found.participation:,} of them at the most"
    return (
        f"{found.rounds:,} rounds, a device in {each}, noise multiplier {found.noise_multiplier:.5g} "
        f"(noise scale {found.noise_scale:.5g} at clip norm {found.clip_norm:g}): epsilon {round_up(found.epsilon, 5)}"
        f" at delta {found.delta:.3g}, unit {found.opinions.unit}, adjacency {found.opinions.adjacency}, "
        f"{found.opinions.releases} releases"
    )


def explain_content(found: Explained) -> Content:
    """The page of `budget explain`."""
    dots = [Dot(float(cost.round), cost.together) for cost in found.costs if cost.together is not None]
    alone = [Dot(float(cost.round), cost.alone) for cost in found.costs if cost.alone is not None]
    curves = tuple(Curve(name, tuple(line)) for name, line in (("together", dots), ("alone", alone)) if line)
    ticks = tuple((float(cost.round), str(cost.round)) for cost in found.costs)
    levels = (("budget", found.budget),) if found.budget is not None else ()
    charts = (
        (
            Chart("round", "epsilon", curves, ticks, levels, log=False),
            "Together: of a release and everything before it.",
        ),
    )
    lines = tuple(
        Line(
            (
                str(cost.round),
                cost.query,
                significant(cost.clip_norm),
                significant(cost.noise_multiplier),
                significant(cost.noise_scale),
                f"{cost.share:.1%}".replace("%", " %"),
                NOTHING if cost.alone is None else round_up(cost.alone, 4),
                NOTHING if cost.together is None else round_up(cost.together, 4),
            )
        )
        for cost in found.costs
    )
    head = ("round", "query", "clip norm", "noise multiplier", "noise scale", "share", "alone", "together")
    lead = "In the order of their reservation; a reserved round is spent, whatever became of it."
    foot = "Share: of mu squared, which adds up; epsilons do not."
    foot += " From the first addition on, together is by zCDP." if found.adaptive else ""
    table = Table("Releases", lead, head, lines, names=2, foot=foot, compares=False)
    told = found.opinions
    return Content(
        title="backrow budget explain",
        eyebrow=f"budget · {found.source}",
        headline="No privacy is claimed"
        if told is None
        else f"{told.releases} releases cost ε = {round_up(claimed(found))}",
        terms=f"delta {found.delta:g}" if told is None else terms_of(told),
        meaning=("What each release costs, alone and with everything before it.",),
        charts=charts if curves else (),
        tables=(table, *([] if told is None else [_opinion_table(told)])),
        reading=(
            "Gaussian releases compose exactly: mu, sensitivity over standard deviation, adds up in squares. It holds "
            "for a schedule that was committed beforehand, whatever the answers were.",
            "Epsilons of single releases do not add up to that of all: together they cost less than their sum.",
        ),
        footer="backrow audit verify checks the same figures without this program's help.",
    )


def claimed(found: Explained) -> float:
    """The epsilon that holds: the closed form of a committed schedule, zCDP's where costs were chosen on the way."""
    assert found.opinions is not None
    return found.opinions.zcdp if found.adaptive else found.opinions.closed_form
