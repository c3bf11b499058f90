"""How long a sweep of 4 epsilons x 5 seeds takes on MovieLens 1M with two workers; asked: at most 5 minutes.

    .venv/bin/python benchmarks/sweep.py     # writes benchmarks/results/sweep.md

Then the same call again (everything is finished), and the same after the sweep was killed half-way.
"""

import argparse
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from backrow.simulations.report.curves import Chart, Curve, Dot, chart_svgs
from backrow.simulations.report.drawing import standalone
from backrow.simulations.wording import duration

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
SCENARIO = ROOT / "examples/ml-1m.toml"
ASKED = 300


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-kill", action="store_true", help="measure the whole sweep only")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        whole, busy = timed(options, Path(folder) / "whole")
        again, _ = timed(options, Path(folder) / "whole")
        killed, left = (0.0, 0.0) if options.no_kill else cut(options, Path(folder) / "cut", whole / 2)
        summary = pq.read_table(Path(folder) / "whole" / "summary.parquet").to_pylist()
        cells = pq.read_table(Path(folder) / "whole" / "sweep.parquet", columns=["cell"]).column(0).unique()
    text = markdown(options, before, whole, busy, again, killed, left, summary, len(cells))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sweep.md").write_text(text, encoding="utf-8")
    (RESULTS / "sweep.svg").write_text(drawing(summary), encoding="utf-8")
    print(text)
    raise SystemExit(whole > ASKED and options.data == "ml-1m")


def command(options: argparse.Namespace, folder: Path) -> list[str]:
    """The sweep as an engineer types it."""
    program = [sys.executable, "-c", "from backrow.simulations.cli import main; main()"]
    grid = ["--grid", "privacy.epsilon=1,2,4,8", "--seeds", str(options.seeds), "--jobs", str(options.jobs)]
    return [*program, "sweep", str(SCENARIO), *grid, "--data", options.data, "--out", str(folder)]


def timed(options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command(options, folder), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def cut(options: argparse.Namespace, folder: Path, seconds: float) -> tuple[float, float]:
    """Kill a sweep after so many seconds, then finish it: seconds of either."""
    started = time.perf_counter()
    process = subprocess.Popen(command(options, folder), stdout=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.perf_counter() - started
    return killed, timed(options, folder)[0]


def markdown(
    options: argparse.Namespace,
    load: float,
    whole: float,
    busy: float,
    again: float,
    killed: float,
    left: float,
    summary: list[dict[str, Any]],
    cells: int,
) -> str:
    """The file."""
    rows = [line for line in summary if line["protocol"] == "full"]
    table = "\n".join(
        f"| {line['model']} | {line['epsilon'] or 'none'} | {line['hr@10']:.4f} | {interval(line)} "
        f"| {line['releases']} | {line['seconds']:.1f} |"
        for line in rows
    )
    after = os.getloadavg()[0]
    cut_line = f"\nKilled after {duration(killed)}, the same call then took {duration(left)}.\n" if left else ""
    return f"""# A sweep

`python benchmarks/sweep.py --data {options.data} --jobs {options.jobs} --seeds {options.seeds}` on
{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; load of the machine {load:.1f}
before, {after:.1f} after (it counts this program too).

4 epsilons x {options.seeds} seeds of `examples/ml-1m.toml` and its baselines once ({cells} cells), with data, tables
and page: **{duration(whole)}** (asked: at most {duration(ASKED)}), {busy:.0f} processor seconds. The same call again,
with every cell finished: {duration(again)}.
{cut_line}
| model | epsilon | HR@10, full catalogue | 95 % over seeds | releases | training of a cell, s |
|---|---|---|---|---|---|
{table}

Epsilon: delta 1e-5, unit device, adjacency zero-out. Ground truth of the simulator; Student's t over seeds.
"""


def drawing(summary: list[dict[str, Any]]) -> str:
    """The curve that docs/engineer-guide.md shows."""
    rows = [line for line in summary if line["protocol"] == "full"]
    ours = [line for line in rows if line["model"] == "backrow"]
    dots = tuple(Dot(line["epsilon"], line["hr@10"], line["hr@10 low"], line["hr@10 high"]) for line in ours)
    levels = tuple((line["model"], line["hr@10"]) for line in rows if line["model"] != "backrow")
    ticks = tuple((line["epsilon"], f"{line['epsilon']:g}") for line in ours)
    across = "epsilon of the whole run (log scale), delta 1e-5"
    chart = Chart(across, "HR@10, full catalogue, ML-1M", (Curve("backrow", dots),), ticks, levels)
    return standalone(chart_svgs(chart, "sweep")[0])


def interval(line: dict[str, Any]) -> str:
    """Of one mean."""
    return "" if line["hr@10 low"] is None else f"{line['hr@10 low']:.4f} .. {line['hr@10 high']:.4f}"


if __name__ == "__main__":
    main()
