"""Engine `inprocess`: Flower's own ServerApp and ClientApp, without Ray, deterministic and debuggable.

The grid calls the ClientApp directly and yields replies as they are computed. It touches two semi-internal
attributes of Flower 1.41 (a message's id and source), which a test pins.
"""

import uuid
from collections.abc import Iterable, Iterator

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run

RUN_ID = 1
CLIENT_FAILED = 1


class InProcessGrid(Grid):
    """A Flower grid whose nodes live in this process.

    Args:
        client_app: runs on every node.
        nodes: how many; node ids are 1..nodes, partitions 0..nodes-1.
    """

    def __init__(self, client_app: ClientApp, nodes: int) -> None:
        self._app = client_app
        self._contexts = {
            node: Context(RUN_ID, node, {"partition-id": node - 1, "num-partitions": nodes}, RecordDict(), {})
            for node in range(1, nodes + 1)
        }
        self._waiting: dict[str, Message] = {}
        self._run: Run | None = None

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        if self._run is None:
            raise ValueError("no run was set on this grid")
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid.uuid4())
            self._waiting[message.metadata.message_id] = message
            identifiers.append(message.metadata.message_id)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._answer(self._waiting.pop(name)) for name in message_ids if name in self._waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        for name in self.push_messages(messages):
            yield from self.pull_messages([name])

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        try:
            reply = self._app(message, self._contexts[node])
        except Exception as problem:  # as Flower does: a failing node is an error reply, not a crash
            reply = Message(Error(CLIENT_FAILED, f"{type(problem).__name__}: {problem}"), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = node
        return reply


def run_inprocess(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a ServerApp to its end against `nodes` nodes in this process."""
    grid = InProcessGrid(client_app, nodes)
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), {}))
