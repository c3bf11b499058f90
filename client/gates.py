"""The four places where a device asks again whether its owner still allows it. Each stops what comes after it.

To the edge, a device that a gate stopped is a device that is offline.
"""

from collections.abc import Callable

from backrow.privacy.consent import Purpose
from backrow.privacy.errors import RefusedCallError


class WithdrawnError(RefusedCallError):
    """The owner does not allow it, or no longer: nothing is handed out, not even a refusal."""


class Gates:
    """Args: allowed: whether a purpose is granted at this moment."""

    def __init__(self, allowed: Callable[[Purpose], bool]) -> None:
        self._allowed = allowed

    def before_reading(self, purpose: Purpose) -> None:
        """The history is read next. Raises: WithdrawnError."""
        self._pass(purpose, "the history is not read")

    def before_advertising(self, purpose: Purpose) -> None:
        """A key for a secure sum is made and shown next. Raises: WithdrawnError."""
        self._pass(purpose, "no key is made")

    def before_unmasking(self, purpose: Purpose) -> None:
        """Shares that unmask a sum are given next. Raises: WithdrawnError."""
        self._pass(purpose, "no share is given")

    def before_sending(self, purpose: Purpose) -> None:
        """Bytes are logged and handed out next, whatever they are. Raises: WithdrawnError."""
        self._pass(purpose, "nothing is handed out")

    def _pass(self, purpose: Purpose, so: str) -> None:
        if not self._allowed(purpose):
            raise WithdrawnError(f"the owner does not allow {purpose}: {so}")
