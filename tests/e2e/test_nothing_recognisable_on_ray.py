"""What `test_nothing_recognisable` shows, on Flower and Ray: their files and their workers' logs are searched too."""

import os
import tempfile
from pathlib import Path

import pytest

from backrow.client.app import make_client_app
from backrow.server.app import make_server_app
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.simulations.runner_flower import run_flower
from tests.hosted import FEATURES, KEY, SECURE, TITLES, coordinator_of, open_device, settle
from tests.house import ROOT
from tests.planted import PLANTS, RARE, WORDS, Draws, Keeping, Opening, people, vaults
from tests.plants import LONG, all_logs, find
from tests.transcripts import files_in


@pytest.mark.ray
@pytest.mark.parametrize("leaks", [False, pytest.param(True, marks=pytest.mark.long)], ids=["honest", "leaky"])
def test_under_ray_nothing_planted_is_found_either_in_its_folder_or_in_flowers(
    leaks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="ray") as engines, all_logs() as logs:  # sockets need short names
        monkeypatch.setenv("RAY_TMPDIR", engines)
        monkeypatch.setenv("FLWR_HOME", f"{engines}/flower")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
        bundle = tmp_path / "first"
        write_first_bundle(bundle, ModelProgram.start(SECURE, FEATURES).metadata, TITLES, SECURE.run_id, KEY)
        for owner, person in enumerate(people()):
            draws = Draws(tmp_path)(owner)
            with open_device(tmp_path, owner, lambda _, d=draws: d.stream) as device:
                settle(device, person, bundle)
        coordinator = coordinator_of(SECURE, tmp_path / "run", 2)
        app = Keeping(make_client_app(Opening(tmp_path, leaks=leaks)), tmp_path / "kept")
        run_flower(make_server_app(coordinator, lambda outcome: None), app, 2)
        coordinator.book.close()
        exact = coordinator.transcript.everything() | files_in(tmp_path / "run") | files_in(tmp_path / "kept")
        said = capfd.readouterr()
        loose = {"out": said.out.encode(), "err": said.err.encode(), "logs": logs.getvalue().encode()}
        engine = {f"engine: {name}": data for name, data in files_in(Path(engines)).items()}
        assert any("session_" in name and name.endswith((".out", ".log", ".err")) for name in engine)
    assert coordinator.problems == []
    found = find(PLANTS, exact) + find(PLANTS, {**loose, **engine, **vaults(tmp_path)}, shortest=LONG)
    assert {each.plant for each in found} == ({WORDS[0], RARE} if leaks else set())
    if not leaks:
        assert any(" released " in told for told in coordinator.transcript.told)
