"""How figures are said, at the command line and in reports: one place, so that they agree."""

import math
from collections.abc import Sequence

from backrow.privacy.queries import Metric
from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit
from backrow.simulations.results import Interval, Released, Row

NOTHING = "\N{EN DASH}"
"""In a table, where there is nothing to say."""

BASELINES = {"prior": "prior only", "puresvd": "PureSVD", "ease": "EASE", "ials": "iALS"}
"""How models that are not ours are called; the others as they stand in results.json."""


def model_name(row: Row) -> str:
    """The model of a row, for people: "backrow, gradient", "backrow, no privacy", "EASE"."""
    if row.model.startswith("backrow"):
        return "backrow, no privacy" if row.epsilon is None else f"backrow, {row.trainer}"
    return BASELINES.get(row.model, row.model)


def claim_of(row: Row, *, simulated: bool) -> PrivacyClaim | None:
    """What the row may claim, at the epsilon it spent; None where it claims nothing."""
    if row.epsilon_spent is None or row.delta is None or row.unit is None or row.adjacency is None:
        return None
    return PrivacyClaim(
        row.epsilon_spent, row.delta, PrivacyUnit(row.unit), Adjacency(row.adjacency), row.releases, simulated
    )


def terms(rows: Sequence[Row]) -> tuple[str, ...]:
    """What must stand beside the epsilons of these rows, which all claim one: delta, unit, adjacency, releases."""
    deltas = ", ".join(sorted({f"{row.delta:g}" for row in rows}))
    units, ways = sorted({str(row.unit) for row in rows}), sorted({str(row.adjacency) for row in rows})
    fewest, most = min(row.releases for row in rows), max(row.releases for row in rows)
    releases = f"{fewest} releases" if fewest == most else f"{fewest} to {most} releases a run"
    return f"delta {deltas}", f"unit {', '.join(units)}", f"adjacency {', '.join(ways)}", releases


def size(count: int) -> str:
    """Bytes: 0 B, 15 KB, 3.1 MB."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if value < 10 and unit != "B" else f"{value:.0f} {unit}"


def rate(value: float) -> str:
    """A share in 0..1: 0.085."""
    return f"{value:.3f}"


def significant(value: float) -> str:
    """Three digits: 0.0421, 4.20, 421."""
    if value == 0:
        return "0"
    return (
        f"{value:#.3g}".rstrip(".") if 1e-3 <= abs(value) < 1e3 else f"{value:,.0f}" if value >= 1e3 else f"{value:.1e}"
    )


def epsilon(value: float | None) -> str:
    """A bare epsilon for a table whose caption gives delta, unit and adjacency."""
    return "none" if value is None else f"{value:.3g}"


def spent(value: float | None) -> str:
    """An epsilon that was spent, three decimals, never less than it is; a dash where none is claimed."""
    return NOTHING if value is None else f"{math.ceil(value * 1000 - 1e-9) / 1000:.3f}"


def interval(figure: Interval, confidence: float) -> str:
    """A released figure: "0.083 (95 % 0.078 .. 0.088)"."""
    value = "lost in the noise" if figure.value is None else rate(figure.value)
    return f"{value} ({confidence:.0%} {rate(figure.low)} .. {rate(figure.high)})".replace("%", " %")


def learned(released: Released) -> tuple[str, str]:
    """What the coordinator learned, and the truth that it did not: two sentences that say which is which."""
    by_name = {figure.name: figure for figure in released.figures}
    shown = {"HR@10": by_name[Metric.HIT], "of popularity": by_name[Metric.POPULAR_HIT]}
    said = ", ".join(f"{name} {interval(figure.rate, released.confidence)}" for name, figure in shown.items())
    truth = ", ".join(NOTHING if figure.truth is None else f"{figure.truth:.4f}" for figure in shown.values())
    return (
        f"what the coordinator learned, released and within the budget: {said}",
        f"ground truth of the simulator, never released: {truth}",
    )


def duration(seconds: float) -> str:
    """Seconds: 0.4 s, 12 s, 3 min 05 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
