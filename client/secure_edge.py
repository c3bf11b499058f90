"""The edge in a secure sum: it passes on what the devices say to one another and adds their masked vectors blind."""

from collections.abc import Callable

import numpy as np

from backrow.client.secure import Heard, Memory, hear
from backrow.privacy import wire
from backrow.privacy.errors import BackrowError, MalformedMessageError
from backrow.privacy.secagg.steps import MASK
from backrow.privacy.wire_secure import SecureCall, SecureReply, session_of

Ask = Callable[[SecureCall, Heard, str], bytes | None]
"""(call, what is common, name) to the device's reply to its part; None or an error: it has vanished."""


def relay(data: bytes, coordinator_key: bytes, memory: Memory, ask: Ask) -> bytes:
    """One step for all devices of an edge.

    Args:
        data: an encoded `SecureCall`.
        memory: where the edge keeps which sum it is about; nothing secret.

    Raises:
        SignatureError, MalformedMessageError: not what belongs to a secure sum of this coordinator.
    """
    from backrow.privacy.secagg.edge import add_blind
    from backrow.privacy.secagg.session import Session

    call = wire.decode(data)
    if not isinstance(call, SecureCall):
        raise MalformedMessageError(f"expected SecureCall, got {type(call).__name__}")
    heard = hear(call, coordinator_key)
    place = f"edge/{call.run_id}"
    if heard.opening is not None:
        memory.put(place, session_of(heard.opening, coordinator_key).encode())
    if call.step != MASK:
        replies = ((name, _ask(ask, call, heard, name)) for name in sorted(call.parts))
        parts = {name: reply for name, reply in replies if reply is not None}
        return wire.encode(SecureReply(call.run_id, call.round, call.step, parts))
    kept = memory.get(place)
    if kept is None:
        raise MalformedMessageError("this edge was not told of the round: its devices drop out")
    session = Session.decode(kept)
    names, total = list[str](), np.zeros(session.dimension, dtype=np.uint32)
    for name in sorted(call.parts):  # one vector at a time: they are large
        reply = _ask(ask, call, heard, name)
        if reply is not None:
            blind = add_blind(session, {name: reply})
            names.extend(blind.names)
            np.add(total, blind.total, out=total)
    return wire.encode(SecureReply(call.run_id, call.round, call.step, {}, tuple(names), total))


def _ask(ask: Ask, call: SecureCall, heard: Heard, name: str) -> bytes | None:
    try:
        return ask(call, heard, name)
    except BackrowError:
        return None  # a refusal looks like absence, and one device never stops the others
