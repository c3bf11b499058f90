"""Real devices on Flower and Ray: one that withholds, and the same run without it, are the same bytes."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from backrow.client.app import make_client_app
from backrow.server.app import make_server_app
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.server.settings import RunSettings
from backrow.simulations.runner_flower import run_flower
from tests.hosted import FEATURES, KEY, SECURE, TITLES, TRUSTED, coordinator_of, open_device, settle
from tests.house import ROOT
from tests.planted import OWNERS, Draws, Opening, people
from tests.transcripts import Transcript, assert_same, files_in

pytestmark = [pytest.mark.ray, pytest.mark.long]


def run(settings: RunSettings, folder: Path, withheld: int, *, absent: bool) -> Transcript:
    bundle = folder / "first"
    write_first_bundle(bundle, ModelProgram.start(settings, FEATURES).metadata, TITLES, settings.run_id, KEY)
    owners = tuple(owner for owner in range(OWNERS) if not (absent and owner == withheld))
    for owner in owners:
        draws = Draws(folder)(owner)
        with open_device(folder, owner, lambda _, d=draws: d.stream) as device:
            settle(device, replace(people()[owner], grants=owner != withheld), bundle)
    coordinator = coordinator_of(settings, folder / "run", 2)
    run_flower(make_server_app(coordinator, lambda outcome: None), make_client_app(Opening(folder, owners)), 2)
    coordinator.book.close()
    assert any(" released " in told for told in coordinator.transcript.told)
    coordinator.transcript.files = files_in(folder / "run")
    return coordinator.transcript


@pytest.mark.parametrize("settings", [TRUSTED, SECURE], ids=lambda settings: settings.run_id)
def test_on_ray_a_device_that_never_granted_is_absent_to_the_byte(
    settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    there = run(settings, tmp_path / "there", 3, absent=False)
    gone = run(settings, tmp_path / "gone", 3, absent=True)
    assert_same(there, gone, anywhere=True)
