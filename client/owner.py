"""What an owner says to a device and what the device answers for: the part of `Device` about consent."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from backrow.privacy.consent import CONTRIBUTING, PlatformSignal, Purpose

if TYPE_CHECKING:
    from backrow.client.consent import Consent
    from backrow.client.egress import Egress, EgressLog
    from backrow.client.receipts import Receipt


class OwnersWord:
    """The owner's side of a device. Recommending goes on whatever is withdrawn here."""

    _consent: "Consent"
    _egress: "EgressLog"

    @property
    def consent(self) -> bool:
        """True while the owner grants contributions to training. Withheld by default."""
        return self._consent.granted()

    def consent_for(self, purpose: Purpose) -> bool:
        """Whether this is allowed at this moment. Unset means withheld, but for `Purpose.PERSONALISE`.

        Raises:
            ValueError: an unknown purpose.
        """
        return self._consent.granted(purpose)

    @property
    def consent_counter(self) -> int:
        """Counter of the newest record. A host keeps it where backups do not reach, for `open(lowest_counter=...)`."""
        return self._consent.counter

    def set_consent(self, granted: bool, purpose: Purpose = Purpose.TRAIN) -> None:
        """Grant or withdraw one purpose; durable when this returns. Granting again resets no spent budget.

        Without `Purpose.PERSONALISE`, recommending does not look at the history.

        Raises: as `Consent.decide`.
        """
        self._consent.decide(granted, purpose)

    def withdraw_all(self) -> None:
        """Withdraw every contribution, in one step; durable when this returns. Nobody is told.

        Raises: VaultError as `Consent.decide`: withdrawn, but not on record.
        """
        self._consent.withdraw(CONTRIBUTING)

    def signals(self, current: Iterable[PlatformSignal]) -> None:
        """Say which platform signals are set now, at every start and change. Any of them withdraws every contribution.

        They never grant: after a signal is gone, the owner decides anew. A child's profile cannot grant at all.

        Raises: as `Consent.signals`.
        """
        self._consent.signals(current)

    def receipts(self) -> "list[Receipt]":
        """What was said, when and by whom, signed; oldest first. `print` one to read it."""
        return self._consent.receipts()

    def egress_log(self) -> "list[Egress]":
        """What left this device, what for and at what cost; oldest first. `print` an entry to read it."""
        return self._egress.entries()

    def opt_out_request(self, pseudonym: str = "") -> bytes:
        """Withdraw every contribution, and make the signed request that tells the coordinator so.

        Sending it is the owner's choice: the coordinator then knows that this device opted out. Nothing else tells it.

        Args:
            pseudonym: under which the device is enrolled, if the host knows it.

        Raises: VaultError as `withdraw_all`; there is no request then.
        """
        request = self._consent.opt_out(pseudonym)
        self._egress.opted_out(request)
        return request

    def opt_in_request(self) -> bytes:
        """The signed end of an opt-out: the coordinator may ask this device again. Sending it is the owner's choice.

        It grants nothing: whatever may leave, the owner allows with `set_consent`. What was spent stays spent.

        Raises: as `Consent.opt_in`.
        """
        request = self._consent.opt_in()
        self._egress.opted_in(request)
        return request

    def apply_opt_out(self, statement: bytes) -> bool:
        """Heed this device's own opt-out, as the coordinator or the host has kept it: withdraw every contribution.

        For a device that does not know of it any more, because an old copy was put back. Nobody else can make such a
        statement. Nothing leaves, and nobody learns whether it was news.

        Returns:
            Whether it was news; False also if the owner has lifted it since.

        Raises: as `Consent.heed`.
        """
        return self._consent.heed(statement)
