"""The edge's side: it adds the masked vectors of its devices blind. A sum of sums is a sum."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import BackrowError
from backrow.privacy.secagg.messages import decode_masked
from backrow.privacy.secagg.session import Session


@dataclass(frozen=True, slots=True)
class BlindVectors:
    """Attributes: `names` whose vectors are in `total`, modulo 2^32; `refused`: name to why it is not in it."""

    names: tuple[str, ...]
    total: NDArray[np.uint32]
    refused: Mapping[str, str]


def add_blind(session: Session, replies: Mapping[str, bytes]) -> BlindVectors:
    """Add what devices masked, each with its length and session checked. The edge runs it.

    Args:
        session: which round.
        replies: name to the reply of `SecureDevice.mask`.
    """
    names, refused = list[str](), dict[str, str]()
    total = np.zeros(session.dimension, dtype=np.uint32)
    for name in sorted(replies):
        try:
            np.add(total, decode_masked(replies[name], session), out=total)
            names.append(name)
        except BackrowError as problem:
            refused[name] = str(problem)
    return BlindVectors(tuple(names), total, refused)
