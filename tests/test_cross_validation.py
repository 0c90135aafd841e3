"""Cross-validation scores in closed form, against refits and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from hmmtheory import cross_validation_scores, fit_head

RIDGES = np.geomspace(1e-3, 1e3, 7)


def examples(n, p, q=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x, x @ rng.standard_normal((p, q)) + rng.standard_normal((n, q))


@pytest.mark.parametrize("p", [3, 20, 55])
def test_leave_one_out_is_the_error_of_n_refits(p):
    x, y = examples(20, p)
    refits = np.zeros(RIDGES.size)
    for i in range(20):
        rest = np.arange(20) != i
        for k, lam in enumerate(RIDGES):
            miss = y[i] - x[i] @ fit_head(x[rest], y[rest], lam)
            refits[k] += miss @ miss / 20
    np.testing.assert_allclose(cross_validation_scores(x, y, RIDGES), refits, rtol=1e-8)


def test_leave_one_out_agrees_with_scikit_learn():
    x, y = examples(30, 12)
    peer = RidgeCV(RIDGES, fit_intercept=False, store_cv_results=True).fit(x, y)
    expected = peer.cv_results_.sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(cross_validation_scores(x, y, RIDGES), expected, rtol=1e-8)


@pytest.mark.parametrize("p", [5, 40])
def test_generalised_cross_validation_uses_the_trace_of_the_hat_matrix(p):
    x, y = examples(25, p)
    for lam, score in zip(RIDGES, cross_validation_scores(x, y, RIDGES, kind="gcv"), strict=True):
        hat = x @ np.linalg.solve(x.T @ x + lam * np.eye(p), x.T)
        residual = y - hat @ y
        expected = np.sum(residual**2) / 25 / (1 - np.trace(hat) / 25) ** 2
        assert score == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((np.zeros((0, 2)), np.zeros((0, 1)), [1.0]), "features"),
        ((np.ones((3, 2)), np.ones((4, 1)), [1.0]), "responses"),
        ((np.ones((3, 2)), np.ones((3, 1)), [-1.0]), "ridges"),
        ((np.ones((3, 2)), np.full((3, 1), np.nan), [1.0]), "responses"),
        ((np.ones((3, 2)), np.ones((3, 1)), [1.0], "k-fold"), "kind"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        cross_validation_scores(*arguments)


@pytest.mark.parametrize("shape", [(12, 4), (12, 30), (12, 12), (12, 11)])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("ridge", [1e-9, 1e-2, 1.0, 1e6, 1e12])
def test_leave_one_out_is_n_refits_in_any_units(
    shape: tuple[int, int], intercept: bool, ridge: float
) -> None:
    rng = np.random.default_rng(shape[1])
    x = rng.standard_normal(shape) * np.geomspace(1e-3, 1e3, shape[1])
    y = x @ rng.standard_normal((shape[1], 2)) + 3.0
    errors = []
    for left in range(shape[0]):
        some, labels = np.delete(x, left, 0), np.delete(y, left, 0)
        mean, level = (some.mean(0), labels.mean(0)) if intercept else (0.0, 0.0)
        # Ridge as least squares with rows √λ I below, never through a Gram matrix.
        tall = np.vstack([some - mean, np.sqrt(ridge) * np.eye(shape[1])])
        head = np.linalg.lstsq(tall, np.vstack([labels - level, np.zeros((shape[1], 2))]))[0]
        errors.append(np.square(y[left] - level - (x[left] - mean) @ head).sum())
    found = cross_validation_scores(x, y, [ridge], intercept=intercept)
    np.testing.assert_allclose(found, np.mean(errors), rtol=1e-4 if ridge < 1e-6 else 1e-6)


def test_a_ridge_far_below_the_features_is_no_trouble_for_leave_one_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 60))
    y = 2 * x[:, :1] + 0.5 * rng.standard_normal((30, 1))
    # The minimum-norm head: leave-one-out by the inverse of the Gram matrix.
    inverse = np.linalg.inv(x @ x.T)
    expected = np.mean(np.square((inverse @ y)[:, 0] / np.diag(inverse)))
    np.testing.assert_allclose(cross_validation_scores(x * 1e6, y, [0.01]), [expected], rtol=1e-6)
