"""What the coordinator accepts: at each step one reply from each device that was asked, whoever else writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from backrow.privacy.errors import BackrowError, OutOfTurnError, RepeatedAnswerError, RosterError
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.secagg.steps import ADVERTISE

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a reply was left out. Attributes: `device`, by name; `step` 1..5; `kind`, class of the error; `reason`."""

    device: str
    step: int
    kind: str
    reason: str


class Inbox:
    """The replies of the step that is open.

    Args:
        asked: name of each device that may reply, to its place.

    Attributes:
        problems: of every reply that was left out, in the order they came.
    """

    def __init__(self, asked: Mapping[str, int]) -> None:
        self.problems: list[Problem] = []
        self._step, self._asked = ADVERTISE, asked
        self._seen: dict[str, bytes] = {}

    def take(
        self, step: int, replies: Mapping[str, bytes], into: dict[int, _T], read: Callable[[int, bytes], _T]
    ) -> None:
        """Put what `read` makes of each reply into `into`, by place. One bad reply harms no other."""
        for name in sorted(replies):
            try:
                self.in_turn(step)
                place = self.place(name)
                if self._is_new(name, replies[name]):
                    into[place] = read(place, replies[name])
                    self._seen[name] = sha256(replies[name])
            except BackrowError as problem:
                self.note(name, step, problem)

    def in_turn(self, step: int) -> None:
        """Return if this step is open, else raise OutOfTurnError."""
        if step != self._step:
            raise OutOfTurnError(f"a reply to step {step} came at step {self._step}: it is not used")

    def place(self, name: str) -> int:
        """Place of a device that was asked; raises RosterError for another."""
        if name not in self._asked:
            raise RosterError("this device was not asked, or had dropped out: its reply is not used")
        return self._asked[name]

    def close(self, step: int, asked: Mapping[str, int]) -> None:
        """End a step and ask these devices next.

        Raises:
            OutOfTurnError: another step is open.
        """
        self.in_turn(step)
        self._step, self._asked, self._seen = step + 1, asked, {}

    def note(self, name: str, step: int, problem: BackrowError) -> None:
        """Keep why a reply was left out."""
        self.problems.append(Problem(name, step, type(problem).__name__, str(problem)))

    def _is_new(self, name: str, reply: bytes) -> bool:
        if name not in self._seen:
            return True
        if self._seen[name] != sha256(reply):
            raise RepeatedAnswerError("this device replied twice, differently: the first reply counts")
        return False
