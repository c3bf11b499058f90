"""Who has opted out for the whole account: a journal of signed statements, under pseudonyms. Never empty by accident.

An owner who opts out tells the coordinator that much, by her own choice; who only withdraws on her device tells
nobody and stands in no list. A list that is missing, damaged or older than before stops everything that needs it.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backrow.privacy.consent import newer
from backrow.privacy.errors import BackrowError, SuppressionError
from backrow.privacy.ledger.files import locked, write_durably
from backrow.privacy.statements import Statement, digest, digests, parsed
from backrow.server.statements import received

COORDINATOR = "coordinator"
"""Folder beside the ledger for what the coordinator shows to nobody."""
SUPPRESSION, ENROLLED = "suppression.jsonl", "enrolled.json"
FORMAT = "backrow-suppression/1"


class SuppressionList:
    """The list as last read. Make it with `create` or `open`; one process adds at a time, any number read.

    Attributes:
        opted_out: pseudonyms that no round may ask.
    """

    def __init__(self, folder: Path) -> None:
        """Use `create` or `open`."""
        self._folder = folder
        self._data = b""
        self._journal: list[Statement] = []
        self._latest: dict[str, Statement] = {}
        self.opted_out: frozenset[str] = frozenset()

    @classmethod
    def create(cls, folder: Path) -> "SuppressionList":
        """Begin a list of nobody, on disk when this returns.

        Args:
            folder: made if it is not there; must hold no list.

        Raises:
            SuppressionError: it holds one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SUPPRESSION).exists():
            raise SuppressionError(f"{folder / SUPPRESSION} exists: a list of opt-outs is opened, never begun again")
        write_durably(folder / SUPPRESSION, _header())
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "SuppressionList":
        """Read a list, with every signature in it.

        Raises:
            SuppressionError: it is missing or holds anything that does not belong there.
        """
        made = cls(folder)
        made.refresh()
        return made

    def refresh(self) -> None:
        """Read what other processes have added.

        Raises:
            SuppressionError: the list is missing or damaged, or no longer holds what it held.
        """
        path = self._folder / SUPPRESSION
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise SuppressionError(
                f"the list of opt-outs {path} cannot be read ({problem.strerror}): restore it; until then nobody is "
                "asked, because somebody may be on it"
            ) from None
        if self._data and data == self._data:
            return
        if not data.startswith(self._data or _header()) or not data.endswith(b"\n"):
            raise SuppressionError(
                f"{path} is damaged, or older than what was read before: restore the newest copy; until then nobody is "
                "asked"
            )
        number = len(self._journal) + 1
        for line in data[len(self._data or _header()) :].splitlines():
            number += 1
            try:
                self._take(parsed(line))
            except (BackrowError, ValueError, LookupError, TypeError, RecursionError) as problem:
                raise SuppressionError(
                    f"line {number} of {path} does not belong into a list of opt-outs ({problem}): restore the file; "
                    "until then nobody is asked"
                ) from None
        self._data = data
        self._count()

    def add(self, signed: bytes, enrolled: Mapping[str, bytes], at: int) -> bool:
        """Heed one signed statement; on disk when this returns. As `add_all`."""
        return self.add_all([signed], enrolled, at) == 1

    def add_all(self, statements: Collection[bytes], enrolled: Mapping[str, bytes], at: int) -> int:
        """Heed signed statements, all or none; on disk when this returns.

        Args:
            statements: opt-outs (`consent.sign_opt_out`), or records that grant everything again
                (`consent.sign_record`): these lift an earlier opt-out, and reset nothing that was spent.
            enrolled: pseudonym to identity key, 32 bytes.
            at: now, Unix seconds.

        Returns:
            How many say something new. A copy of the latest does not.

        Raises:
            MalformedMessageError: one is no such statement.
            SignatureError: one is not signed by a device that is enrolled here, or not under this pseudonym.
            SuppressionError: one is older than what its device has said since; or the list cannot be used.
        """
        names = {key: name for name, key in enrolled.items()}
        with self._alone():
            before = len(self._journal)
            journal, latest = list(self._journal), dict(self._latest)
            try:
                for signed in statements:
                    self._heed(received(signed, names, at))
                if len(self._journal) > before:
                    data = self._data + b"".join(each.line() for each in self._journal[before:])
                    write_durably(self._folder / SUPPRESSION, data)
                    self._data = data
            except BaseException as problem:
                self._journal, self._latest = journal, latest
                if isinstance(problem, OSError):
                    why = problem.strerror
                    raise SuppressionError(f"the list of opt-outs was not written ({why}): try again") from None
                raise
            self._count()
            return len(self._journal) - before

    def oldest(self, pseudonyms: Collection[str]) -> int | None:
        """When the oldest standing statement of these came, Unix seconds; None if there is none."""
        return min((self._latest[name].at for name in pseudonyms if name in self._latest), default=None)

    def statement(self, pseudonym: str) -> bytes:
        """The standing statement of a device that is on the list, as it was signed. Raises: KeyError: it is not."""
        return self._latest[pseudonym].signed

    @property
    def statements(self) -> tuple[bytes, ...]:
        """The journal, line by line with newlines, for an auditor who is to see it. Secret: it holds pseudonyms."""
        return tuple(each.line() for each in self._journal)

    @property
    def digest(self) -> bytes:
        """What the ledger says of the journal as it is now (`statements.digest`), 32 bytes."""
        return digest([self._data.removeprefix(_header())])

    def states(self, size: int, said: bytes | None = None) -> Iterator[tuple[str, ...]]:
        """Every list of this size that there ever was, the newest first, sorted.

        Args:
            said: only the one that the journal with this digest made; None: all.
        """
        at = None if said is None else digests(each.line() for each in self._journal).get(said, -1)
        listed: set[str] = set()
        found: list[tuple[str, ...]] = [()] if size == 0 and at in (None, 0) else []
        for number, each in enumerate(self._journal, 1):
            listed.discard(each.pseudonym) if each.record.granted else listed.add(each.pseudonym)
            if len(listed) == size and at in (None, number):
                found.append(tuple(sorted(listed)))
        return reversed(found)

    def _heed(self, statement: Statement) -> None:
        """Take a statement if it is new; a copy of the latest says nothing."""
        latest = self._latest.get(statement.pseudonym)
        if latest is not None and latest.record == statement.record:
            return
        if latest is not None and latest.record.device != statement.record.device:
            raise SuppressionError(
                "this pseudonym opted out with another identity key: only that key lifts it, and the opt-out stands"
            )
        if latest is not None and newer(latest.record, statement.record) is latest.record:
            raise SuppressionError(
                f"this statement has counter {statement.record.counter}, and its device has said something newer since "
                f"(counter {latest.record.counter}): it changes nothing; ask the device for a new one"
            )
        self._take(statement)

    def _take(self, statement: Statement) -> None:
        """Add a statement to the journal in memory."""
        latest = self._latest.get(statement.pseudonym)
        if latest is not None and newer(latest.record, statement.record) is not statement.record:
            raise ValueError("an older statement follows a newer one")
        if latest is None and statement.record.granted:
            raise SuppressionError("there is no opt-out of this device to lift: nothing was changed")
        self._journal.append(statement)
        self._latest[statement.pseudonym] = statement

    def _count(self) -> None:
        self.opted_out = frozenset(name for name, each in self._latest.items() if not each.record.granted)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """As the only process that adds, on top of what the others have added."""
        handle = locked(self._folder)
        try:
            self.refresh()
            yield
        finally:
            os.close(handle)


def keep_enrolled(folder: Path, enrolled: Mapping[str, bytes]) -> None:
    """Write the identity key of every enrolled device, by pseudonym; on disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {name: key.hex() for name, key in sorted(enrolled.items())}
    write_durably(folder / ENROLLED, json.dumps(keys, indent=0).encode() + b"\n")


def read_enrolled(folder: Path) -> dict[str, bytes]:
    """Pseudonym to identity key of every enrolled device.

    Raises:
        SuppressionError: the file is missing or is none.
    """
    path = folder / ENROLLED
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
        keys = {name: bytes.fromhex(key) for name, key in read.items()}
    except OSError as problem:
        raise SuppressionError(
            f"{path} cannot be read ({problem.strerror}): without the identity keys of the enrolled devices no opt-out "
            "can be told from a forged one"
        ) from None
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise SuppressionError(f"{path} is no list of identity keys: restore it") from None
    if any(len(key) != 32 for key in keys.values()) or len(set(keys.values())) != len(keys):
        raise SuppressionError(f"{path} is no list of identity keys, 32 bytes each and each once: restore it")
    return keys


def _header() -> bytes:
    return json.dumps({"format": FORMAT}).encode() + b"\n"
