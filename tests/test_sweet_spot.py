"""The sweet-spot theorem, the infinite limit and the global optimum, against explicit models."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from hmmtheory import GaussianHMM, Population, Representation, head_risk
from hmmtheory.closed_forms import (
    SYMBOLS,
    balanced_forms,
    balanced_risk,
    global_optimum,
    limit_forms,
    limit_risk,
    sweet_spot,
)


def risk_from_moments(d, n, p, rho, s, sigma_u):
    """Exact R1 from an explicit balanced W, by dense linear algebra alone."""
    w = Representation.balanced(d, p, s, sigma_u, rng=3).weights
    q = np.linalg.qr(np.random.default_rng(4).standard_normal((d, d)))[0]
    covariance = w.T @ w + sigma_u**2 * np.eye(p)
    cross = w.T @ (rho * q)
    omega = np.eye(d) - cross.T @ np.linalg.solve(covariance, cross)
    return np.trace(omega) * (n - 1) / (n - p - 1)


settings_of_a_model = st.tuples(
    st.integers(1, 24),  # d
    st.integers(3, 60),  # n
    st.floats(0.05, 0.999),  # rho
    st.floats(0.01, 30.0),  # s
    st.floats(0.1, 3.0),  # sigma_u
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(settings_of_a_model)
def test_the_sweet_spot_is_the_best_of_every_size_below_the_threshold(model):
    d, n, rho, s, sigma_u = model
    risks = [float(d)] + [risk_from_moments(d, n, p, rho, s, sigma_u) for p in range(1, n - 1)]
    spot = sweet_spot(d, n, rho, s, sigma_u)
    assert spot.risk == pytest.approx(min(risks), rel=1e-9)
    assert risks[spot.size] == pytest.approx(min(risks), rel=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(settings_of_a_model)
def test_the_risk_below_d_is_monotone_in_the_direction_of_the_criterion(model):
    d, n, rho, s, sigma_u = model
    gap = d - rho**2 * s / (s + sigma_u**2) * (n - 1)
    if abs(gap) < 1e-6 * d:
        return
    risks = [float(d)] + [
        risk_from_moments(d, n, p, rho, s, sigma_u) for p in range(1, min(d, n - 2) + 1)
    ]
    assert (np.diff(risks) * np.sign(gap) > -1e-12 * d).all()
    assert sweet_spot(d, n, rho, s, sigma_u).degenerate == (gap > 0)


def test_beyond_d_a_degenerate_curve_keeps_rising():
    assert (np.diff(balanced_risk(30, 40, np.arange(0, 39), 0.9, 1.0)) > 0).all()


def test_at_equality_the_risk_is_flat_up_to_d():
    # c = 1/2 · 1/2 = 1/4 and d = c (n - 1).
    risk = balanced_risk(10, 41, np.arange(0, 11), np.sqrt(0.5), 1.0)
    np.testing.assert_allclose(risk, 10.0, rtol=1e-12)
    assert sweet_spot(10, 41, np.sqrt(0.5), 1.0).size == 0


@pytest.mark.parametrize(
    ("d", "n", "rho", "s", "sigma_u"),
    [(20, 60, 0.9, 1.0, 1.0), (100, 60, 0.95, 4.0, 1.0), (7, 200, 0.4, 0.3, 2.0)],
)
def test_the_infinite_limit_is_what_huge_sizes_tend_to(d, n, rho, s, sigma_u):
    limit = limit_risk(d, n, rho, s, sigma_u)
    gaps = [balanced_risk(d, n, [p], rho, s, sigma_u)[0] - limit for p in (10**5, 10**6, 10**7)]
    assert abs(gaps[2]) < 1e-4 * limit
    # The gap shrinks as 1/p.
    assert gaps[0] / gaps[1] == pytest.approx(10, rel=0.05)


def test_the_limit_has_the_reference_values():
    assert limit_risk(20, 60, 0.9, 1.0) == pytest.approx(6.3071, abs=5e-5)
    assert limit_risk(100, 60, 0.95, 4.0) == pytest.approx(56.8344, abs=5e-5)


def test_the_slope_of_kappa_solves_the_published_quadratic():
    k = sp.Symbol("k", positive=True)
    n, d, s, sigma_u = (SYMBOLS[name] for name in ("n", "d", "s", "sigma_u"))
    published = n * k**2 + (n * s / d - sigma_u**2 - s) * k - sigma_u**2 * s / d
    assert sp.simplify(published.subs(k, limit_forms().slope)) == 0


@pytest.mark.parametrize(("n_over_d", "rho"), [(0.5, 0.6), (0.5, 0.8), (0.8, 0.5), (0.2, 0.73)])
def test_without_feature_noise_infinity_beats_zero_where_the_inequality_says(n_over_d, rho):
    d = 200
    limit = limit_risk(d, int(n_over_d * d), rho, 1.0, noise_std=1e-5)
    assert (limit > d) == (1 - n_over_d < (1 - rho**2) / rho**2)


def test_the_global_optimum_beats_a_scan_of_sizes():
    rng = np.random.default_rng(5)
    phases = set()
    for _ in range(40):
        d, n = int(rng.integers(1, 80)), int(rng.integers(3, 200))
        rho, s = rng.uniform(0.1, 0.99), np.exp(rng.normal(0, 1.5))
        best = global_optimum(d, n, rho, s)
        scan = balanced_risk(d, n, np.unique(np.geomspace(1, 10**6, 200).astype(int)), rho, s)
        assert best.risk <= min(scan.min(), d) * (1 + 1e-6)
        phases.add(best.phase)
    assert {"zero", "infinite"} <= phases


def test_the_closed_residual_is_that_of_an_explicit_model():
    chain = GaussianHMM.rotation(6, 0.8, rng=0)
    for p in (4, 15):
        model = Representation.balanced(6, p, 2.0, 0.5, rng=1)
        population = Population.next_token(chain, model)
        expression = balanced_forms(wide=p > 6).residual_trace
        values = {"d": 6, "p": p, "rho": 0.8, "s": 2.0, "sigma_u": 0.5}
        closed = float(expression.subs({SYMBOLS[name]: v for name, v in values.items()}))
        assert closed == pytest.approx(np.trace(population.residual_covariance), rel=1e-12)
        exact = head_risk(population, 60).total
        assert balanced_risk(6, 60, [p], 0.8, 2.0, 0.5)[0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("function", [sweet_spot, global_optimum, limit_risk])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dim", 0),
        ("dim", 2.5),
        ("n_samples", 0),
        ("persistence", 1.0),
        ("persistence", -0.1),
        ("signal", 0.0),
        ("signal", np.nan),
        ("noise_std", 0.0),
    ],
)
def test_bad_arguments_are_named(function, name, value):
    good = {"dim": 5, "n_samples": 20, "persistence": 0.5, "signal": 1.0, "noise_std": 1.0}
    with pytest.raises(ValueError, match=name):
        function(**{**good, name: value})
