"""Estimates from noisy sums, shrunk by how much noise is known to be in them: empirical Bayes, free of cost."""

import math
from dataclasses import dataclass

import numpy as np

from backrow.server.programs.base import FloatArray

RISE = 0.75
"""How the spread of a title's effects grows with its share: spread ~ share ** RISE."""
SWEEPS = 3
LEVEL, SURE = 0.05, 20.0
"""How likely chance alone shows a finding in any column; in one column, where all together exceed chance by `SURE`
standard errors. What looks like signal is believed as far as it exceeds what chance shows at that level."""
LEAST_NOISE = 1e-3
"""Of a count: without noise, what is left is that people are few."""
FITS, FURTHEST = 25, 4.0
"""Steps of the fit of counts, and how far, in logarithms, it goes from their mean."""
SLOPES = (0.1, 1.0)
"""Variance of its slopes at the start and at most."""
_LEAST_COUNT = 0.5
_NO_PART, _GROUPED, _STEPS, _NEAR = 1e-6, 1.1, 60, 1e-9
"""Of `chance`: parts so much smaller than the largest are left out, those so close count as equal; steps, at most."""
_FAR = 6.0
"""Standard deviations below which the tail of a normal is as good as its expansion."""


def expected_counts(noisy: FloatArray, noise_scale: float, described: FloatArray | None = None) -> FloatArray:
    """Mean of the true counts given the noisy ones, shape (titles,), > 0.

    True counts are taken as exponential, with the mean that the release shows of titles described alike
    (`_likely_counts`). Then a count given its noisy value n is normal around n - s^2 / mean with standard deviation s,
    cut off at 0.

    Args:
        noisy: released counts.
        noise_scale: s; 0: no noise, and only zeros are raised.
        described: public features, shape (titles, k); None: all titles are alike.
    """
    if noise_scale <= 0:
        return np.maximum(noisy, _LEAST_COUNT)
    mean = _likely_counts(noisy, noise_scale, np.zeros((len(noisy), 0)) if described is None else described)
    centre = noisy / noise_scale - noise_scale / mean
    return np.asarray(noise_scale * np.array([value + _mills(value) for value in centre]))


def _likely_counts(noisy: FloatArray, noise_scale: float, described: FloatArray) -> FloatArray:
    """Mean count of titles described alike, log-linear, > 0; its mean over titles is that of the release.

    Quasi-likelihood with the variance of an exponential plus that of the noise; slopes normal around 0 with the
    variance that they show themselves, so that features that say nothing do nothing.
    """
    mean = max(float(noisy.mean()), 1e-3 * noise_scale)
    spread = described.std(axis=0)
    described = ((described - described.mean(axis=0)) / np.maximum(spread, 1e-300))[:, spread > 1e-12]
    design = np.hstack([np.ones((len(noisy), 1)), described])
    slopes = np.zeros(design.shape[1])
    slopes[0] = start = math.log(mean)
    variance = SLOPES[0]
    for _ in range(FITS if described.shape[1] else 0):
        log = np.clip(design @ slopes, start - FURTHEST, start + FURTHEST)
        likely = np.exp(log)
        weight = likely**2 / (likely**2 + noise_scale**2)
        precision = np.full(len(slopes), 1 / variance)
        precision[0] = 0.0
        covariance = np.linalg.inv(design.T @ (weight[:, None] * design) + np.diag(precision))
        fitted = covariance @ (design.T @ (weight * (log + noisy / likely - 1)))
        slopes += (fitted - slopes) / 2  # a whole step can overshoot
        seen = float(np.mean(slopes[1:] ** 2 + np.diag(covariance)[1:]))
        variance = min(max(seen, SLOPES[0] / 1000), SLOPES[1])
    likely = np.exp(np.clip(design @ slopes, start - FURTHEST, start + FURTHEST))
    return np.asarray(likely * (mean / likely.mean()))


def _mills(x: float) -> float:
    """density / distribution of the standard normal at x; x + this is > 0 and ~ -1 / x far below 0."""
    if x < -_FAR:
        return -x - 1 / x * (1 - 2 / x**2)
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-x / math.sqrt(2)))


@dataclass(frozen=True, slots=True)
class Guess:
    """Effects that are expected, but for a factor that is the same for all; the factor is normal.

    Attributes:
        effects: shape (titles, columns).
        mean, deviation: of the factor, before anything is seen; deviation > 0.
    """

    effects: FloatArray
    mean: float
    deviation: float


def shrunk(
    sums: FloatArray,
    scale: FloatArray,
    share: FloatArray,
    described: FloatArray,
    noise_scale: float,
    guess: Guess | None = None,
    devices: float = 0.0,
) -> FloatArray:
    """Effects r in sums = scale * r + chance, posterior mean, column by column; shape of `sums`.

    Of each column c: r_i = guess + share_i * (described_i . theta) + a rest of standard deviation
    t * share_i ** `RISE`. theta is normal around 0. Its variance and t are what the second moments of the sums show
    beyond what chance shows at `LEVEL`: a release in which nothing follows anything gives the guess alone, but for that
    share of releases. Chance is the noise, and who happens to be there: over draws of devices, whose answers have norm
    1, an entry has a variance of devices * share_i * scale_c / sum(scale) besides.

    Args:
        sums: shape (titles, columns), noise of sd `noise_scale` on every entry.
        scale: shape (columns,), > 0.
        share: shape (titles,), of the titles in what is watched, sums to 1.
        described: public features, shape (titles, k); k 0: nothing to shrink towards but the guess.
        noise_scale: >= 0.
        guess: of the effects; None: zero.
        devices: in the sums, at most; 0: as if the next people did exactly what these did.
    """
    length = math.sqrt(float(share @ np.einsum("ik,ik->i", described, described)))
    towards = described * (share / max(length, 1e-300))[:, None]
    spread = share ** (2 * RISE)
    variance = max(noise_scale, LEAST_NOISE) ** 2 + devices * share[:, None] * (scale / scale.sum())
    margin = SURE * math.sqrt(2 * float(np.sum((variance * spread[:, None]) ** 2)))
    sure = float(np.sum((sums**2 - variance) * spread[:, None])) > margin
    level = LEVEL if sure else LEVEL / (2 * sums.shape[1])  # two tests a column
    noise = variance / scale**2
    seen = sums / scale
    expected = np.zeros_like(seen) if guess is None else guess.effects * _factor(seen, noise, spread, guess, level)
    rest = [
        _posterior(column, each, spread, towards, level)
        for column, each in zip((seen - expected).T, noise.T, strict=True)
    ]
    return np.asarray(expected + np.array(rest).T)


