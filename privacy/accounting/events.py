"""Accounting events: what was done, apart from who counts it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GaussianRelease:
    """One Gaussian mechanism over everybody, no sampling.

    Attributes:
        noise_multiplier: standard deviation / L2 sensitivity, > 0.
        dimension: coordinates released (the sampler's error bound grows with it).
    """

    noise_multiplier: float
    dimension: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier must be positive and finite, got {self.noise_multiplier}")
        if self.dimension < 1:
            raise ValueError(f"a release has at least one coordinate, got {self.dimension}")

    @property
    def mu(self) -> float:
        """Gaussian-DP parameter: sensitivity / standard deviation."""
        return 1 / self.noise_multiplier


@dataclass(frozen=True, slots=True)
class NoPrivacy:
    """A release without noise: every accountant answers infinity."""


PrivacyEvent = GaussianRelease | NoPrivacy
