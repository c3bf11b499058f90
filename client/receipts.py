"""What an owner reads of her own words: signed records, in sentences."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from backrow.privacy.consent import ACCOUNT, DEVICE, EVERYTHING, OWNER, ConsentRecord, PlatformSignal, Purpose

_WORDS: Mapping[str, str] = {
    Purpose.PERSONALISE: "recommending from your own history, on this device alone",
    Purpose.TRAIN: "helping to train the model that everybody uses",
    Purpose.TRENDS: "counting in what is popular",
    Purpose.EXPERIMENTS: "counting in experiments",
    Purpose.FEEDBACK: "counting in surveys",
    EVERYTHING: "everything that leaves this device, for the whole account",
}
_OPTED_OUT = (
    "you opted out for the whole account: nothing may leave this device, and once the signed request is sent the "
    "service may not ask it"
)
_LIFTED = "you lifted your opt-out for the whole account; that alone allows nothing, you allow it here one by one"
WHO: Mapping[str, str] = {
    OWNER: "you",
    DEVICE: "this device, which could no longer show that you allowed it,",
    ACCOUNT: "your own opt-out, which came back to this device,",
    PlatformSignal.GLOBAL_PRIVACY_CONTROL: "the browser's privacy signal",
    PlatformSignal.CHILD_PROFILE: "this child's profile",
    PlatformSignal.SYSTEM_SWITCH: "the system's privacy switch",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was said, for the owner to read and to show.

    Attributes:
        signed: the record's bytes; `privacy.consent.read_record` checks them.
    """

    record: ConsentRecord
    signed: bytes

    def __str__(self) -> str:
        record = self.record
        what = f"{WHO[record.source]} {'allowed' if record.granted else 'withdrew'} {_WORDS[record.purpose]}"
        if record.purpose == EVERYTHING and record.source == OWNER:
            what = _LIFTED if record.granted else _OPTED_OUT
        return f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(record.at))}, no. {record.counter}: {what}"
