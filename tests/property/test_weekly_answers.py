"""For all histories: a simulated device keeps the bound that the sensitivity stands on, and counts nothing twice."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.weekly_answers import NEVER, WEEK, answered_in, weeks_of


def interactions(seen: list[tuple[int, int]]) -> Interactions:
    """Viewer and week of each; the first row starts the clock, one row ends it at week 12."""
    viewer, week = np.array([(0, 0), *seen, (1, 12)]).T
    titles = np.arange(len(viewer), dtype=np.int32)
    return Interactions(viewer.astype(np.int32), titles, week.astype(np.int64) * WEEK, None)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=40),
    st.integers(1, 13),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_every_device_keeps_its_bound(seen: list[tuple[int, int]], weeks: int, most: int, apart: int) -> None:
    rows = interactions(seen)
    answered, week = answered_in(rows, weeks, most, apart), weeks_of(rows, weeks)
    for viewer in range(4):
        mine = rows.user == viewer
        chosen = sorted(set(answered[mine].tolist()) - {NEVER})
        assert len(chosen) <= most
        assert all(later - earlier >= apart for earlier, later in pairwise(chosen))
        counted = mine & (answered != NEVER)
        assert np.all(answered[counted] >= week[counted])  # nothing before it was watched
        assert np.all((answered[counted] < weeks) & (week[counted] != NEVER))
        if len(chosen) < most:  # nothing that fits is left out
            late = mine & (week != NEVER) & (answered == NEVER)
            assert not chosen or np.all(week[late] > chosen[-1])
            assert not late.any() or (chosen and chosen[-1] + apart >= weeks)


def test_data_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="13 weeks, not 14"):
        weeks_of(interactions([]), 14)
