"""Rows of unequal scale: the elliptical theorem against known limits and against simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import linalg

from hmmtheory import Moments
from hmmtheory.factors import elliptical_factors, risk_factors

SPECTRA = {
    "flat": np.ones(30),
    "power law": 1.0 / np.arange(1, 31),
    "two levels": np.repeat([4.0, 0.2], [10, 20]),
}


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize(("n", "ridge"), [(50, 0.0), (20, 0.0), (50, 3.0), (20, 3.0), (30, 0.5)])
@pytest.mark.parametrize("order", [1, 2])
def test_equal_scales_give_gaussian_rows(
    spectrum: NDArray[np.float64], n: int, ridge: float, order: int
) -> None:
    found = elliptical_factors(spectrum, n, [2.0, 2.0, 2.0], ridge, order)
    if ridge == 0.0 and n > 30 and order == 1:
        expected_bias, expected = np.zeros(30), 30 / (n - 30)
    else:
        gaussian = risk_factors(spectrum, n, ridge, order=order)
        expected_bias, expected = gaussian.bias, gaussian.variance
    assert_allclose(found.bias, expected_bias, rtol=1e-9, atol=1e-12)
    assert_allclose(found.variance, np.full(3, expected), rtol=1e-9)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_interpolation_ignores_the_scale_of_rows(spectrum: NDArray[np.float64]) -> None:
    # R12: X⁺E = G⁺D⁻¹E, so that a row's noise counts as its square over τ².
    tau = np.array([0.3, 0.8, 1.5])
    tau /= np.sqrt(np.square(tau).mean())
    found = elliptical_factors(spectrum, 12, tau, order=1)
    gaussian = risk_factors(spectrum, 12, order=1)
    assert_allclose(found.variance, gaussian.variance / tau**2, rtol=1e-9)
    assert_allclose(found.bias, gaussian.bias, rtol=1e-9)


def test_only_the_ratios_of_scales_matter() -> None:
    one, other = (elliptical_factors([2.0, 1.0], 9, s, 0.7) for s in ([1.0, 3.0], [10.0, 30.0]))
    assert_allclose(one.variance, other.variance, rtol=1e-10)
    assert_allclose(one.bias, other.bias, rtol=1e-10)


def test_the_zero_head_and_the_threshold_are_those_of_gaussian_rows() -> None:
    zero = elliptical_factors([2.0, 1.0], 9, [1.0, 3.0], ridge=np.inf)
    assert zero.variance.tolist() == [0.0, 0.0]
    assert zero.bias.tolist() == [2.0, 1.0]
    assert np.isinf(elliptical_factors(np.ones(9), 9, [1.0, 3.0]).variance).all()


def measured(
    t: NDArray[np.float64],
    head: NDArray[np.float64],
    n: int,
    ridge: float,
    spread: float,
    power: float,
    trials: int,
    seed: int,
) -> tuple[float, float]:
    """Return mean excess risk of ridge heads on elliptical rows with noise τ^power, and its SE."""
    rng = np.random.default_rng(seed)
    found = np.empty(trials)
    for trial in range(trials):
        tau = np.exp(spread * rng.standard_normal(n) - spread**2)
        x = tau[:, None] * rng.standard_normal((n, t.size)) * np.sqrt(t)
        y = x @ head + tau**power * rng.standard_normal(n)
        gap = head - x.T @ linalg.solve(x @ x.T + ridge * np.eye(n), y, assume_a="pos")
        found[trial] = t @ gap**2
    return float(found.mean()), float(found.std(ddof=1) / np.sqrt(trials))


@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize(
    ("p", "n", "ridge"), [(60, 120, 1e-7), (180, 120, 0.0), (60, 120, 5.0), (180, 120, 5.0)]
)
def test_theory_agrees_with_heads_trained_on_rows_of_unequal_scale(
    p: int, n: int, ridge: float, power: float
) -> None:
    spread, t = 0.5, 1.0 / np.sqrt(np.arange(1, p + 1))
    head = np.random.default_rng(1).standard_normal(p) / np.sqrt(p)
    mean, error = measured(t, head, n, ridge, spread, power, trials=150, seed=p + int(ridge))
    # A grid of the lognormal law with E τ² = 1, by its quantiles.
    normal = np.random.default_rng(2).standard_normal(100_000)
    tau = np.exp(spread * normal - spread**2)
    found = elliptical_factors(t, n, tau, ridge if ridge > 1e-6 else 0.0)
    theory = found.bias @ head**2 + float((found.variance * tau ** (2 * power)).mean())
    assert abs(theory - mean) < 4 * error + 0.02 * mean
    gaussian = risk_factors(t, n, ridge if ridge > 1e-6 else 0.0)
    flat = gaussian.bias @ head**2 + gaussian.variance * float((tau ** (2 * power)).mean())
    if power == 0.0 and ridge < 1e-6:
        assert abs(flat - mean) > 10 * error


@pytest.mark.parametrize(("p", "scales"), [(120, [1, 1, 1, 0]), (150, [0.5, 1.5, 0]), (10, [2, 0])])
def test_empty_rows_are_no_rows(p: int, scales: list[float]) -> None:
    """The head of minimum norm on 40 rows, of which the empty ones tell nothing."""
    n, rng = 40, np.random.default_rng(p)
    found = elliptical_factors(np.ones(p), n, scales, order=1)
    tau = np.array(scales) / np.sqrt(np.mean(np.square(scales)))
    noise, missed = np.empty((2, 400))
    for trial in range(400):
        x = rng.choice(tau, (n, 1)) * rng.standard_normal((n, p))
        inverse = np.linalg.pinv(x)
        noise[trial], missed[trial] = np.square(inverse).sum(), 1 - np.trace(inverse @ x) / p
    error = noise.std() / 20
    # To first order: the rest is of the order of one over the rows that are left to spare.
    assert found.variance.mean() == pytest.approx(noise.mean(), rel=0.13, abs=4 * error)
    assert found.bias[0] == pytest.approx(missed.mean(), abs=4 * missed.std() / 20 + 1e-9)
    assert found.variance[-1] == 0.0  # same bits: an empty row brings no noise


@pytest.mark.parametrize(("p", "rows", "ridge"), [(8, 15, 0.0), (30, 12, 0.0), (20, 15, 0.3)])
def test_so_many_empty_rows_are_as_many_fewer(p: int, rows: int, ridge: float) -> None:
    # A third of 45 rows, or less, is not empty: the number of them alone counts.
    scales = np.append(np.ones(rows), np.zeros(45 - rows))
    found = elliptical_factors(np.ones(p), 45, scales, ridge)
    square = 45 / rows  # of the rows that are left
    plain = risk_factors(np.full(p, square), rows, ridge)
    assert_allclose(found.bias, plain.bias / square, rtol=1e-9, atol=1e-12)
    assert_allclose(found.variance[:rows].sum() / 45 * square, plain.variance, rtol=1e-9)
    rng = np.random.default_rng([p, rows])
    noise, missed = np.empty((2, 300))
    for trial in range(300):
        x = np.sqrt(square) * rng.standard_normal((rows, p))
        gram = x.T @ x + ridge * np.eye(p)
        head = np.linalg.solve(gram, x.T) if ridge else np.linalg.pinv(x)
        noise[trial], missed[trial] = np.square(head).sum(), np.square(head @ x - np.eye(p)).sum()
    error = noise.std() / 300**0.5
    assert found.variance.mean() == pytest.approx(noise.mean(), rel=0.02, abs=4 * error)
    error = missed.std() / p / 300**0.5
    assert found.bias[0] == pytest.approx(missed.mean() / p, rel=0.02, abs=4 * error + 1e-9)


def test_a_best_ridge_is_found_where_most_rows_are_empty() -> None:
    found = Moments(
        np.ones(30), np.full((30, 1), 30**-0.5), [[0.5]],
        row_scales=[0.0, 1.0], residuals=np.full((2, 1, 1), 0.5),
    )  # fmt: skip
    lam = found.optimal_ridge(40)
    assert found.risk(40, lam).total <= min(found.risk(40, r).total for r in (0.5 * lam, 2 * lam))
    # Rows of twice the square, half as many of them: Theorem 7.1 for those.
    assert lam == pytest.approx(30 * 0.5 / 1.0, rel=0.01)
