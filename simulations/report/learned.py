"""The report's table of what the coordinator learned about its model: released figures beside the truth."""

from backrow.simulations.report.page import Line, Table
from backrow.simulations.results import Released, Results
from backrow.simulations.wording import NOTHING, rate, significant, spent

LEARNED = "What the coordinator learned"
_NAMES = {
    "hr@10": "HR@10 of the model",
    "ndcg@10": "NDCG@10 of the model",
    "popular hr@10": "HR@10 of popularity",
    "popular ndcg@10": "NDCG@10 of popularity",
}


def learned_table(results: Results) -> Table | None:
    """The evaluation that a run asked of its devices; None if it did not."""
    released = results.released
    if released is None:
        return None
    lines = [
        Line(
            (
                _NAMES[figure.name],
                NOTHING if figure.rate.value is None else rate(figure.rate.value),
                f"{rate(figure.rate.low)} .. {rate(figure.rate.high)}",
                f"{rate(figure.per_device.low)} .. {rate(figure.per_device.high)}",
                NOTHING if figure.truth is None else f"{figure.truth:.4f}",
            )
        )
        for figure in released.figures
    ]
    gain = released.gain
    truths = [figure.truth for figure in released.figures if figure.name.endswith("hr@10")]
    known = [truth for truth in truths if truth is not None]
    lines.append(
        Line(
            (
                "HR@10, model less popularity",
                NOTHING if gain.value is None else rate(gain.value),
                f"{rate(gain.low)} .. {rate(gain.high)}",
                NOTHING,
                f"{known[0] - known[1]:.4f}" if len(known) == 2 else NOTHING,
            )
        )
    )
    lead = (
        "No history tells a real service how good its model is. It asks: after the last round every device ranks, on "
        "its own, the title its owner watched next, and answers with five bounded numbers. Their sum is noised, "
        "reserved and counted like every other release."
    )
    percent = f"{released.confidence:.0%}".replace("%", " %")
    head = ("figure", "released", f"{percent} interval", f"{percent}, of all enrolled", "truth, never released")
    return Table(LEARNED, lead, head, tuple(lines), names=1, foot=_foot(released), compares=False)


def _foot(released: Released) -> str:
    cost = (
        "It claims no privacy."
        if released.epsilon is None
        else f"Alone it costs epsilon {spent(released.epsilon)} (delta {released.delta:g}, unit {released.unit}, "
        f"adjacency {released.adjacency}, 1 release), which the epsilon of the run includes."
    )
    return (
        f"Round {released.round} of the run; noise of standard deviation {significant(released.noise_scale)} on "
        f"each sum. {cost} Each interval covers the noise, not how other devices would differ. The truth is the "
        "simulator's, over the same devices."
    )
