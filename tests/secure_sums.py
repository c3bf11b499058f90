"""A whole secure sum in one process: every device a `SecureDevice`, the coordinator a `SecureRound`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import SecureSumError
from backrow.privacy.randomness import Purpose, SeededRandom
from backrow.privacy.secagg.coordinator import SecureRound, SecureSum
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.edge import add_blind
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.signing import SigningKey

COORDINATOR = SigningKey(bytes(range(32)))
STEPS = (1, 2, 3, 4, 5)
Messages = dict[str, bytes]


def identities(devices: int) -> dict[str, SigningKey]:
    """Name of each device to its identity key."""
    return {f"d{n:04}": SigningKey(SeededRandom(n, Purpose.IDENTITY).bytes(32)) for n in range(devices)}


def session_of(keys: Mapping[str, SigningKey], **changes: object) -> Session:
    """A session of these devices; `changes` to its fields."""
    fields: dict[str, object] = {
        "run_id": "run",
        "round": 1,
        "cohort": cohort_digest({name: key.public for name, key in keys.items()}),
        "question": b"q" * 32,
        "checkpoint": b"c" * 32,
        "coordinator": COORDINATOR.public,
        "devices": len(keys),
        "minimum": 3,
        "dimension": 4,
        "tolerance": Tolerance(0.05, 0.05),
    }
    return Session(**(fields | changes))  # type: ignore[arg-type]


def answers_of(session: Session, names: Sequence[str], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """An answer for each device, so small that their sum fits."""
    bound = 2**31 // len(names) - 1
    generator = SeededRandom(seed, Purpose.EVENTS).numpy()
    return {name: generator.integers(-bound, bound, session.dimension, endpoint=True) for name in names}


@dataclass
class Run:
    """One round, step by step. `dropped`: name to the first step at which it says nothing.

    Attributes:
        devices: each device's present state.
        sent, replies: at each step what the coordinator sent, and what the devices replied.
        refused: who refused a message and has so dropped out.
    """

    keys: Mapping[str, SigningKey]
    session: Session
    answers: Mapping[str, NDArray[np.int64]]
    dropped: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    saved: bool = False
    edges: int = 1
    policy: SecurePolicy = field(default_factory=lambda: SecurePolicy(minimum=3))

    def __post_init__(self) -> None:
        self.secure = SecureRound(self.session, {n: key.public for n, key in self.keys.items()}, COORDINATOR)
        self.devices: dict[str, SecureDevice] = {}
        self.random = {name: SeededRandom(self.seed, Purpose.NOISE, name) for name in self.keys}
        self.sent: dict[int, Messages] = {}
        self.replies: dict[int, Messages] = {}
        self.refused: dict[str, SecureSumError] = {}

    def step(self, number: int) -> Messages:
        """The coordinator sends, every device that is still there replies. The replies are not taken yet."""
        send = {
            1: lambda: dict.fromkeys(self.keys, b""),
            2: self.secure.send_rosters,
            3: self.secure.send_boxes,
            4: self.secure.send_survivors,
            5: self.secure.send_agreements,
        }
        self.sent[number] = send[number]()
        self.replies[number] = {}
        for name, message in self.sent[number].items():
            if self.dropped.get(name, 6) > number:
                try:
                    self.replies[number][name] = self.reply(number, name, message)
                except SecureSumError as problem:
                    self.refused[name] = problem
        return self.replies[number]

    def reply(self, number: int, name: str, message: bytes) -> bytes:
        """One device's reply; it goes on from there."""
        if number == 1:
            state, reply = SecureDevice.begin(self.session, self.policy, self.keys[name], self.random[name])
        else:
            device = self.devices[name]
            answer: dict[int, Callable[[], tuple[SecureDevice, bytes]]] = {
                2: lambda: device.share(message, self.random[name]),
                3: lambda: device.mask(message, self.answers[name]),
                4: lambda: device.agree(message),
                5: lambda: device.unmask(message),
            }
            state, reply = answer[number]()
        self.devices[name] = SecureDevice.restore(state.save(), self.keys[name]) if self.saved else state
        return reply

    def take(self, number: int, replies: Messages) -> None:
        """Hand replies to the coordinator; masked vectors through `edges` edges."""
        if number == 3:
            for edge in range(self.edges):
                self.add(sorted(replies)[edge :: self.edges], replies)
        else:
            take = self.secure
            {1: take.take_advertisements, 2: take.take_shares, 4: take.take_agreements, 5: take.take_answers}[number](
                replies
            )

    def add(self, names: Collection[str], replies: Messages) -> None:
        """One edge adds these devices' vectors."""
        blind = add_blind(self.session, {name: replies[name] for name in names})
        if blind.names:
            self.secure.add_masked(blind.names, blind.total)

    def until(self, last: int) -> "Run":
        """All steps up to this one."""
        for number in STEPS[:last]:
            self.take(number, self.step(number))
        return self

    def finish(self) -> SecureSum:
        """The whole round."""
        return self.until(5).secure.result()

    def expected(self, survivors: Collection[str]) -> NDArray[np.int64]:
        """What the sum must be."""
        return np.sum([self.answers[name] for name in survivors], axis=0, dtype=np.int64)


def run_of(devices: int, *, dropped: Mapping[str, int] | None = None, **changes: object) -> Run:
    """A run of so many devices; `changes` to fields of the session, or of the run."""
    keys = identities(devices)
    own = {name: changes.pop(name) for name in ("seed", "saved", "edges", "policy") if name in changes}
    session = session_of(keys, **changes)
    return Run(keys, session, answers_of(session, list(keys)), dropped or {}, **own)  # type: ignore[arg-type]
