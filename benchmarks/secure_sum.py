"""One round of the secure sum: processor time of a device and of the coordinator, memory, traffic, and the sum itself.

OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/secure_sum.py   # n = 1,000 and 10,000: half an hour; writes the page
.venv/bin/python benchmarks/secure_sum.py --devices 100 --dimension 10000   # one trial, printed only

Every device is a real `SecureDevice` that saves its state after each step and is restored from it before the next. The
coordinator is a `SecureRound` in a process of its own, which speaks to one device at a time. Both know one thread.
"""

import argparse
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from secure_sum_rounds import AFTER_SHARING, RESULT, SPREAD, Trial, run

from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK

RESULTS = Path(__file__).parent / "results"
DIMENSION = 237_000
NAMES = {ADVERTISE: "advertise", SHARE: "share", MASK: "mask", AGREE: "agree", UNMASK: "unmask"}
TRIALS = [(1_000, SPREAD, trial) for trial in (1, 2, 3, 4)] + [
    (1_000, AFTER_SHARING, 5), (1_000, AFTER_SHARING, 6), (10_000, SPREAD, 7),
]  # fmt: skip
"""Devices, who vanishes, and the seed of who that is, of secrets and of answers."""
COMMAND = "OPENBLAS_NUM_THREADS=1 python benchmarks/secure_sum.py"


def rows(trials: Sequence[Trial]) -> str:
    """A table row for each trial."""
    lines = []
    for trial in trials:
        spent, rule = trial.device(), f"{trial.ended.neighbours}, {trial.ended.threshold}"
        device = f"{statistics.mean(spent):.0f} | {np.quantile(spent, 0.99):.0f} | {max(spent):.0f}"
        result = f"{trial.traffic:.4f} | {'yes' if trial.exact else 'NO'} | {trial.wall:.0f} | {trial.load:.1f}"
        head = f"{len(trial.cohort.keys):,} | {trial.when} | {rule}"
        lines.append(f"| {head} | {device} | {trial.coordinator:.1f} | {trial.memory:.0f} | {result} |")
    return "\n".join(lines)


def parts(trials: Sequence[Trial]) -> str:
    """Where the time of the spread trials goes, step by step."""
    spread = [trial for trial in trials if trial.when == SPREAD]
    lines = [
        f"| {name} | {statistics.mean(statistics.mean(trial.device(step)) for trial in spread):.1f} "
        f"| {statistics.mean(trial.ended.seconds[step] for trial in spread):.2f} |"
        for step, name in NAMES.items()
    ]
    opened = statistics.mean(trial.ended.seconds[RESULT] for trial in spread)
    return "\n".join([*lines, f"| secrets recovered, masks taken out | | {opened:.2f} |"])


def report(small: Sequence[Trial], large: Sequence[Trial]) -> str:
    """The page."""
    return f"""# The secure sum: one round

`{COMMAND}` on {platform.machine()}, {os.cpu_count()} cores shared with other work (load
beside each row), Python {platform.python_version()}, one thread each for devices and coordinator; d = {DIMENSION:,},
5 % adversaries and 5 % drop-outs tolerated, and 5 % of the devices vanish. Asked at n = 1,000: device <= 100 ms,
coordinator <= 5 s and <= 200 MB, traffic <= 1.03; at n = 10,000: coordinator <= 60 s; the sum exact in every trial.

| n | who vanishes | k, t | device ms, mean | 99 % | worst | coordinator s | MB | traffic | exact | wall s | load |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows([*small, *large])}

Processor time. *Device*: all five steps of one that stays to the end, its state saved after each and restored before
the next, every signature checked by itself (an edge that hosts many devices checks each once); without encrypting that
state, the answer and its noise. *Coordinator*: signatures, rosters, one vector at a time, secrets, masks; a process of
its own. *MB*: its peak resident memory above what the imported program has, the sum and one vector in flight included.
*Traffic*: all bytes of the protocol to and from the device that had most, masked vector included, over the 4 d bytes
of a vector; the model and Flower's frames are not in it. *Exact*: equal to the sum of the survivors' integers in every
coordinate, nobody left out who sent. *Wall* has one device after the other, and drawing their answers.
"All after sharing" is the coordinator's worst case: every pair mask of each that vanished is taken out.

Where the time goes (n = 1,000, spread; means):

| step | device ms | coordinator s |
|---|---|---|
{parts(small)}

Every device of n = 10,000 is as real as those of n = 1,000, at the full d: nothing is extrapolated.
Integer noise, 2 million samples a second asked: [noise](noise.md). Beside Flower's SecAgg+:
[secure-sum-flower](secure-sum-flower.md).
"""


def main() -> None:
    """Every trial in turn; writes the page if they are the full ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, help="one trial of so many devices, printed only")
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    asked = parser.parse_args()
    if asked.devices:
        print(rows([run(asked.devices, asked.dimension, 1, SPREAD)]))
        return
    small, large = list[Trial](), list[Trial]()
    for devices, when, trial in TRIALS:
        done = run(devices, DIMENSION, trial, when)
        (small if devices == 1_000 else large).append(done)
        print(rows([done]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "secure-sum.md").write_text(report(small, large), encoding="utf-8")


if __name__ == "__main__":
    main()
