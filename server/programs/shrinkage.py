"""Estimates from noisy sums, shrunk by how much noise is known to be in them: empirical Bayes, free of cost."""

import math

import numpy as np

from backrow.server.programs.base import FloatArray

RISE = 0.75
"""How the spread of a title's effects grows with its share: spread ~ share ** RISE."""
SWEEPS = 3
CAUTION = 1.0
"""Standard errors by which what looks like signal must exceed what noise alone shows."""
LEAST_NOISE = 1e-3
"""Of a count: without noise, what is left is that people are few."""
_LEAST_COUNT = 0.5
_FAR = 6.0
"""Standard deviations below which the tail of a normal is as good as its expansion."""


def expected_counts(noisy: FloatArray, noise_scale: float) -> FloatArray:
    """Mean of the true counts given the noisy ones, shape (titles,), > 0.

    True counts are taken as exponential with the mean that the release shows; then a count given its noisy value n is
    normal around n - s^2 / mean with standard deviation s, cut off at 0.

    Args:
        noisy: released counts.
        noise_scale: s; 0: no noise, and only zeros are raised.
    """
    if noise_scale <= 0:
        return np.maximum(noisy, _LEAST_COUNT)
    mean = max(float(noisy.mean()), 1e-3 * noise_scale)
    centre = noisy / noise_scale - noise_scale / mean
    return np.asarray(noise_scale * np.array([value + _mills(value) for value in centre]))


def _mills(x: float) -> float:
    """density / distribution of the standard normal at x; x + this is > 0 and ~ -1 / x far below 0."""
    if x < -_FAR:
        return -x - 1 / x * (1 - 2 / x**2)
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-x / math.sqrt(2)))


def shrunk(
    sums: FloatArray, scale: FloatArray, share: FloatArray, described: FloatArray, noise_scale: float
) -> FloatArray:
    """Effects r in sums = scale * r + noise, posterior mean, column by column; shape of `sums`.

    Of each column c: r_i = share_i * (described_i . theta) + a rest of standard deviation t * share_i ** `RISE`. theta
    is normal around 0. Its variance and t are what the second moments of the sums show beyond their noise and
    `CAUTION` standard errors of it.

    Args:
        sums: shape (titles, columns), noise of sd `noise_scale` on every entry.
        scale: shape (columns,), > 0.
        share: shape (titles,), of the titles in what is watched, sums to 1.
        described: public features, shape (titles, k); k 0: nothing to shrink towards but zero.
        noise_scale: >= 0.
    """
    length = math.sqrt(float(share @ np.einsum("ik,ik->i", described, described)))
    towards = described * (share / max(length, 1e-300))[:, None]
    spread = share ** (2 * RISE)
    made = np.empty_like(sums)
    for column in range(sums.shape[1]):
        noise = (max(noise_scale, LEAST_NOISE) / scale[column]) ** 2
        made[:, column] = _posterior(sums[:, column] / scale[column], noise, spread, towards)
    return made


def _posterior(seen: FloatArray, noise: float, spread: FloatArray, towards: FloatArray) -> FloatArray:
    """One column; noise: variance of each entry, spread: variances of the rest but for the factor t^2."""
    factor = _moment(seen, noise, spread, np.ones_like(spread))
    mean = np.zeros_like(seen)
    for _ in range(SWEEPS):
        weight = 1 / (noise + factor * spread)
        normal = towards.T @ (weight[:, None] * towards)
        target = towards.T @ (weight * seen)
        # E|target|^2 = trace + variance * |normal|^2; without signal its variance is 2 |normal|^2.
        size = float(np.sum(normal**2))
        signal = float(target @ target) - float(np.trace(normal)) - CAUTION * math.sqrt(2 * size)
        if signal <= 0:
            mean = np.zeros_like(seen)
        else:
            precision = size / signal
            mean = towards @ np.linalg.solve(normal + precision * np.eye(len(normal)), target)
        factor = _moment(seen - mean, noise, spread, weight)
    return np.asarray(mean + factor * spread / (factor * spread + noise) * (seen - mean))


def _moment(seen: FloatArray, noise: float, spread: FloatArray, weight: FloatArray) -> float:
    """Factor of `spread` that explains the squares of what is seen beyond its noise; at least 0."""
    weight = weight / weight.max()
    each = spread * weight**2
    signal = float(np.sum((seen**2 - noise) * each)) - CAUTION * noise * math.sqrt(2 * float(np.sum(each**2)))
    return max(signal / float(np.sum((spread * weight) ** 2)), 0.0)
