"""R17: ridge factors that hold at every ridge, exact for equal variances."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.testing import assert_allclose
from scipy import integrate, optimize, special, stats

from hmmtheory import Moments, Population, Representation, head_risk, risk_curve
from hmmtheory._wishart import cumulated, densities_of, surplus
from hmmtheory.factors import elliptical_factors, risk_factors, uniform_error
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.uniform import Sums, expansion

SPECTRA = {
    "power law": lambda p: 1.0 / np.arange(1, p + 1),
    "two levels": lambda p: np.where(np.arange(p) < p // 2, 1.0, 0.05),
    "log-normal": lambda p: np.exp(stats.norm.ppf((np.arange(p) + 0.5) / p)),
}


def uniform(t: Any, n: int, ridge: float = 0.0, m: Any = None, nu: float = 0.0) -> Any:
    return risk_factors(t, n, ridge, m, order="uniform", kurtosis=nu)


# Exact where all variances are equal.


@pytest.mark.parametrize(("n", "p"), [(1, 3), (2, 4), (10, 12), (20, 23), (30, 60), (100, 110)])
def test_no_ridge_and_equal_variances_give_r2(n: int, p: int) -> None:
    found = uniform([2.0], n, m=[p])
    assert found.variance == pytest.approx(n / (p - n - 1), rel=1e-6)
    assert found.bias[0] == pytest.approx(2.0 * (1 - n / p), rel=1e-9)


@pytest.mark.parametrize("count", [1, 2, 5, 40, 500])
@pytest.mark.parametrize("ridge", [1e-12, 1e-4, 0.3, 20.0])
def test_one_feature_and_one_example_are_integrals_over_chi_squared(
    count: int, ridge: float
) -> None:
    # On a logarithmic axis, where both χ² and the ridge have a scale of their own.
    def mean(f: Any) -> float:
        x = np.linspace(-80.0, 12.0, 40_001)
        density = np.exp(stats.chi2(count).logpdf(np.exp(x)) + x)
        return float(integrate.simpson(density * f(np.exp(x)), x=x))

    t = 1.7
    variance = mean(lambda r: t * t * r / (t * r + ridge) ** 2)
    missed = mean(lambda r: (ridge / (t * r + ridge)) ** 2)
    feature, example = uniform([t], count, ridge), uniform([t], 1, ridge, [count])
    # Exact up to a gap of 30; then the expansion takes over.
    assert feature.variance == pytest.approx(variance, rel=1e-5)
    assert feature.bias[0] == pytest.approx(t * missed, rel=1e-4)
    assert example.variance == pytest.approx(variance, rel=1e-5)
    assert example.bias[0] == pytest.approx(t * (count - 1 + missed) / count, rel=1e-6)


@pytest.mark.parametrize("p", [2, 3, 6])
@pytest.mark.parametrize("ridge", [1e-3, 0.5, 8.0])
def test_two_examples_are_integrals_over_two_eigenvalues(p: int, ridge: float) -> None:
    # The density of the eigenvalues x > y is proportional to (x - y)(xy)^((p-3)/2) e^(-(x+y)/2).
    # With y = x r and r = q², the powers and both edges are smooth.
    z, w = np.polynomial.legendre.leggauss(400)
    q, wq = 0.5 * (1 + z)[:, None], 0.5 * w[:, None]
    u, wu = 4.0 * (1 + z), 4.0 * w  # u² = x
    x = np.square(u)
    y = x * q * q
    weight = (x - y) * (x * q) ** (p - 3.0) * np.exp(-(x + y) / 2) * x * 2 * q * wq * 2 * u * wu
    weight = weight / weight.sum()

    def mean(f: Any) -> float:
        return float((weight * (f(x) + f(y))).sum())

    found = uniform([1.0], 2, ridge, [p])
    assert found.variance == pytest.approx(mean(lambda e: e / (e + ridge) ** 2), rel=1e-6)
    missed = (p - 2 + mean(lambda e: (ridge / (e + ridge)) ** 2)) / p
    assert found.bias[0] == pytest.approx(missed, rel=1e-6)


@pytest.mark.parametrize(("n", "p"), [(20, 20), (20, 21), (40, 30)])
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 5.0])
def test_equal_variances_agree_with_simulation(n: int, p: int, ridge: float) -> None:
    rng = np.random.default_rng(3)
    squares = np.linalg.svd(rng.standard_normal((4000, n, p)), compute_uv=False) ** 2
    draws = (squares / (squares + ridge) ** 2).sum(axis=1)
    error = draws.std() / np.sqrt(draws.size)
    assert abs(uniform([1.0], n, ridge, [p]).variance - draws.mean()) < 4 * error


@pytest.mark.parametrize(
    ("m", "d"), [(1, 0.0), (2, 0.0), (3, 1.0), (8, 2.5), (41, 0.0), (64, 300.0)]
)
def test_the_density_has_the_moments_of_a_wishart_matrix(m: int, d: float) -> None:
    x, densities = densities_of([m], np.array([d]), 1e-3)
    density, p = densities[m][0], m + d
    assert (density >= 0).all()
    exact = [m, m * p, m * p * (m + p + 1), m * p * (m * m + p * p + 3 * m * p + 3 * m + 3 * p + 4)]
    assert_allclose([(density * x**k).sum() for k in range(4)], exact, rtol=1e-10)
    logs = special.digamma((d + np.arange(1, m + 1)) / 2).sum() + m * np.log(2)
    assert (density * np.log(x)).sum() == pytest.approx(logs, abs=1e-6 * m)
    if d > 1:
        assert (density / x).sum() == pytest.approx(m / (d - 1), rel=1e-8)


def test_cumulated_logarithms_obey_their_recursion() -> None:
    for x in (0.3, 1.0, 7.5, 40.0):
        first, second = (a - b for a, b in zip(cumulated(x + 1), cumulated(x), strict=True))
        assert first == pytest.approx(special.polygamma(1, (x + 1) / 2) / 2, rel=1e-9)
        assert second == pytest.approx(special.polygamma(2, (x + 1) / 2) / 4, rel=1e-9)
    # And they are the x log x - x - ½ log x of the first two orders where x is large.
    assert cumulated(1e6)[0] == pytest.approx(np.log(1e6) - 0.5e-6, abs=1e-12)


@pytest.mark.parametrize(
    "place", [(3.0, 7.2, 0.01), (-3.3, 10.4, 0.01), (0.4, 20.3, 1e-4), (-5.1, 90.0, 0.2)]
)
def test_the_hessian_is_the_slope_of_the_gradient(place: tuple[float, float, float]) -> None:
    z, found = np.array(place), surplus(*place)
    for k, step in enumerate(1e-4 * np.array([1.0, 1.0, place[2]])):
        by = step * np.eye(3)[k]
        slope = (surplus(*(z + by)).gradient - surplus(*(z - by)).gradient) / (2 * step)
        assert_allclose(found.hessian[k], slope, rtol=2e-3, atol=2e-3 * abs(found.hessian[k]).max())


@pytest.mark.parametrize("excess", [3.0, -3.0])
def test_where_the_expansion_takes_over_no_derivative_jumps(excess: float) -> None:
    columns = 8.0 - excess / 2  # N + P = 16, so that λ(N + P) can be the switch exactly
    at = 1e-3 / 16
    before, found, after = (
        surplus(excess, columns, ridge) for ridge in (at * (1 - 1e-6), at, at * (1 + 1e-6))
    )
    assert_allclose(before.gradient, after.gradient, rtol=1e-4, atol=1e-6)
    assert_allclose(found.gradient, (before.gradient + after.gradient) / 2, rtol=1e-4, atol=1e-6)


# The orders of the expansion, from exact moments.


def pairings(items: list[int]) -> Any:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for k, other in enumerate(rest):
        for more in pairings(rest[:k] + rest[k + 1 :]):
            yield [(first, other), *more]


def classes(pairs: list[tuple[int, int]]) -> list[set[int]]:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [g for g in groups if g & set(pair)]
        groups = [g for g in groups if not g & set(pair)] + [set(pair).union(*touched)]
    return groups


def exact_moment(k: int, n: Any, s: list[Any]) -> Any:
    """E tr (XXᵀ)^k by Wick's theorem; s[j] is tr S^j."""
    total = 0
    rows = [(j // 2 if j % 2 == 0 else (j + 1) // 2 % k) for j in range(2 * k)]
    columns = [j // 2 for j in range(2 * k)]
    for found in pairings(list(range(2 * k))):
        row_classes = classes([(rows[a], rows[b]) for a, b in found])
        column_classes = classes([(columns[a], columns[b]) for a, b in found])
        term = n ** len(row_classes)
        for group in column_classes:
            # Every pair gives the eigenvalue of its column once.
            term *= s[sum(columns[a] in group for a, _ in found)]
        total += term
    return sp.expand(total)


def test_wick_pairings_give_the_known_moments() -> None:
    n, *s = sp.symbols("n s0:4")
    assert exact_moment(1, n, s) == n * s[1]
    assert sp.expand(exact_moment(2, n, s) - n * (n + 1) * s[2] - n * s[1] ** 2) == 0


def test_three_orders_reproduce_the_exact_moments_symbolically() -> None:
    n, e, *s = sp.symbols("n e s0:5", positive=True)
    top = 3

    def cut(f: Any) -> Any:
        f = sp.expand(f)
        return sum(sp.factor(f.coeff(e, k)) * e**k for k in range(top + 1))

    def power(f: Any, exponent: int) -> Any:
        out = sp.Integer(1)
        for _ in range(exponent):
            out = cut(out * f)
        return out

    def inverse(f: Any) -> Any:
        first = f.coeff(e, 0)
        small = cut(1 - f / first)
        return cut(sum(power(small, k) for k in range(top + 1)) / first)

    def log1p(f: Any) -> Any:
        return cut(sum(-((-1) ** k) * power(f, k) / k for k in range(1, top + 1)))

    # λ = 1/e and κ = λ/a, with a = n - Σ t/(t + κ) a series in e.
    a = n
    for _ in range(top + 1):
        x = cut(e * a)  # 1/κ
        a = cut(n - sum((-1) ** (j + 1) * s[j] * power(x, j) for j in range(1, top + 1)))
    x = cut(e * a)

    def total(shape: Any) -> Any:
        """Σ f(t/(t + κ)), f a polynomial without constant term."""
        u = sp.symbols("u")
        series = sp.series(shape.subs(z, u / (1 + u)), u, 0, top + 1).removeO()
        return cut(
            sum(sp.expand(series).coeff(u, j) * s[j] * power(x, j) for j in range(1, top + 1))
        )

    z = sp.symbols("z")
    b = cut(n - total(z**2))
    y, cube = total(z**2 * (1 - z)), total(z**3 * (1 - z))
    over = inverse(b)
    # Λ - n log λ: log κ = -log e - log a.
    leading = (
        sum(-((-1) ** j) * s[j] * power(x, j) / j for j in range(1, top + 1))
        - n * log1p(cut(a / n - 1))
        - total(z)
    )
    second = log1p(cut(b / n - 1)) / 2
    third = -1 / (12 * n) + over / 12 - y * over**2 / 12
    third += -sp.Rational(7, 6) * y**2 * over**3 + sp.Rational(5, 4) * cube * over**2
    whole = cut(leading + second + cut(third))
    for k in range(1, top + 1):
        exact = -((-1) ** k) * exact_moment(k, n, list(s)) / k
        assert sp.simplify(whole.coeff(e, k) - exact) == 0
    assert sp.simplify(whole.coeff(e, 0)) == 0


def test_the_slopes_of_the_expansion_are_those_of_its_value() -> None:
    def value(a: float, sc2: float, s2c: float, sc3: float, low: float) -> float:
        b, y, cube = a + sc2 + s2c, s2c, sc3 + s2c - sc2
        third = 1 / 12 - y / (12 * b) - 7 / 6 * (y / b) ** 2 + 5 / 4 * cube / b
        return float(0.5 * np.log(b) + third / b)

    place = np.array([3.0, 5.0, 4.0, 2.5, 0.3])
    slopes = [(value(*(place + h)) - value(*(place - h))) / 2e-5 for h in 1e-5 * np.eye(5)]
    a, sc2, s2c, low, sc3 = expansion(Sums(*place))
    assert_allclose([a, sc2, s2c, sc3, low], slopes, atol=1e-9)


# Any spectrum.


def simulated(t: Any, n: int, ridge: float, draws: int, seed: int) -> tuple[Any, Any]:
    """Return means and standard errors of v and of the summed bias weights."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws // 500):
        x = rng.standard_normal((500, n, t.size)) * np.sqrt(t)
        gram = x @ x.transpose(0, 2, 1) + ridge * np.eye(n)
        heads = np.linalg.solve(gram, x)
        left = np.eye(t.size) - x.transpose(0, 2, 1) @ heads
        found.append(
            [(np.square(heads) * t).sum((1, 2)), (np.square(left) * t[:, None]).sum((1, 2))]
        )
    both = np.concatenate(found, axis=1)
    return both.mean(axis=1), both.std(axis=1) / np.sqrt(both.shape[1])


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(
    ("n", "p", "ridge"), [(20, 20, 0.05), (20, 22, 0.01), (20, 26, 1e-3), (30, 24, 0.01)]
)
def test_risk_agrees_with_simulation_where_the_second_order_fails(
    name: str, n: int, p: int, ridge: float
) -> None:
    t = SPECTRA[name](p)
    t = t / t.mean()
    mean, error = simulated(t, n, ridge, 6000, seed=p)
    found = uniform(t, n, ridge)
    # Half a per cent is its own error, seen with many more draws.
    assert abs(found.variance - mean[0]) < 4 * error[0] + 0.005 * mean[0]
    assert abs(found.bias.sum() - mean[1]) < 4 * error[1] + 0.005 * mean[1]


def test_the_second_order_fails_there() -> None:
    t = SPECTRA["power law"](20)
    mean, error = simulated(t, 20, 1e-3 * t.mean(), 6000, seed=1)
    ridge = 1e-3 * t.mean()
    second, found = risk_factors(t, 20, ridge, order=2), uniform(t, 20, ridge)
    assert second.variance < 0.8 * mean[0]
    assert abs(found.variance - mean[0]) < 4 * error[0] + 0.005 * mean[0]


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("p", [10, 17, 18, 22, 30, 60])
def test_a_vanishing_ridge_leads_to_none(name: str, p: int) -> None:
    n, t = 20, SPECTRA[name](p)
    none = uniform(t, n)
    for ridge in (1e-7, 1e-9, 1e-13, 1e-30, 1e-70, 1e-90):
        some = uniform(t, n, ridge * t.mean())
        assert some.variance == pytest.approx(none.variance, rel=30 * ridge**0.5 + 1e-6)
        assert_allclose(some.bias, none.bias, atol=1e-3 * ridge**0.5 + 2e-6)
    if p <= n - 2:
        assert none.variance == pytest.approx(p / (n - p - 1))


@pytest.mark.parametrize("name", SPECTRA)
def test_at_the_threshold_the_variance_grows_as_the_root_of_a_vanishing_ridge(name: str) -> None:
    t = SPECTRA[name](20)
    assert np.isinf(uniform(t, 20).variance)
    grown = [uniform(t, 20, ridge * t.mean()).variance for ridge in (1e-10, 1e-14, 1e-18, 1e-24)]
    assert_allclose(np.divide(*np.array(list(pairwise(grown))).T), [1e-2, 1e-2, 1e-3], rtol=1e-3)


@pytest.mark.parametrize(
    ("t", "n"),
    [
        (SPECTRA["power law"](24), 20),
        (np.repeat([1.0, 0.01], 30), 40),  # the matched data pass from P > N to P < N
        (SPECTRA["power law"](300), 150),  # the expansion takes over
    ],
)
def test_factors_have_no_jump_along_the_ridge(t: Any, n: int) -> None:
    ridges = t.mean() * np.geomspace(1e-3, 50.0, 500)
    values = np.log([[f.variance, f.bias.sum()] for f in (uniform(t, n, lam) for lam in ridges)])
    bends = np.abs(np.diff(values, 2, axis=0))
    assert bends.max() < 1e-3


@pytest.mark.parametrize(
    ("large", "small", "n"), [((7, 1.0), (8, 1e-4), 15), ((1, 1e4), (9, 1.0), 15)]
)
def test_it_is_the_second_order_where_every_feature_is_learned_or_forgotten(
    large: tuple[int, float], small: tuple[int, float], n: int
) -> None:
    # Hardly an eigenvalue is between: the matched data have few columns and much ridge.
    t, m = [large[1], small[1]], [large[0], small[0]]
    mean = float(np.dot(t, m) / np.sum(m))
    for ridge in mean * np.geomspace(0.02, 2.0, 60):
        second, found = risk_factors(t, n, ridge, m, order=2), uniform(t, n, ridge, m)
        assert found.variance == pytest.approx(second.variance, rel=0.025)


def test_factors_have_no_jump_along_the_number_of_features() -> None:
    for p in (17.0, 20.0, 25.0, 40.0):
        near = [uniform([1.0, 0.1], 20, 0.05, [p / 2, p / 2 + by]) for by in (-1e-5, 0.0, 1e-5)]
        for one, other in pairwise(near):
            assert one.variance == pytest.approx(other.variance, rel=1e-4)
            assert_allclose(one.bias, other.bias, rtol=1e-4)


def test_far_from_the_threshold_it_is_the_second_order() -> None:
    for n, p, ridge in ((200, 600, 0.0), (300, 300, 20.0), (400, 200, 5.0)):
        t = SPECTRA["log-normal"](p)
        second, found = risk_factors(t, n, ridge, order=2), uniform(t, n, ridge)
        assert found.variance == pytest.approx(second.variance, rel=3e-4)
        assert_allclose(found.bias, second.bias, rtol=3e-3, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-90, 1e-6, 3.0, 1e80])
@pytest.mark.parametrize("ridge", [0.0, 1e-5, 0.3])
def test_the_unit_of_the_features_does_not_matter(unit: float, ridge: float) -> None:
    t = SPECTRA["power law"](25)
    one, other = uniform(t, 20, ridge), uniform(unit * t, 20, unit * ridge)
    # 1e-9 but for where dividing by the largest eigenvalue rounds otherwise.
    assert other.variance == pytest.approx(one.variance, rel=1e-8)
    assert_allclose(other.bias / unit, one.bias, rtol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
def test_multiplicities_are_repeated_eigenvalues(ridge: float) -> None:
    m = [3, 14, 8]
    short, long = (
        uniform([3.0, 1.0, 0.2], 20, ridge, m),
        uniform(np.repeat([3.0, 1.0, 0.2], m), 20, ridge),
    )
    assert short.variance == pytest.approx(long.variance, rel=1e-7)
    assert_allclose(np.repeat(short.bias, m), long.bias, rtol=1e-6)


@pytest.mark.parametrize("n", [10, 30])
@pytest.mark.parametrize("ridge", [1e-2, 3.0])
def test_kurtosis_adds_what_it_adds_to_the_second_order(n: int, ridge: float) -> None:
    t = SPECTRA["power law"](25)
    plain, heavy = (risk_factors(t, n, ridge, kurtosis=nu) for nu in (0.0, 3.0))
    found, more = (uniform(t, n, ridge, nu=nu) for nu in (0.0, 3.0))
    assert more.variance - found.variance == pytest.approx(
        heavy.variance - plain.variance, rel=1e-6
    )
    assert_allclose(more.bias - found.bias, heavy.bias - plain.bias, atol=1e-9)


def test_kurtosis_has_no_jump_where_the_ridge_vanishes() -> None:
    for n in (40, 20):  # below the threshold and above
        t = SPECTRA["power law"](30)
        none, some = (uniform(t, n, lam, nu=2.0) for lam in (0.0, 1e-10))
        assert some.variance == pytest.approx(none.variance, rel=1e-5)


def test_extremes_are_numbers() -> None:
    wide = np.geomspace(1e-30, 1.0, 40)
    for n in (1, 2, 20, 39, 40, 41, 100):
        for ridge in (0.0, 1e-35, 1e-10, 1.0, 1e10):
            found = uniform(wide, n, ridge)
            assert not np.isnan(found.variance)
            assert np.isfinite(found.bias).all()
            assert found.variance >= 0
    assert uniform([1.0], 5, np.inf).bias.tolist() == [1.0]
    assert uniform(np.empty(0), 5).variance == 0.0


# Where no data of equal variances resemble the spectrum.


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12, 20])
def test_no_spectrum_has_a_negative_factor(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(60):
        p = int(rng.integers(1, 3 * n + 3))
        learned = (
            n + int(rng.integers(-1, 2)) if rng.random() < 0.7 else int(rng.integers(0, p + 1))
        )
        t = np.where(np.arange(p) < learned, 1.0, 10.0 ** -rng.uniform(1, 6))
        ridge = float(rng.choice([0.0, 10.0 ** rng.uniform(-12, 1)])) * t.mean()
        found = uniform(t, n, ridge)
        assert found.variance > 0  # nor NaN
        assert (found.bias >= 0).all()
        # As a share of Σ_y, where labels are their features' sum and have no noise.
        assert Moments(t, np.ones((p, 1)), [[0.0]]).risk(n, ridge).total >= 0


def test_a_gap_at_the_threshold_is_answered_by_the_second_order_and_said_so() -> None:
    # Three features five hundred times as large as six more: R17 alone gives a bias below none.
    t, n = np.r_[np.ones(3), np.full(6, 0.002147)], 4
    assert_allclose(uniform(t, n).bias[:3], risk_factors(t, n, order=2).bias[:3])
    t, n, ridge = np.array([1.0, 0.0129, 0.0129]), 2, 1e-12
    assert uniform(t, n, ridge).variance == risk_factors(t, n, ridge, order=2).variance
    assert uniform_error(t, n, ridge) == 1.0
    error = Moments(t, np.ones((3, 1)), [[1.0]]).risk(n, ridge).relative_error
    assert 0.5 < error <= 1.0


def test_rounding_does_not_move_a_variance() -> None:
    rng = np.random.default_rng(5)
    t, m = np.array([40.9, 17.8, 8.7, 0.49]), np.array([1.0, 1.0, 1.0, 37.0])
    found = uniform(t, 12, 0.0, m).variance
    for _ in range(5):
        other = uniform(t * (1 + 1e-15 * rng.standard_normal(4)), 12, 0.0, m).variance
        assert other == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize(("p", "n"), [(3, 8), (8, 8), (11, 8), (40, 20)])
@pytest.mark.parametrize("signal", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_best_ridge_is_the_least_of_all(name: str, signal: float, p: int, n: int) -> None:
    t = SPECTRA[name](p)
    head = np.random.default_rng(p).standard_normal((p, 1))
    head *= np.sqrt(signal / float(t @ np.square(head[:, 0])))
    moments = Moments(t, head, [[1.0]])

    def risk(log_ridge: float) -> float:
        return float(moments.parts(n, np.exp(log_ridge)).sum())

    grid = np.log(n * t.mean()) + np.linspace(-12.0, 12.0, 49)
    best = grid[int(np.argmin([risk(x) for x in grid]))]
    least = optimize.minimize_scalar(risk, bounds=(best - 0.6, best + 0.6), method="bounded")
    assert risk(np.log(moments.optimal_ridge(n))) <= least.fun * (1 + 1e-6)


# Wherever an order is taken.


def test_every_entry_point_takes_the_uniform_order() -> None:
    chain, model = GaussianHMM.rotation(5, 0.9, rng=0), Representation.gaussian(5, 12, rng=1)
    curve = risk_curve(chain, model, 10, [9, 10, 12], 0.01, order="uniform")
    assert curve.label == "theory"
    for p, risk in zip(curve.sizes, curve.risk, strict=True):
        population = Population.next_token(chain, model.truncate(int(p)))
        assert head_risk(population, 10, 0.01, order="uniform").total == pytest.approx(risk)
        second = head_risk(population, 10, 0.01, order=2).total
        assert abs(second / risk - 1) > 0.005  # this close to the threshold
    moments = Moments(np.ones(12), np.ones((12, 1)), [[1.0]])
    assert moments.optimal_ridge(10, order="uniform") == pytest.approx(1.0, rel=1e-3)  # R7
    scaled = elliptical_factors(np.ones(12), 10, [1.0, 1.0], order="uniform")
    assert_allclose(scaled.variance, uniform(np.ones(12), 10).variance)


@pytest.mark.parametrize("order", [1, 2, "uniform"])
@pytest.mark.parametrize("far", [1e3, 1e9, 1e15, 1e21])
def test_what_no_head_sees_is_noise_however_long_another_direction_is(order: Any, far: Any) -> None:
    # A direction of no variance beside the others is unseen: its signal is amplified as noise is.
    n, small = 40, np.array([1e-7, 1e-12])
    for lam in (0.1 * n, n, 30.0 * n):
        found = risk_factors(far * np.append(1.0, small), n, far * lam, order=order)
        assert_allclose(found.bias[1:] / (far * small), 1.0 + found.variance, rtol=1e-5)
        found = risk_factors(np.append(far, small), n, far * lam, order=order)
        assert_allclose(found.bias[1:] / small, 1.0 + found.variance, rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "large", "small", "tail", "lam"),
    [(12, 11, 24, 1e-4, 2.4e-4), (20, 19, 20, 1e-5, 2e-5), (20, 20, 20, 1e-5, 2e-4)],
)
def test_a_wide_gap_at_the_threshold_is_said(
    n: int, large: int, small: int, tail: float, lam: float
) -> None:
    t, m = np.array([1.0, tail]), np.array([large, small])
    said = risk_factors(t, n, lam, m).variance
    rng, root = np.random.default_rng(n), np.sqrt(np.repeat(t, m))
    found = []
    for _ in range(400):
        x = rng.standard_normal((n, large + small)) * root
        head = np.linalg.solve(x @ x.T + lam * np.eye(n), x)  # (n, p): its transpose is the head
        found.append(np.square(head * root).sum())
    error = uniform_error(t, n, lam, m)
    assert error >= 0.5
    off = abs(said / np.mean(found) - 1)
    assert off < 1.3 * error + 4 * np.std(found) / np.mean(found) / 20
    # Not where no eigenvalues are so far apart, or the gap is elsewhere.
    assert uniform_error(t, n, lam, m - [5, 0]) < 0.3
    assert uniform_error(np.array([1.0, 0.1]), n, lam, m) < 0.5
