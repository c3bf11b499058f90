"""Makes the frozen run of the secure sum: `python -m tests.vectors.make_run` writes tests/vectors/secagg_run.json.

Twelve devices; one never advertises, one vanishes before its vector, one before its answer. Broken messages are named
after what is broken, with the error that stops them. A run that changes is a protocol that changes: once it is
released, raise its version.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backrow.privacy.randomness import SeededRandom
from backrow.privacy.secagg.coordinator import SecureSum
from backrow.privacy.secagg.seating import Seating
from backrow.privacy.secagg.session import Session
from tests.secure_sums import Run, answers_of, identities, session_of

FILE = Path(__file__).parent / "secagg_run.json"
DEVICES, STEPS = 12, "12345"
DROPPED = {"d0001": 1, "d0004": 3, "d0006": 5}

Case = dict[str, Any]


class Tape:
    """A random source that says what it was told, 32 bytes at a time, and notes it."""

    simulated = True

    def __init__(self, coins: list[bytes], then: SeededRandom | None = None) -> None:
        self.coins, self._then, self._next = coins, then, 0

    def bytes(self, n: int) -> bytes:
        if self._next == len(self.coins) and self._then is not None:
            self.coins.append(self._then.bytes(n))
        self._next += 1
        coin = self.coins[self._next - 1]
        assert len(coin) == n
        return coin

    def uint64(self, n: int) -> np.ndarray:
        raise AssertionError("the secure sum draws bytes only")


def session() -> Session:
    return session_of(identities(DEVICES), dimension=3)


def recorded(tapes: dict[str, Tape]) -> tuple[Run, SecureSum]:
    """The run with these coins."""
    keys = identities(DEVICES)
    run = Run(keys, session(), answers_of(session(), list(keys), seed=7), DROPPED)
    run.random = tapes  # type: ignore[assignment]
    return run, run.finish()


def hexed(messages: dict[int, dict[str, bytes]]) -> Case:
    return {str(step): {name: data.hex() for name, data in sorted(each.items())} for step, each in messages.items()}


def case_of(run: Run, result: SecureSum, tapes: dict[str, Tape]) -> Case:
    return {
        "session": session_out(run.session),
        "coordinator": bytes(range(32)).hex(),
        "identities": {name: SeededRandom(n, 10).bytes(32).hex() for n, name in enumerate(run.keys)},
        "answers": {name: answer.tolist() for name, answer in run.answers.items()},
        "dropped": DROPPED,
        "coins": {name: [coin.hex() for coin in tape.coins] for name, tape in tapes.items()},
        "sent": hexed(run.sent),
        "replies": hexed(run.replies),
        "survivors": list(result.survivors),
        "sum": result.values.tolist(),
    }


def session_out(of: Session) -> Case:
    digests = {name: getattr(of, name).hex() for name in ("cohort", "question", "checkpoint", "coordinator")}
    counts = {name: getattr(of, name) for name in ("devices", "minimum", "dimension", "round")}
    rates = {"adversaries": of.tolerance.adversaries, "dropouts": of.tolerance.dropouts}
    return {"run": of.run_id, **counts, **digests, **rates}


def exchanged(data: bytes, start: int, size: int) -> bytes:
    """Two pieces that follow one another, the other way round."""
    return data[:start] + data[start + size : start + 2 * size] + data[start : start + size] + data[start + 2 * size :]


def flipped(data: bytes, place: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def broken(run: Run) -> list[Case]:
    """Messages to one device, each broken in one way."""
    name, adverts = "d0002", 2 + 7 + 96 + 2
    roster, boxes, survivors, agreements = (run.sent[step][name] for step in (2, 3, 4, 5))
    listed = [
        ("mask key of a neighbour substituted", 2, flipped(roster, adverts + 40), "SignatureError"),
        ("seal key of a neighbour substituted", 2, flipped(roster, adverts + 70), "SignatureError"),
        ("identity of a neighbour substituted", 2, flipped(roster, adverts), "RosterError"),
        ("neighbours exchanged", 2, exchanged(roster, adverts, 160), "RosterError"),
        ("one neighbour missing", 2, one_missing(roster, adverts), "RosterError"),
        ("names of another cohort", 2, flipped(roster, 2 + 7 + 32), "RosterError"),
        ("keys of somebody changed", 2, flipped(roster, 2 + 7 + 64), "RosterError"),
        ("graph drawn without the device's own keys", 2, drawn_without(run, name), "RosterError"),
        ("proof of the own keys damaged", 2, flipped(roster, adverts + 160 * roster[7]), "RosterError"),
        ("absent device said to be there", 2, flip_absent(run, roster), "RosterError"),
        ("proof damaged", 2, flipped(roster, -1), "RosterError"),
        ("roster of another device", 2, run.sent[2]["d0003"], "RosterError"),
        ("roster cut off", 2, roster[:-1], "MalformedMessageError"),
        ("box changed", 3, flipped(boxes, 10), "TamperedError"),
        ("boxes exchanged", 3, exchanged(boxes, 3, 80), "TamperedError"),
        ("boxes of another device", 3, run.sent[3]["d0003"], "TamperedError"),
        ("box missing", 3, boxes[:-80], "MalformedMessageError"),
        ("survivor added", 4, survivors[:2] + b"\xff" + survivors[3:], "SignatureError"),
        ("survivors signed by nobody", 4, survivors[:-64] + bytes(64), "SignatureError"),
        ("survivors too long", 4, survivors + b"\0", "MalformedMessageError"),
        ("countersignatures exchanged", 5, exchanged(agreements, 3, 64), "SurvivorsError"),
        ("countersignature changed", 5, flipped(agreements, -64), "SurvivorsError"),
        ("countersignatures of another step", 5, survivors, "MalformedMessageError"),
    ]
    fields = ("name", "step", "message", "error")
    return [{"device": name} | dict(zip(fields, (n, s, m.hex(), e), strict=True)) for n, s, m, e in listed]


def flip_absent(run: Run, roster: bytes) -> bytes:
    place = 2 + 7 + 96
    return roster[:place] + b"\xff\x80" + roster[place + 2 :]


def one_missing(roster: bytes, adverts: int) -> bytes:
    return roster[:7] + bytes([roster[7] - 1]) + roster[8:adverts] + roster[adverts + 160 :]


def drawn_without(run: Run, name: str) -> bytes:
    """The roster of a graph that is drawn from the device's keys the other way round."""
    cohort, advertised = run.secure._cohort, run.secure._advertised
    own = advertised[cohort.index[name]]
    other = replace(own, mask_key=own.seal_key, seal_key=own.mask_key)
    seats = Seating.of(run.session, cohort, advertised | {cohort.index[name]: other})
    return seats.roster_message(seats.names.index(name))


def made() -> str:
    tapes = {name: Tape([], SeededRandom(2026, "secagg run", name)) for name in identities(DEVICES)}
    run, result = recorded(tapes)
    case = case_of(run, result, tapes) | {"broken": broken(run)}
    return json.dumps(case, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
