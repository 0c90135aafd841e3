"""Every public function of features, labels or covariances: what changes nothing changes nothing.

Columns in another unit, shifted, permuted or mixed; rows permuted; labels in another unit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hmmtheory import (
    Moments,
    Population,
    compare,
    cross_validation_scores,
    diagnose,
    fit_head,
    head_risk,
    optimal_ridge,
    predict_accuracy,
    predict_risk,
    recommend,
    resample_risk_curve,
    risk_distribution,
    simulate_head_risk,
)
from hmmtheory.factors import effective_ridge, elliptical_factors, risk_factors, uniform_error
from hmmtheory.practice.report import report_html

Found = dict[str, Any]


class Call(NamedTuple):
    """How a function answers: numbers in the labels' unit squared, numbers without a unit."""

    function: Callable[[np.ndarray, np.ndarray, float], Found]
    intercept: bool = True  # columns may be shifted
    ridge: bool = True  # takes a penalty
    rows: bool = True  # does not draw rows by their place


def of_curve(x: np.ndarray, y: np.ndarray, lam: float, **options: Any) -> Found:
    return {"risk": predict_risk(x, y, 40, [x.shape[1]], lam, **options).risk}


def of_unlabelled(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    found = predict_risk(x[:30], y[:30], 20, [x.shape[1]], lam, unlabelled=x[30:])
    return {"risk": found.risk}


def of_resampling(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    return {"risk": resample_risk_curve(x, y, 25, [x.shape[1]], 3, ridge=lam, rng=0).risk}


def of_best(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    curve = predict_risk(x, y, 40, [x.shape[1]], "optimal")
    assert curve.ridges is not None
    return {"risk": curve.risk, "ridge": curve.ridges}


def of_advice(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    found = recommend(x, y, 40, sizes=[x.shape[1]])
    fitted = np.asarray(found.estimator.predict(x))
    return {"risk": [found.risk, found.standard_error, found.floor, found.baseline],
            "ridge": found.ridge, "label": fitted}  # fmt: skip


def of_findings(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    return {"plain": [finding.value for finding in diagnose(x, y, 25, rng=0).findings]}


def of_comparison(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    half = x.shape[1] // 2
    found = compare({"all": x, "half": x[:, :half]}, y, 40)
    return {"risk": [*found.risk, *np.ravel(found.difference_error)], "plain": found.chance_best}


def of_accuracy(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    classes = np.where(y[:, 0] > np.median(y[:, 0]), "high", "low")
    found = predict_accuracy(x, classes, 40, ridge=lam)
    return {"plain": [found.accuracy, found.standard_error, found.balanced_accuracy]}


def of_left_out(x: np.ndarray, y: np.ndarray, lam: float, intercept: bool = True) -> Found:
    return {"risk": [cross_validation_scores(x, y, [lam], kind, intercept)[0]
                     for kind in ("loo", "gcv")]}  # fmt: skip


def of_fit(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    return {"label": x @ fit_head(x, y, lam)}


def of_samples(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    return of_population(Population.from_samples(x, y), lam)


def of_plain_moments(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    s, c = x.T @ x / len(x), x.T @ y / len(x)
    return of_population(Population(s, c, y.T @ y / len(y)), lam)


def of_population(population: Population, lam: float) -> Found:
    risks = [head_risk(population, 40, lam, order=order).total for order in (1, 2, "uniform")]
    moments: Moments = population.moments
    risks.append(moments.risk(40, lam, intercept=True).total)
    risks.append(float(np.trace(population.residual_covariance)))
    law = risk_distribution(population, 40)
    risks += [law.mean, law.quantile(0.3).item()]
    best = optimal_ridge(population, 40)
    return {"risk": risks, "ridge": best if np.isfinite(best) else 0.0}


def of_draws(x: np.ndarray, y: np.ndarray, lam: float) -> Found:
    s, c = x.T @ x / len(x), x.T @ y / len(x)
    population = Population(s, c, y.T @ y / len(y))
    return {"risk": simulate_head_risk(population, 40, 3, lam, rng=0).total}


CALLS: dict[str, Call] = {
    "predict_risk": Call(of_curve),
    "predict_risk, rows alike": Call(lambda x, y, lam: of_curve(x, y, lam, rows="gaussian")),
    "predict_risk, unlabelled": Call(of_unlabelled, rows=False),
    "predict_risk, best ridge": Call(of_best, ridge=False),
    "resample_risk_curve": Call(of_resampling, rows=False),
    "recommend": Call(of_advice, ridge=False, rows=False),
    "diagnose": Call(of_findings, ridge=False, rows=False),
    "compare": Call(of_comparison, ridge=False, rows=False),
    "predict_accuracy": Call(of_accuracy, rows=False),
    "cross_validation_scores": Call(of_left_out),
    "cross_validation_scores, no intercept": Call(
        lambda x, y, lam: of_left_out(x, y, lam, intercept=False), intercept=False
    ),
    "fit_head": Call(of_fit, intercept=False),
    "Population.from_samples": Call(of_samples),
    "Population": Call(of_plain_moments, intercept=False),
    "simulate_head_risk": Call(of_draws, intercept=False),
}  # fmt: skip
few = settings(deadline=None, derandomize=True, max_examples=3)
seeds = st.integers(0, 10_000)


def a_sample(seed: int, rows: int = 60, p: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Rows without ties, columns of unlike spread, two outputs that are not whole."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, p)) @ (np.eye(p) + 0.3 * rng.standard_normal((p, p)))
    y = x @ rng.standard_normal((p, 2)) / 2 + rng.standard_normal((rows, 2))
    return x - x.mean(axis=0), y - y.mean(axis=0)


def assert_same(one: Found, other: Found, label: float = 1.0, ridge: float = 1.0) -> None:
    """Compare two answers; labels are `label` times as large in the other, penalties `ridge`, or
    0 where the best one changes."""
    units = {"risk": label**2, "label": label, "ridge": ridge, "plain": 1.0}
    for name, values in one.items():
        if name == "ridge" and not ridge:
            continue
        scale = float(np.abs(values).max())
        assert_allclose(
            np.asarray(other[name]) / units[name], values, rtol=1e-6, atol=1e-6 * scale,
            err_msg=name,
        )  # fmt: skip


names = pytest.mark.parametrize("name", CALLS)


@names
@few
@given(seed=seeds, power=st.integers(-30, 30), lam=st.sampled_from([0.0, 0.3, 30.0]))
def test_all_columns_in_another_unit(name: str, seed: int, power: int, lam: float) -> None:
    (x, y), c = a_sample(seed), 10.0**power
    call = CALLS[name]
    lam = lam if call.ridge else 0.0
    assert_same(call.function(x, y, lam), call.function(x * c, y, lam * c * c), ridge=c * c)


@pytest.mark.parametrize("name", [k for k, call in CALLS.items() if call.ridge])
@few
@given(seed=seeds, powers=st.lists(st.integers(-12, 12), min_size=6, max_size=6))
def test_single_columns_in_other_units_without_ridge(
    name: str, seed: int, powers: list[int]
) -> None:
    x, y = a_sample(seed)
    call = CALLS[name]
    assert_same(
        call.function(x, y, 0.0), call.function(x * 10.0 ** np.array(powers), y, 0.0), ridge=0
    )


@pytest.mark.parametrize("name", [k for k, call in CALLS.items() if call.ridge])
@few
@given(seed=seeds)
def test_columns_mixed_without_ridge(name: str, seed: int) -> None:
    x, y = a_sample(seed)
    mixed = x @ (np.eye(6) + np.triu(np.random.default_rng(seed).uniform(-1, 1, (6, 6)), 1))
    call = CALLS[name]
    assert_same(call.function(x, y, 0.0), call.function(mixed, y, 0.0), ridge=0)


@pytest.mark.parametrize("name", [k for k, call in CALLS.items() if call.intercept])
@few
@given(seed=seeds, shift=st.floats(-1e6, 1e6), lam=st.sampled_from([0.0, 3.0]))
def test_columns_shifted(name: str, seed: int, shift: float, lam: float) -> None:
    x, y = a_sample(seed)
    call = CALLS[name]
    lam = lam if call.ridge else 0.0
    moved = x + shift * np.array([1.0, 0.0, -1.0, 0.5, 1.0, 0.1]) * x.std(axis=0)
    assert_same(call.function(x, y, lam), call.function(moved, y, lam))


@names
@few
@given(seed=seeds, lam=st.sampled_from([0.0, 3.0]))
def test_columns_and_rows_permuted(name: str, seed: int, lam: float) -> None:
    x, y = a_sample(seed)
    call, rng = CALLS[name], np.random.default_rng(seed)
    lam, columns = (lam if call.ridge else 0.0), rng.permutation(6)
    if name == "compare":  # whose other features are the first half
        columns = np.array([2, 0, 1, 5, 3, 4])
    answer = call.function(x, y, lam)
    assert_same(answer, call.function(x[:, columns], y, lam))
    if call.rows:
        rows = rng.permutation(len(x))
        permuted = call.function(x[rows], y[rows], lam)
        if "label" in permuted:
            permuted["label"] = permuted["label"][np.argsort(rows)]
        assert_same(answer, permuted)


@names
@few
@given(seed=seeds, power=st.integers(-12, 12), shift=st.floats(-1e3, 1e3))
def test_labels_in_another_unit(name: str, seed: int, power: int, shift: float) -> None:
    (x, y), c = a_sample(seed), 10.0**power
    call = CALLS[name]
    moved = c * (y + (shift if call.intercept and "label" not in call.function(x, y, 0.3) else 0.0))
    assert_same(call.function(x, y, 0.3), call.function(x, moved, 0.3), label=c)


@few
@given(
    seed=seeds, c=st.sampled_from([1e-9, 1.0, 1e9]), n=st.integers(2, 30),
    lam=st.sampled_from([0.0, 1e-3, 1.0]), order=st.sampled_from([1, 2, "uniform"]),
)  # fmt: skip
def test_eigenvalues_in_another_unit(seed: int, c: float, n: int, lam: float, order: Any) -> None:
    rng = np.random.default_rng(seed)
    t, scales = rng.uniform(0.1, 3.0, 8), rng.uniform(0.5, 2.0, 9)
    shuffled = rng.permutation(8)
    for call in (risk_factors, elliptical_factors):
        extra: Any = {"row_scales": scales} if call is elliptical_factors else {}
        if extra and order == "uniform":
            continue
        one = call(t, n, ridge=lam, order=order, **extra)
        other = call(c * t[shuffled], n, ridge=c * lam, order=order, **extra)
        assert_allclose(other.bias, c * one.bias[shuffled], rtol=1e-6)
        assert_allclose(other.variance, one.variance, rtol=1e-6)
    assert_allclose(effective_ridge(c * t, n, c * lam), c * effective_ridge(t, n, lam), rtol=1e-6)
    assert_allclose(uniform_error(c * t, n, c * lam), uniform_error(t, n, lam), rtol=1e-6)


def exact_head(x: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """Return Xᵀ(XXᵀ + λI)⁻¹Y in 80 digits, at once the ridge and the minimum-norm head."""
    with mpmath.workdps(80):
        rows = mpmath.matrix(x.tolist())
        kernel = rows * rows.T + lam * mpmath.eye(len(x))
        solved = rows.T * mpmath.lu_solve(kernel, mpmath.matrix(y.tolist()))
        return np.array([float(solved[j]) for j in range(x.shape[1])])


@pytest.mark.parametrize(("rows", "p", "ridge"), [(7, 12, 0.0), (7, 12, 1.0), (9, 4, 1.0)])
@few
@given(seed=seeds, powers=st.lists(st.integers(-9, 9), min_size=12, max_size=12))
def test_columns_in_other_units_where_it_matters(
    rows: int, p: int, ridge: float, seed: int, powers: list[int]
) -> None:
    rng = np.random.default_rng(seed)  # not centred, which would cost a row
    x, y = rng.standard_normal((rows, p)), rng.standard_normal((rows, 2))
    x, y = x * 10.0 ** np.array(powers[:p]), y[:, 0]
    lam = ridge * float(np.median(np.square(x).sum(axis=0)))
    fitted, head = fit_head(x, y, lam), exact_head(x, y, lam)
    own = np.sqrt(np.square(x).sum(axis=0))
    scale = float(np.abs(head * own).max())
    assert_allclose(fitted * own, head * own, rtol=1e-6, atol=1e-6 * scale)
    refits = [y[k] - x[k] @ exact_head(np.delete(x, k, 0), np.delete(y, k), lam)
              for k in range(rows)]  # fmt: skip
    if lam > 0:
        scores = cross_validation_scores(x, y[:, None], [lam])
        assert_allclose(scores[0], np.mean(np.square(refits)), rtol=1e-6)


def test_the_report_says_the_same_in_other_units() -> None:
    x, y = a_sample(0)
    pages = [report_html(x * c, y[:, :1], 40) for c in (1.0, 4.0)]
    tables = [page.partition("<table>")[2].partition("</table>")[0] for page in pages]
    assert tables[0] == tables[1] != ""
