"""What runs on an owner's device, and the edge that hosts devices. Host applications import these names only."""

from backrow.client.device import Device
from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.client.policy import DevicePolicy
from backrow.client.recommend import Pick
from backrow.privacy.consent import PlatformSignal, Purpose

__all__ = ["Device", "DeviceKind", "DevicePolicy", "EventKind", "Pick", "PlatformSignal", "Purpose", "WatchEvent"]
