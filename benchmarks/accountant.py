"""How long an accountant's answer takes: the first, new ones and repeated ones; asked: at most 5 ms after the first.

.venv/bin/python benchmarks/accountant.py     # writes benchmarks/results/accountant.md
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import no_options

from backrow.privacy.accounting.calibration import RESERVED_COORDINATES, epsilon_of, noise_multipliers
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.accounting.rdp import rdp_epsilon
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.simulations.study.budget import opinions, solve

RESULTS = Path(__file__).parent / "results"
TRIES, ROUNDS, DELTA, ASKED = 60, 16, 1e-5, 5.0
FIRST = """
import time
started = time.perf_counter()
{imports}
{asks}
print(time.perf_counter() - started)
"""


def releases(number: int) -> list[float]:
    """A schedule that was never asked about: two counts, the rounds, an evaluation."""
    unit = 5 + 0.01 * number
    return [2 * unit, 4 * unit, *[unit] * ROUNDS, 6 * unit]


def measured(ask: Callable[[int], object]) -> tuple[float, float]:
    """Median and largest of the middle nine tenths, in milliseconds."""
    taken = []
    for number in range(TRIES):
        started = time.perf_counter()
        ask(number)
        taken.append(1000 * (time.perf_counter() - started))
    taken.sort()
    return statistics.median(taken), taken[round(0.95 * TRIES) - 1]


def first(imports: str, asks: str) -> float:
    """Milliseconds of the first answer of a fresh process, imports included."""
    code = FIRST.format(imports=imports, asks=asks)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return 1000 * float(told)


def main() -> None:
    """Measure and write the table."""
    for number in (1000, 1001):
        opinions(tuple(sorted(releases(number))), DELTA)  # loads what is loaded once
    questions: list[tuple[str, Callable[[int], object]]] = [
        ("epsilon of a new schedule, closed form", lambda n: epsilon_of(releases(n), DELTA, RESERVED_COORDINATES)),
        ("noise for a new epsilon", lambda n: noise_multipliers(1 + 0.05 * n, DELTA, [1 / ROUNDS] * ROUNDS)),
        ("epsilon of a new schedule, RDP", lambda n: rdp_epsilon(releases(n), DELTA)),
        ("epsilon of a new schedule, zCDP", lambda n: zcdp_epsilon(releases(n), DELTA)),
        ("epsilon of a new schedule, PLD", lambda n: pld_epsilon(releases(n), DELTA)),
        ("`budget solve`, a new question: all four", lambda n: solve(epsilon=1 + 0.05 * n, delta=DELTA, rounds=ROUNDS)),
        ("all four on a schedule that was asked before", lambda n: opinions(tuple(sorted(releases(1000))), DELTA)),
    ]
    lines = [(name, *measured(ask)) for name, ask in questions]
    closed = first("from backrow.privacy.accounting.calibration import epsilon_of", f"epsilon_of([9.0] * 16, {DELTA})")
    four = first(
        "from backrow.simulations.study.budget import solve", f"solve(epsilon=3, delta={DELTA}, rounds={ROUNDS})"
    )
    table = "\n".join(f"| {name} | {middle:.2f} | {high:.2f} |" for name, middle, high in lines)
    text = f"""# Accountants

`python benchmarks/accountant.py` on {platform.machine()}, {os.cpu_count()} processors, Python
{platform.python_version()}, load {os.getloadavg()[0]:.1f}; {TRIES} questions of each kind about schedules of
{ROUNDS + 3} releases at delta {DELTA:g}, unit device, adjacency zero-out. Asked: at most {ASKED:g} ms after the first.

| question | median, ms | 95th percentile, ms |
|---|---|---|
{table}

The first answer of a fresh process, imports included: {closed:.0f} ms by the closed form (numpy only), {four:.0f} ms by
all four (scipy, dp-accounting). What is claimed is the closed form; RDP and zCDP stand beside it. PLD is a numerical
check of it, computed anew for a schedule that was never asked about, and remembered afterwards.
"""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "accountant.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    no_options(__doc__)
    main()
