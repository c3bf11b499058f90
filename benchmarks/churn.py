"""A model every week while devices come and go, on MovieLens 1M: warm and cold starts under one cumulative budget.

    .venv/bin/python benchmarks/churn.py     # writes benchmarks/results/churn.md and churn-*.svg

Two services: MovieLens as it was, where most devices have a single day, and the same histories played out over weeks.
Nothing here looks at a test title. Killed, and called again, it goes on; runs that are finished (in runs/) are not
repeated: remove them where the code has changed.
"""

import argparse
import os
import platform
import shutil
from pathlib import Path
from statistics import mean, stdev

from backrow.simulations.continual import SCENARIO, run_continual
from backrow.simulations.continual_results import RESULT, ContinualResults, Quality, Week
from backrow.simulations.continual_scenario import ContinualScenario, load_continual
from backrow.simulations.report.continual import NAMES, quality_chart
from backrow.simulations.report.curves import wide_svg
from backrow.simulations.report.drawing import standalone

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
AS_IT_WAS = {"count": 36, "answers": 1, "forgetting": 0.98}
"""Everybody who ever joined MovieLens 1M did so in its first 36 weeks, but for a few."""


def main() -> None:
    """Every service with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    played = load_continual(ROOT / "examples" / "churn.toml").model_copy(update={"data": options.data})
    played = played.model_copy(update={"privacy": played.privacy.model_copy(update={"epsilon": options.epsilon})})
    churn = played.churn.model_copy(update={"histories": "timestamps", "uninstalls": 0.01})
    as_it_was = played.model_copy(update={"churn": churn, "weeks": played.weeks.model_copy(update=AS_IT_WAS)})
    services = {"played-out": played, "as-it-was": as_it_was}
    parts = []
    for name, scenario in services.items():
        runs = [run(scenario.model_copy(update={"seed": seed}), name) for seed in range(1, options.seeds + 1)]
        parts += section(name, scenario, runs)
        (RESULTS / f"churn-{name}.svg").write_text(
            standalone(wide_svg(quality_chart(averaged(runs)), name)), encoding="utf-8"
        )
    command = f"python benchmarks/churn.py --data {options.data} --epsilon {options.epsilon:g} --seeds {options.seeds}"
    load = os.getloadavg()[2]
    head = [
        "# A model every week, while devices come and go",
        f"`{command}` on {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} processors that "
        f"others share (load {load:.0f}). Nothing here is a timing. What is asked, counted and "
        "measured: [docs/churn.md](../../docs/churn.md).",
        "HR@10 / NDCG@10 over the full catalogue, of the last title of whoever watches in the week after a model; "
        "ground truth, never released. Test titles are held out of everything. Mean over seeds (standard deviation of "
        "HR@10).",
    ]
    (RESULTS / "churn.md").write_text("\n\n".join([*head, *parts]) + "\n", encoding="utf-8")


def run(scenario: ContinualScenario, name: str) -> ContinualResults:
    """One run, or the finished one of an earlier call."""
    folder = Path("runs") / f"churn-{name}-{scenario.seed}"
    draft = folder.with_name(f"{folder.name}.unfinished")
    for old in (folder, draft):
        if old.exists() and (old / SCENARIO).read_text(encoding="utf-8") != scenario.to_toml():
            shutil.rmtree(old)
    if folder.exists():
        return ContinualResults.model_validate_json((folder / RESULT).read_bytes())
    return run_continual(scenario, folder, observe=print, resume=draft.exists())


def section(name: str, scenario: ContinualScenario, runs: list[ContinualResults]) -> list[str]:
    """One service in words and tables."""
    first, weeks = runs[0], scenario.weeks
    joined, left, out = (
        mean(sum(getattr(week, what) for week in one.weeks) for one in runs) for what in ("joined", "left", "opted_out")
    )
    asked = f"at most {weeks.answers} answer of a device" if weeks.answers == 1 else f"at most {weeks.answers} answers"
    said = "everybody asked every week" if weeks.answers is None else f"{asked}, correlated noise"
    title = "Histories played out over weeks" if scenario.churn.histories == "paced" else "MovieLens 1M as it was"
    lines = [f"| model | from week {first.since} on | first third | second | last |", "|---|---|---|---|---|"]
    for model in first.overall:
        spread = f" ({stdev([one.overall[model].hr or 0 for one in runs]):.4f})" if len(runs) > 1 else ""
        thirds = [" / ".join(third(runs, model, number)) for number in range(3)]
        lines.append(
            f"| {NAMES[model]} | {both([one.overall[model] for one in runs])}{spread} | {' | '.join(thirds)} |"
        )
    return [
        f"## {title}",
        f"{len(first.weeks)} weeks; {said}; forgetting {weeks.forgetting:g}. On average {joined:,.0f} devices joined, "
        f"{left:,.0f} left and {out:,.0f} opted out. Claim of each run: {first.claim}. Models are compared from week "
        f"{first.since} on, when “{NAMES['once']}” is; thirds are of all weeks, of those that a model has.",
        "\n".join(lines),
        f"![HR@10 by week](churn-{name}.svg)",
        "\n".join(["| week | there | joined | left | opted out | answering | spent epsilon | asked |", "|" + "---|" * 8]
                  + [week_line(week) for week in first.weeks[:: max(1, len(first.weeks) // 9)]]),
    ]  # fmt: skip


def week_line(week: Week) -> str:
    """Of the first seed."""
    people = " | ".join(f"{each:,}" for each in (week.there, week.joined, week.left, week.opted_out, week.answering))
    return f"| {week.week} | {people} | {week.epsilon_spent or 0:.3f} | {week.asked:,} |"


def both(found: list[Quality]) -> str:
    """Mean HR@10 / NDCG@10."""
    return f"{mean(each.hr or 0 for each in found):.4f} / {mean(each.ndcg or 0 for each in found):.4f}"


def third(runs: list[ContinualResults], model: str, number: int) -> tuple[str, str]:
    """HR@10 and NDCG@10 of a third of the weeks, everybody asked taken together."""
    figures = []
    for what in ("hr", "ndcg"):
        total = count = 0.0
        for one in runs:
            size = len(one.weeks) / 3
            for week in one.weeks[round(number * size) : round((number + 1) * size)]:
                if model in week.quality and week.asked:
                    total, count = total + week.asked * getattr(week.quality[model], what), count + week.asked
        figures.append(f"{total / count:.4f}" if count else "-")
    return figures[0], figures[1]


def averaged(runs: list[ContinualResults]) -> ContinualResults:
    """The first run with the mean quality of all, week by week, for the plot."""
    weeks = []
    for row in zip(*(one.weeks for one in runs), strict=True):
        quality = {
            name: Quality(hr=mean(each.quality[name].hr or 0 for each in row),
                          ndcg=mean(each.quality[name].ndcg or 0 for each in row))
            for name in row[0].quality
        }  # fmt: skip
        weeks.append(row[0].model_copy(update={"quality": quality}))
    return runs[0].model_copy(update={"weeks": tuple(weeks)})


if __name__ == "__main__":
    main()
