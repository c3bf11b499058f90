"""Watch events as bytes, before they are encrypted. Versioned; lengths padded, so that they tell little."""

import json
import operator

from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.privacy.errors import DamagedVaultError, VaultError

VERSION = 1
PADDED_TO = 64
"""Encoded events are a multiple of this many bytes: a row's length hardly tells what it holds."""


def encode_event(event: WatchEvent) -> bytes:
    """One version byte, then a JSON list, padded with spaces.

    Raises:
        ValueError: a field has a type that cannot be kept (a float as time, a number as title).
    """
    if not isinstance(event, WatchEvent):
        raise ValueError(f"only a WatchEvent can be recorded, got {type(event).__name__}")
    if not all(text is None or isinstance(text, str) for text in (event.title, event.query)):
        raise ValueError("an event's title and search words are text")
    try:
        fields = [
            EventKind(event.kind).value,
            operator.index(event.at),
            event.title,
            DeviceKind(event.device).value,
            None if event.position is None else float(event.position),
            None if event.rating is None else float(event.rating),
            event.query,
        ]
    except TypeError:
        raise ValueError("an event's time is a whole number of seconds, its position and rating are numbers") from None
    data = bytes([VERSION]) + json.dumps(fields, separators=(",", ":")).encode()
    return data + b" " * (-len(data) % PADDED_TO)


def decode_event(data: bytes) -> WatchEvent:
    """The event that `encode_event` wrote.

    Raises:
        VaultError: a newer SDK wrote it.
        DamagedVaultError: it is not an event.
    """
    if data[:1] != bytes([VERSION]):
        raise VaultError("this history was written by a newer version of the SDK: update this one")
    try:
        kind, at, title, device, position, rating, query = json.loads(data[1:])
        return WatchEvent(EventKind(kind), at, title, DeviceKind(device), position, rating, query)
    except (ValueError, TypeError):
        raise DamagedVaultError(
            "an entry of the history is not an event: restore the file, or remove it to start anew"
        ) from None
