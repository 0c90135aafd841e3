"""Theorem 16.1: independent features that are not Gaussian, to second order."""

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import Population, head_risk
from hmmtheory.factors import effective_ridge, risk_factors

SPECTRUM = np.linspace(0.3, 3.0, 30)


def drawn_factors(n: int, ridge: float, draw: str, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard errors of tr of the bias weights and of the variance factor."""
    rng = np.random.default_rng(1)
    p = SPECTRUM.size
    found = np.empty((trials, 2))
    for trial in range(trials):
        g = {
            "uniform": lambda: rng.uniform(-np.sqrt(3), np.sqrt(3), (n, p)),
            "laplace": lambda: rng.laplace(0.0, np.sqrt(0.5), (n, p)),
        }[draw]()
        x = g * np.sqrt(SPECTRUM)
        # Straight from the definition of the trained head: H = (XᵀX + λI)⁻¹Xᵀ.
        back = np.linalg.pinv(np.vstack([x, np.sqrt(ridge) * np.eye(p)]))[:, :n]
        missed = np.eye(p) - back @ x
        found[trial, 0] = (np.square(missed).T @ SPECTRUM).sum()
        found[trial, 1] = (np.square(back).T @ SPECTRUM).sum()
    return found.mean(axis=0), found.std(axis=0) / np.sqrt(trials)


@pytest.mark.parametrize(("draw", "kurtosis"), [("uniform", -1.2), ("laplace", 3.0)])
@pytest.mark.parametrize(("n", "ridge"), [(12, 0.0), (20, 2.0), (60, 0.0), (60, 6.0)])
def test_the_kurtosis_of_the_features_explains_what_gaussian_theory_misses(
    draw: str, kurtosis: float, n: int, ridge: float
) -> None:
    trials = 6_000
    mean, error = drawn_factors(n, ridge, draw, trials)
    gaps = []
    for nu in (0.0, kurtosis):
        factors = risk_factors(SPECTRUM, n, ridge, kurtosis=nu)
        gaps.append(np.array([factors.bias.sum(), factors.variance]) - mean)
    whole = mean.sum()
    # Third order: 5/n² of the risk, far below what the kurtosis explains.
    assert (np.abs(gaps[1]) < 5 * error + 5 / n**2 * whole).all()
    assert abs(gaps[0].sum()) > 5 * np.hypot(*error)
    assert abs(gaps[1].sum()) < 0.35 * abs(gaps[0].sum()) + 3 * np.hypot(*error)


def test_one_feature_below_the_threshold_has_its_delta_method_expansion() -> None:
    # E[1/Σg²] ≈ (1/n)(1 + Var(g²)/n), and Var(g²) = 2 + ν.
    n, nu = 4_000, 1.7
    factor = risk_factors([3.0], n, kurtosis=nu).variance
    assert n * (n * factor - 1.0) == pytest.approx(2.0 + nu, rel=2e-3)


def test_the_correction_is_the_derivative_of_the_potential() -> None:
    # The potential gains -(ν/2) df₂/n; its derivatives are taken by differences in 40 digits.
    n, nu, lam = 18, 1.3, 0.8

    def extra(t: list[mp.mpf], penalty: mp.mpf) -> mp.mpf:
        def equation(kappa: mp.mpf) -> mp.mpf:
            return mp.fsum(v / (v + kappa) for v in t) + penalty / kappa - n

        kappa = mp.findroot(equation, mp.mpf(effective_ridge(SPECTRUM, n, lam)))
        return -mp.mpf(nu) / 2 * mp.fsum((v / (v + kappa)) ** 2 for v in t) / n

    with mp.workdps(40):
        t, step = [mp.mpf(float(v)) for v in SPECTRUM], mp.mpf(10) ** -12

        def weighted_shrinkage(penalty: mp.mpf) -> mp.mpf:
            """Return Σ t_i π_i, where π_i = -t_i ∂Λ/∂t_i."""
            total = mp.mpf(0)
            for i, value in enumerate(t):
                up, down = (
                    extra([*t[:i], value * mp.e**move, *t[i + 1 :]], penalty)
                    for move in (step, -step)
                )
                total -= value * (up - down) / (2 * step)
            return total

        wide = mp.mpf(10) ** -6
        variance = (weighted_shrinkage(lam + wide) - weighted_shrinkage(lam - wide)) / (2 * wide)
    gained = risk_factors(SPECTRUM, n, lam, kurtosis=nu).variance
    gained -= risk_factors(SPECTRUM, n, lam).variance
    assert gained == pytest.approx(float(variance), rel=1e-6)


def test_gaussian_features_have_no_excess_kurtosis() -> None:
    for n, ridge in ((12, 0.0), (20, 2.0), (60, 0.0)):
        for order in (1, 2):
            plain = risk_factors(SPECTRUM, n, ridge, order=order)
            zero = risk_factors(SPECTRUM, n, ridge, order=order, kurtosis=0.0)
            assert_allclose(zero.bias, plain.bias)
            assert zero.variance == plain.variance  # same bits: a kurtosis of 0 adds 0
    first = risk_factors(SPECTRUM, 20, 2.0, order=1, kurtosis=3.0)
    plain = risk_factors(SPECTRUM, 20, 2.0, order=1)
    assert first.variance == plain.variance  # same bits: no kurtosis at order 1


def test_the_risk_of_a_head_knows_the_kurtosis() -> None:
    population = Population(np.diag([2.0, 1.0]), [[1.0], [0.5]], [[2.0]])
    factors = risk_factors([2.0, 1.0], 10, kurtosis=3.0)
    found = head_risk(population, 10, kurtosis=3.0)
    omega = float(population.residual_covariance[0, 0])
    assert found.total == pytest.approx(omega * (1.0 + factors.variance))
    assert found.total > head_risk(population, 10).total
