"""The privacy-utility plot: inline SVG whose colours are the page's, so that it is safe in light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass

from backrow.simulations.report.drawing import MARKERS, MUTED, NARROW, PAPER, SERIES, Label, drawn, dress, write_labels
from backrow.simulations.results import Row
from backrow.simulations.wording import model_name, rate


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
    series, levels = _series(rows), _levels(rows)

    def paint(axes: object) -> None:
        _axes(axes, series, levels)
        _draw(axes, series, levels, width, height)

    return drawn(width, height, _described(series, levels), paint)


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
    from matplotlib.ticker import NullLocator

    assert isinstance(axes, Axes)
    epsilons = sorted({epsilon for line in series for epsilon, _ in line.points}) or [1.0]
    top = max([value for line in series for _, value in line.points] + [level.value for level in levels], default=0.1)
    axes.set_xscale("log")
    axes.set_xlim(min(epsilons) / 1.6, max(epsilons) * 1.6)
    axes.set_ylim(0, max(top * 1.08, 1e-3))
    axes.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
    axes.xaxis.set_minor_locator(NullLocator())
    dress(axes, "epsilon of the whole run (log scale)", "HR@10, full catalogue")


def _draw(axes: object, series: Sequence[Series], levels: Sequence[Level], width: int, height: int) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    labels: list[Label] = []
    edge = axes.get_xlim()[1]

    def label(name: str, value: float) -> str:
        return f"{name} {rate(value)}" if width > NARROW else name

    for level in levels:
        axes.axhline(level.value, color=MUTED, linewidth=1, dashes=(4, 3))
        labels.append((level.value, label(level.name, level.value), MUTED, False))
    for number, line in enumerate(series):
        colour = SERIES[number % len(SERIES)]
        epsilons, values = zip(*line.points, strict=True)
        axes.plot(
            epsilons, values, color=colour, linewidth=2, marker=MARKERS[number % len(MARKERS)], markersize=8,
            markeredgewidth=2, markeredgecolor=colour, markerfacecolor=PAPER if number else colour,
            clip_on=False, zorder=3 + number,
        )  # fmt: skip
        labels.append((values[-1], label(line.name, values[-1]), colour, True))
        axes.plot([epsilons[-1], edge], [values[-1]] * 2, color=colour, linewidth=0.7, zorder=2)
    write_labels(axes, labels, height)


def _described(series: Sequence[Series], levels: Sequence[Level]) -> str:
    lines = [
        f"{line.name}: " + ", ".join(f"{rate(value)} at epsilon {epsilon:g}" for epsilon, value in line.points)
        for line in series
    ]
    return "HR@10 over the full catalogue. " + "; ".join(
        [*lines, *(f"{level.name}: {rate(level.value)}" for level in levels)]
    )
