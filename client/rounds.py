"""The secure sums a device has begun: since when and what for, and that it has left them for good."""

import json
from dataclasses import asdict, dataclass, replace

from backrow.client.vault.store import Vault
from backrow.privacy.consent import Purpose
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.queries import Query

_RUNS = "rounds/runs"


@dataclass(frozen=True, slots=True)
class Begun:
    """The newest round of a run that this device has begun.

    Attributes:
        at: when its budget was reserved, Unix seconds, as the coordinator signed it.
        purpose, query: what for and what is asked; the same through all steps.
        left: an erase came in between: nothing of it, nor of an earlier round, is answered any more.
    """

    round: int
    at: int
    purpose: Purpose
    query: Query
    left: bool = False


class Rounds:
    """Kept in the vault of participation, with the state of the protocol itself."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def get(self, name: str) -> bytes | None:
        """The protocol's state under this name; None if there is none, or no more."""
        return self._vault.note(name) or None

    def put(self, name: str, value: bytes) -> None:
        """On disk when this returns."""
        self._vault.keep_note(name, value)

    def check(self, run: str, round_: int, purpose: Purpose) -> None:
        """Return if a round may begin, or begin again.

        Raises:
            RefusedCallError: this device has left it, or has begun it for another purpose.
        """
        begun = self.begun(run)
        if begun is None or begun.round < round_:
            return
        if begun.left:
            raise RefusedCallError("this device has left the round: not answered")
        if begun.round == round_ and begun.purpose is not purpose:
            raise RefusedCallError("the round was begun for another purpose: not answered")

    def begin(self, run: str, begun: Begun) -> None:
        """Remember the round; on disk when this returns."""
        runs = self._runs()
        named = {} if run in runs else {_RUNS: json.dumps([*runs, run]).encode()}
        self._vault.keep_notes({**named, _note(run): json.dumps(asdict(begun)).encode()})

    def going_on(self, run: str, round_: int) -> Begun:
        """The round that a later step belongs to.

        Raises:
            RefusedCallError: this device has not begun it, or has left it.
        """
        begun = self.begun(run)
        if begun is None or begun.round != round_ or begun.left:
            raise RefusedCallError("this device takes no part in that round: not answered")
        return begun

    def begun(self, run: str) -> Begun | None:
        """The newest round of this run."""
        kept = self._vault.note(_note(run))
        if kept is None:
            return None
        fields = json.loads(kept)
        return Begun(**{**fields, "purpose": Purpose(fields["purpose"]), "query": Query(fields["query"])})

    def leave(self) -> None:
        """Forget the keys, shares and unsent replies of every round, and answer none of these rounds again."""
        notes: dict[str, bytes] = {}
        for run in self._runs():
            begun = self.begun(run)
            assert begun is not None  # written with the name of its run
            notes[_note(run)] = json.dumps(asdict(replace(begun, left=True))).encode()
            notes[f"secure/{run}"] = b""
        if notes:
            self._vault.keep_notes(notes)

    def _runs(self) -> list[str]:
        runs: list[str] = json.loads(self._vault.note(_RUNS) or b"[]")
        return runs


def _note(run: str) -> str:
    return f"rounds/of/{run}"
