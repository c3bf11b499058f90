"""The epsilon that is reported, against the exact value and against privacy loss distributions: 200 Gaussian schedules.

Reported is what an audit says of a schedule: the larger of its own closed form (scipy) and of backrow's quadrature with
what the integer sampler's error costs over ten million coordinates, as many as a calibrated budget has room for. Exact
is the closed form of Balle and Wang 2018 in 60 digits (mpmath). PLD is Google's dp-accounting at an interval of 1e-4,
every distinct round discretised by itself and convolved as often as it occurs: its PLDAccountant would merge equal
Gaussians by the formula that is to be checked.

Run: python benchmarks/epsilon.py
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import mpmath
import numpy as np
from machine import no_options

from backrow.privacy.accounting.calibration import RESERVED_COORDINATES, epsilon_of
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.audit.formulas import exact

INTERVAL = 1e-4
COORDINATES = RESERVED_COORDINATES
DIGITS = 60
DELTAS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-10)
MUS = tuple(float(mu) for mu in np.geomspace(0.05, 4, 10))
SHAPES = {
    "1 round": (1.0,),
    "4 rounds, each twice the one before": (1.0, 2.0, 4.0, 8.0),
    "15 rounds, the first 5 %": (0.05, *[0.95 / 14] * 14),
    "64 equal rounds": (1.0,) * 64,
}
"""Shares of the budget (mu squared) of every round."""


@dataclass(frozen=True)
class Row:
    """One schedule."""

    shape: str
    mu: float
    delta: float
    exact: float
    reported: float
    pld: float


def measure(shape: str, mu: float, delta: float) -> Row:
    """One schedule, three times."""
    shares = SHAPES[shape]
    multipliers = [1 / (mu * math.sqrt(share / sum(shares))) for share in shares]
    whole = math.sqrt(math.fsum(z**-2 for z in multipliers))
    reported = max(float(exact(np.array([whole]), delta)[0]), epsilon_of(multipliers, delta, COORDINATES))
    return Row(shape, mu, delta, exactly(multipliers, delta), reported, pld_epsilon(multipliers, delta, INTERVAL))


def exactly(multipliers: Sequence[float], delta: float) -> float:
    """The smallest epsilon, by bisection in so many digits that nothing cancels."""
    with mpmath.workdps(DIGITS):
        mu = mpmath.sqrt(mpmath.fsum(1 / mpmath.mpf(z) ** 2 for z in multipliers))

        def too_small(epsilon: mpmath.mpf) -> bool:
            spent = mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)
            return bool(spent > mpmath.mpf(delta))

        low, high = mpmath.mpf(0), mu * mu / 2 + mu * mpmath.sqrt(-2 * mpmath.log(delta))
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if too_small(middle) else (low, middle)
        return float(high)


def main() -> None:
    """Measure all, and print a row for each shape."""
    started = time.monotonic()
    rows = [measure(*each) for each in product(SHAPES, MUS, DELTAS)]
    print(f"{len(rows)} schedules, {time.monotonic() - started:.0f} s\n")
    print("| schedule | sets | epsilon | reported / exact - 1, least | most | reported / PLD - 1, least | most |")
    print("|---|---|---|---|---|---|---|")
    for shape in (*SHAPES, "all"):
        mine = [row for row in rows if shape in (row.shape, "all")]
        above = [row.reported / row.exact - 1 for row in mine]
        beside = [row.reported / row.pld - 1 for row in mine]
        print(
            f"| {shape} | {len(mine)} | {min(row.exact for row in mine):.3g} to {max(row.exact for row in mine):.3g} "
            f"| {min(above):.1e} | {max(above):.1e} | {min(beside):.1e} | {max(beside):.1e} |"
        )
    assert all(row.reported >= row.exact for row in rows), "reported below the exact value"
    assert all(row.reported <= 1.005 * row.pld for row in rows), "reported more than .5 % above PLD"


if __name__ == "__main__":
    no_options(__doc__)
    main()
