"""What opting out costs, as one page: a plot and a table for each kind of leaving."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backrow.simulations.opting_out_results import Cost, Kind, Mean, OptOutCosts
from backrow.simulations.report import page
from backrow.simulations.report.drawing import MARKERS, MUTED, NARROW, PAPER, SERIES, Label, drawn, dress, write_labels
from backrow.simulations.report.run_report import REPORT
from backrow.simulations.results import Group, write_whole
from backrow.simulations.wording import NOTHING, rate, significant, spent

_WIDE, _NARROW_SHAPE = (940, 420), (350, 360)
_DRAWN: tuple[Group, ...] = ("stayed", "left")
TITLES: dict[Kind, str] = {
    "random": "Anybody opts out",
    "niche": "Whoever watches what few watch opts out first",
    "mainstream": "Whoever watches what most watch opts out first",
}
_LEADS: dict[Kind, str] = {
    "random": "Whether an owner opts out has nothing to do with what she watches.",
    "niche": "The further from the mainstream, the likelier an owner opts out ([consent] taste = -{taste:g}).",
    "mainstream": "The closer to the mainstream, the likelier an owner opts out ([consent] taste = {taste:g}).",
}

CAPTION = (
    "Mean (standard deviation) over seeds. Change: the same people by this model less by the model of everybody, "
    "seed by seed, with a 95 % interval. Popularity: HR@10 of the same people by exact counts of everybody. "
    "Cohort: devices in the smallest sum; minimum: below it nothing would have been released."
)


def write_cost_report(folder: Path, costs: OptOutCosts) -> None:
    """Write report.html of a study: one file that holds everything it shows, without a script."""
    from markupsafe import Markup

    sections = [
        {
            "title": TITLES[kind],
            "lead": _LEADS[kind].format(taste=costs.taste),
            "plots": [Markup(cost_svg(costs, kind, *shape)) for shape in (_WIDE, _NARROW_SHAPE)],
            "table": replace(cost_table(costs, kind), foot=CAPTION if kind == costs.kinds[0] else ""),
        }
        for kind in costs.kinds
    ]
    made = page.template("opting_out.html.j2").render(
        title=f"What opting out costs on {costs.dataset}",
        eyebrow=f"{costs.dataset} · split {costs.split} · full catalogue",
        terms=terms_line(costs),
        meaning=findings(costs),
        simulated=costs.simulated,
        warnings=costs.wrongs,
        figures=_figures(costs),
        sections=sections,
        reading=reading(costs),
        facts=_facts(costs),
    )
    write_whole(folder / REPORT, made)


def terms_line(costs: OptOutCosts) -> str:
    """The claim of each run, with everything that must stand beside an epsilon."""
    first = costs.points[0]
    if costs.epsilon is None:
        return f"No privacy is claimed: nothing is noised · {costs.devices:,} devices enrolled"
    return (
        f"ε = {costs.epsilon:g} in every run, for each device that takes part · δ = {first.delta:g} · unit "
        f"{first.unit} · adjacency {first.adjacency} · {first.releases} releases · {costs.devices:,} devices enrolled"
    )


def findings(costs: OptOutCosts) -> tuple[str, ...]:
    """Who finds the next title among the first ten: one sentence for each kind of leaving, at its highest rate."""
    said = []
    for kind in costs.kinds:
        rows = [row for row in costs.rows if row.kind == kind and row.rate]
        if rows:
            most = max(row.rate for row in rows)
            parts = [_found(row) for row in rows if row.rate == most and row.group in _DRAWN]
            said.append(f"{TITLES[kind]}, {percent(most)} in all. Next title among the first ten: {'; '.join(parts)}.")
    return tuple(said)


def _found(row: Cost) -> str:
    now, before, popular = (
        percent(figure.mean, 1) for figure in (row.hr_at_10, row.all_in_hr_at_10, row.popular_hr_at_10)
    )
    return f"those who {row.group} {now} (had nobody left {before}, by popularity {popular})"


def percent(value: float, digits: int = 0) -> str:
    """A share: 30 %, 8.6 %; never broken over two lines."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def cost_svg(costs: OptOutCosts, kind: Kind, width: int, height: int) -> str:
    """HR@10 against the opt-out rate; bars are one standard deviation over seeds, dots the same people, all in.

    All kinds of a study share one scale. The same study gives the same bytes.

    Args:
        width, height: in CSS pixels.
    """
    shown = [row for row in costs.rows if row.kind == kind]
    top = max(
        [_highest(row.hr_at_10) for row in costs.rows] + [row.all_in_hr_at_10.mean for row in costs.rows] + [1e-3]
    )
    lines = {group: [row for row in shown if row.group == group] for group in _DRAWN}
    popular = next((row.popular_hr_at_10.mean for row in shown if row.group == "everyone"), None)

    def paint(axes: object) -> None:
        _paint(axes, lines, popular, costs.rates, top, (width, height))

    words = [
        f"{group}: " + ", ".join(f"{rate(row.hr_at_10.mean)} at {percent(row.rate)}" for row in rows)
        for group, rows in lines.items()
        if rows
    ]
    words += [f"popularity: {rate(popular)}"] if popular is not None else []
    description = f"HR@10 over the full catalogue by share of owners who opt out. {'; '.join(words)}"
    return drawn(width, height, description, paint, salt=kind, right=150 if width > NARROW else 90)


