"""What the page of `plan` says."""

import math

from backrow.simulations.report.curves import Chart, Curve, Dot
from backrow.simulations.report.page import Figure, Line, Table
from backrow.simulations.report.study import Content
from backrow.simulations.study.intervals import Mean
from backrow.simulations.study.pages import OVER_SEEDS, SIMULATED, TRUTH, interval
from backrow.simulations.study.plan import Plan
from backrow.simulations.wording import rate


def plan_content(plan: Plan) -> Content:
    """The page of a plan."""
    curves = tuple(
        Curve(f"ε {epsilon:g}", tuple(_dot(p.devices, p.quality) for p in plan.points if p.epsilon == epsilon))
        for epsilon in plan.epsilons
    )
    ticks = tuple((float(size), f"{size:,}") for size in plan.sizes)
    levels = (("target", plan.target), ("popularity", plan.popularity), ("without noise", plan.noiseless))
    up = "HR@10, full catalogue"
    charts = [
        (
            Chart("devices (log scale)", up, curves, ticks, levels),
            f"Re-scaled from the {plan.kind} devices, no private run of so many. Bars: 95 % over seeds.",
        )
    ]
    if plan.checks:
        charts.append((_check_chart(plan, up), "The re-scaling beside samples that train: both lines should be one."))
    return Content(
        title=f"backrow plan on {plan.dataset}",
        eyebrow=f"plan · {plan.dataset} re-scaled",
        headline=f"How many devices reach HR@10 {rate(plan.target)}",
        terms=f"delta {plan.delta:g} · unit device · adjacency zero-out · every epsilon covers all releases of its run",
        meaning=(
            f"{plan.kind.capitalize()} data, re-scaled: {plan.population:,} devices of {plan.dataset} play more or "
            "fewer by having the noise of every release scaled. That is a forecast, and no claim about anybody.",
        ),
        stamp=SIMULATED,
        figures=tuple(
            Figure(_devices_words(plan, epsilon), f"devices at epsilon {epsilon:g}") for epsilon in plan.epsilons
        ),
        charts=tuple(charts),
        tables=(_plan_table(plan), *([_check_table(plan)] if plan.checks else [])),
        reading=(
            TRUTH,
            OVER_SEEDS,
            "The noise of a release does not grow with the population, and what devices say together does: n devices "
            "at an epsilon see, against it, N / n times the noise of the N at hand.",
            "What the re-scaling leaves out: more devices know more of rare titles, and fewer know less; a floor under "
            "popularity of one device's whole answer, which weighs more among few; other tastes. The check shows how "
            "far that led astray on these data, below the size at hand; above it nothing can be checked here.",
            "Between the points that were run, answers are interpolated in the logarithm of devices or epsilon.",
        ),
        facts=(
            ("Data set", f"{plan.dataset}, {plan.population:,} viewers, one device each"),
            ("Trainer", f"{plan.trainer}, with the rounds and step of the epsilon that is asked about"),
            ("Target", f"HR@10 {rate(plan.target)}; without noise {rate(plan.noiseless)}"),
        ),
        footer="Every run is a file in cells/; a plan that was killed goes on from there.",
    )


def _dot(x: float, mean: Mean) -> Dot:
    return Dot(float(x), mean.value, mean.low, mean.high)


def _devices_words(plan: Plan, epsilon: float) -> str:
    value = plan.devices_for(epsilon)
    if value is None:
        return f"at most {plan.sizes[0]:,}"
    return f"> {plan.sizes[-1]:,}" if math.isinf(value) else f"{_rounded(value):,}"


def _rounded(value: float) -> int:
    """Two digits: an interpolated forecast has no more."""
    digits = max(0, len(str(round(value))) - 2)
    return int(math.ceil(value / 10**digits) * 10**digits)


def _plan_table(plan: Plan) -> Table:
    by = {(p.epsilon, p.devices): p.quality for p in plan.points}
    lines = [
        Line(
            (
                f"{size:,}",
                *(
                    f"{rate(by[epsilon, size].value)} ({interval(by[epsilon, size].low, by[epsilon, size].high)})"
                    for epsilon in plan.epsilons
                ),
                _epsilon_words(plan, size),
            ),
            size == plan.population,
        )
        for size in plan.sizes
    ]
    head = ("devices", *(f"HR@10 at ε {epsilon:g}" for epsilon in plan.epsilons), "ε for the target")
    lead = "Down: more devices. Across: a larger epsilon. In brackets: 95 % over seeds."
    return Table(
        "Devices and epsilon",
        lead,
        head,
        tuple(lines),
        names=1,
        foot=f"Bold: as many as there are. Target: HR@10 {rate(plan.target)}.",
        compares=True,
    )


def _epsilon_words(plan: Plan, devices: int) -> str:
    value = plan.epsilon_for(devices)
    if value is None:
        return f"at most {min(plan.epsilons):g}"
    return f"> {max(plan.epsilons):g}" if math.isinf(value) else f"{value:.2g}"


def _check_chart(plan: Plan, up: str) -> Chart:
    ascending = sorted(plan.checks, key=lambda check: check.devices)
    curves = (
        Curve("sample", tuple(_dot(check.devices, check.real) for check in ascending)),
        Curve("re-scaled", tuple(_dot(check.devices * 1.03, check.predicted) for check in ascending)),
    )
    ticks = tuple((float(check.devices), f"{check.devices:,}") for check in ascending)
    return Chart(
        f"devices (log scale), epsilon {plan.checked:g}", up, curves, ticks, (("popularity", plan.popularity),)
    )


def _check_table(plan: Plan) -> Table:
    lines = tuple(
        Line(
            (
                f"{c.devices:,}",
                _with(c.real),
                _with(c.predicted),
                f"{round(c.error, 4) + 0.0:+.4f}",
                f"{round(c.error / c.real.value, 2) + 0.0:+.0%}".replace("%", " %"),
            )
        )
        for c in plan.checks
    )
    worst = max((abs(check.error) for check in plan.checks), default=0.0)
    head = ("devices", "HR@10, sample", "HR@10, re-scaled", "error", "relative")
    lead = (
        f"Devices drawn at random from the {plan.population:,} train at epsilon {plan.checked:g} by themselves, and "
        "the viewers of all of them are asked. Beside it, all of them with the noise of so few."
    )
    foot = f"Largest error {worst:.4f}. In brackets: 95 % over seeds."
    return Table("Does re-scaling hold?", lead, head, lines, names=1, foot=foot, compares=False)


def _with(mean: Mean) -> str:
    return f"{mean.value:.4f} ({interval(mean.low, mean.high)})"
