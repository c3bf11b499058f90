"""What event-level training on a device costs (MATH 3c): Poisson-subsampled Gaussian steps, by PLD.

Unit: one watched title of one device's history. Adjacency: add or remove it. This epsilon bounds what the
device's own answer shows about it, to whoever sees that answer. It is reported beside the device-level
epsilon and never added to it. The device reads the settings, anyone with dp-accounting computes the claim.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from backrow.privacy.errors import AccountantDisagreementError
from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit

HISTORY = 128
"""Length of a typical history; a public number that sets the sampling rate, not a cap."""

_INTERVAL = 1e-4
"""Discretisation of the privacy loss; rounded so that epsilon is never too small."""
_MEANINGLESS = 100
"""Above this the loose accountant's bound is reported: the tight one would need gigabytes."""


@dataclass(frozen=True, slots=True)
class EventSettings:
    """The public numbers of local training; sampler, steps, noise and accountant all read them here.

    Attributes:
        noise_multiplier: noise standard deviation / clip norm, of every step; 0 claims no privacy.
        clip_norm: L2 bound of one event's gradient, > 0.
        epochs: expected passes over the history, > 0.
        batch: expected events per step from a history of length `history`, > 0.
        learning_rate: step, in units of 1 / the loss' largest curvature; stable below 2.
        history: public length that turns `batch` into a sampling rate, >= batch.
    """

    noise_multiplier: float
    clip_norm: float
    epochs: float
    batch: float
    learning_rate: float
    history: float = HISTORY

    def __post_init__(self) -> None:
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(f"event_noise_multiplier must be finite and >= 0, got {self.noise_multiplier}")
        for name in ("clip_norm", "epochs", "batch", "learning_rate", "history"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"event_{name} must be a positive number, got {getattr(self, name)}")
        if self.batch > self.history:
            raise ValueError(f"event_batch {self.batch} cannot exceed event_history {self.history}")

    @classmethod
    def read(cls, settings: Mapping[str, float]) -> "EventSettings":
        """The `event_...` numbers of a call; `event_history` may be left out.

        Raises:
            ValueError: one is missing or out of range.
        """
        needed = ("noise_multiplier", "clip_norm", "epochs", "batch", "learning_rate")
        missing = [f"event_{name}" for name in needed if f"event_{name}" not in settings]
        if missing:
            raise ValueError(f"event-level training needs the settings {missing}")
        noise_multiplier, clip_norm, epochs, batch, learning_rate = (settings[f"event_{name}"] for name in needed)
        history = settings.get("event_history", HISTORY)
        return cls(noise_multiplier, clip_norm, epochs, batch, learning_rate, history)

    @property
    def rate(self) -> float:
        """Probability with which a step samples any one event, whatever the length of the history."""
        return self.batch / self.history

    @property
    def steps(self) -> int:
        """Steps per round; public, the same for every device."""
        return math.ceil(self.epochs / self.rate)


def event_claim(settings: Mapping[str, float], device_rounds: int, delta: float) -> PrivacyClaim:
    """What `device_rounds` answers of trainer `opacus-event` show about one watched title, together.

    Args:
        settings: of the calls, with the `event_...` numbers.
        device_rounds: rounds in which the device answered; its `releases`.
        delta: failure probability, in (0, 1).

    Guarantees: epsilon None without noise. Stamped simulated: Opacus' noise is floating point.

    Raises:
        ValueError: a setting is missing or out of range, no rounds, delta outside (0, 1).
        AccountantDisagreementError: the tight accountant exceeds the loose one.
    Source: dp-accounting's PLD accountant (Doroshenko et al. 2022, "Connect the dots"), checked against
        its RDP accountant. Opacus' own `gdp` accountant reports too little and is not used.
    """
    numbers = EventSettings.read(settings)
    if device_rounds < 1:
        raise ValueError(f"a claim covers at least one round, got {device_rounds}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1 (exclusive), got {delta}")
    epsilon = None
    if numbers.noise_multiplier > 0:
        epsilon = _epsilon(numbers.noise_multiplier, numbers.rate, numbers.steps * device_rounds, delta)
    return PrivacyClaim(epsilon, delta, PrivacyUnit.EVENT, Adjacency.ADD_OR_REMOVE, device_rounds, simulated=True)


def _epsilon(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    step = GaussianDpEvent(noise_multiplier)
    event = SelfComposedDpEvent(step if rate == 1 else PoissonSampledDpEvent(rate, step), steps)
    relation = NeighboringRelation.ADD_OR_REMOVE_ONE
    # Whole orders only: at fractional ones dp-accounting's series for sampled Gaussians may not converge.
    orders = [*range(2, 65), 128, 256, 512, 1024]
    loose = RdpAccountant(orders, relation).compose(event).get_epsilon(delta)
    if loose > _MEANINGLESS:
        return float(loose)
    tight = PLDAccountant(relation, value_discretization_interval=_INTERVAL).compose(event).get_epsilon(delta)
    if not tight <= loose * 1.005:
        raise AccountantDisagreementError(
            f"event-level epsilon is {tight} by PLD but {loose} by RDP, which cannot be smaller: do not run this"
        )
    return float(tight)
