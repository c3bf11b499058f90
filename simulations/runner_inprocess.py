"""Engine `inprocess`: Flower's own ServerApp and ClientApp, without Ray, deterministic and debuggable.

The grid calls the ClientApp directly and yields replies as they are computed. It touches two semi-internal
parts of Flower 1.41, which a test pins: a message's id, and the identity of the running task, from which
Flower takes the sender of new messages.
"""

import uuid
from collections.abc import Iterable, Iterator

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1
CLIENT_FAILED = 1
SUPERLINK_NODE_ID = 1


class InProcessGrid(Grid):
    """A Flower grid whose nodes live in this process.

    Args:
        client_app: runs on every node.
        nodes: how many; node ids are 2..nodes+1, partitions 0..nodes-1.
    """

    def __init__(self, client_app: ClientApp, nodes: int) -> None:
        self._app = client_app
        self._contexts = {
            partition + 2: Context(
                RUN_ID, partition + 2, {"partition-id": partition, "num-partitions": nodes}, RecordDict(), {}
            )
            for partition in range(nodes)
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
        return reply


def run_inprocess(server_app: ServerApp, client_app: ClientApp, nodes: int) -> None:
    """Run a ServerApp to its end against `nodes` nodes in this process."""
    names = ("_task_id", "_run_id", "_node_id")
    before = [getattr(TaskIdentity, name) for name in names]
    for name, value in zip(names, (RUN_ID, RUN_ID, SUPERLINK_NODE_ID), strict=True):
        setattr(TaskIdentity, name, value)
    try:
        server_app(InProcessGrid(client_app, nodes), Context(RUN_ID, SUPERLINK_NODE_ID, {}, RecordDict(), {}))
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(TaskIdentity, name, value)
