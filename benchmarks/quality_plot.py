"""The frontier of what benchmarks/quality.py found: trains nothing.

.venv/bin/python benchmarks/quality_plot.py     # benchmarks/results/quality-ml-1m-frontier.svg from its json files
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backrow.simulations.report.drawing import standalone
from backrow.simulations.report.plot import frontier_svg
from backrow.simulations.results import Row

RESULTS = Path(__file__).parent / "results"
SHOWN = ("sequence", "gradient")
"""Trainers drawn as lines; the others say little more."""
FIELDS = ("model", "trainer", "protocol", "epsilon", "delta", "unit", "adjacency", "releases", "bytes_up_per_device",
          "hr_at_10", "ndcg_at_10", "recall_at_20", "coverage_at_10", "seconds")  # fmt: skip


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--from", dest="names", nargs="+", default=["", "sequence"], help="after quality-DATA")
    options = parser.parse_args()
    draw(options.data, options.names)


def draw(data: str, names: Sequence[str]) -> None:
    """Draw what these files of results hold, in benchmarks/results; `names`: what follows the data's name in theirs."""
    paths = [RESULTS / f"quality-{'-'.join(filter(None, (data, name)))}.json" for name in names]
    rows = shown_rows([entry for path in paths for entry in json.loads(path.read_text(encoding="utf-8"))["rows"]])
    target = RESULTS / f"quality-{data}-frontier.svg"
    target.write_text(standalone(frontier_svg(rows, 940, 480)), encoding="utf-8")


def shown_rows(entries: list[dict[str, Any]]) -> list[Row]:
    """Means over seeds as rows: full catalogue, `SHOWN` with a budget and `sequence` without, baselines once."""
    rows: dict[tuple[str, str, float | None], Row] = {}
    for entry in entries:
        trainer = entry["trainer"] or ""
        private = entry["epsilon"] is not None
        ours = entry["model"] == "backrow"
        if entry["protocol"] != "full" or (ours and trainer not in (SHOWN if private else SHOWN[:1])):
            continue
        table = {field: entry[field] for field in FIELDS}
        spent = {"trainer": trainer or None, "epsilon_spent": entry["epsilon_spent_at_most"], "seed": entry["seeds"][0]}
        rows.setdefault((entry["model"], trainer, entry["epsilon"]), Row.model_validate({**table, **spent}))
    return list(rows.values())


if __name__ == "__main__":
    main()
