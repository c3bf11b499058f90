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
    terms_line,
)
from backrow.simulations.scenario_file import make_scenario

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """One study at epsilon 3, and a shorter one without privacy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["random", "niche"], help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    options = parser.parse_args()
    seeds, rates = tuple(range(1, options.seeds + 1)), tuple(options.rates)
    private = study(options.data, 3.0, Question(rates, tuple(options.kinds), seeds))
    plain = study(options.data, "none", Question(rates, ("random",), seeds[:1]))
    command = f"python benchmarks/opting_out.py --data {options.data} --seeds {options.seeds}"
    command += f" --kinds {' '.join(options.kinds)} --rates {' '.join(f'{rate:g}' for rate in rates)}"
    parts = ["# What opting out costs", f"`{command}` on {platform.machine()}, Python {platform.python_version()}"]
    parts += [*markdown(private, "opting-out"), "## Without privacy", *markdown(plain, "")]
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
    """The study as paragraphs; its plots beside them, under names that begin with `plots`, unless that is empty."""
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
        if plots:
            name = f"{plots}-{kind}.svg"
            (RESULTS / name).write_text(standalone(cost_svg(costs, kind, 940, 420)), encoding="utf-8")
            rates = ", ".join(percent(rate) for rate in costs.rates)
            parts.append(f"![HR@10 when {rates} of the owners opt out]({name})")
        lines = [table.head, ["---"] * table.names + ["---:"] * (len(table.head) - table.names)]
        lines += [line.cells for line in table.lines]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return [*parts, table.foot]


if __name__ == "__main__":
    main()
