"""The SDK face: record, recommend, take part, consent, erase; and everything a device refuses."""

import dataclasses
import json
import logging
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.client.answers import answer_device
from backrow.client.edge import DeviceEdge
from backrow.client.vault.store import Vault
from backrow.client.weights import confidence
from backrow.privacy import wire
from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL
from backrow.privacy.errors import (
    BundleError,
    DamagedVaultError,
    MalformedMessageError,
    RefusedCallError,
    SignatureError,
    VaultError,
    WrongKeyError,
)
from backrow.privacy.plan import Aggregation
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.randomness import OsRandom, RandomSource, SeededRandom
from tests.builders import plan
from tests.unit.client.bundles import COORDINATOR, STRANGER, write_bundle

KEY = bytes(range(32))
NOW = 1_000_000
TITLES = 30
POLICY = DevicePolicy(accept_trusted=True, accept_simulated=True, smallest_cohort=2)
WATCHED = [WatchEvent(EventKind.COMPLETE, 100 + n, f"t{n}") for n in (0, 4, 6, 9)]


def seeded() -> RandomSource:
    return SeededRandom(5)


def open_device(folder: Path, **changes: Any) -> Device:
    settings = {"coordinator_key": COORDINATOR.public, "policy": POLICY, "clock": lambda: NOW, "random": seeded}
    made: Device = Device.open(folder / "device", KEY, **{**settings, **changes})
    return made


def ready(folder: Path, **changes: Any) -> Device:
    """A device with a model, a history and consent."""
    device = open_device(folder, **changes)
    if not (folder / "bundle").exists():
        device.install(write_bundle(folder / "bundle"))
        for event in WATCHED:
            device.record(event)
    device.set_consent(True)
    return device


def round_call(
    query: Query = Query.POPULARITY,
    columns: int = 1,
    *,
    trainer: str = "",
    rows: int = TITLES,
    cohort: int = 50,
    tensors: dict[str, Any] | None = None,
    settings: dict[str, float] | None = None,
    **changes: Any,
) -> wire.RoundCall:
    asked = plan(query, rows, columns, **{"rounding": Rounding.DEVICE_STOCHASTIC, **changes})
    return wire.RoundCall(asked, trainer, cohort, ("a", "b"), tensors or {}, settings or {})


def signed(call: wire.Message) -> bytes:
    return wire.encode_signed(call, COORDINATOR)


def contribution(data: bytes | None) -> wire.Contribution:
    assert data is not None
    message = wire.decode(data)
    assert isinstance(message, wire.Contribution)
    return message


def titles(device: Device, count: int = TITLES) -> list[str]:
    return [pick.title for pick in device.recommend(count)]


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


# Taking part


