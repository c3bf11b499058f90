"""What the report's plots share: matplotlib's axes as inline SVG in the colours of the page, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

# Painted with these, then replaced by the page's variables.
PAPER, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004")
MARKERS = ("o", "s", "^", "D")
NARROW = 500
"""Below this width, in CSS pixels, labels carry no values: the table has them."""
_VARIABLES = {PAPER: "--paper", MUTED: "--muted", RULE: "--rule"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}
_PIXELS_PER_INCH = 72  # matplotlib's SVG counts in points

Label = tuple[float, str, str, bool]
"""Value, text, colour, and whether it is bold."""


def drawn(
    width: int, height: int, description: str, paint: Callable[[object], None], *, salt: str = "", right: int = 205
) -> str:
    """An svg element. The same painting gives the same bytes.

    Args:
        width, height: in CSS pixels.
        description: for who cannot see it.
        paint: given matplotlib's axes.
        salt: tells plots of one size apart on one page.
        right: room for labels, in CSS pixels; less on a narrow plot.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.hashsalt": f"backrow-{salt}{width}",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 13 if width > NARROW else 12,
        "axes.linewidth": 0.8,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH))
        left, right, below, above = 42, right if width > NARROW else min(right, 140), 50, 32
        box = (left, below, width - left - right, height - below - above)
        axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        axes.patch.set_visible(False)
        figure.patch.set_visible(False)
        paint(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(buffer.getvalue(), width, height, description)


def standalone(svg: str) -> str:
    """An element that `drawn` made, as a file of its own with the page's colours."""
    style = files("backrow.simulations.report").joinpath("style.html.j2").read_text(encoding="utf-8")
    colours = style[: style.index("* {")]  # the page's variables, light and dark, come first
    start = svg.index(">") + 1
    font = "svg { background: var(--paper); font-family: var(--sans); }"
    return f"{svg[:start]}<style>{colours}{font}</style>{svg[start:]}\n"


def dress(axes: object, across: str, up: str) -> None:
    """Quiet axes: ticks without marks, horizontal rules, and what is measured.

    Args:
        across, up: what the axes show.
    """
    from matplotlib.axes import Axes
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    assert isinstance(axes, Axes)
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(colors=MUTED, length=0, pad=7)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(across, color=MUTED, labelpad=8, loc="left")
    axes.text(0, 1, up, color=MUTED, transform=axes.transAxes, va="bottom", ha="left", clip_on=False)


def write_labels(axes: object, labels: Sequence[Label], height: int) -> None:
    """Name the lines at the right edge, apart from each other.

    Args:
        labels: each at its line's last value.
        height: of the plot, in CSS pixels.
    """
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    edge = axes.get_xlim()[1]
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
