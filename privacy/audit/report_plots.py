"""The report's two plots as SVG, written by hand: numbers and fixed words only. Colours are the page's classes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from backrow.privacy.audit.model import Closing, RoundRow
from backrow.privacy.audit.report_parts import figure, when
from backrow.privacy.ledger.parts import Purpose

_MOST_MARKERS, _MOST_STEPS = 60, 1000
_NARROW = 500
"""Below this width, in CSS pixels, labels are shorter."""


def epsilon_plot(rounds: Sequence[RoundRow], budget: float | None, terms: str, width: int, height: int) -> str:
    """Epsilon of everything reserved so far, round by round, and the line it may not cross.

    Args:
        rounds: all reserved rounds, each with noise.
        budget: None draws no line.
        terms: what stands beside the epsilons, for those who listen.
        width, height: in CSS pixels.
    """
    left, right, above, below = 46, 16, 22, 62
    across, down = width - left - right, height - above - below
    top = max(budget or 0.0, rounds[-1].cumulative) * 1.12
    steps = len(rounds)

    def x(place: float) -> float:
        return left + across * place / steps

    def y(value: float) -> float:
        return above + down * (1 - value / top)

    parts = [
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text class="tick end" x="{left - 9}" y="{y(tick) + 4:.1f}">{tick:g}</text>'
        for tick in ticks(top)
    ]
    every = math.ceil(steps / _MOST_STEPS)
    path = [f"M{x(0):.1f} {y(0):.1f}"]
    for place, row in enumerate(rounds, 1):
        if place % every == 0 or place == steps:
            path.append(f"H{x(place):.1f}V{y(row.cumulative):.1f}")
    line = "".join(path)
    parts.append(f'<path class="area" d="{line}V{y(0):.1f}Z"/><path class="line" d="{line}"/>')
    if steps <= _MOST_MARKERS:
        parts += [
            f'<circle class="{"dot" if row.closing is Closing.RELEASED else "ring"}" cx="{x(place):.1f}" '
            f'cy="{y(row.cumulative):.1f}" r="3.5"/>'
            for place, row in enumerate(rounds, 1)
        ]
    if budget is not None:
        parts.append(
            f'<line class="limit" x1="{left}" x2="{width - right}" y1="{y(budget):.1f}" y2="{y(budget):.1f}"/>'
            f'<text class="limits" x="{left + 6}" y="{y(budget) - 7:.1f}">budget {budget:g}</text>'
        )
    step = max(1, math.ceil(steps / (10 if width > _NARROW else 5)))
    parts += [
        f'<text class="tick middle" x="{x(place):.1f}" y="{above + down + 18}">{place:,}</text>'
        for place in range(step, steps + 1, step)
    ]
    first, last = when(rounds[0].time), when(rounds[-1].close_time or rounds[-1].time)
    if width <= _NARROW:
        first, last = first[:10], last[:10]
    parts.append(
        f'<text class="tick" x="{left}" y="11">ε</text>'
        f'<text class="tick middle" x="{left + across / 2:.1f}" y="{above + down + 37}">reserved rounds</text>'
        f'<text class="tick" x="{left}" y="{height - 5}">{first}</text>'
        f'<text class="tick end" x="{width - right}" y="{height - 5}">{last}</text>'
    )
    label = f"Epsilon of everything reserved, after each of {steps} rounds: in the end {figure(rounds[-1].cumulative)}"
    label += f", budget {budget:g}" if budget is not None else ""
    return _svg(parts, width, height, f"{label}; {terms}.")


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of `purpose_plot`.

    Attributes:
        purpose: None for everything together.
        budget: None if there is none.
    """

    purpose: Purpose | None
    spent: float
    budget: float | None

    @property
    def name(self) -> str:
        """In words."""
        return "everything" if self.purpose is None else self.purpose.value


def purpose_plot(bars: Sequence[Bar], terms: str, width: int) -> str:
    """Epsilon of everything and of each purpose, against its budget.

    Args:
        bars: finite and not empty, with a positive epsilon or budget among them.
        terms: what stands beside the epsilons, for those who listen.
        width: in CSS pixels.
    """
    left, right, thick, gap = (120 if width > _NARROW else 92), (150 if width > _NARROW else 96), 16, 20
    across, height = width - left - right, len(bars) * (thick + gap)
    top = max(max(bar.spent, bar.budget or 0.0) for bar in bars)
    parts, heard = [], []
    for place, bar in enumerate(bars):
        y, middle = 8 + place * (thick + gap), 8 + place * (thick + gap) + thick - 3
        spent, limit = across * bar.spent / top, across * (bar.budget or 0.0) / top
        budget = "" if bar.budget is None else f" of {bar.budget:g}"
        parts.append(f'<rect class="track" x="{left}" y="{y}" width="{limit:.1f}" height="{thick}"/>' if budget else "")
        parts.append(
            f'<rect class="{"bar" if bar.purpose is None else "bar part"}" x="{left}" y="{y}" width="{spent:.1f}" '
            f'height="{thick}"/><text class="name end" x="{left - 10}" y="{middle}">{escape(bar.name)}</text>'
            f'<text class="tick" x="{left + across + 10}" y="{middle}">ε {figure(bar.spent)}{budget}</text>'
        )
        x, ends = f"{left + limit:.1f}", f'y1="{y - 4}" y2="{y + thick + 4}"'
        parts.append(f'<line class="limit" x1="{x}" x2="{x}" {ends}/>' if budget else "")
        heard.append(f"{bar.name}: epsilon {figure(bar.spent)}{budget or ', no budget of its own'}")
    return _svg(parts, width, height, f"Budget by purpose: {'; '.join(heard)}; {terms}.")


def ticks(top: float) -> list[float]:
    """Round numbers from 0 up to the top, four to eight of them."""
    rough = top / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(place * step, 12) for place in range(math.floor(top / step) + 1)]


def _svg(parts: Sequence[str], width: int, height: int, label: str) -> str:
    body = "\n".join(part for part in parts if part)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">\n{body}\n</svg>'
    )