def _highest(value: Mean) -> float:
    return value.mean + (value.sd or 0.0)


def _paint(
    axes: object,
    lines: dict[Group, list[Cost]],
    popular: float | None,
    rates: Sequence[float],
    top: float,
    shape: tuple[int, int],
) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    width, height = shape
    axes.set_xlim(-0.02, max(*rates, 0.1) + 0.02)
    axes.set_ylim(0, top * 1.08)
    axes.set_xticks(list(rates), [f"{100 * each:g}" for each in rates])
    dress(axes, "% of owners who opt out", "HR@10, full catalogue")
    labels: list[Label] = []

    def name(words: str, value: float) -> str:
        return f"{words} {rate(value)}" if width > NARROW else words

    if popular is not None:
        axes.axhline(popular, color=MUTED, linewidth=1, dashes=(4, 3))
        labels.append((popular, name("popularity", popular), MUTED, False))
    for number, (group, rows) in enumerate(lines.items()):
        if not rows:
            continue
        aside = 0.005 * (number - 0.5)  # so that bars do not cover each other
        colour, at = SERIES[number], [row.rate + (aside if row.rate else 0.0) for row in rows]
        axes.plot(at, [row.all_in_hr_at_10.mean for row in rows], color=colour, linewidth=1.2, dashes=(2, 2), zorder=2)
        values = [row.hr_at_10.mean for row in rows]
        axes.errorbar(
            at, values, yerr=[row.hr_at_10.sd or 0.0 for row in rows], color=colour, linewidth=2, elinewidth=1,
            capsize=3, marker=MARKERS[number], markersize=7, markeredgewidth=2, markeredgecolor=colour,
            markerfacecolor=PAPER if number else colour, clip_on=False, zorder=3 + number,
        )  # fmt: skip
        labels.append((values[-1], name(group, values[-1]), colour, True))
    write_labels(axes, labels, height)


def cost_table(costs: OptOutCosts, kind: Kind) -> page.Table:
    """One kind of leaving: every rate and group."""
    lines = tuple(
        page.Line(
            (
                percent(row.rate),
                row.group,
                f"{row.devices:,.0f}",
                with_sd(row.hr_at_10),
                with_sd(row.ndcg_at_10),
                with_interval(row.change_hr_at_10) if row.rate else NOTHING,
                rate(row.popular_hr_at_10.mean),
                f"{row.participants:,}",
                f"{row.minimum:,}",
            )
        )
        for row in shown_rows(costs, kind)
    )
    head = ("opt out", "owners", "devices", "HR@10", "NDCG@10", "HR@10, change", "popularity", "cohort", "minimum")
    return page.Table(f"{TITLES[kind]}: figures", "", head, lines, names=2, foot=CAPTION, compares=False)


