"""The closed forms of balanced representations: algebra, and agreement with explicit matrices."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from numpy.testing import assert_allclose

from hmmtheory import GaussianHMM, Population, Representation, risk_curve
from hmmtheory.closed_forms import SYMBOLS, balanced_forms, balanced_risk

d, n, p, rho, s, sigma_u, lam, kappa = SYMBOLS.values()
SIDES = pytest.mark.parametrize("wide", [False, True], ids=["p <= d", "p >= d"])


@pytest.mark.parametrize("ridge", [0.0, 0.3, 50.0])
@pytest.mark.parametrize(("dim", "n_samples"), [(6, 15), (25, 10), (12, 12)])
@pytest.mark.parametrize("noise_std", [1.0, 0.4])
def test_the_closed_form_is_the_risk_of_an_explicit_balanced_model(
    dim: int, n_samples: int, noise_std: float, ridge: float
) -> None:
    chain = GaussianHMM.rotation(dim, 0.8, rng=0)
    sizes = np.arange(41)
    closed = balanced_risk(dim, n_samples, sizes, 0.8, 2.0, noise_std, ridge)
    for size in sizes:
        model = Representation.balanced(dim, int(size), 2.0, noise_std, rng=int(size))
        explicit = risk_curve(chain, model, n_samples, [size], ridge, order=1).risk[0]
        assert_allclose(closed[size], explicit, rtol=1e-8, err_msg=f"p = {size}")


@pytest.mark.parametrize(
    ("dim", "signal", "persistence", "size", "risk"),
    [
        (20, 1.0, 0.9, 10, 19.205),
        (20, 1.0, 0.9, 40, 28.568),
        (20, 1.0, 0.9, 90, 22.149),
        (20, 1.0, 0.9, 240, 8.968),
        (100, 4.0, 0.95, 20, 129.437),
        (100, 4.0, 0.95, 90, 126.720),
        (100, 4.0, 0.95, 600, 60.503),
    ],
)
def test_reference_values(
    dim: int, signal: float, persistence: float, size: int, risk: float
) -> None:
    found = balanced_risk(dim, 60, [size], persistence, signal)[0]
    assert found == pytest.approx(risk, abs=6e-4)


@pytest.mark.parametrize(
    ("dim", "signal", "persistence", "limit"), [(20, 1.0, 0.9, 6.3071), (100, 4.0, 0.95, 56.8344)]
)
def test_the_risk_of_an_endless_model_has_its_reference_value(
    dim: int, signal: float, persistence: float, limit: float
) -> None:
    far = balanced_risk(dim, 60, [10**7, 10**8], persistence, signal)
    assert_allclose(far, limit, atol=2e-4)
    assert abs(far[1] - limit) < abs(far[0] - limit) + 6e-5


def test_reference_optimal_ridges_are_stationary() -> None:
    for size, best, risk in [(20, 592.52, 95.494), (60, 392.52, 85.424)]:
        around = [
            balanced_risk(100, 60, [size], 0.95, 4.0, ridge=best * factor)[0]
            for factor in (0.98, 1.0, 1.02)
        ]
        assert around[1] == pytest.approx(risk, abs=6e-4)
        assert around[1] < min(around[0], around[2])


@pytest.mark.parametrize("name", list(SYMBOLS))
def test_roots_of_squares_of_the_symbols_simplify(name: str) -> None:
    symbol = SYMBOLS[name]
    assert sp.sqrt(symbol**2) == symbol
    assert (symbol + 1).is_positive
    # Only a persistence and a ridge may be zero.
    assert bool(symbol.is_positive) == (name not in ("rho", "lam"))


@SIDES
def test_kappa_solves_its_equation_symbolically(wide: bool) -> None:
    forms = balanced_forms(wide)
    balance = forms.multiplicity * (forms.gain + sigma_u**2) / (forms.gain + sigma_u**2 + kappa) + (
        p - forms.multiplicity
    ) * sigma_u**2 / (sigma_u**2 + kappa)
    assert sp.simplify((balance - n).subs(kappa, forms.kappa)) == 0
    # The polynomial is that equation with the ridge in it.
    ratio = sp.simplify(forms.kappa_equation / (balance + lam / kappa - n))
    assert sp.simplify(ratio) != 0
    assert ratio.subs(lam, 7).equals(ratio.subs(lam, 0))


@SIDES
def test_the_effective_ridge_is_positive_beyond_the_threshold(wide: bool) -> None:
    root = sp.lambdify([d, n, p, s, sigma_u], balanced_forms(wide).kappa)
    for size in (21, 25, 30) if not wide else (35, 60, 1000):
        assert root(30 if not wide else 8, 20, size, 1.5, 0.7) > 0


@SIDES
def test_the_symbols_stand_for_the_moments_of_an_explicit_model(wide: bool) -> None:
    forms, size = balanced_forms(wide), 13 if wide else 5
    values = {d: 8, n: 20, p: size, rho: 0.7, s: 2.0, sigma_u: 0.6}
    population = Population.next_token(
        GaussianHMM.rotation(8, 0.7, rng=0), Representation.balanced(8, size, 2.0, 0.6, rng=1)
    )
    eigenvalues = np.linalg.eigvalsh(population.feature_covariance)
    m, gain = int(forms.multiplicity.subs(values)), float(forms.gain.subs(values))
    assert_allclose(eigenvalues[-m:], gain + 0.36, rtol=1e-10)
    assert_allclose(eigenvalues[:-m], 0.36, rtol=1e-10)
    assert float(forms.residual_trace.subs(values)) == pytest.approx(
        np.trace(population.residual_covariance)
    )
    assert float(forms.head_squared_norm.subs(values)) == pytest.approx(
        np.square(population.head).sum()
    )


def test_both_sides_meet_where_the_size_is_the_dimension() -> None:
    left, right = balanced_forms(False), balanced_forms(True)
    for name in (
        "gain",
        "multiplicity",
        "residual_trace",
        "head_squared_norm",
        "bias_over",
        "variance_over",
        "risk_under",
        "risk_over",
    ):
        gap = (getattr(left, name) - getattr(right, name)).subs(p, d)
        assert sp.simplify(gap) == 0, name


def test_risk_starts_at_the_dimension_and_is_infinite_at_the_threshold() -> None:
    risk = balanced_risk(7, 10, range(14), 0.9)
    assert risk[0] == 7.0
    assert np.isinf(risk[[9, 10, 11]]).all()
    assert np.isfinite(np.delete(risk, [9, 10, 11])).all()


def test_the_first_descent_is_degenerate_where_labels_are_fewer_than_the_theorem_asks() -> None:
    # R5: with c = ρ² s/(s + σ_u²) the slope below min(d, n - 2) has the sign of d - c (n - 1).
    for n_samples in (10, 20, 40, 60, 120):
        for persistence in (0.3, 0.7, 0.95):
            dim = 20
            c = persistence**2 / 2
            risk = balanced_risk(dim, n_samples, range(min(dim, n_samples - 2) + 1), persistence)
            assert (np.sign(np.diff(risk)) == np.sign(dim - c * (n_samples - 1))).all()


@pytest.mark.parametrize(
    ("dim", "n_samples", "size", "signal", "noise"),
    [(20, 60, 62, 1.0, 1e-8), (20, 60, 10**5, 1.0, 1e-8), (20, 1000, 1002, 1.0, 1e-4),
     (20, 60, 62, 1e40, 1.0), (20, 60, 62, 1e-12, 1.0), (100, 60, 90, 1.0, 1e-8)],
)  # fmt: skip
def test_no_digits_are_lost_where_signal_and_noise_are_unlike(
    dim: int, n_samples: int, size: int, signal: float, noise: float
) -> None:
    with mp.workdps(60):
        v, wide = mp.mpf(noise) ** 2, size > dim
        gain, m = (mp.mpf(signal) * size / dim, dim) if wide else (mp.mpf(signal), size)
        top, rest = gain + v, max(size - dim, 0)
        low, high = mp.mpf("1e-60"), mp.mpf("1e60")
        for _ in range(300):
            k = mp.sqrt(low * high)
            more = m * top / (top + k) + rest * v / (v + k) > n_samples
            low, high = (k, high) if more else (low, k)
        df2 = m * (top / (top + k)) ** 2 + rest * (v / (v + k)) ** 2
        r2 = mp.mpf(0.9) ** 2
        left, norm = dim - r2 * m * gain / top, r2 * m * gain / top**2
        bias = norm * k**2 * top / (top + k) ** 2 / (1 - df2 / n_samples)
        right = float(left + bias + left * df2 / (n_samples - df2))
    assert_allclose(balanced_risk(dim, n_samples, [size], 0.9, signal, noise), right, rtol=1e-9)
