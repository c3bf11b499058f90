"""The SDK face: record, recommend, install, consent, erase, and what may be seen of it."""

import dataclasses
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backrow.client import Device, EventKind, WatchEvent
from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL, catalogue_digest
from backrow.privacy.errors import (
    BundleError,
    DamagedVaultError,
    RefusedCallError,
    SignatureError,
    VaultError,
    WrongKeyError,
)
from tests.unit.client.bundles import COORDINATOR, STRANGER, write_bundle
from tests.unit.client.devices import (
    KEY,
    NOW,
    POLICY,
    WATCHED,
    open_device,
    ready,
    round_call,
    signed,
    titles,
)

# Recording and recommending


def test_recorded_events_shape_the_picks_and_survive_reopening(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        before = device.recommend(8)
        assert {event.title for event in WATCHED} & set(titles(device)) == set()
        assert before[0].reason.startswith("because you watched Title ")
    with open_device(tmp_path) as device:
        assert device.recommend(8) == before


def test_recommending_needs_no_consent(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        granted = device.recommend(5)
        device.set_consent(False)
        assert device.recommend(5) == granted


def test_an_empty_history_gets_popular_picks(tmp_path: Path) -> None:
    with open_device(tmp_path) as device:
        device.install(write_bundle(tmp_path / "bundle"))
        assert [pick.reason for pick in device.recommend(3)] == ["popular"] * 3
        assert titles(device, 3) == ["t0", "t1", "t2"]


def test_titles_the_model_does_not_know_do_no_harm(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        before = device.recommend(5)
        device.record(WatchEvent(EventKind.COMPLETE, 500, "not in this catalogue"))
        assert device.recommend(5) == before


def test_an_event_in_the_future_is_refused(tmp_path: Path) -> None:
    with open_device(tmp_path) as device:
        device.record(WatchEvent(EventKind.COMPLETE, NOW, "t1"))
        with pytest.raises(ValueError, match="future"):
            device.record(WatchEvent(EventKind.COMPLETE, NOW + 1, "t2"))
        device.install(write_bundle(tmp_path / "bundle"))
        assert "t2" in titles(device)
        assert "t1" not in titles(device)


def test_what_is_not_an_event_is_refused(tmp_path: Path) -> None:
    with open_device(tmp_path) as device, pytest.raises(ValueError, match="WatchEvent"):
        device.record({"title": "t1"})  # type: ignore[arg-type]


def test_without_a_model_there_is_a_sentence_not_a_pick(tmp_path: Path) -> None:
    with open_device(tmp_path) as device, pytest.raises(BundleError, match="install"):
        device.recommend()


# The model


def test_an_installed_model_no_longer_needs_its_source(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        before = device.recommend(5)
    shutil.rmtree(tmp_path / "bundle")
    with open_device(tmp_path) as device:
        assert device.recommend(5) == before


def test_a_newer_model_replaces_the_former_and_its_copy(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        before = device.recommend(5)
        device.install(write_bundle(tmp_path / "newer", seed=9))
        after = device.recommend(5)
    assert before != after
    assert len(list((tmp_path / "device" / "models").iterdir())) == 1
    with open_device(tmp_path) as device:
        assert device.recommend(5) == after


def damage(name: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return apply


def unsign(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["signature"]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def resign(folder: Path) -> None:
    shutil.rmtree(folder)
    write_bundle(folder, STRANGER)


BAD: dict[str, Callable[[Path], None]] = {
    "damaged tensors": damage(MODEL),
    "a damaged catalogue": damage(CATALOGUE),
    "a damaged manifest": damage(MANIFEST),
    "no tensors": lambda folder: (folder / MODEL).unlink(),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "no signature": unsign,
    "another coordinator's signature": resign,
    "nothing at all": lambda folder: shutil.rmtree(folder),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD.keys())
def test_former_model_stays_where_the_newer_bundle_has(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    newer = write_bundle(tmp_path / "newer", seed=9)
    spoil(newer)
    with ready(tmp_path) as device:
        before = device.recommend(5)
        with pytest.raises((BundleError, SignatureError)):
            device.install(newer)
        assert device.recommend(5) == before
    assert len(list((tmp_path / "device" / "models").iterdir())) == 1
    with open_device(tmp_path) as device:
        assert device.recommend(5) == before


def test_an_installed_model_changed_on_disk_is_not_used(tmp_path: Path) -> None:
    ready(tmp_path).close()
    (copy,) = (tmp_path / "device" / "models").iterdir()
    damage(MODEL)(copy)
    with open_device(tmp_path) as device:
        with pytest.raises(BundleError, match="damaged"):
            device.recommend()
        device.install(tmp_path / "bundle")
        assert device.recommend()


def test_the_note_of_the_installed_model_cannot_lead_elsewhere(tmp_path: Path) -> None:
    ready(tmp_path).close()
    (tmp_path / "device" / "model").write_text("../../bundle")
    with open_device(tmp_path) as device, pytest.raises(BundleError, match="install the bundle again"):
        device.recommend()


# Consent, erasing, and what may be seen


def test_consent_survives_reopening(tmp_path: Path) -> None:
    ready(tmp_path).close()
    with open_device(tmp_path) as device:
        assert device.consent is True
        device.set_consent(False)
    with open_device(tmp_path) as device:
        assert device.consent is False


def test_consent_is_true_or_false(tmp_path: Path) -> None:
    with open_device(tmp_path) as device:
        with pytest.raises(ValueError, match="True or False"):
            device.set_consent("yes")  # type: ignore[arg-type]
        assert device.consent is False


def test_erasing_forgets_the_history_withholds_consent_and_keeps_working(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        device.erase()
        assert device.consent is False
        assert titles(device, 2) == ["t0", "t1"]
        device.record(WatchEvent(EventKind.COMPLETE, 50, "t0"))
        assert "t0" not in titles(device)
    with open_device(tmp_path) as device:
        assert device.consent is False
        assert "t4" in titles(device)
        assert "t0" not in titles(device)


def test_nothing_recognisable_is_in_any_file_of_the_device(tmp_path: Path) -> None:
    with ready(tmp_path, clock=lambda: 2_000_000_000) as device:
        device.record(WatchEvent(EventKind.COMPLETE, 1_777_777_777, "secret-title-31"))
        device.record(WatchEvent(EventKind.SEARCH, 1_777_777_778, query="purple submarine"))
        device.take_part(signed(round_call(run_id="run-of-the-mill", at=2_000_000_000)))
        files = [file for file in (tmp_path / "device").rglob("*") if file.is_file()]
        raw = b"".join(file.read_bytes() for file in files)
    assert {"history.vault", "history.vault-wal", "participation.vault"} <= {file.name for file in files}
    for word in (b"secret-title-31", b"purple submarine", b"1777777777", b"run-of-the-mill", b"granted", b"answered"):
        assert word not in raw


def test_a_device_is_not_printed_and_writes_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), ready(tmp_path) as device:
        device.recommend(3)
        device.take_part(signed(round_call()))
        assert str(device) == repr(device) == "<Device: not printable>"
        device.erase()
    assert caplog.text == ""


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with ready(tmp_path):
        assert (tmp_path / "device").stat().st_mode & 0o777 == 0o700


def test_wrong_keys_and_damage_come_through_as_they_are(tmp_path: Path) -> None:
    ready(tmp_path).close()
    with pytest.raises(WrongKeyError):
        Device.open(tmp_path / "device", bytes(32), coordinator_key=COORDINATOR.public)
    with pytest.raises(ValueError, match="public key"):
        Device.open(tmp_path / "device", KEY, coordinator_key=b"short")
    with open_device(tmp_path) as device:  # nothing was left locked
        assert device.consent
    (tmp_path / "device" / "participation.vault").write_bytes(b"not a vault")
    with pytest.raises(DamagedVaultError):
        open_device(tmp_path)
    (tmp_path / "device" / "participation.vault").unlink()
    with open_device(tmp_path) as device:
        assert device.consent is False, "whoever loses the record of consent has none"


def test_a_device_is_open_once(tmp_path: Path) -> None:
    with ready(tmp_path), pytest.raises(VaultError, match="in use"):
        open_device(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "device").write_text("a file")
    with pytest.raises(VaultError, match="choose another folder"):
        open_device(tmp_path)


def test_infinite_mu_accepts_a_run_without_privacy(tmp_path: Path) -> None:
    policy = dataclasses.replace(POLICY, largest_mu=math.inf, largest_epsilon=math.inf)
    with ready(tmp_path, policy=policy) as device:
        assert device.take_part(signed(round_call(noise_multiplier=0.0))) is not None


def test_a_call_about_another_catalogue_of_the_same_size_is_refused(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        other = dataclasses.replace(round_call(), catalogue=catalogue_digest([f"u{row}" for row in range(30)]))
        with pytest.raises(RefusedCallError, match="catalogue this device does not have"):
            device.take_part(signed(other))
