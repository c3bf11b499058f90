"""One whole frozen run of the secure sum: replayed byte for byte, computed again by a second implementation."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backrow.privacy import errors
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.session import SecurePolicy
from backrow.privacy.signing import SigningKey
from tests.house import ROOT, imports
from tests.secure_sums import Run
from tests.vectors import make_run, second_run
from tests.vectors.make_run import Tape
from tests.vectors.second_run import Second
from tests.vectors.second_secagg import RefusedError, unhex

Case = dict[str, Any]

RUN: Case = json.loads(make_run.FILE.read_text(encoding="utf-8"))


def tapes() -> dict[str, Tape]:
    return {name: Tape([unhex(coin) for coin in coins]) for name, coins in RUN["coins"].items()}


@pytest.fixture(scope="module")
def replayed() -> tuple[Run, Case]:
    again = tapes()
    run, result = make_run.recorded(again)
    return run, make_run.case_of(run, result, again)


@pytest.fixture(scope="module")
def second() -> Second:
    return second_run.computed(RUN)


def test_the_frozen_run_is_replayed_byte_for_byte(replayed: tuple[Run, Case]) -> None:
    assert replayed[1] == {name: value for name, value in RUN.items() if name != "broken"}


def test_the_frozen_file_is_the_one_that_the_script_makes() -> None:
    assert make_run.FILE.read_text(encoding="utf-8") == make_run.made()


def test_the_second_implementation_computes_every_message_and_the_sum(second: Second) -> None:
    second_run.compare(RUN, second)


@pytest.mark.parametrize("kind", ["sent", "replies"])
@pytest.mark.parametrize("step", make_run.STEPS)
def test_the_second_implementation_finds_a_changed_message(second: Second, step: str, kind: str) -> None:
    case = copy.deepcopy(RUN)
    messages = case[kind][step]
    name = sorted(messages)[-1]
    messages[name] = messages[name][:-1] + ("0" if messages[name][-1:] != "0" else "1")
    with pytest.raises((RefusedError, ValueError)):
        second_run.compare(case, second)


def device_before(step: int) -> tuple[SecureDevice, Tape]:
    """The device of the broken messages, as it waits for this step."""
    name = RUN["broken"][0]["device"]
    tape = tapes()[name]
    session, policy = make_run.session(), SecurePolicy(minimum=3)
    device, _ = SecureDevice.begin(session, policy, SigningKey(unhex(RUN["identities"][name])), tape)
    if step > 2:
        device, _ = device.share(unhex(RUN["sent"]["2"][name]), tape)
    if step > 3:
        device, _ = device.mask(unhex(RUN["sent"]["3"][name]), np.array(RUN["answers"][name]))
    if step > 4:
        device, _ = device.agree(unhex(RUN["sent"]["4"][name]))
    return device, tape


@pytest.mark.parametrize("broken", RUN["broken"], ids=lambda broken: broken["name"])
def test_a_broken_message_is_refused_with_its_error(broken: Case) -> None:
    device, tape = device_before(broken["step"])
    message = unhex(broken["message"])
    assert message.hex() != RUN["sent"][str(broken["step"])][broken["device"]]
    answer = np.array(RUN["answers"][broken["device"]])
    step: dict[int, Callable[[], object]] = {
        2: lambda: device.share(message, tape),
        3: lambda: device.mask(message, answer),
        4: lambda: device.agree(message),
        5: lambda: device.unmask(message),
    }
    with pytest.raises(errors.BackrowError) as raised:
        step[broken["step"]]()
    assert type(raised.value).__name__ == broken["error"]


def test_the_second_run_borrows_only_from_the_second_implementation() -> None:
    source = (ROOT / "tests/vectors/second_run.py").read_text(encoding="utf-8")
    assert not any(name.startswith(("backrow", "cryptography", "numpy")) for name in imports(source))
