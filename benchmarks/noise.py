"""Integer noise: samples per second on one thread, drawn once for a sum or in shares on devices.

.venv/bin/python benchmarks/noise.py     # writes benchmarks/results/noise.md
"""

import os
import platform
import statistics
import time
from pathlib import Path

from machine import no_options, processor

from backrow.privacy import discrete_gaussian
from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.randomness import OsRandom, RandomSource, SeededRandom

RESULTS = Path(__file__).parent / "results"
SCALES = (3.0, 81.0, 1e4, 1e6, 1e9)
SHARES = (2.0, 81.0, 1400.0, 4000.0, 2.0**14)
SIZE = 1_000_000
RUNS = 5


def main() -> None:
    """Median over interleaved runs; the tables are built before the clock starts."""
    builds = {scale: build(scale) for scale in SHARES}
    once = {scale: IntegerGaussian(scale) for scale in SCALES}
    shares = {scale: DiscreteGaussian(scale) for scale in SHARES}
    seconds = measure([*once.values(), *shares.values()])
    rows = "\n".join(
        f"| {scale:g} | {rate(seconds[sampler, OsRandom])} | {rate(seconds[sampler, SeededRandom])} "
        f"| {sampler.relative_error:.1e} | {sampler.tail_mass:.1e} |"
        for scale, sampler in once.items()
    )
    share_rows = "\n".join(
        f"| {scale:g} | {rate(seconds[sampler, OsRandom])} | {rate(seconds[sampler, SeededRandom])} "
        f"| {1e3 * builds[scale][0]:.1f} | {builds[scale][1] / 1e6:.1f} | {sampler.relative_error:.1e} "
        f"| {sampler.tail_mass:.1e} |"
        for scale, sampler in shares.items()
    )
    ratio = statistics.median(
        before / now for before, now in zip(seconds[once[81.0], OsRandom], seconds[shares[81.0], OsRandom], strict=True)
    )
    text = f"""# Integer noise

`python benchmarks/noise.py` on {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, one thread,
through AES-256-CTR under a key from the operating system, or from a seed; median of {RUNS} interleaved runs of
{SIZE:,} samples (asked: 2 million a second at sd 81). Million samples a second:

## Once, on the sum: the rounded Gaussian

| sd | system | seeded | relative error of a probability | tail mass |
|---|---|---|---|---|
{rows}

## In shares, on each device: the discrete Gaussian

| sd of a share | system | seeded | table, ms | table, MB | relative error of a probability | tail mass |
|---|---|---|---|---|---|---|
{share_rows}

At sd 81 a share is drawn {ratio:.1f} times as fast as the noise of a sum (median of the ratios of each run). A table is
made once per standard deviation.
"""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "noise.md").write_text(text, encoding="utf-8")
    print(text)


Sampler = IntegerGaussian | DiscreteGaussian
Seconds = dict[tuple[Sampler, type[RandomSource]], list[float]]


def measure(samplers: list[Sampler]) -> Seconds:
    """Seconds of every run, by sampler and source."""
    seconds: Seconds = {}
    for run in range(-1, RUNS):  # the first one warms up
        for sampler in samplers:
            for random in (OsRandom(), SeededRandom(run)):
                started = time.perf_counter()
                sampler.sample(random, SIZE)
                if run >= 0:
                    seconds.setdefault((sampler, type(random)), []).append(time.perf_counter() - started)
    return seconds


def rate(seconds: list[float]) -> str:
    return f"{SIZE / statistics.median(seconds) / 1e6:.1f}"


def build(scale: float) -> tuple[float, int]:
    """Seconds that a table takes (median), and its bytes."""
    seconds = []
    for _ in range(RUNS):
        discrete_gaussian._table.cache_clear()
        started = time.perf_counter()
        table = discrete_gaussian._table(scale)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), table.thresholds.nbytes + table.high.nbytes + table.index.nbytes


if __name__ == "__main__":
    no_options(__doc__)
    main()
