"""The device: the whole SDK in four verbs (record, recommend, take_part, erase) and what its owner allows.

In its folder: `history.vault` (events), `participation.vault` (consent, which rounds were answered, what left and
what that cost; an erase of the history keeps it, because forgetting it would let the device answer twice or beyond
its limits), a small file for each purpose granted, and the installed public model. The device writes no log.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from backrow.client.events import WatchEvent
from backrow.client.history import RawHistory
from backrow.client.installed import install_bundle, installed_model
from backrow.client.model import PublicModel
from backrow.client.owner import OwnersWord
from backrow.client.policy import DevicePolicy
from backrow.client.recommend import Pick, recommend
from backrow.client.vault.store import Vault
from backrow.client.weights import RECENT_SECONDS, Preferences, confidence
from backrow.privacy.consent import CONTRIBUTING, Purpose
from backrow.privacy.errors import BundleError, VaultError
from backrow.privacy.randomness import OsRandom, RandomSource

if TYPE_CHECKING:
    from backrow.client.spending import SpentBudget
    from backrow.privacy.signing import SigningKey

HISTORY, PARTICIPATION = "history.vault", "participation.vault"
DEFAULT_POLICY = DevicePolicy()


def system_clock() -> int:
    """Unix seconds."""
    return int(time.time())


class Device(OwnersWord):
    """One owner's device. Its threads may share it; a second process cannot open it. Cannot be printed."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        coordinator_key: bytes,
        policy: DevicePolicy,
        clock: Callable[[], int],
        random: Callable[[], RandomSource],
        lowest_counter: int,
    ) -> None:
        """Use `Device.open`."""
        from backrow.client.consent import Consent  # with the first device, not with the SDK
        from backrow.client.contributor import Contributor
        from backrow.client.egress import EgressLog
        from backrow.client.gates import Gates
        from backrow.client.spending import Spending

        self._folder, self._key, self._coordinator_key = folder, key, coordinator_key
        self._policy, self._clock, self._random = policy, clock, random
        self._history = Vault.open(folder / HISTORY, key)
        try:
            self._participation = Vault.open(folder / PARTICIPATION, key)
            try:
                self._consent = Consent(self._participation, self._identity, clock, lowest_counter)
            except BaseException:
                self._participation.close()
                raise
        except BaseException:
            self._history.close()
            raise
        self._spending = Spending(self._participation, policy, clock)
        self._egress = EgressLog(self._participation, clock, policy.delta)
        self._contributor = Contributor(
            self._participation, policy, self._spending, coordinator_key, self._identity, random, self._answerable,
            Gates(self._consent.granted), self._egress,
        )  # fmt: skip
        self._model: PublicModel | None = None
        self._answering = threading.Lock()
        self._swapping = threading.RLock()

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        key: bytes,
        *,
        coordinator_key: bytes,
        policy: DevicePolicy = DEFAULT_POLICY,
        clock: Callable[[], int] = system_clock,
        random: Callable[[], RandomSource] = OsRandom,
        lowest_counter: int = 0,
    ) -> Self:
        """Open the device kept in `folder`, or a new one.

        Args:
            folder: made if it does not exist, readable by its owner only.
            key: 32 bytes from the platform's key store; encrypts everything about the owner.
            coordinator_key: pinned Ed25519 public key, 32 bytes; nothing signed by another is used.
            policy: what the device refuses.
            clock: Unix seconds.
            random: makes the source of one round's rounding and training; dropped after the round.
            lowest_counter: the highest `consent_counter` that the host has ever seen of this device. If the device
                now has a lower one, an old copy was put back: everything is withheld until the owner says it again.

        Raises:
            WrongKeyError, DamagedVaultError, VaultError: as `Vault.open`.
            ValueError: a key is not 32 bytes, or the counter not a whole number.
        """
        if not isinstance(coordinator_key, bytes) or len(coordinator_key) != 32:
            raise ValueError("the coordinator's public key has 32 bytes: pin the one its operator publishes")
        place = Path(folder).absolute()
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise VaultError(f"no device can be kept in {place} ({problem.strerror}): choose another folder") from None
        return cls(place, key, coordinator_key, policy, clock, random, lowest_counter)

    def record(self, event: WatchEvent) -> None:
        """Keep one event, encrypted; it is on disk when this returns. Never leaves the device.

        Raises:
            ValueError: the event lies in the future or cannot be kept.
            VaultError: it could not be written.
        """
        if isinstance(event, WatchEvent) and event.at > self._clock():
            raise ValueError("the event lies in the future by this device's clock: check its time (seconds, not ms)")
        with self._swapping:
            self._history.append(event)

    def install(self, bundle_folder: str | os.PathLike[str]) -> None:
        """Verify a model bundle and use it from now on. If it is refused, the former model stays.

        Raises:
            BundleError, SignatureError: as `install_bundle`.
        """
        with self._swapping:
            self._model = install_bundle(self._folder, Path(bundle_folder), self._coordinator_key)

    def recommend(self, count: int = 10) -> list[Pick]:
        """What to watch next, from all own events (also none). Nothing leaves; no contribution need be granted.

        Raises:
            BundleError: no model is installed, or it is no longer what was signed.
            ValueError: count < 1.
        """
        model = self._installed()
        if model is None:
            raise BundleError("no model is installed yet: call install() with a bundle of the coordinator")
        if self.consent_for(Purpose.PERSONALISE):
            return recommend(model, self._preferences(model, RECENT_SECONDS), count)
        return recommend(model, confidence((), model.rows, self._clock(), RECENT_SECONDS), count)

    @property
    def spent(self) -> "SpentBudget":
        """What the answers of the policy's last period cost the owner together. Nothing resets it but time."""
        return self._spending.spent()

    @property
    def identity(self) -> bytes:
        """Public key of this device in secure sums and receipts, 32 bytes. Made when first needed."""
        return self._identity().public

    def take_part(self, call: bytes) -> bytes | None:
        """Answer one round, or one step of a secure sum: the bytes that may leave. None where consent is withheld.

        Consent is asked before the call is read, and then, for the purpose that the round was reserved for, before
        the history is read, a key is advertised, shares for unmasking are given or any bytes are handed out. A
        (run, round) is answered at most once, and never beyond the policy's limits; what it costs is on disk before
        this returns. A crash in between can waste an answer, never repeat or hide one.

        Args:
            call: a signed `RoundCall`, or a `SecureCall` with this device's part alone.

        Raises:
            SignatureError, MalformedMessageError: not a call of the pinned coordinator; nothing of it is used.
            SecureSumError and its kin: a rule of the secure sum is broken; this device drops out of it.
            LedgerError and its kin (ForkError, RollbackError, ProofError): the coordinator cannot show that its
                ledger has only grown since this device last saw it; a ForkError carries portable evidence.
            RefusedCallError: the policy refuses it, it was answered already, or this device cannot answer it.
        """
        if not any(self._consent.granted(purpose) for purpose in CONTRIBUTING):
            return None
        with self._answering:
            return self._contributor.reply(call)

    def erase(self) -> None:
        """Withdraw every contribution, leave every secure sum, destroy the history and its key, and start an empty one.

        Gone are the history, the user factors (made from it when needed, never kept), its data key, the keys and
        shares of secure sums and every reply not yet sent. The public model stays, and so do receipts with the key
        that signed them, the log of what left, and what was answered and spent.

        A contribution already made cannot be subtracted from a published model. What it can have changed there is
        bounded by epsilon. A model without it has to be trained again.

        Raises:
            VaultError: it could not be written; call again.
        """
        with self._answering, self._swapping:
            self.withdraw_all()
            self._contributor.leave()
            self._history.erase()
            self._history = Vault.open(self._folder / HISTORY, self._key)

    def close(self) -> None:
        """Let go of the files. Closing twice does nothing."""
        with self._swapping:
            self._history.close()
            self._participation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<Device: not printable>"

    def _identity(self) -> "SigningKey":
        from backrow.client.identity import device_identity

        return device_identity(self._participation, self._random)

    def _installed(self) -> PublicModel | None:
        with self._swapping:
            if self._model is None:
                self._model = installed_model(self._folder, self._coordinator_key)
            return self._model

    def _answerable(self, recent_seconds: int, since: int | None) -> tuple[PublicModel | None, RawHistory | None]:
        """The installed model, and the history in its rows."""
        model = self._installed()
        return model, None if model is None else self._preferences(model, recent_seconds, since).history

    def _preferences(self, model: PublicModel, recent_seconds: int, since: int | None = None) -> Preferences:
        return confidence(self._history.events(), model.rows, self._clock(), recent_seconds, since)
