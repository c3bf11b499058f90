"""One round of 100 Flower nodes, one device each: our secure sum beside Flower's SecAgg+, the same 237,000 numbers.

OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/secure_sum_flower.py   # 15 minutes; writes the page
.venv/bin/python benchmarks/secure_sum_flower.py --devices 20 --titles 3000 --no-ray   # printed only

Ours is the product: ClientApp with one simulated device a node, ServerApp with enrolment, ledger and release. Flower's
is its documented use: SecAggPlusWorkflow on FedAvg, secaggplus_mod around a NumPyClient. That interface is legacy, and
nothing but this comparison imports it.
"""

import argparse
import logging
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from secure_sum_flower_rounds import NEIGHBOURS, THRESHOLD, Measured, Work, both

RESULTS = Path(__file__).parent / "results"
RUNS = 5
COMMAND = "OPENBLAS_NUM_THREADS=1 python benchmarks/secure_sum_flower.py"


def rows(work: Work, pairs: Sequence[tuple[Measured, Measured]]) -> str:
    """A table row for ours, one for Flower's and one for the medians of their ratios."""
    names, lines = ("ours", "SecAgg+"), []
    both_figures = [[figures(work, one) for one in each] for each in zip(*pairs, strict=True)]
    for name, each, runs in zip(names, both_figures, zip(*pairs, strict=True), strict=True):
        wall, cpu, node, server, to, back = (statistics.median(values) for values in zip(*each, strict=True))
        error = max(one.error for one in runs)
        figured = f"{wall:.1f} | {cpu:.1f} | {node:.0f} | {server:.2f} | {to:,.0f} | {back:,.0f} | {error:.0e}"
        lines.append(f"| {work.titles:,} | {work.vanishing} | {name} | {figured} |")
    ratios = zip(*(np.divide(theirs, ours) for ours, theirs in zip(*both_figures, strict=True)), strict=True)
    return "\n".join([*lines, f"| | | ratio | {' | '.join(f'{statistics.median(each):.1f}' for each in ratios)} | |"])


def figures(work: Work, one: Measured) -> list[float]:
    """Wall and processor seconds, a node's milliseconds, the coordinator's seconds, bytes to a node and from it."""
    to, back = max(one.traffic.values(), key=sum)
    return [one.wall, one.cpu, 1000 * one.nodes / work.devices, one.cpu - one.nodes, to, back]


def page(table: str, actors: str) -> str:
    """The page."""
    return f"""# The secure sum beside Flower's SecAgg+

`{COMMAND}` on {platform.machine()},
{os.cpu_count()} cores shared with other work (load {os.getloadavg()[0]:.1f} at the end), Python
{platform.python_version()}, flwr {version("flwr")}. One round of 100 Flower nodes, one device each: the same vectors
of d numbers, the same rule ({NEIGHBOURS} neighbours, {THRESHOLD} shares give a secret), and the same nodes vanish when
they should send their masked vector. No model is sent and no noise added.

Ours is the whole product: enrolment, ledger on disk, five steps, release. Theirs is their documented use:
`SecAggPlusWorkflow` on FedAvg, `secaggplus_mod` around a `NumPyClient`.

In one process (`simulations/runner_inprocess.py`), every message written and read as on Flower's wire; medians of
{RUNS} rounds taken in turn, ratios within each pair. Processor seconds of everything, of that a node's and the rest:

| d | vanish | | wall s | CPU s | node ms | coordinator s | bytes to a node | bytes from it | error |
|---|---|---|---|---|---|---|---|---|---|
{table}

In Flower's simulation (two Ray actors), one round each, Ray's start left out; wall seconds:

| d | ours | SecAgg+ | ratio |
|---|---|---|---|
{actors}

Why: SecAgg+ splits and joins secrets with Shamir in plain Python and agrees on keys by P-384; its masks are 8-byte
numbers of a Mersenne twister, where ours are 4-byte words of AES-CTR. Where it has less to do: four exchanges to our
six (enrolment and countersignatures), which counts where every message starts a process, as in Flower's deployment;
and it signs nothing, which costs our device a signature check for each neighbour and each countersignature. *Error* is
the largest difference to the true sum and all of it rounding: its grid is finer here (2^-21), ours no finer than a
round with noise has use for.

What the time buys is not the same: SecAgg+ folds each secret to 32 bits before it masks, its keys are not signed, and
a client gives both secrets of a peer to a server that calls it active once and dead once. What ours promises:
[docs/secure-sum.md](../../docs/secure-sum.md).
"""


def main() -> None:
    """Both, in this process and in Ray's actors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--titles", type=int, default=237_000)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--no-ray", action="store_true", help="in this process only")
    asked = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    works = [
        Work(asked.devices, asked.titles, 0),
        Work(asked.devices, asked.titles, asked.devices // 20),
        Work(asked.devices, 1_000, 0),
    ]
    table = []
    for work in works:
        table.append(rows(work, both(work, asked.runs)))
        print(table[-1], flush=True)
    rayed = [] if asked.no_ray else [(work, both(work, 1, ray=True)[0]) for work in (works[0], works[2])]
    actors = "\n".join(
        f"| {work.titles:,} | {ours.wall:.0f} | {theirs.wall:.0f} | {theirs.wall / ours.wall:.1f} |"
        for work, (ours, theirs) in rayed
    )
    print(actors)
    if (asked.devices, asked.titles, asked.runs, asked.no_ray) == (100, 237_000, RUNS, False):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "secure-sum-flower.md").write_text(page("\n".join(table), actors), encoding="utf-8")


if __name__ == "__main__":
    main()
