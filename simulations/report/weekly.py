"""The plot of a weekly run: what was told of the leading titles, with the noise that is in it."""

from collections.abc import Sequence

from backrow.server.programs.weekly import WeeklyEstimate
from backrow.simulations.report.drawing import MARKERS, PAPER, SERIES, Label, drawn, dress, standalone, write_labels

_LONGEST = 24
"""Characters of a title beside its line."""


def weekly_svg(
    told: Sequence[WeeklyEstimate], names: Sequence[str], confidence: float, width: int = 760, height: int = 420
) -> str:
    """The titles that lead after the last week, over all weeks, with intervals of the noise; an SVG file.

    Args:
        told: at least one week.
        names: of the titles.
        confidence: of each interval for itself.
    """
    last = told[-1]
    leading = sorted(range(len(names)), key=lambda row: (-last.values[row], row))[: len(SERIES)]
    weeks = [each.week for each in told]
    intervals = [each.interval(confidence) for each in told]

    def paint(axes: object) -> None:
        from matplotlib.axes import Axes
        from matplotlib.ticker import MaxNLocator

        assert isinstance(axes, Axes)
        labels: list[Label] = []
        for row, colour, marker in zip(leading, SERIES, MARKERS, strict=False):
            values = [float(each.values[row]) for each in told]
            low, high = [float(each[0][row]) for each in intervals], [float(each[1][row]) for each in intervals]
            axes.fill_between(weeks, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(
                weeks, values, color=colour, linewidth=1.6, marker=marker, markersize=7, markeredgecolor=PAPER,
                markevery=[len(weeks) - 1],
            )  # fmt: skip
            name = names[row] if len(names[row]) <= _LONGEST else f"{names[row][: _LONGEST - 1]}…"
            labels.append((values[-1], name, colour, False))
        axes.set_xlim(weeks[0], max(weeks[-1], weeks[0] + 1))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        dress(axes, "week", f"what was told, with {100 * confidence:g} % of the noise")
        write_labels(axes, labels, height)

    shown = "; ".join(f"{names[row]}: {last.values[row]:.1f}" for row in leading)
    return standalone(drawn(width, height, f"After week {last.week}: {shown}.", paint, salt="weekly"))
