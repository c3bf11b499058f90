"""Event-level claims: what the accountant is told is what the device does, and the number is right."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from backrow.privacy.accounting import event_level
from backrow.privacy.accounting.event_level import HISTORY, EventSettings, event_claim
from backrow.privacy.errors import AccountantDisagreementError
from backrow.privacy.units import Adjacency, PrivacyUnit

DELTA = 1e-5
SETTINGS = {
    "event_noise_multiplier": 4.0,
    "event_clip_norm": 0.5,
    "event_epochs": 4.0,
    "event_batch": float(HISTORY),
    "event_learning_rate": 1.0,
}


def gaussian_epsilon(mu: float) -> float:
    """Closed form for composed Gaussian mechanisms (Balle and Wang 2018)."""

    def excess(epsilon: float) -> float:
        return norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2) - DELTA

    return float(brentq(excess, 1e-6, 200))


def epsilon(rounds: int = 1, **changes: float) -> float:
    claimed = event_claim({**SETTINGS, **{f"event_{name}": value for name, value in changes.items()}}, rounds, DELTA)
    assert claimed.epsilon is not None
    return claimed.epsilon


@pytest.mark.parametrize(("noise_multiplier", "rounds"), [(4.0, 1), (4.0, 8), (40.0, 3), (1.5, 2)])
def test_with_every_event_in_every_step_it_is_the_closed_form(noise_multiplier: float, rounds: int) -> None:
    exact = gaussian_epsilon(math.sqrt(4 * rounds) / noise_multiplier)
    assert exact <= epsilon(rounds, noise_multiplier=noise_multiplier) * (1 + 1e-9) <= 1.005 * exact


def test_with_sampling_it_agrees_with_an_independent_accountant() -> None:
    """1.829 (PLD) and 1.838 (Opacus PRV) at rate .01, noise 1, 1,000 steps; Opacus `gdp` says 1.618."""
    from opacus.accountants import PRVAccountant

    claimed = epsilon(10, noise_multiplier=1.0, batch=1.28, epochs=1.0)
    assert EventSettings(1.0, 0.5, 1.0, 1.28, 1.0).steps * 10 == 1000
    accountant = PRVAccountant()
    accountant.history = [(1.0, 0.01, 1000)]
    assert claimed == pytest.approx(1.829, abs=0.002)
    assert claimed == pytest.approx(accountant.get_epsilon(DELTA), rel=0.01)
    assert claimed > 1.7, "the Gaussian-DP approximation reports too little"


def test_more_noise_costs_less_and_more_rounds_epochs_or_events_per_step_cost_more() -> None:
    base = epsilon(2, noise_multiplier=2.0, batch=16.0)
    assert epsilon(2, noise_multiplier=3.0, batch=16.0) < base
    assert epsilon(3, noise_multiplier=2.0, batch=16.0) > base
    assert epsilon(2, noise_multiplier=2.0, batch=16.0, epochs=6.0) > base
    assert epsilon(2, noise_multiplier=2.0, batch=32.0) > base


def test_the_clip_norm_and_the_learning_rate_cost_nothing() -> None:
    assert epsilon(clip_norm=9.0, learning_rate=0.1) == epsilon()


def test_the_claim_says_its_unit_adjacency_and_that_its_noise_is_simulated() -> None:
    claimed = event_claim(SETTINGS, 8, DELTA)
    assert (claimed.unit, claimed.adjacency) == (PrivacyUnit.EVENT, Adjacency.ADD_OR_REMOVE)
    assert (claimed.releases, claimed.delta, claimed.simulated) == (8, DELTA, True)


def test_without_noise_no_privacy_is_claimed() -> None:
    assert event_claim({**SETTINGS, "event_noise_multiplier": 0.0}, 1, DELTA).epsilon is None


def test_almost_no_noise_gets_a_large_finite_bound_at_once() -> None:
    assert 1e3 < epsilon(noise_multiplier=0.05) < math.inf


@pytest.mark.parametrize("batch", [1.28, 16.0, 128.0])
@pytest.mark.parametrize("noise_multiplier", [0.7, 5.0, 100.0])
def test_the_two_accountants_agree_over_the_range_of_use(noise_multiplier: float, batch: float) -> None:
    assert epsilon(12, noise_multiplier=noise_multiplier, batch=batch) > 0


def test_accountants_that_contradict_each_other_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert epsilon(12, noise_multiplier=100.0, batch=1.28) < 0.021
    monkeypatch.setattr(event_level, "_INTERVAL", 1e-3)  # too coarse for so small an epsilon
    with pytest.raises(AccountantDisagreementError, match="PLD"):
        epsilon(12, noise_multiplier=100.0, batch=1.28)


def test_rate_and_steps_are_functions_of_public_numbers() -> None:
    settings = EventSettings(1.0, 1.0, epochs=3.0, batch=10.0, learning_rate=1.0, history=64.0)
    assert settings.rate == 10 / 64
    assert settings.steps == math.ceil(3 * 6.4)
    assert EventSettings.read(SETTINGS).history == HISTORY
    assert EventSettings.read({**SETTINGS, "event_history": 200.0}).history == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise_multiplier", -1.0),
        ("noise_multiplier", math.nan),
        ("clip_norm", 0.0),
        ("epochs", 0.0),
        ("batch", 0.0),
        ("batch", HISTORY + 1.0),
        ("learning_rate", math.inf),
        ("history", 0.0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"event_{name}"):
        event_claim({**SETTINGS, f"event_{name}": value}, 1, DELTA)


def test_a_missing_setting_no_round_and_a_wrong_delta_are_refused() -> None:
    with pytest.raises(ValueError, match="event_epochs"):
        EventSettings.read({name: value for name, value in SETTINGS.items() if name != "event_epochs"})
    with pytest.raises(ValueError, match="at least one round"):
        event_claim(SETTINGS, 0, DELTA)
    for delta in (0.0, 1.0):
        with pytest.raises(ValueError, match="delta"):
            event_claim(SETTINGS, 1, delta)
