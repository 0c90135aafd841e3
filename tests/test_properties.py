"""Symmetries and orderings that hold for every spectrum, size and sample."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hmmtheory import (
    GaussianHMM,
    Population,
    Representation,
    RiskCurve,
    fit_head,
    head_risk,
    optimal_ridge,
    risk_curve,
)
from hmmtheory.factors import risk_factors
from hmmtheory.moments import Risk

modest = settings(deadline=None, derandomize=True, max_examples=40)

counts = st.integers(1, 30)
seeds = st.integers(0, 2**32 - 1)
penalties = st.one_of(st.just(0.0), st.floats(1e-2, 1e3))
orders = st.sampled_from([1, 2])
spectra = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=24).map(np.array)


def a_population(spectrum: np.ndarray, seed: int, q: int = 2) -> Population:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((spectrum.size, spectrum.size)))[0]
    s = (basis * spectrum) @ basis.T
    head, root = rng.standard_normal((spectrum.size, q)), rng.standard_normal((q, q))
    return Population(s, s @ head, head.T @ s @ head + root @ root.T + 0.1 * np.eye(q))


def assert_same(one: Risk, other: Risk, factor: float = 1.0) -> None:
    for part in ("noise", "bias", "variance"):
        left, right = factor * getattr(one, part), getattr(other, part)
        scale = factor * float(np.trace(one.noise + one.bias))
        assert_allclose(right, left, rtol=1e-6, atol=1e-8 * scale, err_msg=part)


@given(spectra, seeds, counts, penalties, orders)
@modest
def test_risk_does_not_depend_on_the_basis_of_the_features(
    spectrum: np.ndarray, seed: int, n: int, ridge: float, order: int
) -> None:
    population = a_population(spectrum, seed)
    p = spectrum.size
    turn = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((p, p)))[0]
    turned = Population(
        turn.T @ population.feature_covariance @ turn,
        turn.T @ population.cross_covariance,
        population.response_covariance,
    )
    assert_same(head_risk(population, n, ridge, order), head_risk(turned, n, ridge, order))


@given(spectra, seeds, counts, penalties, orders, st.floats(0.01, 100.0))
@modest
def test_risk_does_not_depend_on_the_unit_of_the_features(
    spectrum: np.ndarray, seed: int, n: int, ridge: float, order: int, unit: float
) -> None:
    population = a_population(spectrum, seed)
    rescaled = Population(
        unit**2 * population.feature_covariance,
        unit * population.cross_covariance,
        population.response_covariance,
    )
    assert_same(
        head_risk(population, n, ridge, order), head_risk(rescaled, n, unit**2 * ridge, order)
    )


@given(spectra, seeds, counts, penalties, orders, st.floats(0.01, 100.0))
@modest
def test_risk_scales_with_the_square_of_the_response(
    spectrum: np.ndarray, seed: int, n: int, ridge: float, order: int, unit: float
) -> None:
    population = a_population(spectrum, seed)
    rescaled = Population(
        population.feature_covariance,
        unit * population.cross_covariance,
        unit**2 * population.response_covariance,
    )
    assert_same(
        head_risk(population, n, ridge, order), head_risk(rescaled, n, ridge, order), unit**2
    )


@given(spectra, seeds, counts, penalties)
@modest
def test_the_risk_of_a_combined_output_is_the_combined_risk(
    spectrum: np.ndarray, seed: int, n: int, ridge: float
) -> None:
    population, mix = a_population(spectrum, seed), np.array([[1.0], [-2.0]])
    combined = Population(
        population.feature_covariance,
        population.cross_covariance @ mix,
        mix.T @ population.response_covariance @ mix,
    )
    whole, part = head_risk(population, n, ridge), head_risk(combined, n, ridge)
    assert_allclose(part.bias, mix.T @ whole.bias @ mix, rtol=1e-6, atol=1e-8)
    if np.isfinite(whole.total):
        assert_allclose(part.matrix, mix.T @ whole.matrix @ mix, rtol=1e-6, atol=1e-8)
    else:
        assert np.isinf(part.total)


@given(spectra, seeds, counts, penalties, orders, st.integers(1, 20))
@modest
def test_features_without_variance_change_nothing(
    spectrum: np.ndarray, seed: int, n: int, ridge: float, order: int, extra: int
) -> None:
    population, p = a_population(spectrum, seed), spectrum.size
    s = np.zeros((p + extra, p + extra))
    s[:p, :p] = population.feature_covariance
    padded = Population(
        s,
        np.vstack([population.cross_covariance, np.zeros((extra, 2))]),
        population.response_covariance,
    )
    assert_same(head_risk(population, n, ridge, order), head_risk(padded, n, ridge, order))


@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8).map(np.array),
    seeds,
    st.integers(1, 8),
    st.floats(-4.0, 4.0),
)
@modest
def test_useless_features_cost_by_their_number_whatever_their_variance(
    spectrum: np.ndarray, seed: int, extra: int, exponent: float
) -> None:
    population, p, n = a_population(spectrum, seed), spectrum.size, 20
    s = 10.0**exponent * np.eye(p + extra)
    s[:p, :p] = population.feature_covariance
    padded = Population(
        s,
        np.vstack([population.cross_covariance, np.zeros((extra, 2))]),
        population.response_covariance,
    )
    before, after = head_risk(population, n).total, head_risk(padded, n).total
    assert after / before == pytest.approx((n - p - 1) / (n - p - extra - 1), rel=1e-6)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 100.0))
@modest
def test_isotropic_variance_is_the_same_with_features_and_examples_exchanged(
    p: int, n: int, level: float
) -> None:
    one = risk_factors(np.full(p, level), n).variance
    other = risk_factors(np.full(n, level), p).variance
    assert one == pytest.approx(other, rel=1e-9)
    assert np.isinf(one) == (abs(p - n) <= 1)


@given(spectra, seeds)
@modest
def test_more_features_never_leave_a_larger_residual(spectrum: np.ndarray, seed: int) -> None:
    population = a_population(spectrum, seed)
    residuals = [population.truncate(p).residual_covariance for p in range(spectrum.size + 1)]
    for before, after in pairwise(residuals):
        assert np.linalg.eigvalsh(before - after).min() > -1e-9 * np.trace(residuals[0])


@given(spectra, seeds, counts, penalties, orders)
@modest
def test_every_part_of_the_risk_is_positive_semidefinite(
    spectrum: np.ndarray, seed: int, n: int, ridge: float, order: int
) -> None:
    risk = head_risk(a_population(spectrum, seed), n, ridge, order)
    assert np.linalg.eigvalsh(risk.noise).min() > 0
    assert np.linalg.eigvalsh(risk.bias).min() > -1e-9 * np.trace(risk.noise)
    if np.isfinite(risk.total):
        assert np.linalg.eigvalsh(risk.variance).min() >= 0
        assert risk.excess == pytest.approx(risk.total - np.trace(risk.noise), abs=1e-7)


@given(spectra, counts, penalties, orders)
@modest
def test_bias_weights_and_variance_are_never_negative(
    spectrum: np.ndarray, n: int, ridge: float, order: int
) -> None:
    factors = risk_factors(spectrum, n, ridge, order=order)
    assert (factors.bias >= -1e-12).all()
    assert factors.variance >= 0


@given(spectra, seeds, st.integers(1, 15))
@modest
def test_the_optimal_ridge_beats_no_head_and_no_ridge(
    spectrum: np.ndarray, seed: int, n: int
) -> None:
    population = a_population(spectrum, seed)
    best = head_risk(population, n, optimal_ridge(population, n)).total
    zero, none = (head_risk(population, n, ridge).total for ridge in (np.inf, 0.0))
    assert best <= min(zero, none) * (1 + 1e-9)


@given(st.integers(1, 12), st.integers(1, 12), seeds, st.floats(0.1, 10.0))
@modest
def test_a_trained_head_turns_with_its_features(n: int, p: int, seed: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, p)), rng.standard_normal((n, 2))
    turn = np.linalg.qr(rng.standard_normal((p, p)))[0]
    for penalty in (0.0, ridge):
        head = fit_head(x, y, penalty)
        assert_allclose(turn @ fit_head(x @ turn, y, penalty), head, rtol=1e-6, atol=1e-8)


@given(st.integers(1, 6), st.integers(0, 20), st.integers(3, 20), seeds, penalties)
@modest
def test_the_curve_does_not_depend_on_the_basis_of_the_states(
    d: int, size: int, n: int, seed: int, ridge: float
) -> None:
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal((d, d))
    a = 0.8 * draw / np.abs(np.linalg.eigvals(draw)).max()
    w = rng.standard_normal((d, size))
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    one, other = (
        risk_curve(GaussianHMM(matrix, 0.6), Representation(weights), n, range(size + 1), ridge)
        for matrix, weights in ((a, w), (turn.T @ a @ turn, turn.T @ w))
    )
    assert_allclose(other.risk, one.risk, rtol=1e-6)


any_number = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def curves(draw: st.DrawFn) -> RiskCurve:
    sizes = sorted(draw(st.sets(st.integers(0, 10**6), min_size=1, max_size=8)))
    column = st.lists(any_number, min_size=len(sizes), max_size=len(sizes)).map(np.array)
    optional = st.one_of(st.none(), column)
    numbers = st.lists(st.floats(allow_nan=False), min_size=len(sizes), max_size=len(sizes))
    q = draw(st.integers(1, 3))
    return RiskCurve(
        sizes=np.array(sizes),
        risk=draw(
            st.lists(
                st.floats(0, allow_infinity=True), min_size=len(sizes), max_size=len(sizes)
            ).map(np.array)
        ),
        standard_error=np.abs(draw(column)),
        noise=draw(st.one_of(st.none(), numbers.map(np.array))),  # NaN is refused
        bias=draw(optional),
        variance=draw(optional),
        bias_standard_error=draw(optional),
        variance_standard_error=draw(optional),
        per_output=draw(st.one_of(st.none(), st.just(np.ones((len(sizes), q))))),
        n_samples=draw(st.integers(1, 10**6)),
        ridge=draw(st.floats(0, allow_infinity=True)),
        n_trials=draw(st.integers(0, 10**6)),
        label=draw(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    )


ARRAYS = (
    "sizes", "risk", "standard_error", "noise", "bias", "variance", "bias_standard_error",
    "variance_standard_error", "per_output",
)  # fmt: skip


@given(curves())
@modest
def test_a_curve_as_a_table_has_a_row_for_each_size(curve: RiskCurve) -> None:
    table = curve.to_frame()
    assert table.index.name == "size"
    assert table.index.tolist() == curve.sizes.tolist()
    for name in ARRAYS[1:-1]:
        column = getattr(curve, name)
        assert (name in table.columns) == (column is not None)
        if column is not None:
            assert np.array_equal(
                table[name].to_numpy(), column, equal_nan=True
            )  # same bits: copies
    assert "per_output" not in table.columns


def test_a_curve_cannot_be_changed() -> None:
    given_risk = np.array([2.0, 1.0])
    curve = RiskCurve([0, 1], given_risk, [0.0, 0.0])
    given_risk[0] = 9.0
    assert curve.risk[0] == 2.0
    with pytest.raises(ValueError, match="read-only"):
        curve.risk[0] = 3.0
    with pytest.raises(AttributeError):
        curve.risk = given_risk  # type: ignore[misc]
