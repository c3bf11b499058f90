"""Whole cohorts at once, on workload W1: clients per second against pfl and FedJAX, and where a round's time goes.

.venv/bin/python benchmarks/population_engine.py --peers DIR [--pfl PYTHON] [--fedjax PYTHON]

DIR holds w1data.py, w1_pfl.py and w1_fedjax.py (they are copied before they run, as they write beside themselves);
PYTHON is the interpreter of a virtual environment with that peer. Our own side is in `population_rounds.py`.
Writes benchmarks/results/population-engine.md.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import processor
from population_rounds import World, bare, equality, rounds, world
from threadpoolctl import threadpool_limits

from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.randomness import SeededRandom
from backrow.simulations.engine import plain

RESULTS = Path(__file__).parent / "results"


def peer(python: str | None, script: Path, *words: str) -> tuple[float | None, float | None]:
    """Clients per second, and per second of processor, that a peer's script prints; None: not asked for."""
    if python is None:
        return None, None
    done = subprocess.run(
        [python, str(script), *words], cwd=script.parent, capture_output=True, text=True, check=True, env=quiet()
    )
    found = re.search(r"clients/s median ([0-9.]+) .*per-cpu-s ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found.group(1)), float(found.group(2))


def quiet() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--peers", type=Path, required=True)
    asked.add_argument("--pfl")
    asked.add_argument("--fedjax")
    asked.add_argument("--runs", type=int, default=5)
    told = asked.parse_args()
    threadpool_limits(1)
    with tempfile.TemporaryDirectory(prefix="backrow-peers-") as scratch:
        place = Path(scratch)
        for script in told.peers.glob("*.py"):
            shutil.copy(script, place)
        sys.path.insert(0, str(place))
        import w1data

        one, many = world(w1data, 1, w1data.COHORT), world(w1data, 10, 10_000)
        difference, decided, clipped = equality(one)
        assert difference <= 1e-6, (difference, decided)
        assert decided == 0, (difference, decided)
        rows: list[dict[str, float | None]] = []
        for run in range(-1, told.runs):  # the first one warms up
            row = measure(one, many, run, told, place)
            print({name: None if value is None else round(value, 4) for name, value in row.items()}, flush=True)
            rows += [row] if run >= 0 else []
    text = report(rows, difference, clipped)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "population-engine.md").write_text(text, encoding="utf-8")
    print(text)


def measure(one: World, many: World, run: int, told: argparse.Namespace, place: Path) -> dict[str, float | None]:
    """One of everything, one after the other."""
    cohort, large = len(one.cohort(1)), len(many.cohort(1))
    row: dict[str, float | None] = {}

    def compare(name: str, found: tuple[float, float], devices: int, other: tuple[float, float] | None = None) -> None:
        for clock, kind in enumerate(("", " cpu")):
            row[name + kind] = devices / found[clock]
            if other is not None:
                row[f"{name} over kernel{kind}"] = found[clock] / other[clock]

    kernels = [bare(one, 3 + number) for number in range(9)]
    kernel = statistics.median(wall for wall, _ in kernels), statistics.median(cpu for _, cpu in kernels)
    compare("kernel", kernel, cohort)
    whole = rounds(one, cohort, 9)
    compare("whole", whole, cohort, kernel)
    compare("both", rounds(one, cohort, 9, 2), cohort)
    sampler, entries = IntegerGaussian(2.0**24), one.factors.size + 4096
    began = time.process_time()
    for _ in range(9):
        sampler.sample(SeededRandom(run), entries)
    row["noise"] = (time.process_time() - began) / 9 / whole[1]
    compare("plain", rounds(one, cohort, 1, using=plain), cohort)
    single = rounds(many, large, 3)
    bares = [bare(many, 3 + number) for number in range(3)]
    compare("large", single, large, (statistics.median(w for w, _ in bares), statistics.median(c for _, c in bares)))
    row["two workers"] = single[0] / rounds(many, large, 3, 2)[0]
    peers = {"pfl": (told.pfl, "w1_pfl.py", "1", "1", "dense"), "fedjax": (told.fedjax, "w1_fedjax.py", "2")}
    for name, (python, script, *words) in peers.items():
        rates = peer(python if run >= 0 else None, place / script, *words, str(cohort))
        for rate, kind in zip(rates, ("", " cpu"), strict=True):
            row[name + kind] = rate
            for ours in ("whole", "both", "plain"):
                mine = row[ours + kind]
                row[f"{ours} over {name}{kind}"] = None if rate is None or mine is None else mine / rate
    return row


