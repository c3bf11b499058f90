"""What a scenario's owners say about contributing, and how that changes from round to round. Ground truth."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from backrow.privacy.randomness import SeededRandom
from backrow.simulations.availability import late, least_share, reachable
from backrow.simulations.scenario import ConsentSection

BoolArray = NDArray[np.bool_]
_PART = 16_384
"""Devices whose histories are read at a time."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Consent at the start, by slot; shape (devices,) each.

    Attributes:
        granted: may be asked; neither of the other two is.
        opted_out: on the coordinator's list, for good.
        children: child profiles, which never contribute.
    """

    granted: BoolArray
    opted_out: BoolArray
    children: BoolArray


@dataclass(frozen=True, slots=True)
class Changes:
    """How consent and reach change, for every device and round by itself.

    Attributes:
        flips: probability that an owner says the opposite from a round on.
        offline: probability that a device is away in a round.
        by_hour: devices are within reach by the hour of the day (`availability`).
        round_hours: hours from one round to the next; read with `by_hour` only.
        stragglers: probability that an answer misses the deadline of its round.
    """

    flips: float = 0.0
    offline: float = 0.0
    by_hour: bool = False
    round_hours: float = 1.0
    stragglers: float = 0.0

    @property
    def any(self) -> bool:
        """Rounds differ."""
        return self.flips > 0 or self.offline > 0 or self.by_hour or self.stragglers > 0


STEADY = Changes()


def draw_owners(
    seed: int, withheld: float, consent: ConsentSection, user: NDArray[np.int32], title: NDArray[np.int32], viewers: int
) -> Owners:
    """Who contributes at the start.

    A device's draws stand at its slot, whatever the others do.

    Args:
        withheld: share of owners who withhold on their own devices.
        user, title: what was watched, shape (interactions,) each.
    """
    return owners_of(seed, withheld, consent, viewers, lambda: _mainstream(user, title, viewers))


def owners_of(
    seed: int, withheld: float, consent: ConsentSection, viewers: int, mainstream: Callable[[], NDArray[np.float64]]
) -> Owners:
    """As `draw_owners`. Args: mainstream: normal scores of the viewers' tastes; called if they matter."""
    tastes = mainstream() if consent.taste else None

    def chosen(purpose: str, share: float, by_taste: bool = True) -> BoolArray:
        draw = SeededRandom(seed, purpose).numpy().random(viewers)
        if tastes is not None and by_taste:
            draw = np.maximum(draw, 2.0**-54)  # a normal score of 0 would be infinite
            draw = ndtr(math.sqrt(1 - consent.taste**2) * ndtri(draw) - consent.taste * tastes)
        return np.asarray(draw < share)

    opted_out = chosen("consent-opt-out", consent.opt_outs)
    children = chosen("consent-child", consent.children, by_taste=False)
    return Owners(~(chosen("consent", withheld) | opted_out | children), opted_out, children)


def consents_at(owners: Owners, seed: int, changes: Changes, number: int) -> BoolArray:
    """Who grants in a round, in reach or not; shape (devices,). Opted out and children stay so."""
    fixed, granted = owners.opted_out | owners.children, owners.granted
    for earlier in range(2, number + 1):
        if changes.flips:
            granted = granted ^ _drawn(seed, "consent-flip", earlier, len(granted), changes.flips)
    return np.asarray(np.where(fixed, owners.granted, granted))


def in_reach(devices: int, seed: int, changes: Changes, number: int) -> BoolArray:
    """Whose device is not away in a round; shape (devices,)."""
    there = reachable(devices, seed, number, changes.round_hours) if changes.by_hour else np.ones(devices, dtype=bool)
    return there & ~_drawn(seed, "offline", number, devices, changes.offline) if changes.offline else there


def in_time(devices: int, seed: int, changes: Changes, number: int) -> BoolArray:
    """Whose answer would meet the deadline of a round; shape (devices,)."""
    if not changes.stragglers:
        return np.ones(devices, dtype=bool)
    return ~late(devices, seed, number, changes.stragglers)


