"""What left this device: when, what for, how many bytes, which ones, and what that cost its owner.

An entry is on disk, sealed in the participation vault, before the bytes are handed out; what was refused or withheld
leaves none. The newest `KEPT` entries are kept one by one. An older one is added to the others that say the same:
their number, bytes and costs are summed, and their hashes chained, sha256(former || next), so that whoever kept copies
can still compare.
"""

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from backrow.client.policy import mu_of
from backrow.client.ring import Ring
from backrow.client.vault.store import Vault
from backrow.privacy.consent import Purpose
from backrow.privacy.ledger.tree import sha256
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Query
from backrow.privacy.secagg.steps import ADVERTISE, AGREE, MASK, SHARE, UNMASK
from backrow.privacy.units import Adjacency, PrivacyUnit, round_up

KEPT = 1000
_NEWEST, _OLD = "egress/newest", "egress/old"

ABOUT = {
    Query.POPULARITY: "how popular titles are",
    Query.RECENT: "which titles are watched lately",
    Query.SUBSPACE: "in which directions tastes differ",
    Query.GRADIENT: "how the shared model should change",
    Query.SEQUENCE: "which titles are watched after which",
    Query.EVAL: "how well the shared model recommends",
}
_STEPS = {
    ADVERTISE: "fresh public keys for a secure sum about: {}; nothing of the history",
    SHARE: "sealed shares of this round's keys, for other devices, about: {}; nothing of the history",
    MASK: "a masked answer to: {}; nobody but this device can read it",
    AGREE: "a signature under the list of devices that stayed, about: {}; nothing of the history",
    UNMASK: "shares that take the masks off the sum, not off one answer, about: {}; nothing of the history",
}
IN_THE_CLEAR = "an answer to: {}; the edge that adds it up can read it"
OPT_OUT = "the opt-out that you asked for; whoever you send it to learns that this device opted out"
OPT_IN = "the end of your opt-out; whoever you send it to learns that this device may be asked again"


@dataclass(frozen=True, slots=True)
class Egress:
    """Bytes that left, or several old ones together.

    Attributes:
        at, until: Unix seconds of the first and the last.
        purpose: for which the owner had granted it; "" for an opt-out and its end.
        words: what it was, for the owner.
        messages: how many together; 1 unless they are old.
        bytes: how many left.
        sha256: of them, hex; of several, the chain of their hashes.
        releases: how many of them answered a question, and so cost something.
        mu_squared: the sum of (sensitivity / noise standard deviation)^2 of these; infinity without noise.
        delta: at which the cost is told.
    """

    at: int
    until: int
    purpose: str
    words: str
    bytes: int
    sha256: str
    delta: float
    messages: int = 1
    releases: int = 0
    mu_squared: float = 0.0

    @property
    def epsilon(self) -> float:
        """What it cost, by zCDP, at `delta`; 0 if it answered nothing, infinity if the sum has no noise."""
        from backrow.privacy.accounting.zcdp import epsilon_of_rho

        return epsilon_of_rho(self.mu_squared / 2, self.delta) if self.releases else 0.0

    @property
    def cost(self) -> str:
        """The cost in words."""
        if not self.releases:
            return "costs nothing"
        unit, adjacency = PrivacyUnit.DEVICE, Adjacency.ZERO_OUT
        return (
            f"costs epsilon {round_up(self.epsilon)} (delta {self.delta:g}, unit {unit}, adjacency {adjacency}, "
            f"by zCDP, {self.releases} releases)"
        )

    def __str__(self) -> str:
        first, last = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when)) for when in (self.at, self.until))
        when = first if self.messages == 1 else f"{first} to {last}, {self.messages} times"
        return f"{when}: {self.words}; {self.bytes} bytes; {self.cost}"


class EgressLog:
    """The log of one device. Not for two threads at once.

    Args:
        vault: of participation.
        clock: Unix seconds.
        delta: at which costs are told.
        kept: entries kept one by one.
    """

    def __init__(self, vault: Vault, clock: Callable[[], int], delta: float, kept: int = KEPT) -> None:
        self._vault, self._clock, self._delta = vault, clock, delta
        self._newest = Ring(vault, _NEWEST, kept)

    def entries(self) -> list[Egress]:
        """Old ones together first, then the newest one by one, each oldest first."""
        return [*sorted(self._old(), key=lambda entry: entry.at), *map(_read, self._newest.entries())]

    def answered(self, data: bytes, purpose: Purpose, plan: RoundPlan) -> None:
        """An answer in the clear leaves next; on disk when this returns. Raises: VaultError: hand nothing out."""
        self._add(data, purpose, IN_THE_CLEAR.format(ABOUT[plan.query.query]), plan)

    def stepped(self, data: bytes, purpose: Purpose, query: Query, step: int, plan: RoundPlan | None) -> None:
        """The reply to a step of a secure sum leaves next. Args: plan: at the step that answers. Raises: VaultError."""
        self._add(data, purpose, _STEPS[step].format(ABOUT[query]), plan)

    def opted_out(self, data: bytes) -> None:
        """The owner's opt-out is handed out next. Raises: VaultError."""
        self._add(data, "", OPT_OUT, None)

    def opted_in(self, data: bytes) -> None:
        """The end of an opt-out is handed out next. Raises: VaultError."""
        self._add(data, "", OPT_IN, None)

    def _add(self, data: bytes, purpose: str, words: str, plan: RoundPlan | None) -> None:
        now, digest = self._clock(), sha256(data).hex()
        made = Egress(now, now, str(purpose), words, len(data), digest, self._delta)
        if plan is not None:
            made = replace(made, releases=1, mu_squared=mu_of(plan) ** 2)
        notes, leaving = self._newest.adding([_write(made)])
        if leaving:
            together = _together([*self._old(), *map(_read, leaving)])
            notes[_OLD] = json.dumps([asdict(entry) for entry in together]).encode()
        self._vault.keep_notes(notes)

    def _old(self) -> list[Egress]:
        return [Egress(**fields) for fields in json.loads(self._vault.note(_OLD) or b"[]")]


def _together(entries: Iterable[Egress]) -> list[Egress]:
    """One for each purpose, sentence and delta: there are few of these, however long a device lives."""
    made: dict[tuple[str, str, float], Egress] = {}
    for entry in entries:
        same = entry.purpose, entry.words, entry.delta
        former = made.get(same)
        made[same] = entry if former is None else replace(
            former,
            at=min(former.at, entry.at),
            until=max(former.until, entry.until),
            bytes=former.bytes + entry.bytes,
            sha256=sha256(bytes.fromhex(former.sha256) + bytes.fromhex(entry.sha256)).hex(),
            messages=former.messages + entry.messages,
            releases=former.releases + entry.releases,
            mu_squared=math.fsum((former.mu_squared, entry.mu_squared)),
        )  # fmt: skip
    return list(made.values())


def _write(entry: Egress) -> bytes:
    return json.dumps(asdict(entry)).encode()


def _read(data: bytes) -> Egress:
    return Egress(**json.loads(data))
