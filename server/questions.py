"""What a round's question and its answers look like on the wire, by its plan. Pure."""

import numpy as np

from backrow.privacy import wire
from backrow.privacy.plan import RoundPlan
from backrow.server.programs.base import FloatArray


def with_sentinel_rows(tensor: FloatArray, plan: RoundPlan) -> FloatArray:
    """A public tensor over titles, with zero rows for the sentinels, where these come after titles."""
    if not plan.query.over_titles:
        return tensor
    return np.vstack([tensor, np.zeros((plan.query.sentinels, tensor.shape[1]))])


def upload_bytes(plan: RoundPlan) -> int:
    """Bytes of one device's encoded answer to this plan."""
    rows, columns = plan.query.rows, plan.query.columns
    # Of no rows, and what the rows add: as many numbers of four bytes, and the digits that say how many rows.
    blank = np.zeros((0, columns), dtype=np.int64)
    empty = len(wire.encode(wire.Contribution(plan.run_id, plan.round, plan.query.query, blank)))
    return empty + 4 * rows * columns + len(str(rows)) - 1
