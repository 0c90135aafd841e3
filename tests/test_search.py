"""Roots and least values of many functions at once, against SciPy one at a time."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize

from hmmtheory import Moments
from hmmtheory._search import (
    bracket,
    increasing_root,
    minimise_over_ridge,
    nearby_ridge,
    ridge_within,
)
from hmmtheory.factors import (
    effective_ridge,
    elliptical_factors,
    elliptical_factors_of,
    factors_of,
    risk_factors,
)


def test_roots_of_increasing_functions_are_those_of_brent() -> None:
    """Steep and flat ones, and one whose Newton steps run away from its middle."""
    rng = np.random.default_rng(0)
    scale, shift = 10.0 ** rng.uniform(-3, 3, 40), rng.uniform(-5, 5, 40)

    def equation(x: Any) -> Any:
        return np.arctan(scale * (x - shift)), scale / (1 + np.square(scale * (x - shift)))

    found = increasing_root(equation, np.full(40, -9.0), np.full(40, 8.0))
    assert_allclose(found, shift, atol=1e-10)

    def other(x: Any) -> Any:
        return np.expm1(x) + x**3 - scale, np.exp(x) + 3 * x**2

    slow = [optimize.brentq(lambda x, s=s: np.expm1(x) + x**3 - s, -9, 9) for s in scale]
    assert_allclose(increasing_root(other, *bracket(other, np.zeros(40))), slow, atol=1e-10)
    left, right = bracket(other, np.full(40, 5.0))
    assert (other(left)[0] <= 0).all()
    assert (other(right)[0] >= 0).all()


@pytest.mark.parametrize("best", [-20.0, -3.3, 0.123, 7.7])
def test_the_least_of_a_lopsided_valley_is_found(best: float) -> None:
    def excess(ridges: Any) -> Any:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            away = np.log(ridges) - best
            return np.where(np.isfinite(away), np.exp(-0.3 * away) + 0.3 * away, 1e9)

    assert np.log(minimise_over_ridge(excess, 1.0, 1.0)) == pytest.approx(best, abs=1e-6)
    assert np.log(minimise_over_ridge(excess, 1.0, 1.0, roughly=True)) == pytest.approx(
        best, abs=1e-3
    )
    assert np.log(nearby_ridge(excess, np.exp(best + 1.5))) == pytest.approx(best, abs=1e-4)
    for off in (-6.0, 0.04, 6.0):
        found = np.log(ridge_within(excess, np.exp(best + off)))
        assert found == pytest.approx(best, abs=0.01)
    # Beyond three decades it stays within them.
    assert np.log(ridge_within(excess, np.exp(best + 9.0))) == pytest.approx(best + 2.0)


def test_no_ridge_and_no_head_are_among_the_answers() -> None:
    assert minimise_over_ridge(lambda x: x, 1.0, 1.0) == 0.0
    assert np.isinf(minimise_over_ridge(lambda x: 1.0 / np.maximum(x, 1e-300), 1.0, 1.0))

    def dented(ridges: Any) -> Any:
        """Return a valley that is not as deep as no ridge."""
        valley = 2 - np.exp(-np.square(np.log(ridges + 1e-300)))
        return np.where(ridges > 0, valley, 0.0)  # same bits: zero is among what is tried

    assert minimise_over_ridge(dented, 1.0, 1.0) == 0.0


RIDGES = np.array([0.0, 1e-3, 0.3, 7.0, 1e4, np.inf])


@pytest.mark.parametrize("order", [1, 2, "uniform"])
@pytest.mark.parametrize(("p", "n"), [(5, 20), (20, 20), (21, 20), (50, 20)])
def test_many_penalties_at_once_are_one_after_the_other(order: Any, p: int, n: int) -> None:
    t, m = np.geomspace(3, 0.01, p), np.ones(p)
    nu = 0.5 if order != 1 else 0.0
    # The grid on which R17 integrates has one node more or less for another last digit.
    rtol = 1e-7 if order == "uniform" else 1e-11
    bias, variance = factors_of(t, m, n, RIDGES, order, nu)
    scales = np.array([0.2, 0.9, 1.0, 1.4, 0.0])
    rows = elliptical_factors_of(t, n, scales, RIDGES, order)
    assert not rows[1][:, -1].any()  # same bits: an empty row brings no noise
    for k, ridge in enumerate(RIDGES):
        one = risk_factors(t, n, ridge, order=order, kurtosis=0.5)
        assert_allclose(bias[k], one.bias, rtol=rtol, atol=1e-15)
        assert_allclose(variance[k], one.variance, rtol=rtol)
        unequal = elliptical_factors(t, n, scales, ridge, order)
        assert_allclose(rows[0][k], unequal.bias, rtol=rtol, atol=1e-15)
        assert_allclose(rows[1][k], unequal.variance, rtol=rtol)


def test_effective_ridges_solve_their_equation_at_every_scale() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p, n = rng.integers(1, 60, 2)
        t = 10.0 ** rng.uniform(-12, 0, p)
        lam = 10.0 ** rng.uniform(-30, 3)
        kappa = effective_ridge(t, int(n), lam)
        # Summed from the small end: n - df₁ has p - n ones less its own small parts.
        left = n - p + (kappa / (t + kappa)).sum() - lam / kappa
        assert abs(left) < 1e-9 * n


def test_the_best_ridge_near_one_is_the_best_one() -> None:
    rng = np.random.default_rng(2)
    moments = Moments(np.geomspace(2, 0.01, 30), rng.standard_normal((30, 2)) / 6, np.eye(2))
    best = moments.optimal_ridge(25, 2)
    for off in (1e-2, 1.0, 300.0):
        assert moments.optimal_ridge(25, 2, near=off * best) == pytest.approx(best, rel=0.01)
    for bad in (0.0, -1.0, np.inf, np.nan, "near"):
        with pytest.raises(ValueError, match="near"):
            moments.optimal_ridge(25, near=bad)  # type: ignore[arg-type]


def test_a_penalty_far_below_the_mean_eigenvalue_is_found() -> None:
    """The least eigenvalue says how far down to look."""

    def excess(lam: Any) -> Any:
        away = np.log(np.clip(lam, 1e-300, 1e300) / 30.0)
        return np.square(away) / (1.0 + np.square(away))

    assert minimise_over_ridge(excess, 1e21, 10.0) == pytest.approx(30.0, rel=1e-6)


@pytest.mark.parametrize("order", [1, 2, "uniform"])
@pytest.mark.parametrize("noise", [1e-2, 1e-8, 1e-13])
def test_next_to_no_noise_needs_next_to_no_ridge_but_some_at_the_threshold(
    order: Any, noise: float
) -> None:
    found = Moments([1.0], [[1.0]], [[noise]], multiplicities=[30])
    lam = found.optimal_ridge(30, order)
    assert lam == pytest.approx(30 * noise, rel=0.6)  # Theorem 7.1
    assert found.risk(30, lam).total < found.risk(30, 0.0).total == np.inf