def fewest_present(owners: Owners, changes: Changes, rounds: int) -> int:
    """How many answers to count on in every round: the least expected, less four standard deviations."""
    granting = int(owners.granted.sum())
    if not changes.any:
        return granting
    others = len(owners.granted) - int((owners.opted_out | owners.children).sum()) - granting
    kept = [(1 + (1 - 2 * changes.flips) ** number) / 2 for number in range(rounds)]
    least = min(granting * stays + others * (1 - stays) for stays in kept) * (1 - changes.offline)
    least *= (least_share(rounds, changes.round_hours) if changes.by_hour else 1.0) * (1 - changes.stragglers)
    return max(0, math.floor(least - 4 * math.sqrt(least)))


def consent_notes(owners: Owners, seed: int, changes: Changes, rounds: int) -> list[str]:
    """What there was of it in a run of so many rounds, in sentences; nothing where everybody just grants."""
    devices, granted = len(owners.granted), int(owners.granted.sum())
    if granted == devices and not changes.any:
        return []
    said = (
        f"consent, as the simulator knows it and nobody is told: of {devices:,} owners {int(owners.opted_out.sum()):,} "
        f"are on the list of opt-outs, {int(owners.children.sum()):,} are child profiles, and {granted:,} grant at the "
        "start"
    )
    if changes.any and rounds:
        states = [consents_at(owners, seed, changes, number) for number in range(1, rounds + 1)]
        flipped = sum(int((one != two).sum()) for one, two in pairwise(states))
        away = sum(
            int((state & ~in_reach(devices, seed, changes, number)).sum()) for number, state in enumerate(states, 1)
        )
        said += f"; in {rounds} rounds owners changed their minds {flipped:,} times, and a device that grants was away "
        said += f"{away:,} times"
        if changes.stragglers:
            here = [state & in_reach(devices, seed, changes, number) for number, state in enumerate(states, 1)]
            missed = [there & ~in_time(devices, seed, changes, number) for number, there in enumerate(here, 1)]
            said += f"; {sum(int(each.sum()) for each in missed):,} answers came too late and did not count"
    return [said]


def mainstream_of(starts: NDArray[np.int64], titles: NDArray[np.int32]) -> NDArray[np.float64]:
    """How often watched what each device watches is, as normal scores; read in parts.

    Args:
        starts, titles: as `Population`.
    """
    parts = [slice(first, first + _PART) for first in range(0, len(starts) - 1, _PART)]
    inside = [slice(starts[part][0], starts[part.start : part.stop + 1][-1]) for part in parts]
    most = max(int(titles[each].max(initial=-1)) for each in inside) + 1
    popularity = np.zeros(most, dtype=np.int64)
    for each in inside:
        popularity += np.bincount(titles[each], minlength=most)
    score = np.zeros(len(starts) - 1)
    for part, each in zip(parts, inside, strict=True):
        sizes = np.diff(starts[part.start : part.stop + 1])
        device = np.repeat(np.arange(len(sizes)), sizes)
        score[part] = np.bincount(device, weights=popularity[titles[each]], minlength=len(sizes)) / np.maximum(sizes, 1)
    return _normal_scores(score)


def _mainstream(user: NDArray[np.int32], title: NDArray[np.int32], viewers: int) -> NDArray[np.float64]:
    """How often watched what each viewer watches is, as normal scores of the ranks; shape (viewers,)."""
    popularity = np.bincount(title)[title]
    watched = np.maximum(np.bincount(user, minlength=viewers), 1)
    return _normal_scores(np.bincount(user, weights=popularity, minlength=viewers) / watched)


def _normal_scores(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """By rank; shape (viewers,)."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = (np.arange(len(score)) + 0.5) / len(score)
    return np.asarray(ndtri(ranks))


@lru_cache(maxsize=64)
def _drawn(seed: int, purpose: str, number: int, devices: int, share: float) -> BoolArray:
    """Which devices a draw falls on, each by itself, in one round."""
    return np.asarray(SeededRandom(seed, purpose, number).numpy().random(devices) < share)
