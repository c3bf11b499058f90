"""Which device answers in which week, and with what, if each may answer so often and no more."""

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.dataset import Interactions

WEEK = 7 * 86_400
NEVER = -1


def weeks_of(interactions: Interactions, weeks: int) -> NDArray[np.int64]:
    """Week of every interaction, counted from 0 at the first of all; `NEVER` after the last one; shape (rows,).

    Raises:
        DataError: the data is not as long.
    """
    week = (interactions.timestamp - interactions.timestamp.min()) // WEEK
    if week.max() + 1 < weeks:
        raise DataError(f"the data spans {week.max() + 1} weeks, not {weeks}: ask for fewer releases")
    return np.where(week < weeks, week, NEVER)


def answered_in(interactions: Interactions, weeks: int, participations: int, separation: int) -> NDArray[np.int64]:
    """In which week's answer its device counts every interaction; `NEVER`: in none; shape (rows,).

    A device answers as soon as it has something that it has not counted, if its last answer is `separation` weeks ago
    and it has answered fewer than `participations` times; then with all of it. So nothing is counted twice.
    """
    week = weeks_of(interactions, weeks)
    answered = np.full(len(interactions), NEVER, dtype=np.int64)
    rows = np.flatnonzero(week != NEVER)
    rows = rows[np.lexsort((week[rows], interactions.user[rows]))]
    for mine in np.split(rows, np.flatnonzero(np.diff(interactions.user[rows])) + 1):
        done, free, left = 0, 0, participations
        while done < len(mine) and left:
            now = max(int(week[mine[done]]), free)
            if now >= weeks:
                break
            upto = int(np.searchsorted(week[mine], now, side="right"))
            answered[mine[done:upto]] = now
            done, free, left = upto, now + separation, left - 1
    return answered
