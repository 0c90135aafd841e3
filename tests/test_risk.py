"""The risk formulas against reference values, independent derivations and simulation."""

from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

from hmmtheory import (
    GaussianHMM,
    LinearResponse,
    Population,
    Representation,
    head_risk,
    optimal_ridge,
    risk_curve,
    simulate_head_risk,
)
from hmmtheory.factors import effective_ridge, risk_factors

#: The orders that are sharp for finite n.
HIGHER = (2, "uniform")


def a_population(values: np.ndarray, q: int = 3, seed: int = 0) -> Population:
    """Return a population with that spectrum in a random basis, a random head, anisotropic Ω."""
    rng = np.random.default_rng(seed)
    p = len(values)
    basis = np.linalg.qr(rng.standard_normal((p, p)))[0]
    s = (basis * values) @ basis.T
    head = rng.standard_normal((p, q)) / np.sqrt(p * np.mean(values))
    root = rng.standard_normal((q, q))
    omega = root @ root.T + 0.1 * np.eye(q)
    return Population(s, s @ head, head.T @ s @ head + omega)


SPECTRA: dict[str, Callable[[int], np.ndarray]] = {
    "flat": lambda p: np.ones(p),
    "two levels": lambda p: np.where(np.arange(p) < min(12, p // 2), 10.0, 1.0),
    "power law": lambda p: (1.0 + np.arange(p)) ** -0.7,
    "uniform": lambda p: np.linspace(0.2, 2.0, p),
}


# The reference values.


@pytest.mark.parametrize(
    ("dim", "signal", "persistence", "size", "closed_form", "simulated", "standard_error"),
    [
        (20, 1, 0.9, 10, 19.205, 19.207, 0.031),
        (20, 1, 0.9, 40, 28.568, 28.715, 0.172),
        (20, 1, 0.9, 90, 22.149, 22.584, 0.097),
        (20, 1, 0.9, 240, 8.968, 8.998, 0.016),
        (100, 4, 0.95, 20, 129.437, 129.471, 0.223),
        (100, 4, 0.95, 90, 126.720, 128.874, 0.375),
        (100, 4, 0.95, 600, 60.503, 60.599, 0.023),
    ],
)
def test_balanced_models_have_the_published_risk(
    dim: int,
    signal: float,
    persistence: float,
    size: int,
    closed_form: float,
    simulated: float,
    standard_error: float,
) -> None:
    chain = GaussianHMM.rotation(dim, persistence, rng=0)
    model = Representation.balanced(dim, size, signal=signal, rng=1)
    first = risk_curve(chain, model, 60, [size], order=1).risk[0]
    assert first == pytest.approx(closed_form, abs=6e-4)
    second = risk_curve(chain, model, 60, [size], order=2).risk[0]
    assert abs(second - simulated) < 4 * standard_error


@pytest.mark.parametrize(("size", "ridge", "risk"), [(20, 592.52, 95.494), (60, 392.52, 85.424)])
def test_the_published_optimal_ridge_is_optimal(size: int, ridge: float, risk: float) -> None:
    chain = GaussianHMM.rotation(100, 0.95, rng=0)
    population = Population.next_token(chain, Representation.balanced(100, size, 4.0, rng=1))
    found = optimal_ridge(population, 60, order=1)
    assert found == pytest.approx(ridge, abs=6e-3)
    assert head_risk(population, 60, found, order=1).total == pytest.approx(risk, abs=6e-4)


# R1 and the threshold.


@pytest.mark.parametrize("n", [3, 5, 40])
def test_one_feature_below_the_threshold_costs_the_mean_of_an_inverse_chi_square(n: int) -> None:
    def integrand(x: float) -> float:
        return float(stats.chi2.pdf(x, n) / x)

    # Var B̂ = ω E[1/Σx²] with Σx²/t chi-square; excess = t Var B̂.
    mean = integrate.quad(integrand, 0, 1)[0] + integrate.quad(integrand, 1, np.inf)[0]
    risk = head_risk(Population([[3.0]], [[1.5]], [[2.0]]), n)
    omega = 2.0 - 1.5**2 / 3.0
    assert risk.excess == pytest.approx(omega * mean, rel=1e-7)
    assert risk.total == pytest.approx(omega * (1 + mean), rel=1e-7)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("order", [1, 2])
def test_below_the_threshold_the_risk_knows_the_features_by_their_number_alone(
    name: str, order: int
) -> None:
    n = 30
    for p in (1, 10, 28):
        population = a_population(SPECTRA[name](p))
        risk = head_risk(population, n, order=order)
        s, c = population.feature_covariance, population.cross_covariance
        omega = population.response_covariance - c.T @ np.linalg.inv(s) @ c
        assert_allclose(risk.matrix, omega * (n - 1) / (n - p - 1), rtol=1e-9, atol=1e-12)
        assert np.array_equal(risk.bias, np.zeros((3, 3)))
        assert risk.excess == pytest.approx(np.trace(omega) * p / (n - p - 1), rel=1e-9)


@pytest.mark.parametrize(
    ("p", "n"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (19, 20), (20, 20), (21, 20)]
)
@pytest.mark.parametrize("order", [1, 2])
def test_risk_is_infinite_at_the_threshold(p: int, n: int, order: int) -> None:
    population = a_population(SPECTRA["uniform"](p))
    risk = head_risk(population, n, order=order)
    assert np.isinf(risk.total)
    assert np.isinf(np.diag(risk.variance)).all()
    assert np.isfinite(risk.bias).all()
    assert np.isfinite(head_risk(population, n, ridge=0.1, order=order).total)


@pytest.mark.parametrize(("p", "n"), [(3, 1), (4, 2), (1, 3), (18, 20), (22, 20)])
def test_risk_is_finite_two_steps_from_the_threshold(p: int, n: int) -> None:
    assert np.isfinite(head_risk(a_population(np.linspace(1, 2, p)), n).total)


def test_an_output_without_noise_stays_finite_at_the_threshold() -> None:
    # The first output is a function of the features, so it has nothing to be trained wrong by.
    s, head = np.eye(5), np.ones((5, 2))
    response = head.T @ head + np.diag([0.0, 1.0])
    risk = head_risk(Population(s, s @ head, response), 5)
    assert risk.matrix[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert np.isinf(risk.matrix[1, 1])


def test_risk_without_features_is_the_response_variance() -> None:
    population = a_population(np.ones(4)).truncate(0)
    for ridge in (0.0, 2.0, np.inf):
        risk = head_risk(population, 10, ridge)
        assert_allclose(risk.matrix, population.response_covariance, rtol=1e-14)
        assert risk.excess == 0.0


# R2.


@pytest.mark.parametrize("p", [22, 23, 40, 400])
def test_isotropic_interpolation_has_its_exact_risk(p: int) -> None:
    n, level = 20, 2.5
    population = a_population(np.full(p, level))
    b, omega = population.head, population.residual_covariance
    risk = head_risk(population, n)
    assert_allclose(risk.bias, level * b.T @ b * (1 - n / p), rtol=1e-9, atol=1e-12)
    assert_allclose(risk.variance, omega * n / (p - n - 1), rtol=1e-9, atol=1e-12)
    first = head_risk(population, n, order=1)
    assert_allclose(first.bias, risk.bias, rtol=1e-9, atol=1e-12)
    assert_allclose(first.variance, omega * n / (p - n), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [12, 25])
def test_isotropic_interpolation_agrees_with_wishart_draws(p: int) -> None:
    n, trials = 10, 4000
    rng = np.random.default_rng(1)
    x = rng.standard_normal((trials, n, p))
    inverse = np.linalg.inv(x @ x.transpose(0, 2, 1))
    traces = np.trace(inverse, axis1=1, axis2=2)
    factors = risk_factors([1.0], n, multiplicities=[p])
    if p == 12:  # one moment only: no standard error, but a median below the mean
        assert np.median(traces) < factors.variance
        assert factors.variance == pytest.approx(n, rel=1e-9)
    else:
        assert abs(traces.mean() - factors.variance) < 5 * traces.std() / np.sqrt(trials)


# R3: the deterministic equivalent in dense linear algebra.


def dense_equivalent(
    population: Population, n: int, ridge: float
) -> tuple[float, np.ndarray, np.ndarray]:
    s, b, omega = (
        population.feature_covariance,
        population.head,
        population.residual_covariance,
    )
    p = len(s)

    def balance(kappa: float) -> float:
        return float(np.trace(s @ np.linalg.inv(s + kappa * np.eye(p)))) + ridge / kappa - n

    kappa = optimize.brentq(balance, 1e-9, 1e6, xtol=1e-14, rtol=1e-14)
    resolvent = np.linalg.inv(s + kappa * np.eye(p))
    df2 = np.trace(s @ resolvent @ s @ resolvent)
    bias = kappa**2 * b.T @ resolvent @ s @ resolvent @ b / (1 - df2 / n)
    return kappa, bias, omega * df2 / (n - df2)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(
    ("p", "ridge"), [(30, 0.0), (80, 0.0), (10, 3.0), (20, 0.5), (40, 0.5), (40, 100.0)]
)
def test_first_order_is_the_deterministic_equivalent(name: str, p: int, ridge: float) -> None:
    population = a_population(SPECTRA[name](p))
    kappa, bias, variance = dense_equivalent(population, 20, ridge)
    values = population.spectrum[0]
    assert effective_ridge(values, 20, ridge) == pytest.approx(kappa, rel=1e-9)
    risk = head_risk(population, 20, ridge, order=1)
    assert_allclose(risk.bias, bias, rtol=1e-7, atol=1e-10)
    assert_allclose(risk.variance, variance, rtol=1e-7, atol=1e-10)
    assert_allclose(risk.matrix, population.residual_covariance + bias + variance, rtol=1e-7)


def test_the_effective_ridge_of_equal_eigenvalues_is_the_root_of_a_quadratic() -> None:
    level, p, n, ridge = 2.0, 30, 20, 5.0
    # p t κ + λ (t + κ) = n κ (t + κ)
    roots = np.roots([n, n * level - p * level - ridge, -ridge * level])
    assert effective_ridge([level], n, ridge, [p]) == pytest.approx(roots.max(), rel=1e-12)
    assert effective_ridge([level], n, 0.0, [p]) == pytest.approx(level * (p - n) / n, rel=1e-12)
    assert effective_ridge([level], n, 0.0, [n]) == 0.0


# R3′: an independent implementation, by numerical differentiation of the potential.


def potential(t: list[mp.mpf], lam: mp.mpf, n: int) -> mp.mpf:
    """Return Λ₀ + ½ log(1 - df₂/n) at the κ where Λ₀ is stationary."""

    def balance(kappa: mp.mpf) -> mp.mpf:
        return mp.fsum(x / (x + kappa) for x in t) + lam / kappa - n

    start = optimize.brentq(lambda x: float(balance(mp.mpf(x))), 1e-3, 1e3, rtol=1e-6)
    kappa = mp.findroot(balance, mp.mpf(start))
    df2 = mp.fsum((x / (x + kappa)) ** 2 for x in t)
    first = mp.fsum(mp.log(1 + x / kappa) for x in t) + n * mp.log(kappa) + lam / kappa
    return first + mp.log(1 - df2 / n) / 2


def differentiated(spectrum: list[float], n: int, ridge: float) -> tuple[np.ndarray, float]:
    """Return the bias weights and V₀ + V₁ by central differences in 60 digits."""
    with mp.workdps(60):
        t, lam = [mp.mpf(x) for x in spectrum], mp.mpf(ridge)
        h = mp.mpf(10) ** -15

        def shrinkage(i: int, at: list[mp.mpf], penalty: mp.mpf) -> mp.mpf:
            up, down = list(at), list(at)
            up[i] += h
            down[i] -= h
            slope = (potential(up, penalty, n) - potential(down, penalty, n)) / (2 * h)
            return 1 - at[i] * slope

        up, down = ([x + sign * h * x**2 for x in t] for sign in (1, -1))
        weights, variance = [], mp.mpf(0)
        for i in range(len(t)):
            along = (shrinkage(i, up, lam) - shrinkage(i, down, lam)) / (2 * h)
            weights.append(float(t[i] * shrinkage(i, t, lam) + along))
            rise = shrinkage(i, t, lam + h) - shrinkage(i, t, lam - h)
            variance += t[i] * rise / (2 * h)
        return np.array(weights), float(variance)


@pytest.mark.parametrize(
    ("spectrum", "n", "ridge"),
    [
        ([3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1], 5, 0.0),
        ([5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 3, 0.0),
        ([3.0, 2.0, 1.0, 0.5], 6, 0.4),
        ([3.0, 2.0, 1.0, 0.5, 0.2], 5, 2.0),
        ([3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3], 4, 1.0),
        ([3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3], 4, 100.0),
    ],
)
def test_second_order_is_the_derivative_of_the_potential(
    spectrum: list[float], n: int, ridge: float
) -> None:
    weights, variance = differentiated(spectrum, n, ridge)
    factors = risk_factors(spectrum, n, ridge, order=2)
    assert_allclose(factors.bias, weights, rtol=1e-9)
    if ridge == 0.0:
        first = risk_factors(spectrum, n, order=1).variance
        assert (variance - first) / first < 0.5  # where the geometric form is used
        variance = first**2 / (first - (variance - first))
    assert factors.variance == pytest.approx(variance, rel=1e-9)


def test_the_potential_is_the_expected_log_determinant_up_to_a_vanishing_error() -> None:
    trials, gaps = 20_000, []
    rng = np.random.default_rng(2)
    for n in (3, 12):
        t = np.tile([2.0, 1.0, 0.4], n // 3 * 2)
        x = rng.standard_normal((trials, n, t.size)) * np.sqrt(t)
        draws = np.linalg.slogdet(x @ x.transpose(0, 2, 1) + 1.5 * np.eye(n))[1]
        constant = n * np.log(n) - n  # which no derivative sees
        second = float(potential([mp.mpf(v) for v in t], mp.mpf(1.5), n)) + constant
        error = draws.std() / np.sqrt(trials)
        gaps.append((abs(draws.mean() - second), error))
    assert gaps[0][0] < 0.05
    assert gaps[1][0] < gaps[0][0] / 2 + 3 * gaps[1][1]


# Against simulation.


@pytest.mark.parametrize(
    ("name", "p", "n", "ridge"),
    [
        ("two levels", 10, 30, 0.0),
        ("power law", 60, 30, 0.0),
        ("uniform", 60, 30, 0.0),
        ("power law", 20, 30, 2.0),
        ("two levels", 30, 30, 5.0),
        ("uniform", 50, 30, 10.0),
    ],
)
def test_the_risk_matrix_matches_simulation_entry_by_entry(
    name: str, p: int, n: int, ridge: float
) -> None:
    population = a_population(SPECTRA[name](p), q=3, seed=3)
    simulated = simulate_head_risk(population, n, 600, ridge, rng=4)
    for order in HIGHER:
        theory = head_risk(population, n, ridge, order)
        z = (simulated.matrix - theory.matrix) / simulated.standard_error
        assert np.abs(z).max() < 5
        gap = abs(simulated.total - theory.total)
        assert gap < 5 * simulated.total_standard_error
        # The bound can fail: the residual alone is many standard errors away.
        assert simulated.total - np.trace(theory.noise) > 20 * simulated.total_standard_error


# p - n = ±4 and beyond, n = 40 and 80.
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(
    ("p", "n"), [(36, 40), (44, 40), (50, 40), (160, 40), (76, 80), (84, 80), (120, 80)]
)
def test_the_risk_is_within_one_percent_of_simulation(name: str, p: int, n: int) -> None:
    population = a_population(SPECTRA[name](p), q=1, seed=5)
    simulated = simulate_head_risk(population, n, 200, rng=6)
    error = np.hypot(simulated.bias_standard_error, simulated.variance_standard_error)
    for order in HIGHER:
        theory = head_risk(population, n, order=order)
        assert abs(simulated.parts.total - theory.total) < 0.01 * theory.total + 3 * error


@pytest.mark.parametrize(("p", "n"), [(44, 40), (48, 40)])
def test_variance_is_sharp_beside_the_threshold(p: int, n: int) -> None:
    trials, rng = 400, np.random.default_rng(15)
    white = rng.standard_normal((trials, n, p))
    exact = n / (p - n - 1)  # R2, the mean of the control variate
    control = np.trace(np.linalg.inv(white @ white.transpose(0, 2, 1)), axis1=1, axis2=2)
    for name in ("two levels", "power law", "uniform"):
        t = SPECTRA[name](p)
        x = white * np.sqrt(t)
        back = np.linalg.solve(x @ x.transpose(0, 2, 1), x)
        gain = (np.square(back) * t).sum(axis=(1, 2))
        slope = np.cov(gain, control)[0, 1] / control.var(ddof=1)
        corrected = gain - slope * (control - exact)
        error = corrected.std(ddof=1) / np.sqrt(trials)
        for order in HIGHER:
            theory = risk_factors(t, n, order=order).variance
            assert error < 0.01 * theory
            assert abs(corrected.mean() - theory) < 0.012 * theory + 3 * error
        # where the first order is far off
        assert corrected.mean() > 1.08 * risk_factors(t, n, order=1).variance + 5 * error


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("p", "ridge"), [(20, 0.5), (40, 0.5), (40, 5.0), (100, 5.0)])
def test_with_ridge_it_is_within_one_percent_of_simulation(name: str, p: int, ridge: float) -> None:
    population = a_population(SPECTRA[name](p), q=1, seed=7)
    simulated = simulate_head_risk(population, 40, 200, ridge, rng=8)
    error = np.hypot(simulated.bias_standard_error, simulated.variance_standard_error)
    for order in HIGHER:
        theory = head_risk(population, 40, ridge, order)
        assert abs(simulated.parts.total - theory.total) < 0.01 * theory.total + 3 * error


def test_higher_orders_correct_the_first_where_labels_are_few() -> None:
    population = a_population(SPECTRA["uniform"](28), q=1, seed=9)
    simulated = simulate_head_risk(population, 20, 4000, rng=10)
    error = np.hypot(simulated.bias_standard_error, simulated.variance_standard_error)
    first, *higher = (head_risk(population, 20, order=order).total for order in (1, *HIGHER))
    for total in higher:
        assert abs(total - simulated.parts.total) < 0.01 * total + 3 * error
    assert simulated.parts.total - first > 10 * error


# Spectra with repeated eigenvalues, and curves.


@pytest.mark.parametrize(("n", "ridge"), [(4, 0.0), (20, 0.0), (9, 0.0), (4, 1.0), (20, 1.0)])
@pytest.mark.parametrize("order", [1, 2])
def test_multiplicities_are_repeated_eigenvalues(n: int, ridge: float, order: int) -> None:
    short = risk_factors([3.0, 1.0, 0.2], n, ridge, [1, 4, 6], order)
    long = risk_factors(np.repeat([3.0, 1.0, 0.2], [1, 4, 6]), n, ridge, order=order)
    assert_allclose(np.repeat(short.bias, [1, 4, 6]), long.bias, rtol=1e-10)
    assert short.variance == pytest.approx(long.variance, rel=1e-10)


def a_setting(noise_std: float) -> tuple[GaussianHMM, Representation, LinearResponse]:
    rng = np.random.default_rng(11)
    draw = rng.standard_normal((4, 4))
    chain = GaussianHMM(0.85 * draw / np.abs(np.linalg.eigvals(draw)).max(), noise_std=0.5)
    model = Representation.gaussian(4, 30, signal=2.0, noise_std=noise_std, rng=12)
    return chain, model, LinearResponse(rng.standard_normal((4, 2)), [0.2, 0.9])


@pytest.mark.parametrize("noise_std", [0.8, 0.0])
@pytest.mark.parametrize("label", ["next token", "downstream"])
@pytest.mark.parametrize("ridge", [0.0, 1.5, np.inf])
@pytest.mark.parametrize("order", [1, 2])
def test_the_curve_is_the_risk_of_the_explicit_population_at_every_size(
    noise_std: float, label: str, ridge: float, order: int
) -> None:
    chain, model, response = a_setting(noise_std)
    chosen = response if label == "downstream" else None
    n = 12
    curve = risk_curve(chain, model, n, range(31), ridge, order, chosen)
    for p in range(31):
        small = model.truncate(p)
        population = (
            Population.next_token(chain, small)
            if chosen is None
            else Population.downstream(chain, small, chosen)
        )
        risk = head_risk(population, n, ridge, order)
        for part in ("noise", "bias", "variance"):
            expected = np.trace(getattr(risk, part))
            found = getattr(curve, part)
            assert found is not None
            assert_allclose(found[p], expected, rtol=1e-7, atol=1e-9, err_msg=f"{part} at {p}")
        assert_allclose(curve.risk[p], risk.total, rtol=1e-7)
        assert curve.per_output is not None
        assert_allclose(curve.per_output[p], np.diag(risk.matrix), rtol=1e-7)


def test_a_noiseless_model_beyond_the_dimension_is_no_larger_than_the_dimension() -> None:
    chain, model, _ = a_setting(0.0)
    curve = risk_curve(chain, model, 12, range(31))
    assert_allclose(curve.risk[4:], curve.risk[4], rtol=1e-9)
    assert curve.risk[4] == pytest.approx(4 * 0.25 * 11 / 7, rel=1e-9)


def test_the_curve_does_not_depend_on_which_sizes_are_asked() -> None:
    chain, model, _ = a_setting(0.8)
    for order in HIGHER:
        every = risk_curve(chain, model, 12, range(31), order=order)
        some = risk_curve(chain, model, 12, [3, 20, 30], order=order)
        assert_allclose(some.risk, every.risk[[3, 20, 30]], rtol=1e-11)


# Ridge.


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("p", "n"), [(10, 30), (30, 30), (60, 30)])
@pytest.mark.parametrize("order", [1, *HIGHER])
def test_no_penalty_on_a_fine_grid_beats_the_optimal_one(
    name: str, p: int, n: int, order: int | str
) -> None:
    population = a_population(SPECTRA[name](p))
    best = optimal_ridge(population, n, order)
    lowest = head_risk(population, n, best, order).total
    fine = np.logspace(-4, 6, 401)
    # The uniform order takes ten times as long: far from the best every tenth will do.
    wanted = np.arange(401) % (10 if order == "uniform" else 1) == 0
    grid = [0.0, np.inf, *fine[wanted | (abs(np.log(fine / best)) < 1.0)]]
    risks = [head_risk(population, n, ridge, order).total for ridge in grid]
    assert lowest <= min(risks) * (1 + 1e-12)
    # and the grid comes as close as its spacing allows
    assert min(risks) < lowest * (1 + 1e-4)
    assert abs(np.log(best / grid[int(np.argmin(risks))])) < 0.06


@pytest.mark.parametrize("p", [5, 20, 60])
@pytest.mark.parametrize("level", [0.01, 1.0, 300.0])
def test_isotropic_features_have_their_optimal_ridge_in_closed_form(p: int, level: float) -> None:
    population = a_population(np.full(p, level))
    noise, b = population.residual_covariance, population.head
    expected = p * np.trace(noise) / np.square(b).sum()
    assert optimal_ridge(population, 20, order=1) == pytest.approx(expected, rel=1e-5)


def test_labels_that_nothing_predicts_ask_for_the_zero_head() -> None:
    population = Population(np.eye(3), np.zeros((3, 2)), np.eye(2))
    assert optimal_ridge(population, 10) == np.inf
    assert optimal_ridge(population.truncate(0), 10) == np.inf


def test_noiseless_labels_below_the_threshold_ask_for_no_ridge() -> None:
    head = np.ones((3, 1))
    population = Population(np.eye(3), head, head.T @ head)
    best = optimal_ridge(population, 10)
    assert best == 0.0
    assert head_risk(population, 10, best).excess == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_optimal_ridge_removes_the_peak(order: int) -> None:
    chain, n = GaussianHMM.rotation(30, 0.9, rng=0), 20
    tuned, untuned = [], []
    for p in range(10, 41):
        population = Population.next_token(chain, Representation.balanced(30, p, 4.0, rng=p))
        best = optimal_ridge(population, n, order)
        tuned.append(head_risk(population, n, best, order).total)
        untuned.append(head_risk(population, n, order=order).total)
    assert (np.diff(tuned) < 0).all()
    assert np.isinf(untuned).sum() == 3


@pytest.mark.parametrize(("p", "n"), [(10, 30), (30, 30), (60, 30)])
@pytest.mark.parametrize("order", [1, 2])
def test_an_infinite_ridge_is_the_zero_head_and_a_large_one_nearly(
    p: int, n: int, order: int
) -> None:
    population = a_population(SPECTRA["power law"](p))
    zero = head_risk(population, n, np.inf, order)
    assert_allclose(zero.matrix, population.response_covariance, rtol=1e-10)
    assert np.array_equal(zero.variance, np.zeros((3, 3)))
    assert_allclose(head_risk(population, n, 1e9, order).matrix, zero.matrix, rtol=1e-5)


@pytest.mark.parametrize("name", SPECTRA)
def test_a_vanishing_ridge_leads_to_the_ridgeless_risk_above_the_threshold(name: str) -> None:
    population = a_population(SPECTRA[name](90))
    first, without = (head_risk(population, 30, lam, order=1) for lam in (1e-9, 0.0))
    assert_allclose(first.matrix, without.matrix, rtol=1e-6)
    second, exact = (head_risk(population, 30, lam, order=2) for lam in (1e-9, 0.0))
    assert_allclose(second.bias, exact.bias, rtol=1e-6, atol=1e-9)
    # With ridge V₀ + V₁, without V₀²/(V₀ - V₁): the same up to the third order.
    v0 = np.trace(first.variance)
    v1 = np.trace(second.variance) - v0
    assert np.trace(exact.variance) == pytest.approx(v0**2 / (v0 - v1), rel=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_a_vanishing_ridge_leads_to_the_asymptotic_risk_below_the_threshold(order: int) -> None:
    n, p = 400, 100
    limit = risk_factors(SPECTRA["power law"](p), n, 1e-7, order=order)
    assert np.abs(limit.bias).max() < 1e-6
    # p/(n - p), then p/(n - p) (1 + 1/(n - p)), on the way to p/(n - p - 1).
    first = p / (n - p)
    expected = first if order == 1 else first * (1 + 1 / (n - p))
    assert limit.variance == pytest.approx(expected, rel=1e-6)


def test_risk_prints_its_parts() -> None:
    text = repr(head_risk(Population([[1.0]], [[0.6]], [[1.0]]), 10))
    assert text == "Risk(total=0.72, noise=0.64, bias=0, variance=0.08)"