def report(rows: list[dict[str, float | None]], difference: float, clipped: int) -> str:
    def middle(name: str, digits: int = 1) -> str:
        found = [value for row in rows if (value := row[name]) is not None]
        return f"{statistics.median(found):,.{digits}f}" if found else "not measured"

    def both(name: str, digits: int = 1) -> str:
        return f"{middle(name, digits)} | {middle(name + ' cpu', digits)}"

    load = os.getloadavg()[0]
    return f"""# Whole cohorts at once

`python benchmarks/population_engine.py --peers DIR --pfl PYTHON --fedjax PYTHON` on {processor()}, {os.cpu_count()}
cores, load {load:.1f} at the end (1 would be an idle machine running this alone), {len(rows)} interleaved runs; every
figure is a median over runs, ratios are medians of the ratios within a run.

Scope: one process with one worker unless said otherwise, no accelerator; matrix factorization only. While the cohort
trains, a thread of the coordinator draws the round's noise, hashes who takes part and has checkpoints written: by the
clock this uses a second core (as FedJAX does), by processor time it all counts. The engine exploits that a
device touches few titles; the peers are general and move the dense item table. Workload W1: 6,040 devices, 3,706
titles, 1 M events, 32 factors; a round asks 1,000 devices for one epoch of mini-batches of 32 watched titles with 4
fresh negatives each, own factors kept on the device, item change clipped to .15, sampling of events inside the timing.
Our rounds are whole: signed calls, enrolment with consents and the list of opt-outs, reservation and release in the
ledger (synced to disk), integer noise on all rows and {4096:,} sentinels, accounting, the model's step.

Equality first: relative L2 difference to the devices' own trainer {difference:.1e} (asked 1e-6), the same devices
clipped ({clipped} of 256), the same bits for one worker and two.

| | by the clock | by processor time | asked |
|---|---|---|---|
| whole round, clients per second | {both("whole", 0)} | |
| pfl 0.6.0, clients per second | {both("pfl", 0)} | |
| FedJAX 0.0.17, clients per second | {both("fedjax", 0)} | |
| over pfl | {both("whole over pfl")} | 60 |
| over FedJAX, which uses both cores | {both("whole over fedjax")} | 25 |
| two workers of the same process, over FedJAX | {both("both over fedjax")} | |
| bare kernel, clients per second | {both("kernel", 0)} | |
| whole round over bare kernel, cohort 1,000 | {both("whole over kernel", 2)} | 1.3 |
| the same, cohort 10,000 (population repeated ten times) | {both("large over kernel", 2)} | |
| two workers over one, cohort 10,000 | {middle("two workers", 2)} | | 1.6 |
| integer noise, share of a whole round of 1,000 | | {middle("noise", 3)} | .2 |
| without numba, clients per second | {both("plain", 0)} | |
| without numba, over pfl | {both("plain over pfl")} | 6 |

What a whole round adds to the kernel hardly depends on the cohort: signatures over a megabyte of model, hashes of who
took part, noise on every row, an epsilon, thousands of sentinels in the ledger, and waits for the disk: for the
reservation before anything is asked, for the noisy sum and its entry before it is released. By processor time waits,
and other programs on the machine, do not count.
"""


if __name__ == "__main__":
    main()