def test_consent_is_withheld_by_default_and_nothing_leaves(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        device.set_consent(False)
        assert device.take_part(signed(round_call())) is None
    with open_device(tmp_path / "other") as device:
        assert device.consent is False
        assert device.take_part(signed(round_call())) is None


def test_while_withheld_neither_the_call_nor_the_history_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(vault: Vault) -> None:
        raise AssertionError("the history was read")

    with ready(tmp_path) as device:
        monkeypatch.setattr(Vault, "events", read)
        with pytest.raises(AssertionError, match="history was read"):
            device.take_part(signed(round_call()))  # the control: with consent it is read
        device.set_consent(False)
        assert device.take_part(signed(round_call())) is None
        assert device.take_part(b"not a call at all") is None


def test_a_withheld_call_is_not_counted_as_answered(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        device.set_consent(False)
        assert device.take_part(signed(round_call())) is None
        device.set_consent(True)
        assert device.take_part(signed(round_call())) is not None


def factors(columns: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(2).normal(size=(TITLES, columns))


def subspace_tensors() -> dict[str, Any]:
    basis, _ = np.linalg.qr(factors(4))
    return {"deflation": basis[:, :1], "basis": basis[:, 1:]}


CALLS = {
    "popularity": round_call(),
    "recent": round_call(Query.RECENT),
    "gradient": round_call(
        Query.GRADIENT, 3, trainer="gradient", tensors={"factors": factors(3)}, settings={"alpha0": 0.4, "ridge": 0.1}
    ),
    "subspace": round_call(Query.SUBSPACE, 3, trainer="subspace", tensors=subspace_tensors()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_leaves_is_the_clipped_quantised_answer_and_nothing_else(tmp_path: Path, call: wire.RoundCall) -> None:
    with ready(tmp_path) as device:
        answer = contribution(device.take_part(signed(call)))
    asked = call.plan
    assert (answer.run_id, answer.round, answer.query) == (asked.run_id, asked.round, asked.query.query)
    rows = {f"t{row}": row for row in range(TITLES)}
    history = confidence(WATCHED, rows, NOW, 28 * 24 * 3600).history
    assert np.array_equal(answer.values, answer_device(call, history, seeded()).values)
    assert answer.values.shape == (TITLES, asked.query.columns)
    assert 0 < np.linalg.norm(answer.values) <= asked.integer_sensitivity


def test_an_empty_history_answers_zero(tmp_path: Path) -> None:
    with open_device(tmp_path) as device:
        device.install(write_bundle(tmp_path / "bundle"))
        device.set_consent(True)
        assert not contribution(device.take_part(signed(round_call()))).values.any()


def test_the_recency_window_is_the_one_the_call_names(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        age = NOW - 104  # t4 was watched at 104
        call = round_call(Query.RECENT, settings={"recent_seconds": float(age)})
        answer = contribution(device.take_part(signed(call)))
    assert np.flatnonzero(answer.values[:, 0]).tolist() == [4, 6, 9]


def test_a_call_signed_by_another_is_refused(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        with pytest.raises(SignatureError):
            device.take_part(wire.encode_signed(round_call(), STRANGER))
        data = bytearray(signed(round_call()))
        data[-1] ^= 1
        with pytest.raises(SignatureError):
            device.take_part(bytes(data))
        assert device.take_part(signed(round_call())) is not None


def test_signed_noise_is_refused(tmp_path: Path) -> None:
    from backrow.privacy.signing import CALL

    with ready(tmp_path) as device, pytest.raises(MalformedMessageError):
        device.take_part(COORDINATOR.sign(CALL, b"noise") + b"noise")


def test_a_message_that_is_not_a_round_call_is_refused(tmp_path: Path) -> None:
    with ready(tmp_path) as device, pytest.raises(RefusedCallError, match="round calls only"):
        device.take_part(signed(wire.EnrolCall("run")))


PRODUCTION: dict[str, Any] = {"simulated": False}
REFUSED: dict[str, tuple[wire.RoundCall, dict[str, Any], str]] = {
    "an answer in the clear": (round_call(), {"policy": dataclasses.replace(POLICY, accept_trusted=False)}, "edge"),
    "simulated noise": (round_call(), {"policy": dataclasses.replace(POLICY, accept_simulated=False)}, "simulated"),
    "too little noise": (round_call(noise_multiplier=0.9), {}, "too little noise"),
    "no noise": (round_call(noise_multiplier=0.0), {}, "too little noise"),
    "a small cohort": (round_call(cohort=1), {}, "crowd"),
    "a mask it cannot make": (round_call(aggregation=Aggregation.SECURE), {}, "masked"),
    "a production round for a seeded device": (round_call(**PRODUCTION), {}, "seeded"),
    "another catalogue": (round_call(rows=29), {}, "catalogue"),
    "sums of blocks in the clear": (round_call(rounding=Rounding.BLOCK_NEAREST), {}, "before rounding"),
    "no trainer of that name": (round_call(Query.GRADIENT, 3, trainer="gossip"), {}, "gossip"),
    "missing tensors": (round_call(Query.GRADIENT, 3, trainer="gradient"), {}, "lacks"),
    "a negative window": (round_call(settings={"recent_seconds": -1.0}), {}, "contradicts"),
    "tensors of another size": (
        round_call(
            Query.GRADIENT, 3, trainer="gradient", tensors={"factors": np.ones((5, 3))},
            settings={"alpha0": 0.4, "ridge": 0.1},
        ),
        {},
        "contradicts",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "changes", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_call_asks_for(tmp_path: Path, call: wire.RoundCall, changes: dict[str, Any], reason: str) -> None:
    with ready(tmp_path, **changes) as device, pytest.raises(RefusedCallError, match=reason):
        device.take_part(signed(call))
    with ready(tmp_path) as device:  # a refusal is not an answer
        assert device.take_part(signed(round_call())) is not None


def test_default_policy_refuses_a_trusted_edge_and_simulations(tmp_path: Path) -> None:
    with ready(tmp_path, policy=DevicePolicy(), random=OsRandom) as device:
        for call in (round_call(), round_call(minimum=100, population=1000, **PRODUCTION)):
            with pytest.raises(RefusedCallError):
                device.take_part(signed(call))


def test_a_device_with_real_randomness_answers_production(tmp_path: Path) -> None:
    with ready(tmp_path, policy=DevicePolicy(accept_trusted=True), random=OsRandom) as device:
        call = round_call(minimum=100, population=1000, cohort=1000, **PRODUCTION)
        assert contribution(device.take_part(signed(call))).values.any()


def test_a_trainer_that_is_not_installed_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backrow.client.training.opacus_event", None)
    with ready(tmp_path) as device, pytest.raises(RefusedCallError, match="not installed"):
        device.take_part(signed(round_call(Query.GRADIENT, 3, trainer="opacus-event")))


def test_without_a_model_a_device_takes_no_part(tmp_path: Path) -> None:
    with open_device(tmp_path) as device:
        device.set_consent(True)
        with pytest.raises(RefusedCallError, match="install"):
            device.take_part(signed(round_call()))


def test_an_edge_adds_the_answers_of_its_devices(tmp_path: Path) -> None:
    for name in ("a", "b", "silent"):
        (tmp_path / name).mkdir()
    with ready(tmp_path / "a") as a, ready(tmp_path / "b") as b, ready(tmp_path / "silent") as silent:
        silent.set_consent(False)
        edge = DeviceEdge({"a": a, "b": b, "silent": silent}, COORDINATOR.public)
        call = dataclasses.replace(round_call(), devices=("a", "b", "silent"))
        answer = wire.decode(edge.answer(signed(call)))
    assert isinstance(answer, wire.BlindSum)
    assert answer.participants == 2
    with ready(tmp_path) as alone:
        assert np.array_equal(answer.values, 2 * contribution(alone.take_part(signed(call))).values)


# At most once


def test_a_round_is_answered_once(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        assert device.take_part(signed(round_call())) is not None
        with pytest.raises(RefusedCallError, match="answered already"):
            device.take_part(signed(round_call()))
        changed = round_call(Query.RECENT)  # the same round, asked differently
        with pytest.raises(RefusedCallError, match="answered already"):
            device.take_part(signed(changed))
        assert device.take_part(signed(round_call(number=2))) is not None
        assert device.take_part(signed(round_call(run_id="other"))) is not None


def test_a_round_is_answered_once_across_reopening_consent_and_erasing(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        assert device.take_part(signed(round_call())) is not None
    with open_device(tmp_path) as device:
        for step in ("reopened", "withdrawn", "erased"):
            if step == "withdrawn":
                device.set_consent(False)
            elif step == "erased":
                device.erase()
            device.set_consent(True)
            with pytest.raises(RefusedCallError, match="answered already"):
                device.take_part(signed(round_call()))


ANSWERS_AND_DIES = """
import os, sys
from pathlib import Path
from tests.unit.client.test_device import open_device, round_call, signed
device = open_device(Path(sys.argv[1]))
os.write(1, device.take_part(signed(round_call())))
os._exit(0)
"""


def test_an_answer_is_remembered_before_its_bytes_are_handed_out(tmp_path: Path) -> None:
    ready(tmp_path).close()
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", ANSWERS_AND_DIES, tmp_path], cwd=root, capture_output=True, check=True)
    assert contribution(done.stdout).values.any()
    with open_device(tmp_path) as device, pytest.raises(RefusedCallError, match="answered already"):
        device.take_part(signed(round_call()))


class Withdrawing(SeededRandom):
    """Its owner withdraws while the answer is being rounded."""

    device: Device

    def uint64(self, n: int) -> Any:
        self.device.set_consent(False)
        return super().uint64(n)

    def bytes(self, n: int) -> bytes:
        self.device.set_consent(False)
        return super().bytes(n)


def test_consent_withdrawn_while_the_answer_is_made_keeps_it_back(tmp_path: Path) -> None:
    source = Withdrawing(5)
    with ready(tmp_path, random=lambda: source) as device:
        source.device = device
        assert device.take_part(signed(round_call())) is None
        assert device.consent is False


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
        device.take_part(signed(round_call(run_id="run-of-the-mill")))
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
    policy = dataclasses.replace(POLICY, largest_mu=math.inf)
    with ready(tmp_path, policy=policy) as device:
        assert device.take_part(signed(round_call(noise_multiplier=0.0))) is not None
