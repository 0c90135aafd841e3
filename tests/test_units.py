"""Numbers don't depend on the units of a column, and hidden faults of large ones are seen."""

from typing import Any

import numpy as np
import pytest
from mpmath import mp
from numpy.testing import assert_allclose
from scipy import linalg

from hmmtheory import (
    GaussianHMM,
    Moments,
    Population,
    Representation,
    fit_head,
    head_risk,
    predict_risk,
    resample_risk_curve,
    risk_curve,
    simulate_head_risk,
    simulate_risk_curve,
)
from hmmtheory._linalg import covariance_spectrum, principal_directions, singular_system, thin_svd

UNITS = [[1e6, 1, 1], [1e12, 1, 1e-12], [1, 1e-9, 1e4], [1e-6, 1e6, 1]]


@pytest.mark.parametrize("units", UNITS)
def test_a_prediction_without_ridge_does_not_know_units(units: list[float]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 3))
    y = x[:, 1] + 0.5 * rng.standard_normal(300)
    found = predict_risk(x * units, y, 50, [3]).risk
    assert_allclose(found, predict_risk(x, y, 50, [3]).risk, rtol=1e-8)
    measured = resample_risk_curve(x * units, y, 50, [3], 5, rng=1).risk
    assert_allclose(measured, resample_risk_curve(x, y, 50, [3], 5, rng=1).risk, rtol=1e-8)


def test_a_million_in_one_column_costs_no_direction() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 3))
    y = x[:, 1] + 0.5 * rng.standard_normal(1000)
    assert_allclose(predict_risk(x * [1e6, 1, 1], y, 50, [3]).risk, 0.276, atol=5e-4)
    # Noise 1/4 and three features: what least squares pays, with an intercept.
    assert_allclose(0.25 * (50 + 1) / 50 * 48 / 45, 0.276, rtol=0.06)


@pytest.mark.parametrize(("rows", "p"), [(40, 6), (12, 30)])
def test_variances_of_any_size_have_all_their_digits(rows: int, p: int) -> None:
    rng = np.random.default_rng(p)
    x = rng.standard_normal((rows, p)) * np.geomspace(1e-6, 1e6, p)
    x -= x.mean(axis=0)
    values, vectors = principal_directions(x)
    with mp.workdps(60):
        exact = mp.matrix(x.tolist())
        product = exact.T * exact if p < rows else exact * exact.T
        known = sorted((float(t) for t in mp.eigsy(product, eigvals_only=True)), reverse=True)
    assert values.size == min(p, rows - 1)
    assert_allclose(values, np.array(known)[: values.size] / (rows - 1), rtol=1e-11)
    assert_allclose(vectors.T @ vectors, np.eye(values.size), atol=1e-13)


def test_a_covariance_in_any_units_has_all_its_eigenvalues() -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((5, 5)) + 3 * np.eye(5)
    s = w.T @ w * np.outer(scales := np.array([1e7, 1.0, 1e-5, 1e3, 1e-2]), scales)
    values = covariance_spectrum(s)[0]
    with mp.workdps(60):
        known = sorted(map(float, mp.eigsy(mp.matrix(s.tolist()), eigvals_only=True)), reverse=True)
    assert_allclose(values, known, rtol=1e-9)


def test_a_population_keeps_a_small_feature_beside_a_huge_one() -> None:
    population = Population(np.diag([1e14, 1.0]), [[5e6], [0.8]], [[1.0]])
    # Ω = 1 - 0.25 - 0.64, and R1.
    assert_allclose(head_risk(population, 50).total, 0.11 * 49 / 47)


def test_a_huge_entry_hides_no_impossible_one() -> None:
    with pytest.raises(ValueError, match="cross_covariance must not exceed"):
        Population([[1.0]], [[0.0, 2.0]], np.diag([1e12, 1.0]))
    with pytest.raises(ValueError, match="feature_covariance must be positive semidefinite"):
        Population(np.diag([1e12, -1.0]), [[0.0], [0.0]], [[1.0]])
    with pytest.raises(ValueError, match="response_covariance must be symmetric"):
        Population([[1.0]], [[0.0, 0.0]], [[1e12, 0.3], [0.1, 1.0]])


def test_theory_and_simulation_agree_on_a_feature_with_a_huge_weight() -> None:
    chain = GaussianHMM.rotation(4, 0.9, rng=0)
    model = Representation.gaussian(4, 4, rng=1)
    model = Representation(model.weights * [1e6, 1, 1, 1], 1.0)
    sizes = [1, 2, 3, 4]
    theory = risk_curve(chain, model, 30, sizes).risk
    populations = [Population.next_token(chain, model.truncate(p)) for p in sizes]
    assert_allclose([head_risk(p, 30).total for p in populations], theory, rtol=1e-6)
    trained = simulate_risk_curve(chain, model, 30, sizes, 200, rng=3)
    assert (np.abs(trained.risk - theory) < 4 * trained.standard_error).all()
    one = simulate_head_risk(populations[-1], 30, 200, rng=4)
    assert abs(one.total - theory[-1]) < 4 * one.total_standard_error


