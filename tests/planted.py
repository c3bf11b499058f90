"""Devices with plants in their histories, and what is around them: for tests on either engine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from backrow.client import EventKind, WatchEvent
from backrow.client.edge import DeviceEdge
from backrow.client.secure import Memory
from backrow.privacy.randomness import RandomSource, SeededRandom
from tests.hosted import NOW, PUBLIC, Person, name_of, open_device
from tests.transcripts import content_bytes, files_in

RARE, KNOWN = "unheard-of-film-qzv", "catalogued-11"
WORDS = "what ails my sister", "größenwahn ☂ therapy"
TIMES = 1_612_345_679, 1_655_443_321, 1_699_999_123
PLANTS: list[str | int] = [RARE, KNOWN, *WORDS, *TIMES]
OWNERS = 6


def people() -> list[Person]:
    """The first owner is the only one who watched the planted titles; all watch something."""
    planted = (
        WatchEvent(EventKind.COMPLETE, TIMES[0], RARE),
        WatchEvent(EventKind.RATE, TIMES[1], KNOWN, rating=5.0),
        *(WatchEvent(EventKind.SEARCH, TIMES[2] + number, query=words) for number, words in enumerate(WORDS)),
    )
    others = [
        Person(tuple(WatchEvent(EventKind.COMPLETE, NOW - 50, f"catalogued-{n:02}") for n in (owner, owner + 2)))
        for owner in range(1, OWNERS)
    ]
    return [Person(planted), *others]


class Keeping(ClientApp):
    """Writes down what Flower keeps for a node after every message."""

    def __init__(self, app: ClientApp, folder: Path) -> None:
        super().__init__()
        self._app, self._folder = app, folder

    def __call__(self, message: Message, context: Context) -> Message:
        try:
            return self._app(message, context)
        finally:
            node = self._folder / f"{context.node_config['partition-id']}"
            node.mkdir(parents=True, exist_ok=True)
            (node / f"{len(list(node.iterdir()))}").write_bytes(content_bytes(context.state))


def vaults(folder: Path) -> dict[str, bytes]:
    """The devices' own files but for the public bundle; encrypted under fresh keys."""
    kept = {name: data for owner in range(OWNERS) for name, data in files_in(folder / name_of(owner)).items()}
    return {f"vault: {name}": data for name, data in kept.items() if not name.startswith("models")}


@dataclass(frozen=True, slots=True)
class Draws:
    """A stream for every call of a device, counted in a file: whatever process opens the device."""

    folder: Path

    def __call__(self, owner: int) -> "Draws":
        return Draws(self.folder / f"draws{owner}")

    def stream(self) -> RandomSource:
        number = int(self.folder.read_text()) if self.folder.exists() else 0
        self.folder.write_text(str(number + 1))
        return SeededRandom(5, self.folder.name, number)


@dataclass(frozen=True, slots=True)
class Opening:
    """One node's edge in any process: opens its devices for each message, and closes them again."""

    folder: Path
    owners: tuple[int, ...] = tuple(range(OWNERS))
    leaks: bool = False
    partition: int = 0
    partitions: int = 1

    def __call__(self, partition: int, partitions: int) -> "Opening":
        return replace(self, partition=partition, partitions=partitions)

    @contextmanager
    def devices(self) -> Iterator[DeviceEdge]:
        with ExitStack() as stack:
            made = {}
            for owner in (owner for owner in self.owners if owner % self.partitions == self.partition):
                draws = Draws(self.folder)(owner)
                made[name_of(owner)] = stack.enter_context(open_device(self.folder, owner, lambda _, d=draws: d.stream))
            yield DeviceEdge(made, PUBLIC)

    def enrol(self, call: bytes) -> bytes:
        if self.leaks:
            print(f"searched here: {WORDS[0]}", flush=True)
        with self.devices() as edge:
            return edge.enrol(call)

    def answer(self, call: bytes) -> bytes:
        with self.devices() as edge:
            return edge.answer(call)

    def secure(self, call: bytes, memory: Memory) -> bytes:
        if self.leaks:
            memory.put("last title", RARE.encode())
        with self.devices() as edge:
            return edge.secure(call, memory)