def shown_rows(costs: OptOutCosts, kind: Kind) -> list[Cost]:
    """What a table shows: everyone, and from where somebody left, the two groups."""
    rows = [row for row in costs.rows if row.kind == kind]
    apart = {row.rate for row in rows if row.group == "left"}
    return [row for row in rows if (row.group != "everyone" if row.rate else row.group == "everyone" or 0 in apart)]


def with_sd(value: Mean) -> str:
    """0.085 (0.002)."""
    return rate(value.mean) + (f" ({rate(value.sd)})" if value.sd is not None else "")


def with_interval(value: Mean) -> str:
    """-0.012 (-0.020 .. -0.004)."""
    said = _signed(value.mean)
    if value.low is not None and value.high is not None:
        said += f" ({_signed(value.low)} .. {_signed(value.high)})"
    return said


def _signed(value: float) -> str:
    """+0.012, \N{MINUS SIGN}0.012; nothing is +0.000."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "\N{MINUS SIGN}")


def _figures(costs: OptOutCosts) -> tuple[page.Figure, ...]:
    kind, most = costs.kinds[0], max(costs.rates)
    found = [
        (costs.row(kind, 0.0, "everyone"), "nobody opts out"),
        (costs.row(kind, most, "stayed") if most else None, f"those who stayed when {percent(most)} left"),
        (costs.row(kind, most, "left") if most else None, f"those who left, {percent(most)} of all"),
    ]
    shown = [page.Figure(rate(row.hr_at_10.mean), words) for row, words in found if row is not None]
    all_in = found[0][0]
    if all_in is not None:
        shown.append(page.Figure(rate(all_in.popular_hr_at_10.mean), "popularity, the same ten for everybody"))
    return tuple(shown)


def reading(costs: OptOutCosts) -> tuple[str, ...]:
    """What a reader must know to read the curves."""
    noise = (
        "Denominators and noise were fixed before anybody left: N stays what it was, and the noise on a sum does not "
        "shrink with it. So the noise for each device that stays grows as 1 / (share that stays), and a gradient step, "
        "divided by N, shrinks to that share."
        if costs.epsilon is not None
        else "Denominators were fixed before anybody left: N stays what it was, so a gradient step, divided by N, "
        "shrinks to the share that stays, although nothing is noised."
    )
    return (
        "Those who left lose nothing of their own: the device applies the public model to the owner's history, as "
        "before, and nothing leaves it. What they lose, they lose with everybody: the model knows less, and less about "
        "people like them.",
        noise,
        "Epsilon is the same at every rate. Fewer devices do not weaken it; they make the same noise weigh more.",
        "A sum below the minimum is not released. Unless the scenario names one, the minimum follows those who grant, "
        "as in every run; a service that fixed it once has no model from the rate on where too few are left.",
        "All figures are the simulator's ground truth. Nobody could measure those who left without asking them.",
        "Tuning was done with everybody in, outside epsilon. Nothing was tuned anew for those who stay.",
    )


def _facts(costs: OptOutCosts) -> tuple[tuple[str, str], ...]:
    first = costs.points[0]
    facts = [
        ("Data set", f"{costs.dataset}, {costs.devices:,} viewers, one device each, {costs.titles:,} titles"),
        ("Trainer", costs.trainer),
        ("Aggregation", f"{costs.aggregation}; noise in {'one draw' if costs.noise == 'once' else costs.noise}"),
        ("Noise", f"standard deviation {significant(first.noise_scale)} on every sum of the counts, at every rate"),
        ("Seeds", f"{', '.join(map(str, costs.seeds))}: each draws who opts out, and the noise"),
    ]
    if costs.epsilon is not None:
        most = max(point.epsilon_spent or 0.0 for point in costs.points)
        facts.append(("Spent ε", f"{spent(most)} in each run at most, of {costs.epsilon:g}"))
    return tuple(facts)
