"""The auditor's own formulas agree with the coordinator's, which share no line with them."""

import math

import numpy as np
import pytest

from backrow.privacy.accounting import gaussian
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.accounting.rdp import rdp_epsilon
from backrow.privacy.accounting.zcdp import epsilon_of_rho
from backrow.privacy.audit.budget import check_agreement
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.formulas import exact, mu_squared, renyi
from backrow.privacy.audit.model import Account

MUS = np.logspace(-3, 2, 20)
DELTAS = [1e-3, 1e-5, 1e-7, 1e-9, 1e-12]


@pytest.mark.parametrize("delta", DELTAS)
def test_the_exact_epsilon_is_the_one_of_the_quadrature(delta: float) -> None:
    theirs = np.array([gaussian.epsilon(float(mu), delta) for mu in MUS])
    assert exact(MUS, delta) == pytest.approx(theirs, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("delta", DELTAS)
def test_the_renyi_bound_is_above_the_exact_epsilon(delta: float) -> None:
    assert np.all(renyi(MUS**2, delta) >= exact(MUS, delta))


def test_reported_epsilon_lies_between_the_exact_one_and_half_a_percent_above_pld() -> None:
    # 200 parameter sets: number of rounds, noise, delta.
    grid = [(n, z, delta) for n in (1, 2, 4, 8) for z in np.geomspace(0.5, 30, 10) for delta in DELTAS]
    assert len(grid) == 200
    for rounds, multiplier, delta in grid:
        mu = math.sqrt(rounds) / multiplier
        reported = float(exact(np.array([mu]), delta)[0])
        true = gaussian.epsilon(mu, delta)
        assert reported >= true * (1 - 1e-7)
        assert reported <= pld_epsilon([float(multiplier)] * rounds, delta) * 1.005 + 1e-9


def test_the_renyi_bound_is_the_one_of_dp_accounting() -> None:
    for multiplier in (0.7, 2.0, 9.0):
        theirs = rdp_epsilon([multiplier] * 3, 1e-5)
        ours = float(renyi(np.array([3 / multiplier**2]), 1e-5)[0])
        assert ours == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("delta", DELTAS)
def test_the_renyi_bound_is_that_of_zcdp_and_never_above_the_coordinators_figure(delta: float) -> None:
    ours = renyi(MUS**2, delta)
    theirs = np.array([epsilon_of_rho(float(mu * mu / 2), delta) for mu in MUS])
    assert np.all(ours <= theirs * (1 + 1e-9))
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)


def test_the_renyi_bound_takes_any_cost() -> None:
    assert renyi(np.array([0.0, 5e-324, 1e-12, 1e300, math.inf]), 1e-5) == pytest.approx([0, 0, 0, math.inf, math.inf])


def test_no_noise_costs_infinity_and_no_release_nothing() -> None:
    squares = mu_squared([0.0, 1.0])
    assert exact(np.sqrt(squares), 1e-5)[0] == math.inf
    assert renyi(squares, 1e-5)[0] == math.inf
    assert exact(np.zeros(1), 1e-5)[0] == renyi(np.zeros(1), 1e-5)[0] == 0


@pytest.mark.parametrize(
    ("closed", "sampler", "pld", "rdp"),
    [(3, 3, 3.02, 3.3), (3, 3.02, 3, 3.3), (3, 3, 3, 2.9), (3, 3, math.nan, 3.3), (3, 3, 2.98, 3.3)],
)
def test_accountants_that_differ_are_found(closed: float, sampler: float, pld: float, rdp: float) -> None:
    found = Findings()
    check_agreement(Account(None, None, 1e-5, closed, sampler, pld, rdp, 1), found)
    assert Fault.ACCOUNTANTS in found


def test_accountants_that_agree_are_not() -> None:
    found = Findings()
    check_agreement(Account(None, None, 1e-5, 3.0, 3.0, 3.001, 3.25, 1), found)
    assert not found
