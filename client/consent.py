"""What the owner allows, purpose by purpose: withheld until granted, durable before a call returns.

Kept sealed in the participation vault, as records signed by the device: nobody without its key grants in the owner's
name. A grant holds only while three things agree: the newest record says so, the grant's file is there (`tokens`),
and no platform signal is set. A withdrawal removes the file before it writes anything, so it holds at once, also
after a restart, whatever becomes of the record. Personalising needs no grant, for nothing leaves; it can be withdrawn
like the rest.
"""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from backrow.client.receipts import WHO, Receipt
from backrow.client.ring import Ring
from backrow.client.tokens import Tokens, token_of
from backrow.client.vault.store import Vault
from backrow.privacy.consent import (
    ACCOUNT,
    ALL,
    CONTRIBUTING,
    DEVICE,
    EVERYTHING,
    OWNER,
    ConsentRecord,
    OptOutRequest,
    PlatformSignal,
    Purpose,
    newer,
    read_opt_out,
    read_record,
    sign_opt_out,
    sign_record,
)
from backrow.privacy.errors import ConsentError, MalformedMessageError, SignatureError, VaultError
from backrow.privacy.signing import SigningKey

RECEIPTS = 500
"""Receipts kept; the oldest give way."""
_OPENED, _COUNTER, _SIGNALS, _RECEIPTS = "consent/opened", "consent/counter", "consent/signals", "consent/receipts"
_AT_FIRST = token_of(b"personalise until withdrawn")


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds, and the counter of the record that says so."""

    granted: bool
    counter: int


class Consent:
    """The owner's decisions. Threads may share it.

    Args:
        vault: of participation; the grants' files lie beside it.
        identity: the key that signs.
        clock: Unix seconds.
        lowest_counter: the highest `counter` that anybody remembers of this device. A lower one here means that an
            old copy was put back: everything is withheld until the owner says it again.
    """

    def __init__(
        self, vault: Vault, identity: Callable[[], SigningKey], clock: Callable[[], int], lowest_counter: int = 0
    ) -> None:
        if type(lowest_counter) is not int or lowest_counter < 0:
            raise ValueError(f"a counter is a whole number, got {lowest_counter!r}")
        self._vault, self._identity, self._clock = vault, identity, clock
        self._tokens, self._receipts = Tokens(vault.folder), Ring(vault, _RECEIPTS, RECEIPTS)
        self._lowest = lowest_counter
        self._refused: dict[Purpose, str] = {}  # withdrawn by whom, while no record says so
        self._lock = threading.RLock()
        self._signals = frozenset(PlatformSignal(signal) for signal in json.loads(vault.note(_SIGNALS) or b"[]"))
        try:
            if self.counter < lowest_counter:
                self._withhold(ALL, DEVICE)
            elif vault.note(_OPENED) is None:
                self._tokens.put(Purpose.PERSONALISE, _AT_FIRST)
                vault.keep_note(_OPENED, b"1")
            self._settle()
        except VaultError:
            pass  # a full disk grants nothing; what is due is written before the next grant

    @property
    def counter(self) -> int:
        """Of the newest record; 0 without any."""
        return int(self._vault.note(_COUNTER) or b"0")

    def decision(self, purpose: Purpose = Purpose.TRAIN) -> Decision | None:
        """What holds; None if nothing was ever said about it."""
        record = self._kept(purpose)
        return None if record is None else Decision(self.granted(purpose), record.counter)

    def granted(self, purpose: Purpose = Purpose.TRAIN) -> bool:
        """Whether it is allowed at this moment. Unset means withheld, but for personalising."""
        with self._lock:
            return not (self._signals and purpose in CONTRIBUTING) and self._stands(Purpose(purpose))

    def decide(self, granted: bool, purpose: Purpose = Purpose.TRAIN) -> Decision:
        """Grant or withdraw; on disk when this returns. The counter grows with every change.

        Raises:
            ValueError: the decision is not True or False, or the purpose unknown: consent is never guessed.
            ConsentError: a platform signal is set, so nothing that leaves the device can be granted.
            VaultError: it could not be written. What was to be granted is not; what was withdrawn is withdrawn.
        """
        if not isinstance(granted, bool):
            raise ValueError(f"consent is True or False, got {granted!r}")
        purpose = Purpose(purpose)
        with self._lock:
            if granted:
                self._grant(purpose)
            else:
                self.withdraw((purpose,))
            decision = self.decision(purpose)
            assert decision is not None
            return decision

    def withdraw(self, purposes: Iterable[Purpose]) -> None:
        """The owner withdraws all of these, in one step. Raises: VaultError as `decide`."""
        with self._lock:
            self._withhold([purpose for purpose in purposes if self._open(purpose)], OWNER)

    def signals(self, current: Iterable[PlatformSignal]) -> None:
        """What the platform says now; remembered until it says something else. It withdraws and never grants.

        Raises:
            ValueError: an unknown signal; nothing changes.
            VaultError: it could not be written; what it withdraws is withdrawn, say it again.
        """
        said = frozenset(PlatformSignal(signal) for signal in current)
        with self._lock:
            self._signals |= said
            keep = {_SIGNALS: json.dumps(sorted(said)).encode()}
            withdrawn = [purpose for purpose in CONTRIBUTING if said and self._stands(purpose)]
            self._withhold(withdrawn, min(said) if said else OWNER, keep)
            self._signals = said

    def receipts(self) -> list[Receipt]:
        """The newest `RECEIPTS` records, oldest first."""
        return [Receipt(read_record(signed), signed) for signed in self._receipts.entries()]

    def opt_out(self, pseudonym: str = "") -> bytes:
        """Withdraw every contribution here, and sign that for the coordinator. Raises: VaultError as `decide`."""
        with self._lock:
            self.withdraw(CONTRIBUTING)
            (record,) = self._write([(EVERYTHING, False, OWNER)])
            return sign_opt_out(OptOutRequest(record, pseudonym), self._identity())

    def opt_in(self) -> bytes:
        """Sign for the coordinator that an opt-out is lifted. Grants nothing here.

        Raises:
            ConsentError: a platform signal is set; or this device knows of no opt-out.
            VaultError: it could not be written; nothing is lifted.
        """
        with self._lock:
            self._no_signal()
            former = self._kept(EVERYTHING)
            if former is None:
                raise ConsentError("this device knows of no opt-out that could be lifted: nothing was changed")
            if not former.granted:
                self._settle()
                (former,) = self._write([(EVERYTHING, True, OWNER)])
            return sign_record(former, self._identity())

    def heed(self, statement: bytes) -> bool:
        """Withdraw every contribution, because this device's own opt-out says so and it is not known here any more.

        As after an old copy was put back. What this device has said about everything since then stands.

        Returns:
            Whether it was news.

        Raises:
            MalformedMessageError, SignatureError: it is no opt-out that this device has signed; nothing changes.
            VaultError: withdrawn, but not on record: say it again.
        """
        said = read_opt_out(statement).record
        if said.device != self._identity().public:
            raise SignatureError("this opt-out is another device's: nothing was changed")
        with self._lock:
            known = self._kept(EVERYTHING)
            if known is not None and newer(known, said) is known:
                return False
            self._lowest = max(self._lowest, said.counter)  # whatever is said from here on is newer
            self._withhold([purpose for purpose in CONTRIBUTING if self._open(purpose)], ACCOUNT)
            self._write([(EVERYTHING, False, ACCOUNT)])
            return True

    def _stands(self, purpose: Purpose) -> bool:
        if purpose in self._refused:
            return False
        at_first = purpose is Purpose.PERSONALISE and self._tokens.hold(purpose, _AT_FIRST)
        signed = self._vault.note(_name(purpose))
        if signed is None:
            return at_first
        record = self._kept(purpose)
        return record is not None and record.granted and (at_first or self._tokens.hold(purpose, token_of(signed)))

    def _open(self, purpose: Purpose) -> bool:
        """Whether a withdrawal has yet to be written."""
        record = self._kept(purpose)
        return record is None or record.granted

    def _kept(self, purpose: Purpose | Literal["all"]) -> ConsentRecord | None:
        """The newest record about a purpose; what this device did not sign about it is none."""
        signed = self._vault.note(_name(purpose))
        if signed is None:
            return None
        try:
            record = read_record(signed)
        except (MalformedMessageError, SignatureError):
            return None
        return record if (record.device, record.purpose) == (self._identity().public, purpose) else None

    def _grant(self, purpose: Purpose) -> None:
        if purpose in CONTRIBUTING:
            self._no_signal()
        self._settle()  # a withdrawal comes on record before anything that follows it
        record = self._kept(purpose)
        if record is not None and record.granted:
            return
        self._write([(purpose, True, OWNER)])

    def _no_signal(self) -> None:
        if self._signals:
            raise ConsentError(
                f"nothing can be granted while {WHO[min(self._signals)]} is set: switch it off first, then ask again"
            )

    def _withhold(self, purposes: Iterable[Purpose], source: str, also: Mapping[str, bytes] | None = None) -> None:
        """In memory, then by removing files, then on record: each holds without the next."""
        undone, purposes = "", tuple(purposes)
        self._refused.update(dict.fromkeys(purposes, source))
        for purpose in purposes:
            try:
                self._tokens.drop(purpose)
            except VaultError as problem:
                undone = f"; it will not outlast a restart: {problem}"
        try:
            self._settle(also)
        except VaultError as problem:
            raise VaultError(
                f"the withdrawal is in effect but its record is not written ({problem}){undone}: call again"
            ) from None

    def _settle(self, also: Mapping[str, bytes] | None = None) -> None:
        """Write what is withheld but not on record: refused just now, or in a process that was cut off."""
        due: list[tuple[Purpose, Literal[False], str]] = []
        for purpose in ALL:
            said = self._vault.note(_name(purpose)) is not None or purpose in self._refused
            said = said or (purpose is Purpose.PERSONALISE and self._vault.note(_OPENED) is not None)
            if said and self._open(purpose) and not self._stands(purpose):
                due.append((purpose, False, self._refused.get(purpose, DEVICE)))
        if due or also:
            self._write(due, also)
        self._refused.clear()

    def _write(
        self, said: Iterable[tuple[Purpose | Literal["all"], bool, str]], also: Mapping[str, bytes] | None = None
    ) -> list[ConsentRecord]:
        """Sign, file and keep, in one transaction. A grant's file comes first: alone it grants nothing."""
        key, counter, now = self._identity(), max(self.counter, self._lowest), max(0, self._clock())
        records = [ConsentRecord(key.public, what, yes, counter + place, now, by)
                   for place, (what, yes, by) in enumerate(said, start=1)]  # fmt: skip
        signed = [sign_record(record, key) for record in records]
        for record, data in zip(records, signed, strict=True):
            if record.granted and record.purpose != EVERYTHING and not self._stands(Purpose(record.purpose)):
                self._tokens.put(Purpose(record.purpose), token_of(data))
        filed, _ = self._receipts.adding(signed)
        kept = {_name(record.purpose): data for record, data in zip(records, signed, strict=True)}
        last = {_COUNTER: str(records[-1].counter).encode(), **filed} if records else {}
        self._vault.keep_notes({**kept, **last, **(also or {})})
        return records


def _name(purpose: str) -> str:
    return f"consent/{purpose}"
