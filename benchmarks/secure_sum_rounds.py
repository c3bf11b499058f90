"""Rounds of the secure sum, for `secure_sum.py`: real devices here, the coordinator in a process of its own."""

import multiprocessing
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.randomness import Purpose, SeededRandom
from backrow.privacy.secagg.coordinator import SecureRound
from backrow.privacy.secagg.device import SecureDevice
from backrow.privacy.secagg.messages import decode_masked
from backrow.privacy.secagg.parameters import Tolerance
from backrow.privacy.secagg.roster import cohort_digest
from backrow.privacy.secagg.session import SecurePolicy, Session
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.signing import SigningKey

KEY = SigningKey(bytes(range(32)))
RATE = 0.05
STEPS = (ADVERTISE, SHARE, MASK, AGREE, UNMASK)
SPREAD, AFTER_SHARING = "spread over the five steps", "all after sharing"
RESULT = "result"


@dataclass(slots=True)
class Cohort:
    """The devices of one trial, in this process. Answers the coordinator's messages.

    Attributes:
        vanishing: name to the step from which on a device says nothing.
        seconds: processor time of each device at each step, restoring and saving included.
        traffic: bytes to and from each device.
        total: what the sum must be, shape (coordinates,).
    """

    trial: int
    session: Session
    keys: Mapping[str, SigningKey]
    vanishing: Mapping[str, int]
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    total: NDArray[np.int64] = field(init=False)
    _saved: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.total = np.zeros(self.session.dimension, dtype=np.int64)

    def reply(self, step: int, name: str, message: bytes) -> bytes | None:
        """What a device says to a message; None: it has vanished."""
        if step >= self.vanishing.get(name, UNMASK + 1):
            return None
        values = self._values(name) if step == MASK else None
        started = time.process_time()
        random = SeededRandom(self.trial, Purpose.NOISE, name, step)
        device = None if step == ADVERTISE else SecureDevice.restore(self._saved[name], self.keys[name])
        if device is None:
            after, reply = SecureDevice.begin(self.session, SecurePolicy(3), self.keys[name], random)
        elif step == SHARE:
            after, reply = device.share(message, random)
        elif values is not None:
            after, reply = device.mask(message, values)
        elif step == AGREE:
            after, reply = device.agree(message)
        else:
            after, reply = device.unmask(message)
        self._saved[name] = after.save()
        self.seconds.setdefault(name, {})[step] = time.process_time() - started
        self.traffic[name] = self.traffic.get(name, 0) + len(message) + len(reply)
        if values is not None:
            self.total += values
            self.masked.add(name)
        return reply

    def _values(self, name: str) -> NDArray[np.int64]:
        """An answer so small that the sum fits."""
        bound = 2**31 // len(self.keys) - 1
        generator = SeededRandom(self.trial, Purpose.EVENTS, name).numpy()
        return generator.integers(-bound, bound, self.session.dimension, endpoint=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """What the coordinator's process reports. Attributes: `seconds` by step; `peak`, `before`: resident bytes."""

    values: NDArray[np.int64]
    survivors: tuple[str, ...]
    problems: int
    neighbours: int
    threshold: int
    seconds: dict[int | str, float]
    before: int
    peak: int


def coordinate(pipe: Connection, session: Session, members: Mapping[str, bytes]) -> None:
    """The coordinator's process: one round, one device after the other."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    before, seconds = resident("VmRSS"), dict[int | str, float]()

    @contextmanager
    def clocked(step: int | str) -> Iterator[None]:
        started = time.process_time()
        yield
        seconds[step] = seconds.get(step, 0.0) + time.process_time() - started

    def ask(step: int, send: Callable[[], Mapping[str, bytes]], take: Callable[[str, bytes], object]) -> None:
        with clocked(step):
            messages = send()
        for name, message in messages.items():
            pipe.send((step, name, message))
            reply = pipe.recv()
            if reply is not None:
                with clocked(step):
                    take(name, reply)

    with clocked(ADVERTISE):
        secure = SecureRound(session, members, KEY)
    ask(ADVERTISE, lambda: dict.fromkeys(members, b""), lambda n, reply: secure.take_advertisements({n: reply}))
    ask(SHARE, secure.send_rosters, lambda n, reply: secure.take_shares({n: reply}))
    ask(MASK, secure.send_boxes, lambda n, reply: secure.add_masked([n], decode_masked(reply, session)))
    ask(AGREE, secure.send_survivors, lambda n, reply: secure.take_agreements({n: reply}))
    ask(UNMASK, secure.send_agreements, lambda n, reply: secure.take_answers({n: reply}))
    with clocked(RESULT):
        done = secure.result()
    rule, problems = secure.rule, len(secure.problems)
    peak = resident("VmHWM")
    pipe.send(Ended(done.values, done.survivors, problems, rule.neighbours, rule.threshold, seconds, before, peak))


def resident(field_name: str) -> int:
    """Bytes of memory that this process has now (VmRSS) or had at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field_name))


@dataclass(frozen=True, slots=True)
class Trial:
    """One round and what it took."""

    when: str
    cohort: Cohort
    ended: Ended
    wall: float
    load: float

    @property
    def exact(self) -> bool:
        """The sum is that of the devices whose vectors arrived, and nothing was left out."""
        arrived = set(self.ended.survivors) == self.cohort.masked and not self.ended.problems
        return arrived and np.array_equal(self.ended.values, self.cohort.total)

    def device(self, step: int | None = None) -> list[float]:
        """Processor milliseconds of each device that did everything; of one step, or of all."""
        whole = [spent for spent in self.cohort.seconds.values() if len(spent) == len(STEPS)]
        return [1000 * (sum(spent.values()) if step is None else spent[step]) for spent in whole]

    @property
    def coordinator(self) -> float:
        """Processor seconds."""
        return sum(self.ended.seconds.values())

    @property
    def memory(self) -> float:
        """MB at the peak, above what was there before the round."""
        return (self.ended.peak - self.ended.before) / 1e6

    @property
    def traffic(self) -> float:
        """Bytes to and from the device that had most, over those of its vector."""
        return max(self.cohort.traffic.values()) / (4 * self.cohort.session.dimension)


def run(devices: int, dimension: int, trial: int, when: str) -> Trial:
    """One round in which 5 % of the devices vanish."""
    keys = {f"d{n:05}": SigningKey(SeededRandom(n, Purpose.IDENTITY).bytes(32)) for n in range(devices)}
    members = {name: key.public for name, key in keys.items()}
    session = Session(
        run_id="benchmark", round=trial, cohort=cohort_digest(members), question=bytes(32), checkpoint=bytes(32),
        coordinator=KEY.public, devices=devices, minimum=devices // 2, dimension=dimension,
        tolerance=Tolerance(RATE, RATE),
    )  # fmt: skip
    cohort = Cohort(trial, session, keys, vanishing(list(keys), trial, when))
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    started = time.perf_counter()
    process = spawn.Process(target=coordinate, args=(theirs, session, members))
    process.start()
    theirs.close()
    while not isinstance(heard := ours.recv(), Ended):
        ours.send(cohort.reply(*heard))
    process.join()
    return Trial(when, cohort, heard, time.perf_counter() - started, os.getloadavg()[0])


def vanishing(names: Collection[str], trial: int, when: str) -> dict[str, int]:
    """Who vanishes, and at which step it first says nothing."""
    drawn = SeededRandom(trial, Purpose.COHORT).numpy().permutation(sorted(names))[: int(RATE * len(names))]
    steps = STEPS if when == SPREAD else (MASK,)
    return {str(name): steps[place % len(steps)] for place, name in enumerate(drawn)}