def chance(parts: FloatArray, level: float) -> float:
    """What sum(parts * (z^2 - 1)) of standard normal z exceeds with probability `level`.

    Squares have heavier tails than a normal, and the heavier the fewer parts count: by the saddle point of the exact
    law (Lugannani & Rice 1980; Kuonen 1999 for such sums), which is within some percent of the level.

    Args:
        parts: >= 0.
        level: in (0, .5).
    """
    largest = float(parts.max(initial=0.0))
    if largest <= 0:
        return 0.0
    relative = parts[parts > _NO_PART * largest] / largest
    group = np.floor(-np.log(relative) / math.log(_GROUPED)).astype(np.intp)
    members = np.bincount(group)
    many: FloatArray = members[members > 0].astype(np.float64)
    size = np.sqrt(np.bincount(group, relative**2)[members > 0] / many)
    low, high = 0.0, 0.5
    point = min(math.sqrt(-math.log(level) / float(many @ size**2)), 0.45)
    for _ in range(_STEPS):
        value, beyond, fall = _tail(point, size, many)
        low, high = (point, high) if beyond > level else (low, point)
        step = beyond * math.log(beyond / level) / fall
        if abs(step) < _NEAR * point:
            break
        point = point + step if low < point + step < high else (low + high) / 2
    return largest * value


def _tail(point: float, size: FloatArray, many: FloatArray) -> tuple[float, float, float]:
    """The value whose saddle point this is, the probability of more, and how fast that falls with the point.

    Args:
        point: in (0, .5).
        size, many: of the parts; size at most 1.
    """
    left = 1 - 2 * point * size
    tilted = size / left
    value = 2 * point * float(many @ (size * tilted))
    bent = 2 * float(many @ tilted**2)
    height = -float(many @ (point * size + 0.5 * np.log(left)))
    root, slope = math.sqrt(2 * (point * value - height)), point * math.sqrt(bent)
    density = math.exp(-0.5 * root * root) / math.sqrt(2 * math.pi)
    beyond = 0.5 * math.erfc(root / math.sqrt(2)) + density * (1 / slope - 1 / root)
    return value, beyond, density * math.sqrt(bent)


def _factor(seen: FloatArray, noise: FloatArray, spread: FloatArray, guess: Guess, level: float) -> float:
    """Posterior mean of the factor, at least 0; noise: variance of every entry."""
    rest = np.array([_first(column, each, spread, level) for column, each in zip(seen.T, noise.T, strict=True)])
    weight = 1 / (noise + rest * spread[:, None])
    precision = guess.deviation**-2
    shown = float(np.sum(weight * guess.effects * seen)) + precision * guess.mean
    return max(shown / (float(np.sum(weight * guess.effects**2)) + precision), 0.0)


def _posterior(
    seen: FloatArray, noise: FloatArray, spread: FloatArray, towards: FloatArray, level: float
) -> FloatArray:
    """One column; noise: variance of each entry, spread: variances of the rest but for the factor t^2."""
    factor = _first(seen, noise, spread, level)
    mean = np.zeros_like(seen)
    for _ in range(SWEEPS):
        weight = 1 / (noise + factor * spread)
        normal = towards.T @ (weight[:, None] * towards)
        target = towards.T @ (weight * seen)
        # E|target|^2 = trace + variance * |normal|^2; without signal it is chi-squares, times the eigenvalues.
        values = np.maximum(np.linalg.eigvalsh(normal), 0.0)
        signal = float(target @ target) - float(values.sum()) - chance(values, level)
        if signal <= 0:
            mean = np.zeros_like(seen)
        else:
            precision = float(np.sum(values**2)) / signal
            mean = towards @ np.linalg.solve(normal + precision * np.eye(len(normal)), target)
        former, factor = factor, _moment(seen - mean, noise, spread, weight, level)
        if factor == former:
            break  # the next sweeps would repeat this one
    return np.asarray(mean + factor * spread / (factor * spread + noise) * (seen - mean))


def _first(seen: FloatArray, noise: FloatArray, spread: FloatArray, level: float) -> float:
    """`_moment` before any factor is known."""
    return _moment(seen, noise, spread, 1 / noise, level)


def _moment(seen: FloatArray, noise: FloatArray, spread: FloatArray, weight: FloatArray, level: float) -> float:
    """Factor of `spread` that explains the squares of what is seen beyond chance; at least 0."""
    weight = weight / weight.max()
    each = spread * weight**2
    signal = float(np.sum((seen**2 - noise) * each)) - chance(each * noise, level)
    return max(signal / float(np.sum((spread * weight) ** 2)), 0.0)
