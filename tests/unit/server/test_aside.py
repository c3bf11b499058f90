from threading import Event

import pytest

from backrow.server.aside import Aside


def test_work_with_a_head_start_begins_when_its_result_is_wanted_however_long_that_start() -> None:
    with Aside() as aside:
        result = aside.do(lambda: 7, head_start=3600)
        assert result() == 7


def test_work_with_a_head_start_begins_by_itself_when_that_is_over() -> None:
    begun = Event()
    with Aside() as aside:
        aside.do(begun.set, head_start=0.001)
        assert begun.wait(60)


@pytest.mark.parametrize("head_start", [0.0, 3600.0])
def test_what_the_work_raises_reaches_whoever_waits_for_its_result(head_start: float) -> None:
    with Aside() as aside:
        result = aside.do(lambda: 1 // 0, head_start)
        with pytest.raises(ZeroDivisionError):
            result()
