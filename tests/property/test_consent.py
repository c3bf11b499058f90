"""For all sequences of what owners, platforms and restarts do: consent is what a simple model says, and nothing leaves
without it."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.client import Device
from backrow.client.consent import Consent
from backrow.client.gates import Gates
from backrow.client.vault.store import Vault
from backrow.privacy.consent import ALL, CONTRIBUTING, PlatformSignal, Purpose
from backrow.privacy.errors import ConsentError, VaultError
from backrow.privacy.ledger import parts
from tests.unit.client.consents import KEY, consent_in, full_disk
from tests.unit.client.devices import POLICY, ready, round_call, signed
from tests.unit.client.growing import GrowingLedger

NAMES = itertools.count()
"""Numbers the ledgers, so that each round is its own."""
FREE = replace(POLICY, largest_epsilon=1e6)


@dataclass(frozen=True)
class Step:
    """What happens next. Attributes: full: the disk takes nothing meanwhile."""

    what: str
    purpose: Purpose
    signals: frozenset[PlatformSignal]
    full: bool


STEPS = st.builds(
    Step,
    st.sampled_from(
        ["grant", "grant", "grant", "withdraw", "withdraw all", "signals", "restart", "opt out", "old copy"]
    ),
    st.sampled_from(ALL),
    st.one_of(st.just(frozenset[PlatformSignal]()), st.frozensets(st.sampled_from(PlatformSignal), max_size=2)),
    st.sampled_from([False, False, False, True]),
)


@dataclass
class Model:
    """What ought to hold. Attributes: saved: the signals that a restart finds."""

    granted: set[Purpose] = field(default_factory=lambda: {Purpose.PERSONALISE})
    signals: frozenset[PlatformSignal] = frozenset()
    saved: frozenset[PlatformSignal] = frozenset()

    def follow(self, step: Step) -> None:
        match step.what:
            case "grant" if not step.full and not (self.signals and step.purpose in CONTRIBUTING):
                self.granted.add(step.purpose)
            case "withdraw":
                self.granted.discard(step.purpose)
            case "withdraw all" | "opt out":
                self.granted -= set(CONTRIBUTING)
            case "signals":
                self.granted -= set(CONTRIBUTING) if step.signals else set()
                self.signals = self.signals | step.signals if step.full else step.signals
                self.saved = self.saved if step.full else step.signals
            case "restart":
                self.signals = self.saved
            case "old copy":
                self.granted.clear()
                self.signals = self.saved
            case _:
                pass


class Owner:
    """A real store of decisions, on disk, and how it is treated."""

    def __init__(self, folder: Path) -> None:
        self.path, self.remembered = folder / "participation.vault", 0
        self.open()

    def open(self) -> None:
        self.vault = Vault.open(self.path, KEY)
        self.consent = consent_in(self.vault, lowest_counter=self.remembered)

    def follow(self, step: Step) -> None:
        """Raises: ConsentError, VaultError."""
        match step.what:
            case "grant":
                self.consent.decide(True, step.purpose)
            case "withdraw":
                self.consent.decide(False, step.purpose)
            case "withdraw all":
                self.consent.withdraw(CONTRIBUTING)
            case "signals":
                self.consent.signals(step.signals)
            case "opt out":
                self.consent.opt_out()
            case _:
                self.vault.close()
                self.remembered = self.consent_counter + 1 if step.what == "old copy" else self.remembered
                self.open()

    @property
    def consent_counter(self) -> int:
        with Vault.open(self.path, KEY) as vault:
            return int(vault.note("consent/counter") or b"0")


@contextmanager
def disk(full: bool) -> Iterator[None]:
    """A full one, or the one there is."""
    if full:
        with full_disk():
            yield
    else:
        yield


def settled(consent: Consent) -> set[Purpose]:
    return {purpose for purpose in ALL if consent.granted(purpose)}


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_consent_is_what_a_simple_model_says(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        owner, model = Owner(Path(folder)), Model()
        highest = 0
        for step in steps:
            try:
                with disk(step.full):
                    owner.follow(step)
            except ConsentError:
                assert step.what == "grant"
                assert model.signals
            except VaultError:
                assert step.full
            model.follow(step)
            assert settled(owner.consent) == model.granted
            assert owner.consent.counter >= highest
            highest = owner.consent.counter
            counters = [receipt.record.counter for receipt in owner.consent.receipts()]
            assert counters == sorted(set(counters))
            assert not counters or counters[-1] == highest
        owner.vault.close()


Said = tuple[str, Purpose]
SAYS = st.tuples(st.sampled_from(["grant", "withdraw", "nothing", "nothing"]), st.sampled_from(CONTRIBUTING))
ROUNDS = st.lists(st.tuples(st.sampled_from(parts.Purpose), st.lists(SAYS, min_size=3, max_size=3)), max_size=6)


class Interrupted(Gates):
    """The owner says something just before each gate. Attributes: seen: what each gate then found."""

    def __init__(self, device: Device, said: list[Said]) -> None:
        super().__init__(self.ask)
        self.device, self.said, self.seen = device, said, list[bool]()

    def ask(self, purpose: Purpose) -> bool:
        say(self.device, *self.said[len(self.seen)])
        self.seen.append(self.device.consent_for(purpose))
        return self.seen[-1]


def say(device: Device, what: str, purpose: Purpose) -> None:
    if what != "nothing":
        device.set_consent(what == "grant", purpose)


@settings(max_examples=25, deadline=None)
@given(ROUNDS)
def test_nothing_leaves_unless_a_grant_is_in_force_at_every_gate(
    rounds: list[tuple[parts.Purpose, list[Said]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, ready(Path(folder), policy=FREE) as device:
        left = []
        for purpose, (first, *later) in rounds:
            say(device, *first)
            device._contributor._gates = gates = Interrupted(device, later)
            call = round_call(run_id=f"property-{next(NAMES)}")
            proof = GrowingLedger(call.plan.run_id).reserve(call.plan, purpose=purpose)
            data = device.take_part(signed(replace(call, ledger=proof)))
            assert (data is not None) is (gates.seen == [True, True])
            if data is not None:
                left.append((len(data), purpose.value))
            assert [(entry.bytes, entry.purpose) for entry in device.egress_log()] == left
