"""The report's two plots as SVG, written by hand: numbers and fixed words only. Colours are the page's classes."""

import math
from collections.abc import Sequence
from html import escape

from backrow.privacy.audit.model import Account, Closing, RoundRow
from backrow.privacy.audit.report_parts import figure, when

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


def purpose_plot(accounts: Sequence[Account], terms: str, width: int) -> str:
    """One bar for everything and one for each purpose, against its budget.

    Args:
        accounts: with finite epsilons, everything first.
    """
    left, right, bar, gap = (120 if width > _NARROW else 92), (150 if width > _NARROW else 96), 16, 20
    across = width - left - right
    top = max(max(account.closed_form, account.budget or 0.0) for account in accounts)
    parts = []
    for place, account in enumerate(accounts):
        y = 8 + place * (bar + gap)
        name = "everything" if account.purpose is None else account.purpose.value
        spent = across * account.closed_form / top
        said = figure(account.closed_form)
        if account.budget is not None:
            limit = across * account.budget / top
            parts.append(f'<rect class="track" x="{left}" y="{y}" width="{limit:.1f}" height="{bar}"/>')
            said += f" of {account.budget:g}"
        series = "bar" if account.purpose is None else "bar part"
        parts.append(
            f'<rect class="{series}" x="{left}" y="{y}" width="{spent:.1f}" height="{bar}"/>'
            f'<text class="name end" x="{left - 10}" y="{y + bar - 3}">{escape(name)}</text>'
            f'<text class="tick" x="{left + across + 10}" y="{y + bar - 3}">ε {said}</text>'
        )
        if account.budget is not None:
            parts.append(f'<line class="limit" x1="{left + limit:.1f}" x2="{left + limit:.1f}" y1="{y - 4}" '
                         f'y2="{y + bar + 4}"/>')  # fmt: skip
    height = len(accounts) * (bar + gap)
    label = "; ".join(
        f"{'everything' if account.purpose is None else account.purpose.value}: epsilon {figure(account.closed_form)}"
        + (f" of {account.budget:g}" if account.budget is not None else ", no budget of its own")
        for account in accounts
    )
    return _svg(parts, width, height, f"Budget by purpose: {label}; {terms}.")


def ticks(top: float) -> list[float]:
    """Round numbers from 0 up to the top, four to eight of them."""
    rough = top / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(place * step, 12) for place in range(math.floor(top / step) + 1)]


def _svg(parts: Sequence[str], width: int, height: int, label: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">\n{body}\n</svg>'
    )
