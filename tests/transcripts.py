"""What a coordinator sees, sends and writes down in a run, so that two runs can be compared byte by byte.

Left out of the comparison, because Flower draws or reads them itself and no device has a say in them: random
message ids, times of creation, times to live; on Ray also the random node ids and the order in which parallel
nodes answer. How long a device takes is not compared either.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from backrow.server.strategy import Coordinator, Outcome

SENT, CAME = "sent", "came"


@dataclass(frozen=True, slots=True, order=True)
class Passed:
    """One Flower message between coordinator and edge: its whole content, not only backrow's field of it."""

    direction: str
    kind: str
    content: bytes
    node: int


@dataclass(slots=True)
class Transcript:
    """Everything of one run that is on the coordinator's side.

    Attributes:
        exchanges: of each exchange with the edges the messages, in the order in which they passed.
        nodes: what the grid said of its nodes.
        told: what the coordinator makes of it in words and numbers: problems, reports, why it stopped.
        files: ledger, released integers and all else in the run folder, by name.
    """

    exchanges: list[list[Passed]] = field(default_factory=list)
    nodes: list[tuple[int, ...]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def came(self) -> list[bytes]:
        """All content from edges, in order."""
        return [each.content for batch in self.exchanges for each in batch if each.direction == CAME]

    def everything(self) -> dict[str, bytes]:
        """All bytes, by where they are."""
        numbered = enumerate(each for batch in self.exchanges for each in batch)
        passed = {f"message {number}, {each.direction}, {each.kind}": each.content for number, each in numbered}
        return {**passed, "told": "\n".join(self.told).encode(), **self.files}


class DifferentError(AssertionError):
    """Two transcripts are not the same bytes."""


def assert_same(one: Transcript, other: Transcript, *, anywhere: bool = False) -> None:
    """Raise DifferentError where two transcripts differ first.

    Args:
        anywhere: nodes have random ids and answer in any order.
    """
    if anywhere:
        _compare("number of nodes", [len(nodes) for nodes in one.nodes], [len(nodes) for nodes in other.nodes])
    else:
        _compare("nodes", one.nodes, other.nodes)
    for number, (mine, others) in enumerate(zip(one.exchanges, other.exchanges, strict=False)):
        pair = [_anywhere(batch) if anywhere else batch for batch in (mine, others)]
        for left, right in zip(*pair, strict=False):
            _compare(f"exchange {number}, {left.kind}: what {left.direction}", left, right)
        _compare(f"number of messages of exchange {number}", *map(len, pair))
    _compare("number of exchanges", len(one.exchanges), len(other.exchanges))
    _compare("what is told", one.told, other.told)
    _compare("names of files", sorted(one.files), sorted(other.files))
    for name, data in one.files.items():
        _compare(f"file {name}", data, other.files[name])


def _compare(what: str, one: object, other: object) -> None:
    if one != other:
        raise DifferentError(f"the transcripts differ in {what}: {one!r:.300} and {other!r:.300}")


def _anywhere(batch: list[Passed]) -> list[Passed]:
    return sorted(Passed(each.direction, each.kind, each.content, 0) for each in batch)


class RecordingGrid(Grid):
    """Any Flower grid; every message through it goes into the transcript."""

    def __init__(self, grid: Grid, transcript: Transcript) -> None:
        self._grid, self._transcript = grid, transcript

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        nodes = tuple(self._grid.get_node_ids())
        if not self._transcript.nodes or self._transcript.nodes[-1] != nodes:  # while they register, it is asked often
            self._transcript.nodes.append(nodes)
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise AssertionError("the coordinator is expected to send and receive in one step")

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise AssertionError("the coordinator is expected to send and receive in one step")

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        asked, batch = list(messages), list[Passed]()
        self._transcript.exchanges.append(batch)
        for message in asked:
            content, meta = content_bytes(message.content), message.metadata
            batch.append(Passed(SENT, meta.message_type + meta.group_id, content, meta.dst_node_id))
        for reply in self._grid.send_and_receive(asked, timeout=timeout):
            failed = f"{reply.error.code} {reply.error.reason}".encode() if reply.has_error() else None
            content, meta = failed or content_bytes(reply.content), reply.metadata
            batch.append(Passed(CAME, meta.message_type + meta.group_id, content, meta.src_node_id))
            yield reply


class RecordedCoordinator(Coordinator):
    """A coordinator whose run is recorded in `transcript`."""

    transcript: Transcript

    def run(self, grid: Grid) -> Outcome:
        self.transcript = Transcript()
        outcome = super().run(RecordingGrid(grid, self.transcript))
        told = self.transcript.told
        told += [*self.problems, f"stopped: {outcome.stopped}"]
        for report in outcome.reports:  # all but the seconds that it took
            told.append(
                f"{report.plan} {report.outcome} {report.invited} {report.participants} {report.spent} "
                f"{report.bytes_up} {report.masked}"
            )
        told += [f"{release.receipt} {release.values.tobytes().hex()}" for release in outcome.releases]
        return outcome


def content_bytes(content: RecordDict) -> bytes:
    """A Flower message's content as Flower sends it."""
    data = recorddict_to_proto(content).SerializeToString(deterministic=True)
    assert isinstance(data, bytes)
    return data


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
