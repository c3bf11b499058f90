"""Builds that leak whether a device withholds: the comparison of `test_absence` must catch every one of them."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from flwr.app import Context, Message, MetricRecord
from flwr.clientapp import ClientApp

from backrow.client.secure import Memory
from backrow.privacy import wire
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.steps import MASK
from backrow.server.settings import RunSettings
from tests.absence import Silence, compare, nothing, waver, withdraw, withdraw_and_close
from tests.hosted import ANSWER, ENROL, SECURE, TRUSTED, Person, PlacedEdge, Streams, watched
from tests.transcripts import DifferentError

SEVEN = [Person(watched([owner, owner + 1, owner + 3])) for owner in range(7)]
LATER = Silence(2, withdraw, (1, ANSWER))
"""Granted when the round was opened; withdrawn before it is answered."""
FIRST = Silence(2, waver)
CLOSED = Silence(2, withdraw_and_close)


class Reports(PlacedEdge):
    """Says who refused."""

    def answer(self, call: bytes) -> bytes:
        if refused := [name for name, device in self.hosted.items() if not device.consent]:
            raise RefusedCallError(f"{len(refused)} owners refused")
        return super().answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        reply = wire.decode(super().secure(call, memory))
        assert isinstance(reply, wire.SecureReply)
        asked = wire.decode(call)
        assert isinstance(asked, wire.SecureCall)
        if reply.step == MASK:
            return wire.encode(reply)
        refused = {name: b"refused" for name in asked.parts if name in self.hosted and not self.hosted[name].consent}
        return wire.encode(replace(reply, parts={**reply.parts, **refused}))


class CountsRefusals(PlacedEdge):
    """Takes a refusal for an answer of zeros: a control group."""

    def answer(self, call: bytes) -> bytes:
        total = wire.decode(super().answer(call))
        assert isinstance(total, wire.BlindSum)
        refused = sum(not device.consent for device in self.hosted.values())
        return wire.encode(replace(total, participants=total.participants + refused))


class Declines(PlacedEdge):
    """Enrols everybody it hosts, and says who declined."""

    def enrol(self, call: bytes) -> bytes:
        reply = wire.decode(super().enrol(call))
        assert isinstance(reply, wire.EnrolReply)
        declined = [(f"{name} declined", device.identity) for name, device in self.hosted.items() if not device.consent]
        keys = tuple(key for _, key in declined) if reply.identities else ()
        names = tuple(name for name, _ in declined)
        return wire.encode(replace(reply, devices=(*reply.devices, *names), identities=reply.identities + keys))


class Stops(PlacedEdge):
    """Enrols nobody if one device cannot be asked, closed by an owner who withholds."""

    def enrol(self, call: bytes) -> bytes:
        assert len([name for name, device in self.hosted.items() if device.consent]) < 8
        return super().enrol(call)


class Orders(PlacedEdge):
    """Sends its devices' answers to a step in turn, or the other way round if one of them refused."""

    def enrol(self, call: bytes) -> bytes:
        reply = wire.decode(super().enrol(call))
        assert isinstance(reply, wire.EnrolReply)
        if all(device.consent for device in self.hosted.values()):
            return wire.encode(reply)
        return wire.encode(replace(reply, devices=reply.devices[::-1], identities=reply.identities[::-1]))


class CountingApp(ClientApp):
    """Adds to every reply how many devices the node hosts."""

    def __init__(self, app: ClientApp, edges: Sequence[PlacedEdge]) -> None:
        super().__init__()
        self._app, self._edges = app, edges

    def __call__(self, message: Message, context: Context) -> Message:
        reply = self._app(message, context)
        hosted = self._edges[int(context.node_config["partition-id"])].hosted
        reply.content["hosted"] = MetricRecord({"devices": len(hosted)})
        return reply


def one_stream() -> Streams:
    """All devices draw from one source, one after the other."""
    shared = SeededRandom(5, "devices")
    return lambda owner: lambda: shared


BOTH = [TRUSTED, SECURE]


def test_leaky_builds_begin_from_an_honest_one_that_leaks_nothing() -> None:
    for run, silence in itertools.product(BOTH, (LATER, FIRST, CLOSED)):
        compare(SEVEN, silence, run)


@pytest.mark.parametrize("run", BOTH, ids=lambda run: run.run_id)
@pytest.mark.parametrize(
    ("edge", "silence"),
    [(Reports, LATER), (Declines, FIRST), (Declines, LATER), (Orders, FIRST), (Stops, CLOSED)],
    ids=[
        "an edge reports a refusal",
        "a device declines",
        "a device declines later",
        "the order tells",
        "an edge stops",
    ],
)
def test_an_edge_that_lets_a_refusal_be_seen_is_caught(
    edge: type[PlacedEdge], silence: Silence, run: RunSettings
) -> None:
    silence = replace(silence, since=(1, ENROL)) if edge is Declines and silence is LATER else silence
    with pytest.raises(DifferentError):
        compare(SEVEN, silence, run, edge=edge)


def test_an_edge_that_answers_for_who_refused_is_caught() -> None:
    with pytest.raises(DifferentError):
        compare(SEVEN, LATER, TRUSTED, edge=CountsRefusals)


@pytest.mark.parametrize("run", BOTH, ids=lambda run: run.run_id)
def test_devices_that_draw_from_one_stream_are_caught(run: RunSettings) -> None:
    with pytest.raises(DifferentError):
        compare(SEVEN, FIRST, run, streams=one_stream)


@pytest.mark.parametrize("run", BOTH, ids=lambda run: run.run_id)
def test_a_coordinator_whose_n_is_the_number_of_hosted_devices_is_caught(run: RunSettings) -> None:
    with pytest.raises(DifferentError, match="what sent"):
        compare(SEVEN, FIRST, run, plan=lambda made, devices: replace(made, population=len(devices)))


@pytest.mark.parametrize("run", BOTH, ids=lambda run: run.run_id)
def test_an_edge_that_says_how_many_devices_it_hosts_beside_the_message_is_caught(run: RunSettings) -> None:
    with pytest.raises(DifferentError, match="what came"):
        compare(SEVEN, FIRST, run, wrap=CountingApp)


@pytest.mark.parametrize("run", BOTH, ids=lambda run: run.run_id)
@pytest.mark.parametrize("silence", [LATER, FIRST], ids=["later", "first"])
def test_a_withdrawal_that_does_nothing_is_caught(silence: Silence, run: RunSettings) -> None:
    with pytest.raises(DifferentError):
        compare(SEVEN, replace(silence, act=nothing), run)
