"""What opting out costs on MovieLens 1M: quality against the opt-out rate, for who stays and for who left.

    .venv/bin/python benchmarks/opting_out.py     # writes benchmarks/results/opting-out.md and opting-out-*.svg

Killed, and called again, it goes on where it was (in runs/).
"""

import argparse
import platform
import shutil
from pathlib import Path

from backrow.simulations.console import budget_words, progress
from backrow.simulations.opting_out import KINDS, RATES, Question, opt_out_costs
from backrow.simulations.opting_out_results import OptOutCosts
from backrow.simulations.report.drawing import standalone
from backrow.simulations.report.opting_out import (
    TITLES,
    cost_svg,
    cost_table,
    findings,
    percent,
    reading,
    terms_line,
)
from backrow.simulations.scenario_file import make_scenario

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """A study for each epsilon; without privacy one seed of random leaving, as nothing is noised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--epsilons", nargs="+", default=["3", "none"])
    parser.add_argument("--kinds", nargs="+", default=["random", "niche"], help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    seeds, rates, kinds = tuple(range(1, options.seeds + 1)), tuple(options.rates), tuple(options.kinds)
    command = f"python benchmarks/opting_out.py --data {options.data} --epsilons {' '.join(options.epsilons)}"
    command += f" --kinds {' '.join(kinds)} --rates {' '.join(f'{rate:g}' for rate in rates)} --seeds {options.seeds}"
    parts = ["# What opting out costs", f"`{command}` on {platform.machine()}, Python {platform.python_version()}"]
    for epsilon in options.epsilons:
        plain = epsilon == "none"
        question = Question(rates, kinds[:1], seeds[:1]) if plain else Question(rates, kinds, seeds)
        costs = study(options.data, epsilon if plain else float(epsilon), question)
        parts += [f"## Epsilon {epsilon}", *markdown(costs, f"opting-out-{epsilon}")]
    (RESULTS / "opting-out.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def study(data: str, epsilon: float | str, question: Question) -> OptOutCosts:
    """Run one, or go on with one that was killed; what was finished before is measured anew."""
    privacy = {"epsilon": epsilon, "aggregation": "trusted", "noise": "once"}
    scenario = make_scenario({"data": {"name": data}, "privacy": privacy}, "the benchmark")
    folder = Path("runs") / f"opting-out-{data}-{epsilon}"
    print(budget_words(scenario.privacy))
    shutil.rmtree(folder, ignore_errors=True)
    with progress() as observe:
        return opt_out_costs(scenario, folder, question, observe=observe)


def markdown(costs: OptOutCosts, plots: str) -> list[str]:
    """The study as paragraphs; its plots beside them, under names that begin with `plots`."""
    first = costs.points[0]
    parts = [
        f"{costs.dataset}, split `{costs.split}`, trainer {costs.trainer}, {costs.titles:,} titles. "
        f"{terms_line(costs)}. "
        f"Noise of standard deviation {first.noise_scale:.3g} on every sum of the counts, at every rate. "
        "Ground truth of the simulator, never released.",
        *findings(costs),
    ]
    for kind in costs.kinds:
        table = cost_table(costs, kind)
        parts.append(f"### {TITLES[kind]}")
        name = f"{plots}-{kind}.svg"
        (RESULTS / name).write_text(standalone(cost_svg(costs, kind, 940, 420)), encoding="utf-8")
        rates = ", ".join(percent(rate) for rate in costs.rates)
        parts.append(f"![HR@10 when {rates} of the owners opt out]({name})")
        lines = [table.head, ["---"] * table.names + ["---:"] * (len(table.head) - table.names)]
        lines += [line.cells for line in table.lines]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return [*parts, table.foot, "\n".join(f"* {sentence}" for sentence in reading(costs))]


if __name__ == "__main__":
    main()
