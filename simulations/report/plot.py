"""The privacy-utility plot: inline SVG whose colours are the page's, so that it is safe in light and dark."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backrow.simulations.results import Row
from backrow.simulations.wording import model_name, rate

# Painted with these, then replaced by the page's variables.
_PAPER, _MUTED, _RULE = "#010101", "#020202", "#030303"
_SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004")
_VARIABLES = {_PAPER: "--paper", _MUTED: "--muted", _RULE: "--rule"} | {
    colour: f"--series-{number}" for number, colour in enumerate(_SERIES, start=1)
}
_MARKERS = ("o", "s", "^", "D")
_PIXELS_PER_INCH = 72  # matplotlib's SVG counts in points
_NARROW = 500
"""Below this width, in CSS pixels, labels carry no values: the table has them."""


@dataclass(frozen=True, slots=True)
class Series:
    """One trainer's points, ascending in epsilon: (epsilon, HR@10)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Level:
    """A model without a place on the epsilon axis."""

    name: str
    value: float


def frontier_svg(rows: Sequence[Row], width: int, height: int) -> str:
    """HR@10 over the full catalogue against epsilon (log scale); references as horizontal lines.

    The same rows give the same bytes.

    Args:
        rows: of the protocol "full"; several seeds of one model are averaged.
        width, height: in CSS pixels.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    series, levels = _series(rows), _levels(rows)
    settings: Any = {
        "svg.hashsalt": f"backrow-{width}",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 13 if width > _NARROW else 12,
        "axes.linewidth": 0.8,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH))
        left, right, below, above = 42, 205 if width > _NARROW else 140, 50, 32
        box = (left, below, width - left - right, height - below - above)
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        axes.patch.set_visible(False)
        figure.patch.set_visible(False)
        _axes(axes, series, levels)
        _draw(axes, series, levels, width, height)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(buffer.getvalue(), width, height, _described(series, levels))


def _series(rows: Sequence[Row]) -> tuple[Series, ...]:
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row.epsilon is not None and row.model != "prior":
            found.setdefault(model_name(row), {}).setdefault(row.epsilon, []).append(row.hr_at_10)
    return tuple(
        Series(name, tuple((epsilon, sum(values) / len(values)) for epsilon, values in sorted(points.items())))
        for name, points in found.items()
    )


def _levels(rows: Sequence[Row]) -> tuple[Level, ...]:
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.model == "prior" and row.epsilon is not None:
            found.setdefault(f"{model_name(row)}, ε {row.epsilon:g}", []).append(row.hr_at_10)
        elif row.epsilon is None:
            found.setdefault(model_name(row), []).append(row.hr_at_10)
    levels = [Level(name, sum(values) / len(values)) for name, values in found.items()]
    return tuple(sorted(levels, key=lambda level: level.value))


def _axes(axes: object, series: Sequence[Series], levels: Sequence[Level]) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    assert isinstance(axes, Axes)
    epsilons = sorted({epsilon for line in series for epsilon, _ in line.points}) or [1.0]
    top = max([value for line in series for _, value in line.points] + [level.value for level in levels], default=0.1)
    axes.set_xscale("log")
    axes.set_xlim(min(epsilons) / 1.6, max(epsilons) * 1.6)
    axes.set_ylim(0, max(top * 1.08, 1e-3))
    axes.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(colors=_MUTED, length=0, pad=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("epsilon of the whole run (log scale)", color=_MUTED, labelpad=8, loc="left")
    axes.text(
        0, 1, "HR@10, full catalogue", color=_MUTED, transform=axes.transAxes, va="bottom", ha="left", clip_on=False
    )


def _draw(axes: object, series: Sequence[Series], levels: Sequence[Level], width: int, height: int) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    labels: list[tuple[float, str, str, bool]] = []
    edge = axes.get_xlim()[1]

    def label(name: str, value: float) -> str:
        return f"{name} {rate(value)}" if width > _NARROW else name

    for level in levels:
        axes.axhline(level.value, color=_MUTED, linewidth=1, dashes=(4, 3))
        labels.append((level.value, label(level.name, level.value), _MUTED, False))
    for number, line in enumerate(series):
        colour = _SERIES[number % len(_SERIES)]
        epsilons, values = zip(*line.points, strict=True)
        axes.plot(
            epsilons, values, color=colour, linewidth=2, marker=_MARKERS[number % len(_MARKERS)], markersize=8,
            markeredgewidth=2, markeredgecolor=colour, markerfacecolor=_PAPER if number else colour,
            clip_on=False, zorder=3 + number,
        )  # fmt: skip
        labels.append((values[-1], label(line.name, values[-1]), colour, True))
        axes.plot([epsilons[-1], edge], [values[-1]] * 2, color=colour, linewidth=0.7, zorder=2)
    low, high = axes.get_ylim()
    pixel = (high - low) / (axes.get_position().height * height)
    placed = spread([value for value, *_ in labels], 18 * pixel, low, high)
    for (value, text, colour, strong), at in zip(labels, placed, strict=True):
        axes.annotate(
            text, xy=(edge, value), xytext=(16, (at - value) / pixel), textcoords="offset points", color=colour,
            va="center_baseline", ha="left", annotation_clip=False, weight="bold" if strong else "normal",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions for labels at `values`, in the same order, at least `gap` apart and within low..high if they fit."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = [values[index] for index in order]
    for _ in range(100):
        for one, two in zip(range(len(placed)), range(1, len(placed)), strict=False):
            short = gap - (placed[two] - placed[one])
            if short > 0:
                placed[one] -= short / 2
                placed[two] += short / 2
        if placed:
            placed[0] = max(placed[0], low)
            placed[-1] = min(placed[-1], high)
    for position in range(1, len(placed)):  # the gap comes before the bounds
        placed[position] = max(placed[position], placed[position - 1] + gap)
    result = [0.0] * len(values)
    for index, at in zip(order, placed, strict=True):
        result[index] = at
    return result


def _described(series: Sequence[Series], levels: Sequence[Level]) -> str:
    lines = [
        f"{line.name}: " + ", ".join(f"{rate(value)} at epsilon {epsilon:g}" for epsilon, value in line.points)
        for line in series
    ]
    return "HR@10 over the full catalogue. " + "; ".join(
        [*lines, *(f"{level.name}: {rate(level.value)}" for level in levels)]
    )


def _inlined(svg: str, width: int, height: int, description: str) -> str:
    """Matplotlib's file as an element of a page: no prologue, the page's font, the page's colours."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;]*;", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    text = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{text}">{body}</svg>'
    )
