"""The Flower ClientApp: one node, one edge, one or more devices."""

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from backrow.client.edge import Edge
from backrow.privacy import wire
from backrow.privacy.errors import BackrowError, MalformedMessageError


def make_client_app(open_edge: Callable[[int, int], Edge]) -> ClientApp:
    """A ClientApp for every node of a run.

    Args:
        open_edge: (partition, partitions) to the node's edge. Called for each message, in whatever
            process Flower picks: it should cache, and must be picklable for Ray.
    """
    app = ClientApp()

    @app.query(wire.ENROL_ACTION.partition(".")[2])
    def enrol(message: Message, context: Context) -> Message:
        return _reply(message, lambda: _edge(context).enrol(_bytes(message)))

    @app.query(wire.ANSWER_ACTION.partition(".")[2])
    def answer(message: Message, context: Context) -> Message:
        return _reply(message, lambda: _edge(context).answer(_bytes(message)))

    @app.query(wire.SECURE_ACTION.partition(".")[2])
    def secure(message: Message, context: Context) -> Message:
        return _reply(message, lambda: _edge(context).secure(_bytes(message), ContextMemory(context)))

    def _edge(context: Context) -> Edge:
        config = context.node_config
        return open_edge(int(config["partition-id"]), int(config["num-partitions"]))

    return app


class ContextMemory:
    """Keeps an edge's notes in the state that Flower carries from one message of a node to the next."""

    def __init__(self, context: Context) -> None:
        self._state = context.state

    def get(self, name: str) -> bytes | None:
        """What was put under this name."""
        record = self._state.get(wire.RECORD)
        value = record.get(name) if isinstance(record, ConfigRecord) else None
        return value if isinstance(value, bytes) else None

    def put(self, name: str, value: bytes) -> None:
        """Keep until the run ends."""
        record = self._state.get(wire.RECORD)
        if not isinstance(record, ConfigRecord):
            record = ConfigRecord()
            self._state[wire.RECORD] = record
        record[name] = value


def _bytes(message: Message) -> bytes:
    record = message.content.get(wire.RECORD)
    data = record.get(wire.FIELD) if isinstance(record, ConfigRecord) else None
    if not isinstance(data, bytes):
        raise MalformedMessageError("the Flower message carries no backrow message")
    return data


def _reply(message: Message, answer: Callable[[], bytes]) -> Message:
    try:
        data = answer()
    except BackrowError:
        raise  # our own words, about the call
    except Exception as problem:
        # Flower passes an exception's text on to the coordinator, and a mishap's may quote a history.
        raise RuntimeError(f"the edge failed ({type(problem).__name__})") from None
    return Message(RecordDict({wire.RECORD: ConfigRecord({wire.FIELD: data})}), reply_to=message)
