"""Estimates from noisy sums, shrunk by how much noise is known to be in them: empirical Bayes, free of cost."""

import math
from dataclasses import dataclass

import numpy as np

from backrow.server.programs.base import FloatArray

RISE = 0.75
"""How the spread of a title's effects grows with its share: spread ~ share ** RISE."""
SWEEPS = 3
CAUTION, SURE = (3.0, 1.0), 20.0
"""Standard errors by which what looks like signal in a column must exceed what noise alone shows; the second where all
columns together exceed it by `SURE` standard errors."""
LEAST_NOISE = 1e-3
"""Of a count: without noise, what is left is that people are few."""
FITS, FURTHEST = 25, 4.0
"""Steps of the fit of counts, and how far, in logarithms, it goes from their mean."""
SLOPES = (0.1, 1.0)
"""Variance of its slopes at the start and at most."""
_LEAST_COUNT = 0.5
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
) -> FloatArray:
    """Effects r in sums = scale * r + noise, posterior mean, column by column; shape of `sums`.

    Of each column c: r_i = guess + share_i * (described_i . theta) + a rest of standard deviation
    t * share_i ** `RISE`. theta is normal around 0. Its variance and t are what the second moments of the sums show
    beyond their noise and `CAUTION` standard errors of it: more of them where all columns together show little.

    Args:
        sums: shape (titles, columns), noise of sd `noise_scale` on every entry.
        scale: shape (columns,), > 0.
        share: shape (titles,), of the titles in what is watched, sums to 1.
        described: public features, shape (titles, k); k 0: nothing to shrink towards but the guess.
        noise_scale: >= 0.
        guess: of the effects; None: zero.
    """
    length = math.sqrt(float(share @ np.einsum("ik,ik->i", described, described)))
    towards = described * (share / max(length, 1e-300))[:, None]
    spread = share ** (2 * RISE)
    variance = max(noise_scale, LEAST_NOISE) ** 2
    chance = variance * math.sqrt(2 * sums.shape[1] * float(np.sum(spread**2)))
    sure = float(np.sum((sums**2 - variance) * spread[:, None])) > SURE * chance
    caution = CAUTION[1] if sure else CAUTION[0]
    noise = variance / scale**2
    seen = sums / scale
    expected = np.zeros_like(seen) if guess is None else guess.effects * _factor(seen, noise, spread, guess, caution)
    rest = [
        _posterior(column, each, spread, towards, caution)
        for column, each in zip((seen - expected).T, noise, strict=True)
    ]
    return np.asarray(expected + np.array(rest).T)


def _factor(seen: FloatArray, noise: FloatArray, spread: FloatArray, guess: Guess, caution: float) -> float:
    """Posterior mean of the factor, at least 0; noise: variance of every entry of each column."""
    flat = np.ones_like(spread)
    rest = np.array([_moment(column, each, spread, flat, caution) for column, each in zip(seen.T, noise, strict=True)])
    weight = 1 / (noise + rest * spread[:, None])
    precision = guess.deviation**-2
    shown = float(np.sum(weight * guess.effects * seen)) + precision * guess.mean
    return max(shown / (float(np.sum(weight * guess.effects**2)) + precision), 0.0)


def _posterior(seen: FloatArray, noise: float, spread: FloatArray, towards: FloatArray, caution: float) -> FloatArray:
    """One column; noise: variance of each entry, spread: variances of the rest but for the factor t^2."""
    factor = _moment(seen, noise, spread, np.ones_like(spread), caution)
    mean = np.zeros_like(seen)
    for _ in range(SWEEPS):
        weight = 1 / (noise + factor * spread)
        normal = towards.T @ (weight[:, None] * towards)
        target = towards.T @ (weight * seen)
        # E|target|^2 = trace + variance * |normal|^2; without signal its variance is 2 |normal|^2.
        size = float(np.sum(normal**2))
        signal = float(target @ target) - float(np.trace(normal)) - caution * math.sqrt(2 * size)
        if signal <= 0:
            mean = np.zeros_like(seen)
        else:
            precision = size / signal
            mean = towards @ np.linalg.solve(normal + precision * np.eye(len(normal)), target)
        factor = _moment(seen - mean, noise, spread, weight, caution)
    return np.asarray(mean + factor * spread / (factor * spread + noise) * (seen - mean))


def _moment(seen: FloatArray, noise: float, spread: FloatArray, weight: FloatArray, caution: float) -> float:
    """Factor of `spread` that explains the squares of what is seen beyond its noise; at least 0."""
    weight = weight / weight.max()
    each = spread * weight**2
    signal = float(np.sum((seen**2 - noise) * each)) - caution * noise * math.sqrt(2 * float(np.sum(each**2)))
    return max(signal / float(np.sum((spread * weight) ** 2)), 0.0)
