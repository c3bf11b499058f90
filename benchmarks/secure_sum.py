"""One round of the secure sum: processor time of a device and of the coordinator, memory, traffic, and the sum itself.

OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/secure_sum.py   # n = 1,000 and 10,000: half an hour; writes the page
.venv/bin/python benchmarks/secure_sum.py --devices 100 --dimension 10000   # one trial, printed only

Every device is a real `SecureDevice` that saves its state after each step and is restored from it before the next. The
coordinator is a `SecureRound` in a process of its own, which speaks to one device at a time. Both know one thread.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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

RESULTS = Path(__file__).parent / "results"
KEY = SigningKey(bytes(range(32)))
DIMENSION = 237_000
RATE = 0.05
STEPS = (ADVERTISE, SHARE, MASK, AGREE, UNMASK)
NAMES = {ADVERTISE: "advertise", SHARE: "share", MASK: "mask", AGREE: "agree", UNMASK: "unmask"}
SPREAD, AFTER_SHARING = "spread over the five steps", "all after sharing"
TRIALS = [(1_000, SPREAD, trial) for trial in (1, 2, 3, 4)] + [
    (1_000, AFTER_SHARING, 5), (1_000, AFTER_SHARING, 6), (10_000, SPREAD, 7),
]  # fmt: skip
"""Devices, who vanishes, and the seed of who that is, of secrets and of answers."""
RESULT = "result"
COMMAND = "OPENBLAS_NUM_THREADS=1 python benchmarks/secure_sum.py"


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


def rows(trials: Sequence[Trial]) -> str:
    """A table row for each trial."""
    lines = []
    for trial in trials:
        spent, rule = trial.device(), f"{trial.ended.neighbours}, {trial.ended.threshold}"
        device = f"{statistics.mean(spent):.0f} | {np.quantile(spent, 0.99):.0f} | {max(spent):.0f}"
        result = f"{trial.traffic:.4f} | {'yes' if trial.exact else 'NO'} | {trial.wall:.0f} | {trial.load:.1f}"
        head = f"{len(trial.cohort.keys):,} | {trial.when} | {rule}"
        lines.append(f"| {head} | {device} | {trial.coordinator:.1f} | {trial.memory:.0f} | {result} |")
    return "\n".join(lines)


def parts(trials: Sequence[Trial]) -> str:
    """Where the time of the spread trials goes, step by step."""
    spread = [trial for trial in trials if trial.when == SPREAD]
    lines = [
        f"| {name} | {statistics.mean(statistics.mean(trial.device(step)) for trial in spread):.1f} "
        f"| {statistics.mean(trial.ended.seconds[step] for trial in spread):.2f} |"
        for step, name in NAMES.items()
    ]
    opened = statistics.mean(trial.ended.seconds[RESULT] for trial in spread)
    return "\n".join([*lines, f"| secrets recovered, masks taken out | | {opened:.2f} |"])


def report(small: Sequence[Trial], large: Sequence[Trial]) -> str:
    """The page."""
    return f"""# The secure sum: one round

`{COMMAND}` on {platform.machine()}, {os.cpu_count()} cores shared with other work (load
beside each row), Python {platform.python_version()}, one thread each for devices and coordinator; d = {DIMENSION:,},
5 % adversaries and 5 % drop-outs tolerated, and 5 % of the devices vanish. Asked at n = 1,000: device <= 100 ms,
coordinator <= 5 s and <= 200 MB, traffic <= 1.03; at n = 10,000: coordinator <= 60 s; the sum exact in every trial.

| n | who vanishes | k, t | device ms, mean | 99 % | worst | coordinator s | MB | traffic | exact | wall s | load |
|---|---|---|---|---|---|---|---|---|---|---|---|
{rows([*small, *large])}

Processor time. *Device*: all five steps of one that stays to the end, its state saved after each and restored before
the next, every signature checked by itself (an edge that hosts many devices checks each once); without encrypting that
state, the answer and its noise. *Coordinator*: signatures, rosters, one vector at a time, secrets, masks; a process of
its own. *MB*: its peak resident memory above what the imported program has, the sum and one vector in flight included.
*Traffic*: all bytes of the protocol to and from the device that had most, masked vector included, over the 4 d bytes
of a vector; the model and Flower's frames are not in it. *Exact*: equal to the sum of the survivors' integers in every
coordinate, nobody left out who sent. *Wall* has one device after the other, and drawing their answers.
"All after sharing" is the coordinator's worst case: every pair mask of each that vanished is taken out.

Where the time goes (n = 1,000, spread; means):

| step | device ms | coordinator s |
|---|---|---|
{parts(small)}

Every device of n = 10,000 is as real as those of n = 1,000, at the full d: nothing is extrapolated.
Integer noise, 2 million samples a second asked: [noise](noise.md). Beside Flower's SecAgg+:
[secure-sum-flower](secure-sum-flower.md).
"""


def main() -> None:
    """Every trial in turn; writes the page if they are the full ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, help="one trial of so many devices, printed only")
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    asked = parser.parse_args()
    if asked.devices:
        print(rows([run(asked.devices, asked.dimension, 1, SPREAD)]))
        return
    small, large = list[Trial](), list[Trial]()
    for devices, when, trial in TRIALS:
        done = run(devices, DIMENSION, trial, when)
        (small if devices == 1_000 else large).append(done)
        print(rows([done]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "secure-sum.md").write_text(report(small, large), encoding="utf-8")


if __name__ == "__main__":
    main()
