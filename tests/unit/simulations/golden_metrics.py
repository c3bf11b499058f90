"""The case behind golden_metrics.json, and how that file was made.

The values come from trec_eval's C code through `ir-measures`, which shares nothing with ours. To make them anew, in an
environment of its own (ir-measures is no dependency of backrow, not even of its tests):

    python -m venv golden && golden/bin/pip install ir-measures==0.4.3
    golden/bin/python tests/unit/simulations/golden_metrics.py > tests/unit/simulations/golden_metrics.json
"""

import json
import sys

import numpy as np
from numpy.typing import NDArray

VIEWERS, TITLES, NEGATIVES = 120, 90, 25


def case() -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]:
    """Scores without ties (viewers, titles), watched (viewers, titles), test (viewers,), negatives (viewers, 25)."""
    viewer, title = np.ogrid[:VIEWERS, :TITLES]
    scores = ((viewer + 3) * (title + 5) * 7919 + title * title * 31) % 10007 / 10007 + title * 1e-9
    watched = (viewer * 7 + title * 11) % 5 == 0
    test = np.array([(row * 13 + 1) % TITLES for row in range(VIEWERS)], dtype=np.int32)
    watched[np.arange(VIEWERS), test] = False
    # Lifts the test titles, so that many of them are found.
    scores[np.arange(VIEWERS), test] = np.sqrt(scores[np.arange(VIEWERS), test])
    negatives = (test[:, None] + 1 + 3 * np.arange(NEGATIVES)) % TITLES
    return scores, watched, test, negatives.astype(np.int32)


def main() -> None:
    """Print the golden values, by protocol: means over viewers."""
    import ir_measures  # type: ignore[import-not-found, unused-ignore]

    scores, watched, test, negatives = case()
    measures = [ir_measures.Success @ 10, ir_measures.nDCG @ 10, ir_measures.R @ 20]
    relevant = [ir_measures.Qrel(str(row), str(test[row]), 1) for row in range(VIEWERS)]
    values = {}
    for protocol in ("full", "ncf"):
        run = []
        for row in range(VIEWERS):
            shown = np.flatnonzero(~watched[row]) if protocol == "full" else [test[row], *negatives[row]]
            run += [ir_measures.ScoredDoc(str(row), str(title), float(scores[row, title])) for title in shown]
        found = ir_measures.calc_aggregate(measures, relevant, run)
        values[protocol] = {str(measure): found[measure] for measure in measures}
    json.dump(values, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
