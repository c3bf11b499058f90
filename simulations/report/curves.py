"""Curves with intervals, for the pages of `backrow.simulations.study`: inline SVG in the page's colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from backrow.simulations.report.drawing import (
    MARKERS,
    MUTED,
    NARROW,
    PAPER,
    SERIES,
    Label,
    drawn,
    dress,
    write_labels,
)
from backrow.simulations.wording import significant

WIDE, SMALL = (940, 430), (350, 360)
"""Every plot twice, in CSS pixels: the page shows the one that fits."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One point; its interval, where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line of points, ascending in x."""

    name: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One plot.

    Attributes:
        across, up: what the axes show.
        curves: in order of their colours.
        levels: (name, value) of what has no place on the axis across.
        ticks: (position, text) on it.
        log: the axis across is logarithmic.
        joined: points are joined by lines.
        zero: the axis up starts at 0 where nothing is below.
    """

    across: str
    up: str
    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...]
    levels: tuple[tuple[str, float], ...] = ()
    log: bool = True
    joined: bool = True
    zero: bool = True


def chart_svgs(chart: Chart, salt: str) -> tuple[str, str]:
    """The plot for a wide and for a narrow page. The same chart gives the same bytes.

    Args:
        salt: tells plots on one page apart.
    """
    return _drawn(chart, salt, *WIDE), _drawn(chart, salt, *SMALL)


def wide_svg(chart: Chart, salt: str) -> str:
    """The plot for a wide page alone."""
    return _drawn(chart, salt, *WIDE)


def _drawn(chart: Chart, salt: str, width: int, height: int) -> str:
    def paint(axes: object) -> None:
        _paint(axes, chart, width, height)

    return drawn(width, height, _described(chart), paint, salt=salt, right=215 if chart.joined else 40)


def _paint(axes: object, chart: Chart, width: int, height: int) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import NullLocator

    assert isinstance(axes, Axes)
    _limits(axes, chart)
    ticks = chart.ticks if width > NARROW else _fewer(chart.ticks)
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    dress(axes, chart.across, chart.up)
    labels: list[Label] = []
    for name, value in chart.levels:
        axes.axhline(value, color=MUTED, linewidth=1, dashes=(4, 3))
        labels.append((value, f"{name} {significant(value)}" if width > NARROW else name, MUTED, False))
    for number, curve in enumerate(chart.curves):
        colour = SERIES[number % len(SERIES)]
        x, y = [dot.x for dot in curve.dots], [dot.y for dot in curve.dots]
        below = [0.0 if dot.low is None else dot.y - dot.low for dot in curve.dots]
        above = [0.0 if dot.high is None else dot.high - dot.y for dot in curve.dots]
        axes.errorbar(
            x, y, yerr=[below, above], color=colour, linewidth=2 if chart.joined else 0, elinewidth=1.2, capsize=3,
            marker=MARKERS[number % len(MARKERS)], markersize=7, markeredgewidth=2, markeredgecolor=colour,
            markerfacecolor=PAPER if number else colour, clip_on=False, zorder=3 + number,
        )  # fmt: skip
        if chart.joined:
            labels.append((y[-1], f"{curve.name} {significant(y[-1])}" if width > NARROW else curve.name, colour, True))
    if chart.joined:
        write_labels(axes, labels, height)
    else:
        axes.axhline(0, color=MUTED, linewidth=1)


def _limits(axes: object, chart: Chart) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    xs = [dot.x for curve in chart.curves for dot in curve.dots] + [at for at, _ in chart.ticks]
    tops = [dot.high if dot.high is not None else dot.y for curve in chart.curves for dot in curve.dots]
    bottoms = [dot.low if dot.low is not None else dot.y for curve in chart.curves for dot in curve.dots]
    tops, bottoms = tops + [value for _, value in chart.levels], bottoms + [value for _, value in chart.levels]
    if chart.log:
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 1.35, max(xs) * 1.35)
    else:
        room = 0.06 * (max(xs) - min(xs) or 1)
        axes.set_xlim(min(xs) - room, max(xs) + room)
    high, low = max(tops), min(bottoms)
    if chart.zero:
        axes.set_ylim(min(0.0, low), max(high * 1.08, 1e-9))
    else:
        room = 0.15 * (high - low or 1e-3)
        axes.set_ylim(min(low - room, 0.0), max(high + room, 0.0))


def _fewer(ticks: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """Every second tick of many, on a narrow plot."""
    return tuple(ticks) if len(ticks) <= 6 else tuple(ticks[:: len(ticks) // 5 + 1])


def _described(chart: Chart) -> str:
    names = dict(chart.ticks)
    lines = [
        f"{curve.name}: "
        + ", ".join(f"{significant(dot.y)} at {names.get(dot.x, significant(dot.x))}" for dot in curve.dots)
        for curve in chart.curves
    ]
    lines += [f"{name}: {significant(value)}" for name, value in chart.levels]
    return f"{chart.up} by {chart.across}. {'; '.join(lines)}"
