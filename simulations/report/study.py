"""One self-contained page for each tool of `backrow.simulations.study`: what it found, drawn and in tables."""

from dataclasses import dataclass
from pathlib import Path

from backrow.simulations.report.curves import Chart, chart_svgs
from backrow.simulations.report.page import Figure, Table, template
from backrow.simulations.results import write_whole


@dataclass(frozen=True, slots=True)
class Content:
    """What a page says, as text.

    Attributes:
        terms: what must stand beside the epsilons: delta, unit, adjacency, releases.
        meaning: sentences under the headline.
        stamp: in a box; "" for none.
        charts: each with its caption.
        reading: how to read the figures, and what they do not say.
        facts: (name, value).
    """

    title: str
    eyebrow: str
    headline: str
    terms: str
    meaning: tuple[str, ...]
    charts: tuple[tuple[Chart, str], ...]
    tables: tuple[Table, ...]
    reading: tuple[str, ...]
    footer: str
    stamp: str = ""
    warnings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


def render(content: Content) -> str:
    """The page's text. The same content gives the same bytes."""
    from markupsafe import Markup

    drawings = [
        ([Markup(svg) for svg in chart_svgs(chart, str(number))], caption)
        for number, (chart, caption) in enumerate(content.charts)
    ]
    return template("study.html.j2").render(content=content, drawings=drawings)


def write_page(path: Path, content: Content) -> None:
    """Write the page; a reader sees all of it or nothing."""
    write_whole(path, render(content))
