"""What an answer costs is on disk before it leaves: a crash may waste an answer, never hide one."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backrow.client.vault.store import Vault
from backrow.privacy import wire
from backrow.privacy.errors import RefusedCallError, VaultError
from backrow.privacy.queries import Query
from tests.unit.client.devices import open_device, ready, round_call, signed

ANSWERS_UNTIL_KILLED = """
import dataclasses, itertools, os, sys
from pathlib import Path
from tests.unit.client.devices import POLICY, open_device, round_call, signed
device = open_device(Path(sys.argv[1]), policy=dataclasses.replace(POLICY, largest_epsilon=1e6))
for number in itertools.count(device.spent.releases + 1):
    call = signed(round_call(number=number, run_id="run%d" % os.getpid()))
    if device.take_part(call) is not None:
        os.write(1, b"%d\\n" % number)  # handed out
"""
ROOT = Path(__file__).parents[3]


def test_every_answer_handed_out_is_counted_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    ready(tmp_path).close()
    source, counted = random.Random(5), 0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", ANSWERS_UNTIL_KILLED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(source.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        handed_out = int((first + process.stdout.read()).split()[-1])
        process.stdout.close()
        process.wait()
        with open_device(tmp_path) as device:
            counted = device.spent.releases
        assert handed_out <= counted <= handed_out + 1, "an answer is hidden, or more than one is wasted"
    assert counted >= 5


DIES_AFTER_RESERVING = """
import os, sys
from pathlib import Path
from backrow.client.spending import Spending
from tests.unit.client.devices import open_device, round_call, signed
reserve = Spending.reserve
def die(*arguments):
    reserve(*arguments)
    os._exit(9)
Spending.reserve = die
os.write(1, open_device(Path(sys.argv[1])).take_part(signed(round_call(run_id="killed"))))
"""


def test_killed_between_reserving_and_answering_wastes_the_answer(tmp_path: Path) -> None:
    ready(tmp_path).close()
    done = subprocess.run([sys.executable, "-c", DIES_AFTER_RESERVING, tmp_path], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (9, b"")
    with open_device(tmp_path) as device:
        assert device.spent.releases == 1
        with pytest.raises(RefusedCallError, match="answered already"):
            device.take_part(signed(round_call(run_id="killed")))


def test_what_cannot_be_recorded_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(vault: Vault, values: object) -> None:
        raise VaultError("the disk is full")

    with ready(tmp_path) as device:
        monkeypatch.setattr(Vault, "keep_notes", full)
        call = signed(round_call())
        with pytest.raises(VaultError, match="full"):
            device.take_part(call)
        monkeypatch.undo()
        assert device.spent.releases == 0


REFUSED_AFTER_THE_CHECK: dict[str, wire.RoundCall] = {
    "no trainer": round_call(Query.GRADIENT, 3, trainer="gossip"),
    "another catalogue": round_call(rows=29),
}


@pytest.mark.parametrize("call", REFUSED_AFTER_THE_CHECK.values(), ids=REFUSED_AFTER_THE_CHECK.keys())
def test_a_call_that_cannot_be_answered_costs_nothing(tmp_path: Path, call: wire.RoundCall) -> None:
    with ready(tmp_path) as device:
        with pytest.raises(RefusedCallError):
            device.take_part(signed(call))
        assert device.spent.releases == 0
