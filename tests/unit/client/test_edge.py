"""Edges: pass on nothing but a sum; ask every device; a refusal looks like absence."""

import numpy as np
import pytest

from backrow.client.edge import DeviceEdge, SimulatedEdge
from backrow.privacy import wire
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import CohortError, MalformedMessageError, SignatureError
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from tests.builders import gradient_call, histories

KEY = SigningKey(bytes(range(32)))


class ScriptedDevice:
    """Answers a fixed vector, or nothing while consent is withheld: what an edge sees of a device."""

    def __init__(self, value: int, consent: bool = True) -> None:
        self.consent = consent
        self._value = value

    def consent_for(self, purpose: Purpose) -> bool:
        return self.consent

    def apply_opt_out(self, statement: bytes) -> bool:
        return False

    def take_part(self, call: bytes) -> bytes | None:
        request = wire.decode_signed(call, KEY.public)
        assert isinstance(request, wire.RoundCall)
        query = request.plan.query
        values = np.full((query.rows, query.columns), self._value)
        return wire.encode(wire.Contribution("run", 1, query.query, values)) if self.consent else None


def round_call(*devices: str) -> bytes:
    call = gradient_call()
    return wire.encode_signed(
        wire.RoundCall(call.plan, "gradient", len(devices), devices, call.tensors, call.settings), KEY
    )


def random(purpose: str, number: int, index: int) -> RandomSource:
    return SeededRandom(1, purpose, number, index)


def simulated(names: list[str], slots: list[int]) -> SimulatedEdge:
    return SimulatedEdge(names, slots, histories(len(names), 40), KEY.public, random)


def test_an_edge_adds_the_answers_of_the_invited_and_counts_them() -> None:
    edge = DeviceEdge({"a": ScriptedDevice(3), "b": ScriptedDevice(4), "c": ScriptedDevice(100)}, KEY.public)
    answer = wire.decode(edge.answer(round_call("a", "b")))
    assert isinstance(answer, wire.BlindSum)
    assert answer.participants == 2
    assert np.all(answer.values == 7)


def test_a_device_that_withholds_is_neither_enrolled_nor_counted() -> None:
    edge = DeviceEdge({"a": ScriptedDevice(3), "b": ScriptedDevice(4, consent=False)}, KEY.public)
    enrolled = wire.decode(edge.enrol(wire.encode_signed(wire.EnrolCall("run"), KEY)))
    assert enrolled == wire.EnrolReply("run", ("a",))
    answer = wire.decode(edge.answer(round_call("a", "b")))
    assert isinstance(answer, wire.BlindSum)
    assert answer.participants == 1
    assert np.all(answer.values == 3)


def test_a_device_that_withholds_leaves_the_same_bytes_as_one_that_never_was() -> None:
    with_refusal = DeviceEdge({"a": ScriptedDevice(3), "b": ScriptedDevice(4, consent=False)}, KEY.public)
    without = DeviceEdge({"a": ScriptedDevice(3)}, KEY.public)
    enrol = wire.encode_signed(wire.EnrolCall("run"), KEY)
    assert with_refusal.enrol(enrol) == without.enrol(enrol)
    assert with_refusal.answer(round_call("a", "b")) == without.answer(round_call("a", "b"))


def test_a_device_named_twice_in_a_cohort_is_refused_by_every_edge() -> None:
    for edge in (DeviceEdge({"a": ScriptedDevice(3)}, KEY.public), simulated(["a"], [0])):
        with pytest.raises(CohortError, match="twice"):
            edge.answer(round_call("a", "a"))
    with pytest.raises(CohortError, match="twice"):
        simulated(["a", "a"], [0, 1])


def test_unsigned_and_misplaced_calls_are_refused() -> None:
    edge = simulated(["a", "b"], [0, 1])
    with pytest.raises(SignatureError):
        edge.answer(wire.encode_signed(wire.EnrolCall("run"), SigningKey(bytes(32))))
    with pytest.raises(MalformedMessageError, match="expected RoundCall"):
        edge.answer(wire.encode_signed(wire.EnrolCall("run"), KEY))


def test_the_sum_over_edges_does_not_depend_on_who_hosts_which_block() -> None:
    names, slots = [f"d{n:03d}" for n in range(0, 300, 2)], list(range(0, 300, 2))
    everybody = histories(len(names), 40)

    def part(keep: object) -> np.ndarray:
        chosen = [position for position, slot in enumerate(slots) if keep(slot // 64)]  # type: ignore[operator]
        edge = SimulatedEdge(
            [names[p] for p in chosen], [slots[p] for p in chosen], [everybody[p] for p in chosen], KEY.public, random
        )
        answer = wire.decode(edge.answer(round_call(*(names[p] for p in chosen))))
        assert isinstance(answer, wire.BlindSum)
        return answer.values

    together = part(lambda block: True)
    np.testing.assert_array_equal(together, part(lambda b: b % 2 == 0) + part(lambda b: b % 2 == 1))
    np.testing.assert_array_equal(together, sum(part(lambda b, n=n: b == n) for n in range(5)))
