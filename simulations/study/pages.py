"""What the page of `sweep` says, and what it shares with the others."""

from collections.abc import Sequence
from typing import Any

from backrow.simulations.report.curves import Chart, Curve, Dot
from backrow.simulations.report.page import Figure, Line, Table
from backrow.simulations.report.study import Content
from backrow.simulations.results import Row
from backrow.simulations.study.intervals import CONFIDENCE
from backrow.simulations.study.sweep import Sweep
from backrow.simulations.wording import BASELINES, NOTHING, duration, rate, terms

SIMULATED = "simulated: no production claim"
TRUTH = "Hit rates are ground truth of the simulator, which knows every history; they are never released."
OVER_SEEDS = (
    f"Intervals are Student's t over seeds, {CONFIDENCE * 100:.0f} %: they cover the noise and whatever else a seed "
    "draws, not which viewers, titles or held-out titles there are. Few seeds that agree by chance give an interval "
    "that is too short."
)


def interval(low: float | None, high: float | None) -> str:
    """An interval as "0.081 .. 0.087", or a dash of a single seed."""
    return NOTHING if low is None or high is None else f"{rate(low)} .. {rate(high)}"


def sweep_content(sweep: Sweep) -> Content:
    """The page of a sweep."""
    lines = [line for line in sweep.summary() if line["protocol"] == _shown(sweep)]
    ours = [line for line in lines if line["model"] == "backrow"]
    others = [line for line in lines if line["model"] != "backrow"]
    private = [row for record in sweep.records for row in record.rows if row.private]
    keys = [axis.key for axis in sweep.axes]
    named = ", ".join(f"{axis.key} {', '.join(map(str, axis.values))}" for axis in sweep.axes)
    return Content(
        title=f"backrow sweep on {sweep.dataset}",
        eyebrow=f"sweep · {sweep.dataset} · split {sweep.split}",
        headline=_sweep_headline(ours),
        terms=" · ".join(terms(private)) if private else "no privacy is claimed",
        meaning=(f"{named or 'one point'}; {len({record.seed for record in sweep.records})} seeds.",),
        stamp=SIMULATED,
        warnings=tuple(f"{_where(record.point, record.seed)} failed: {record.error}" for record in sweep.failed),
        figures=_best(ours, keys),
        charts=_sweep_charts(sweep, ours, others),
        tables=(_sweep_table(sweep, [*ours, *others], keys),),
        reading=(
            TRUTH,
            OVER_SEEDS,
            "Each run has its own budget. Whoever sees two runs on the same devices must count both: a sweep is for "
            "choosing on data that may be looked at, and choosing is outside epsilon.",
        ),
        facts=(
            ("Data set", f"{sweep.dataset}, {sweep.devices:,} viewers, one device each, {sweep.titles:,} titles"),
            ("Trainer", sweep.scenario.trainer),
            ("Cells", f"{len(sweep.records)}, {sweep.skipped} of them finished before, {len(sweep.failed)} failed"),
            ("This call", duration(sweep.seconds)),
        ),
        footer="Every figure is in sweep.parquet, the means in summary.parquet, the scenario in sweep.json.",
    )


def _shown(sweep: Sweep) -> str:
    return sweep.scenario.evaluation.protocols[0]


def _where(point: dict[str, Any], seed: int) -> str:
    return ", ".join([*(f"{key} {value}" for key, value in point.items()), f"seed {seed}"])


def _sweep_headline(ours: Sequence[dict[str, Any]]) -> str:
    found = [line["hr@10"] for line in ours]
    return f"HR@10 from {rate(min(found))} to {rate(max(found))}" if found else "No cell was finished"


def _best(ours: Sequence[dict[str, Any]], keys: Sequence[str]) -> tuple[Figure, ...]:
    """The first and last point, and the best."""
    if not ours or not keys:
        return ()
    chosen = {id(line): line for line in (ours[0], max(ours, key=lambda line: line["hr@10"]), ours[-1])}
    return tuple(
        Figure(rate(line["hr@10"]), "HR@10 at " + ", ".join(f"{key.rpartition('.')[2]} {line[key]}" for key in keys))
        for line in chosen.values()
    )


def _sweep_charts(
    sweep: Sweep, ours: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]]
) -> tuple[tuple[Chart, str], ...]:
    if not ours or not sweep.axes:
        return ()
    first, *rest = sweep.axes
    numbers = [value for value in first.values if isinstance(value, int | float) and not isinstance(value, bool)]
    log = len(numbers) > 1 and min(numbers) > 0
    place = {value: float(value) if value in numbers else None for value in first.values}
    if not numbers:
        place = {value: float(position) for position, value in enumerate(first.values)}
    groups: dict[tuple[Any, ...], list[Dot]] = {}
    levels = [(_name(line), line["hr@10"]) for line in others]
    for line in ours:
        name = tuple(line[axis.key] for axis in rest)
        at = place[line[first.key]]
        if at is None:
            levels.append((f"{first.key.rpartition('.')[2]} {line[first.key]}", line["hr@10"]))
        else:
            groups.setdefault(name, []).append(Dot(at, line["hr@10"], line["hr@10 low"], line["hr@10 high"]))
    curves = tuple(
        Curve(", ".join(map(str, name)) or sweep.scenario.trainer, tuple(sorted(dots, key=lambda dot: dot.x)))
        for name, dots in groups.items()
    )
    ticks = tuple((at, str(value)) for value, at in place.items() if at is not None)
    chart = Chart(
        f"{first.key}{' (log scale)' if log else ''}", f"HR@10, {_catalogue(_shown(sweep))}", curves, ticks,
        tuple(levels), log=log,
    )  # fmt: skip
    return ((chart, "Bars: 95 % interval of the mean over seeds. Dashed: models without a place on the axis."),)


def _name(line: dict[str, Any]) -> str:
    return BASELINES.get(line["model"], str(line["model"]))


def _value(value: object) -> str:
    return NOTHING if value is None else str(value)


def _catalogue(protocol: str) -> str:
    return "full catalogue" if protocol == "full" else "NCF protocol"


def _sweep_table(sweep: Sweep, lines: Sequence[dict[str, Any]], keys: Sequence[str]) -> Table:
    cells = [
        Line(
            (
                _name(line),
                *(_value(line.get(key)) for key in keys),
                rate(line["hr@10"]),
                interval(line["hr@10 low"], line["hr@10 high"]),
                rate(line["ndcg@10"]),
                interval(line["ndcg@10 low"], line["ndcg@10 high"]),
                str(line["releases"] or NOTHING),
                str(line["seeds"]),
                duration(line["seconds"]),
            ),
            line["epsilon"] is not None,
        )
        for line in lines
    ]
    head = (
        "model",
        *(key.rpartition(".")[2] for key in keys),
        "HR@10",
        "95 %",
        "NDCG@10",
        "95 %",
        "releases",
        "seeds",
        "time",
    )
    lead = f"Means over seeds; {_catalogue(_shown(sweep))}, {sweep.titles:,} titles."
    foot = "Time: of training one cell. Baselines see every history and claim no privacy; they are fitted once."
    return Table("Every point", lead, head, tuple(cells), names=1, foot=foot, compares=True)


def rows_terms(rows: Sequence[Row]) -> str:
    """What must stand beside the epsilons of these rows."""
    private = [row for row in rows if row.private]
    return " · ".join(terms(private)) if private else "no privacy is claimed"
