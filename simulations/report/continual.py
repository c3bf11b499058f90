"""The page of a run over weeks: quality week by week, who came and went, what was spent."""

from pathlib import Path

from backrow.simulations.continual_results import ContinualResults, Quality
from backrow.simulations.report.curves import Chart, Curve, Dot, wide_svg
from backrow.simulations.report.drawing import standalone
from backrow.simulations.report.page import Figure, Line, Table
from backrow.simulations.report.study import Content, write_page
from backrow.simulations.wording import NOTHING, rate, spent

PLOT = "continual.svg"
NAMES = {
    "warm": "warm start",
    "cold": "cold start",
    "once": "trained once",
    "popularity": "noisy popularity",
    "no privacy": "warm, no privacy",
}
SMOOTHED = 4
"""Weeks that a point of the plot is the mean of, weighted by how many were asked."""


def write_continual_report(folder: Path, results: ContinualResults) -> None:
    """Write report.html and continual.svg; neither holds a script, or anything of a single device."""
    (folder / PLOT).write_text(standalone(wide_svg(quality_chart(results), "continual")), encoding="utf-8")
    write_page(folder / "report.html", content_of(results))


def quality_chart(results: ContinualResults) -> Chart:
    """HR@10 of every model by week, each point the mean of up to `SMOOTHED` weeks."""
    curves = []
    for name in results.overall:
        points = _smoothed(results, name)
        if points:
            curves.append(Curve(NAMES[name], tuple(Dot(float(week), value) for week, value in points)))
    weeks = [week.week for week in results.weeks]
    step = max(1, -(-len(weeks) // 10))
    ticks = tuple((float(week), str(week)) for week in weeks[::step])
    up = f"HR@10 in the week after (mean of {SMOOTHED} weeks)" if len(weeks) > SMOOTHED else "HR@10 in the week after"
    return Chart("week of the model", up, tuple(curves), ticks, log=False)


def people_chart(results: ContinualResults) -> Chart:
    """Devices by week."""
    said = {
        "there": [week.there for week in results.weeks],
        "contributing": [week.contributing for week in results.weeks],
        "answering": [week.answering for week in results.weeks],
    }
    curves = [
        Curve(
            name, tuple(Dot(float(week.week), float(count)) for week, count in zip(results.weeks, counts, strict=True))
        )
        for name, counts in said.items()
    ]
    return Chart("week", "devices", tuple(curves), quality_chart(results).ticks, log=False)


def content_of(results: ContinualResults) -> Content:
    """The page, as text."""
    if results.epsilon is None:
        headline, terms = "No privacy is claimed", f"{results.releases} releases · epsilon none"
    else:
        headline = f"ε = {results.epsilon:g} for each device, over all {len(results.weeks)} weeks"
        terms = (
            f"δ = {results.delta:g} · unit {results.unit} · adjacency {results.adjacency} · "
            f"{results.releases} releases · spent {spent(results.epsilon_spent)}"
        )
    return Content(
        title=f"backrow over weeks on {results.dataset}",
        eyebrow=f"continual training · {results.dataset} · full catalogue",
        headline=headline,
        terms=terms,
        meaning=(_found(results), _bound(results)),
        stamp="simulated: no production claim" if results.simulated else "",
        warnings=() if results.stopped is None else (f"stopped before its last week: {results.stopped}",),
        figures=tuple(Figure(_rate(quality), NAMES[name]) for name, quality in results.overall.items()),
        charts=(
            (
                quality_chart(results),
                "HR@10 over the full catalogue, of whoever watches in the week after the model's.",
            ),
            (
                people_chart(results),
                "Devices that are there, that the coordinator finds, and whose answer is not zero.",
            ),
        ),
        tables=(overall_table(results), week_table(results)),
        reading=results.notes,
        facts=(
            ("Data set", f"{results.dataset}: {results.devices:,} devices ever enrolled, {results.titles:,} titles"),
            ("Trainer", results.trainer),
            ("Trained once", f"in week {results.once_in}"),
        ),
        footer="Every figure is in continual.json; the ledger of all weeks is checked by backrow audit verify.",
    )


def overall_table(results: ContinualResults) -> Table:
    """All weeks that every model has, together."""
    lines = [
        Line((NAMES[name], _rate(quality), NOTHING if quality.ndcg is None else rate(quality.ndcg)), name == "warm")
        for name, quality in results.overall.items()
    ]
    lead = f"Everybody who watched in the week after a model, from week {results.since} on, taken together."
    foot = f"Each under the whole budget of its own: {results.claim}. “{NAMES['no privacy']}” claims none."
    return Table("Models", lead, ("model", "HR@10", "NDCG@10"), tuple(lines), names=1, foot=foot, compares=True)


def week_table(results: ContinualResults) -> Table:
    """Week by week."""
    names = list(results.overall)
    lines = [
        Line(
            (
                str(week.week),
                *(f"{count:,}" for count in (week.there, week.joined, week.left, week.opted_out, week.answering)),
                spent(week.epsilon_spent),
                f"{week.asked:,}",
                *(_rate(week.quality.get(name)) for name in names),
            )
        )
        for week in results.weeks
    ]
    head = ("week", "there", "joined", "left", "opted out", "answering", "spent ε", "asked")
    void = [f"{week.week} ({week.outcome})" for week in results.weeks if week.outcome != "released"]
    foot = f"HR@10 by model. Spent ε is of all releases so far; in the end: {results.claim}."
    foot += f" Not released: week {', '.join(void)}." if void else ""
    lead = "What a week left, and what its model was worth to those who watched in the week after."
    return Table(
        "Weeks", lead, (*head, *(NAMES[name] for name in names)), tuple(lines), names=1, foot=foot, compares=False
    )


def _found(results: ContinualResults) -> str:
    said = ", ".join(f"{NAMES[name]} {_rate(quality)}" for name, quality in results.overall.items())
    return f"Next title among the first ten, from week {results.since} on: {said}."


def _bound(results: ContinualResults) -> str:
    if results.bound == len(results.weeks) or results.epsilon is None:
        return "A device may answer in every week, and every release is counted for it."
    apart = f", {results.apart} weeks apart or more" if results.apart > 1 else ""
    return (
        f"A device answers in at most {results.bound} week{'s' * (results.bound > 1)}{apart}; that is committed in the "
        f"ledger, counted on, and kept: the most that any has answered is {results.most_answers}."
    )


def _rate(quality: Quality | None) -> str:
    return NOTHING if quality is None or quality.hr is None else rate(quality.hr)


def _smoothed(results: ContinualResults, name: str) -> list[tuple[int, float]]:
    points, recent = [], []
    for week in results.weeks:
        found = week.quality.get(name)
        if found is None or found.hr is None:
            continue
        recent.append((week.asked, found.hr))
        last = recent[-SMOOTHED:]
        points.append((week.week, sum(count * hr for count, hr in last) / sum(count for count, _ in last)))
    return points
