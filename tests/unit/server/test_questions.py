"""What is said of the size of an answer is the size of an answer."""

import numpy as np
import pytest

from backrow.privacy import wire
from backrow.privacy.queries import Query
from backrow.server.questions import upload_bytes
from tests.builders import plan


@pytest.mark.parametrize(("rows", "columns", "number"), [(1, 1, 1), (9, 3, 10), (10, 3, 9), (12_345, 32, 100)])
def test_an_upload_has_as_many_bytes_as_are_said(rows: int, columns: int, number: int) -> None:
    made = plan(Query.GRADIENT, rows, columns, number=number)
    answer = wire.Contribution(made.run_id, made.round, made.query.query, np.ones((rows, columns), dtype=np.int64))
    assert upload_bytes(made) == len(wire.encode(answer))
