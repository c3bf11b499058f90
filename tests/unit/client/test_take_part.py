"""Taking part in a round: what leaves, what is refused, and at most once."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backrow.client import Device, DevicePolicy
from backrow.client.answers import answer_device
from backrow.client.edge import DeviceEdge
from backrow.client.solve import user_factors
from backrow.client.vault.store import Vault
from backrow.client.weights import confidence
from backrow.privacy import wire
from backrow.privacy.bundle import catalogue_digest
from backrow.privacy.errors import (
    MalformedMessageError,
    RefusedCallError,
    SignatureError,
)
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import Aggregation
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Metric, Query
from backrow.privacy.randomness import OsRandom, SeededRandom
from tests.unit.client.bundles import COORDINATOR, STRANGER, write_bundle
from tests.unit.client.devices import (
    NOW,
    POLICY,
    TITLES,
    WATCHED,
    contribution,
    open_device,
    ready,
    round_call,
    seeded,
    signed,
)

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
    assert np.array_equal(answer.values, answer_device(call, history, seeded()))
    assert answer.values.shape == (TITLES, asked.query.columns)
    assert 0 < np.linalg.norm(answer.values) <= asked.integer_sensitivity


SINCE = 105
"""Two of the titles of `WATCHED` lie before it, t6 at 106 is the first after."""


def evaluation(rows: int = len(Metric), **changes: Any) -> wire.RoundCall:
    tensors = {"factors": factors(3), "popularity": np.arange(TITLES, 0.0, -1)[:, None]}
    settings = {"alpha0": 0.4, "ridge": 0.1, "since": float(SINCE)}
    call = round_call(Query.EVAL, rows=rows, clip_norm=math.sqrt(len(Metric)), tensors=tensors, settings=settings)
    catalogue = catalogue_digest([f"t{row}" for row in range(TITLES)])
    return dataclasses.replace(call, **{"catalogue": catalogue, **changes})


def test_an_evaluation_is_answered_with_its_metrics_alone(tmp_path: Path) -> None:
    call = evaluation()
    with ready(tmp_path) as device:
        values = contribution(device.take_part(signed(call))).values / call.plan.scale
    rows = {f"t{row}": row for row in range(TITLES)}
    history = confidence(WATCHED, rows, NOW, 28 * 24 * 3600, SINCE).history
    assert history.titles.tolist() == [0, 4]
    own = factors(3) @ user_factors(factors(3), history.titles, history.weights, 0.4, 0.1)
    rank = sum(own[row] > own[6] for row in range(TITLES) if row not in (0, 4))
    assert values.shape == (len(Metric), 1)
    expected = [1, rank < 10, (rank < 10) / math.log2(rank + 2), 1, 1 / math.log2(4 + 2)]  # t1, t2, t3, t5 come first
    np.testing.assert_allclose(values[:, 0], expected, atol=1e-5)


def test_a_device_that_watched_nothing_new_answers_an_evaluation_with_zeros(tmp_path: Path) -> None:
    call = evaluation()
    later = dataclasses.replace(call, settings={**call.settings, "since": 200.0})
    with ready(tmp_path) as device:
        assert not contribution(device.take_part(signed(later))).values.any()


def test_events_since_the_public_time_are_in_no_count(tmp_path: Path) -> None:
    with ready(tmp_path) as device:
        answer = contribution(device.take_part(signed(round_call(settings={"since": float(SINCE)}))))
    assert np.flatnonzero(answer.values[:, 0]).tolist() == [0, 4]


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
        device.take_part(COORDINATOR.sign(CALL, sha256(b"noise")) + b"noise")


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
    "the question of a secure sum, outside of one": (
        round_call(aggregation=Aggregation.SECURE, scale=2.0**11),
        {},
        "outside of one",
    ),
    "a production round for a seeded device": (round_call(**PRODUCTION), {}, "seeded"),
    "another catalogue": (round_call(rows=29), {}, "catalogue"),
    "sums of blocks in the clear": (round_call(rounding=Rounding.BLOCK_NEAREST), {}, "before rounding"),
    "no trainer of that name": (round_call(Query.GRADIENT, 3, trainer="gossip"), {}, "gossip"),
    "missing tensors": (round_call(Query.GRADIENT, 3, trainer="gradient"), {}, "lacks"),
    "an evaluation of another catalogue": (evaluation(catalogue="00"), {}, "catalogue"),
    "an evaluation of tensors that do not fit": (
        evaluation(tensors={"factors": factors(3), "popularity": np.ones((5, 1))}),
        {},
        "catalogue",
    ),
    "an evaluation of nothing": (evaluation(tensors={}), {}, "catalogue"),
    "an evaluation of no public time": (evaluation(settings={"alpha0": 0.4, "ridge": 0.1}), {}, "lacks"),
    "an evaluation with other rows": (evaluation(rows=TITLES), {}, "contradicts"),
    "a negative window": (round_call(settings={"recent_seconds": -1.0}), {}, "contradicts"),
    "tensors of another size": (
        round_call(
            Query.GRADIENT,
            3,
            trainer="gradient",
            tensors={"factors": np.ones((5, 3))},
            settings={"alpha0": 0.4, "ridge": 0.1},
        ),
        {},
        "contradicts",
    ),
}


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
from tests.unit.client.devices import open_device, round_call, signed
device = open_device(Path(sys.argv[1]))
os.write(1, device.take_part(signed(round_call(run_id="dies"))))
os._exit(0)
"""


def test_an_answer_is_remembered_before_its_bytes_are_handed_out(tmp_path: Path) -> None:
    ready(tmp_path).close()
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", ANSWERS_AND_DIES, tmp_path], cwd=root, capture_output=True, check=True)
    assert contribution(done.stdout).values.any()
    with open_device(tmp_path) as device, pytest.raises(RefusedCallError, match="answered already"):
        device.take_part(signed(round_call(run_id="dies")))


class Withdrawing(SeededRandom):
    """Its owner withdraws while the answer is being rounded."""

    device: Device | None = None

    def uint64(self, n: int) -> Any:
        self.withdraw()
        return super().uint64(n)

    def bytes(self, n: int) -> bytes:
        self.withdraw()
        return super().bytes(n)

    def withdraw(self) -> None:
        if self.device is not None:  # not while the device makes its identity
            self.device.set_consent(False)


def test_consent_withdrawn_while_the_answer_is_made_keeps_it_back(tmp_path: Path) -> None:
    source = Withdrawing(5)
    with ready(tmp_path, random=lambda: source) as device:
        source.device = device
        assert device.take_part(signed(round_call())) is None
        assert device.consent is False