def test_degrees_in_two_scales_are_no_trouble_for_measured_risks() -> None:
    rng = np.random.default_rng(0)
    celsius = rng.normal(15, 8, 1000)
    x = np.column_stack([celsius, np.round(1.8 * celsius + 32, 9)])
    y = rng.standard_normal(1000)
    noise = resample_risk_curve(x, y, 20, [2], 60, rng=1)
    # Two directions of noise, however thin one is: R1 with an intercept.
    expected = 21 / 20 * 18 / 16
    assert abs(noise.risk[0] / np.var(y) - expected) < 4 * noise.standard_error[0]
    exact = resample_risk_curve(x[:, :1], celsius, 20, [1], 5, rng=1).risk
    assert 0 <= exact[0] < 1e-20  # same bits: a mean of squares


@pytest.mark.parametrize("units", UNITS)
def test_a_head_in_other_units_gives_the_same_fit(units: list[float]) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))
    assert_allclose((x * units) @ fit_head(x * units, y), x @ fit_head(x, y), atol=1e-12)


def test_a_singular_system_is_of_columns_as_they_are_not_centred() -> None:
    x = 10.0 + np.random.default_rng(0).standard_normal((9, 4))
    _, s, right = singular_system(x)
    assert_allclose(s, np.linalg.svd(x, compute_uv=False), rtol=1e-9)
    assert_allclose(np.square(x @ right.T).sum(axis=0), np.square(s), rtol=1e-9)


def test_a_decomposition_that_does_not_converge_is_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Seen with OpenBLAS's SkylakeX kernel: 200 rows of a language model, three times each.
    x = np.repeat(np.random.default_rng(3).standard_normal((20, 9)), 3, axis=0)
    real: Any = linalg.svd

    def stubborn(*given: Any, lapack_driver: str = "gesdd", **options: Any) -> Any:
        if lapack_driver == "gesdd":
            raise linalg.LinAlgError("SVD did not converge")
        return real(*given, lapack_driver=lapack_driver, **options)

    monkeypatch.setattr(linalg, "svd", stubborn)
    u, s, vt = thin_svd(x)
    assert_allclose((u * s) @ vt, x, atol=1e-13)
    assert_allclose(s**2, np.linalg.eigvalsh(x.T @ x)[::-1], rtol=1e-10)
    assert_allclose(fit_head(x, x[:, :1]), np.eye(9)[:, :1], atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*can't judge")
@pytest.mark.parametrize(("rows", "p"), [(12, 20), (30, 60), (40, 40), (60, 20)])
@pytest.mark.parametrize("shift", [100.0, 1e4, 1e8])
def test_where_features_lie_does_not_matter(rows: int, p: int, shift: float) -> None:
    rng = np.random.default_rng([rows, p])
    x = rng.standard_normal((rows, p))
    y = x.sum(axis=1) / p**0.5 + rng.standard_normal(rows)
    one = np.zeros(p)
    one[0] = shift
    plain = Moments.from_samples(x, y)
    assert plain.eigenvalues.size == min(rows - 1, p)
    for moved in (x + shift, x + one):
        found = Moments.from_samples(moved, y)
        assert_allclose(found.eigenvalues, plain.eigenvalues, rtol=1e-13 * shift + 1e-9)
        for n in (rows // 2, rows + 5):
            there, here = (m.risk(n, intercept=True).total for m in (found, plain))
            assert there == pytest.approx(here, rel=1e-12 * shift + 1e-7)


@pytest.mark.parametrize("unit", [1e-30, 1e-10, 1e-3, 1.0, 1e6, 1e20])
@pytest.mark.parametrize("noise", [1e-6, 1e-2, 1.0, 1e4, 1e8])
def test_what_a_filter_knows_does_not_depend_on_units(unit: float, noise: float) -> None:
    rotation = GaussianHMM.rotation(6, 0.9, 0).transition
    shear = np.triu(np.random.default_rng(0).standard_normal((4, 4)), 1) + 0.3 * np.eye(4)
    for transition in (rotation, shear, np.array([[0.9]]), np.zeros((2, 2))):
        found = GaussianHMM(transition, unit).filter_covariance(unit * noise) / unit**2
        plain = GaussianHMM(transition, 1.0)
        # The recursion over many tokens has forgotten where it began.
        expected = plain.filter_covariance(noise, 600)
        assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
        assert (np.diag(found) > 0).all()
