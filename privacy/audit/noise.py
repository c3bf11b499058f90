"""Measured noise on the sentinel rows against the claimed noise, for each release and for all together. Pure."""

import math

import numpy as np

from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.formulas import FloatArray
from backrow.privacy.audit.model import SentinelTest
from backrow.privacy.audit.sentinels import FALSE_ALARM, p_value, sum_of_squares
from backrow.privacy.audit.sequences import whitened
from backrow.privacy.correlated import Correlation
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.mechanisms import SMALLEST_NOISE_SCALE

_CAP = 2.0**62
"""Larger than any raw sum of an accepted plan; keeps squares finite whatever a file holds."""


class Sentinels:
    """Measures every release as it passes; keeps sums, not integers."""

    def __init__(self) -> None:
        self._measured: list[tuple[int, float, int]] = []
        self._independent: list[tuple[int, float, int]] = []
        self._recent: dict[Correlation, list[tuple[int, FloatArray]]] = {}

    def check(self, signed: SignedEntry, index: int, found: Findings) -> None:
        """Measure one entry."""
        if not isinstance(signed.body, ReleaseEntry):
            return
        entry = signed.body
        plan = entry.plan
        committed = plan.query.sentinels * plan.query.columns
        if len(entry.sentinels) != committed:
            found.add(
                Fault.SENTINELS,
                f"Entry {index} shows {len(entry.sentinels)} noise measurements; its plan commits to {committed}.",
                index,
            )
        if not entry.sentinels:
            return
        # What the plan promises, or more where more devices than its minimum added their shares.
        noise_scale = max(plan.noise_scale * plan.scale, plan.integer_noise_scale_at(entry.crowd.survived))
        if SMALLEST_NOISE_SCALE <= noise_scale < math.inf:
            self._measured.append((index, *sum_of_squares(entry.sentinels, noise_scale)))
            if plan.correlation is None:
                self._independent.append(self._measured[-1])
            else:
                self._untangle(plan.correlation, entry, index, noise_scale)

    def _untangle(self, sequence: Correlation, entry: ReleaseEntry, index: int, noise_scale: float) -> None:
        """Noises of a sequence depend on one another: together only what they are made of can be tested.

        After a void round, whose noise nobody sees, releases count together again once it is out of the band.
        """
        place, band = sequence.place(entry.plan.round), len(sequence.coefficients)
        noise = np.array([min(max(value, -_CAP), _CAP) for value in entry.sentinels], dtype=np.float64)
        recent = [each for each in self._recent.get(sequence, []) if place - band < each[0] < place]
        recent.append((place, noise))
        self._recent[sequence] = recent
        if len(recent) == min(band, place) and len({len(each) for _, each in recent}) == 1:
            made_of = whitened(sequence, place, [each for _, each in recent], noise_scale)
            self._independent.append((index, float(made_of @ made_of), len(made_of)))

    def finish(self, found: Findings) -> tuple[SentinelTest, ...]:
        """All tests, together first. The chance of any false alarm in honest noise is at most 1e-6.

        Half of it is for all together, the other half is shared by the releases (union bound).
        """
        if not self._measured:
            return ()
        together = self._independent or self._measured[:1]
        squares, coordinates = sum(each[1] for each in together), sum(each[2] for each in together)
        tests = [_test(None, squares, coordinates, FALSE_ALARM / 2)]
        level = FALSE_ALARM / 2 / len(self._measured)
        tests += [_test(index, own, count, level) for index, own, count in self._measured]
        for test in tests:
            if test.p_value < test.level:
                what = "all releases together" if test.release is None else f"entry {test.release}"
                entries = [each[0] for each in together] if test.release is None else [test.release]
                found.add(
                    Fault.QUIET,
                    f"The noise measured in {what} has {100 * test.ratio:.3g} % of the claimed standard deviation "
                    f"({test.coordinates} measurements); honest noise is so small with probability "
                    f"{test.p_value:.2g}.",
                    *entries[:20],
                )
        return tuple(tests)


def _test(release: int | None, squares: float, coordinates: int, level: float) -> SentinelTest:
    return SentinelTest(release, coordinates, math.sqrt(squares / coordinates), p_value(squares, coordinates), level)
