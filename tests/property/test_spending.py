"""For all sequences of calls, restarts, erases and wrong clocks: no device answers beyond its limit."""

import dataclasses
import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.client.spending import APART
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.queries import Query
from tests.unit.client.bundles import write_bundle
from tests.unit.client.devices import POLICY, open_device, round_call, signed

DAY = 86_400
PERIOD = 30 * DAY
START = 2_000 * DAY
EXAMPLES = itertools.count()
"""Numbers the ledgers, so that each example begins its own."""
LIMITED = dataclasses.replace(POLICY, largest_epsilon=5.0, period=PERIOD, query_epsilons={Query.RECENT: 2.0})


@dataclass(frozen=True)
class Step:
    """What happens next: the device may be restarted or erased, and is then asked.

    Attributes:
        later: seconds since the step before.
        clock, signed: how wrong the device's clock and the coordinator's are; one of them is right.
    """

    later: int
    clock: int
    signed: int
    restart: bool
    erase: bool
    run: str
    round: int
    query: Query
    noise_multiplier: float


ERRORS = st.one_of(
    st.just((0, 0)), st.integers(-2 * APART, 2 * APART).flatmap(lambda e: st.sampled_from([(e, 0), (0, e)]))
)
SELDOM = st.sampled_from([False] * 7 + [True])
STEPS = st.builds(
    lambda later, errors, *rest: Step(later, *errors, *rest),
    st.one_of(st.integers(0, DAY), st.integers(0, 2 * PERIOD), st.sampled_from([PERIOD - 1, PERIOD, PERIOD + 1])),
    ERRORS,
    SELDOM,
    SELDOM,
    st.sampled_from(["one", "two"]),
    st.integers(1, 8),
    st.sampled_from([Query.POPULARITY, Query.RECENT]),
    st.floats(1.0, 6.0),
)


def answered(steps: list[Step]) -> list[tuple[int, Step]]:
    """The steps that a device answered, each with its true time."""
    now, made, example, clock = START, [], next(EXAMPLES), [START]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(folder / "bundle")
        device = open_device(folder, policy=LIMITED, clock=lambda: clock[0])
        device.install(folder / "bundle")
        for step in steps:
            now += step.later
            clock[0] = now + step.clock
            if step.restart:
                device.close()
                device = open_device(folder, policy=LIMITED, clock=lambda: clock[0])
            if step.erase:
                device.erase()
            device.set_consent(True)
            call = round_call(
                step.query, number=step.round, run_id=f"{step.run}-{example}", noise_multiplier=step.noise_multiplier,
                at=now + step.signed,
            )  # fmt: skip
            try:
                if device.take_part(signed(call)) is not None:
                    made.append((now, step))
            except RefusedCallError:
                pass
        device.close()
    return made


def worst(answers: list[tuple[int, Step]], query: Query | None = None) -> float:
    """The largest epsilon of the answers within any period, counted anew and by true time."""
    mine = [(at, step.noise_multiplier) for at, step in answers if query in (None, step.query)]
    return max(
        (zcdp_epsilon([z for at, z in mine if end - PERIOD < at <= end], POLICY.delta) for end, _ in mine), default=0.0
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=16))
def test_no_sequence_of_calls_is_answered_beyond_the_limits(steps: list[Step]) -> None:
    answers = answered(steps)
    assert worst(answers) <= 5.0 * (1 + 1e-12)
    assert worst(answers, Query.RECENT) <= 2.0 * (1 + 1e-12)
    asked = [(step.run, step.round) for _, step in answers]
    assert len(asked) == len(set(asked))


def test_the_check_would_see_a_period_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        Step(later, 0, 0, False, False, run, number, Query.POPULARITY, 1.0)
        for later, run in ((0, "one"), (PERIOD - 2, "two"))
        for number in (1, 2)
    ]
    assert worst(answered(steps)) <= 5.0
    monkeypatch.setattr("tests.property.test_spending.LIMITED", dataclasses.replace(LIMITED, period=PERIOD // 2))
    assert worst(answered(steps)) > 5.0
