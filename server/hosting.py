"""Which edge was last heard of a device, so that its owner's opt-out can be handed to that edge and to no other."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from backrow.privacy.names import Names
from backrow.privacy.signing import SigningKey
from backrow.privacy.wire import EnrolCall, EnrolReply, encode_signed
from backrow.server.suppression import SuppressionList


class Hosting:
    """What the enrolments of a run have told. Kept in memory: a coordinator that starts again learns it again."""

    def __init__(self) -> None:
        self._last: dict[int, Names] = {}
        self._ever: dict[int, Names] = {}

    def heard(self, replies: Mapping[int, EnrolReply]) -> None:
        """One round's enrolment, by node."""
        for node, reply in replies.items():
            names, before = Names.of(reply.devices).sorted(), self._ever.get(node)
            self._last[node] = names
            self._ever[node] = names if before is None else _joined(before, names)

    def calls(
        self, call: EnrolCall, nodes: Iterable[int], suppression: SuppressionList | None, key: SigningKey
    ) -> dict[int, bytes]:
        """The signed enrolment call for each node, with the opt-outs of devices that were behind it.

        A device that is back, perhaps as an old copy, hears of its own opt-out before anything else. Which devices
        are back nobody says: the calls depend on the list and on what edges have told before.

        Raises:
            SuppressionError: the list cannot be read.
        """
        calls = dict.fromkeys(nodes, encode_signed(call, key))
        if suppression is not None:
            suppression.refresh()
            for node, names in self.of(suppression.opted_out).items():
                if node in calls:
                    opt_outs = {name: suppression.statement(name) for name in names}
                    calls[node] = encode_signed(replace(call, opt_outs=opt_outs), key)
        return calls

    def of(self, devices: Collection[str]) -> dict[int, list[str]]:
        """Node to those of these devices that are behind it, sorted.

        A device that several edges have named, and none of them last, is behind none: a former edge learns nothing.
        """
        last, ever = (self._among(names, devices) for names in (self._last, self._ever))
        found: dict[int, list[str]] = {}
        for device in sorted(devices):
            nodes = last.get(device) or ever.get(device) or []
            if len(nodes) == 1:
                found.setdefault(nodes[0], []).append(device)
        return found

    @staticmethod
    def _among(hosted: Mapping[int, Names], devices: Collection[str]) -> dict[str, list[int]]:
        nodes: dict[str, list[int]] = {}
        for node, names in hosted.items():
            for device in names.take(names.among(devices)):
                nodes.setdefault(device, []).append(node)
        return nodes


def _joined(before: Names, now: Names) -> Names:
    """Everybody in either; both are ascending. Who is new is put between the others: they are many, and in order."""
    if not len(before):
        return now
    places = np.searchsorted(before.packed, now.packed)
    new = before.packed[np.minimum(places, len(before) - 1)] != now.packed
    if not new.any():
        return before
    fresh, first = np.unique(now.packed[new], return_index=True)
    wide = np.promote_types(before.packed.dtype, fresh.dtype)
    return Names(np.insert(before.packed.astype(wide, copy=False), places[new][first], fresh))
