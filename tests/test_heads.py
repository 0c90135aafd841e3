"""Trained heads against other solvers, and the nested path against dense formulas."""

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge

from hmmtheory import fit_head
from hmmtheory._nested import nested_conditional, nested_path


def some_data(n: int, p: int, q: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)), rng.standard_normal((n, q))


@pytest.mark.parametrize(("n", "p"), [(1, 1), (8, 3), (8, 8), (8, 20), (1, 5), (5, 1)])
def test_the_head_without_ridge_is_the_least_squares_head_of_minimum_norm(n: int, p: int) -> None:
    x, y = some_data(n, p)
    head = fit_head(x, y)
    assert head.shape == (p, 2)
    assert_allclose(head, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-9, atol=1e-11)
    assert_allclose(head, np.linalg.pinv(x) @ y, rtol=1e-9, atol=1e-11)


def test_collinear_features_get_the_head_of_minimum_norm() -> None:
    x, y = some_data(10, 3, seed=1)
    x = np.hstack([x, x[:, :1], x @ [[1.0], [1.0], [-2.0]]])
    expected = np.linalg.pinv(x, rcond=1e-12) @ y
    assert_allclose(fit_head(x, y), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("n", "p"), [(8, 3), (8, 8), (8, 20)])
@pytest.mark.parametrize("ridge", [1e-3, 0.5, 40.0])
def test_ridge_is_the_alpha_of_scikit_learn(n: int, p: int, ridge: float) -> None:
    x, y = some_data(n, p, seed=2)
    peer = Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(x, y)
    assert_allclose(fit_head(x, y, ridge), peer.coef_.T, rtol=1e-9, atol=1e-11)
    normal = np.linalg.solve(x.T @ x + ridge * np.eye(p), x.T @ y)
    assert_allclose(fit_head(x, y, ridge), normal, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("n", "p"), [(12, 4), (4, 12)])
def test_gradient_descent_from_zero_converges_to_the_head(n: int, p: int) -> None:
    x, y = some_data(n, p, seed=3)
    head = np.zeros((p, 2))
    step = 1 / np.linalg.norm(x, 2) ** 2
    for _ in range(20_000):
        head -= step * x.T @ (x @ head - y)
    assert_allclose(fit_head(x, y), head, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("ridge", [False, True])
def test_nearly_collinear_columns_cost_no_more_digits_than_the_features_last_ones(
    ridge: bool,
) -> None:
    """Against sixty digits, and against what one unit in the last place makes of these."""
    rng = np.random.default_rng(1)

    def slow(x: Any, y: Any, lam: float) -> Any:
        with mp.workdps(60):
            a, b = mp.matrix(x.tolist()), mp.matrix(y.tolist())
            return np.array(
                (mp.inverse(a.T * a + lam * mp.eye(a.cols)) * (a.T * b)).tolist(), float
            )

    for n, p in [(12, 6), (12, 9), (30, 8)] * 8:
        x, y, digits = rng.standard_normal((n, p)), rng.standard_normal((n, 2)), rng.uniform(3, 11)
        x[:, 1] = x[:, 0] + 10.0**-digits * rng.standard_normal(n)
        lam = 10.0 ** rng.uniform(-2 * digits, 0) if ridge else 0.0
        right = slow(x, y, lam)
        error = np.abs(fit_head(x, y, lam) - right).max()
        moved = 0.0
        if ridge:
            near = x * (1 + 2.0**-52 * rng.choice([-1, 1], x.shape))
            moved = np.abs(slow(near, y, lam) - right).max()
        assert error < 100 * moved + 1e-9 * np.abs(right).max()


def test_a_vanishing_ridge_leads_to_the_head_of_minimum_norm() -> None:
    x, y = some_data(5, 9, seed=4)
    gaps = [np.abs(fit_head(x, y, ridge) - fit_head(x, y)).max() for ridge in (1e-2, 1e-4, 1e-6)]
    assert gaps[1] < gaps[0] / 50
    assert gaps[2] < gaps[1] / 50


def test_one_response_may_come_as_a_vector() -> None:
    x, y = some_data(6, 3, seed=5)
    flat = fit_head(x, y[:, 0], ridge=0.1)
    assert flat.shape == (3,)
    assert_allclose(flat, fit_head(x, y[:, :1], ridge=0.1)[:, 0])


def test_no_features_give_an_empty_head_and_no_signal_a_zero_head() -> None:
    assert fit_head(np.empty((4, 0)), np.ones((4, 3))).shape == (0, 3)
    assert np.array_equal(fit_head(np.zeros((4, 2)), np.ones((4, 1))), np.zeros((2, 1)))


def test_a_huge_ridge_shrinks_the_head_to_zero() -> None:
    x, y = some_data(6, 3, seed=6)
    assert_allclose(fit_head(x, y, 1e12) * 1e12, x.T @ y, rtol=1e-9)


# Sizes on both sides of n = 20: the QR side, the threshold, dual QR, Cholesky, Woodbury steps
# (small steps) and refreshed factors (large ones).
PATHS = {
    "every size near the threshold": [0, 1, 2, 7, 19, 20, 21, 22, 23, 24, 25],
    "small steps": [5, 30, 32, 35, 37, 40, 43, 46, 49, 52, 55, 58, 60],
    "large steps": [0, 10, 40, 60],
    "one size alone, above": [47],
    "one size alone, below": [11],
    "nothing": [0],
}


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.7, 300.0])
@pytest.mark.parametrize("sizes", PATHS.values(), ids=PATHS.keys())
def test_every_head_of_the_nested_path_equals_its_dense_formula(
    sizes: list[int], ridge: float
) -> None:
    n, total, d, q = 20, 60, 3, 2
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((n, total)), rng.standard_normal((n, q))
    w, k = rng.standard_normal((d, total)), rng.standard_normal((d, q))
    asked: list[tuple[int, int]] = []

    def columns(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return x[:, start:stop].copy()

    plain = list(nested_path(columns, w, y.copy(), np.array(sizes), ridge))
    # In order and without gaps: whoever draws the columns draws each once.
    assert [start for start, _ in asked] == [0, *(stop for _, stop in asked[:-1])]
    averaged = nested_conditional(columns, w, n, np.array(sizes), ridge)
    for p, fit, mean in zip(sizes, plain, averaged, strict=True):
        xp, wp = x[:, :p], w[:, :p]
        # Ridge is least squares on p further rows √λ I, whose responses are zero.
        back = np.linalg.pinv(np.vstack([xp, np.sqrt(ridge) * np.eye(p)]))[:, :n]
        head = back @ y
        # Near p = n the smallest singular value of X costs digits.
        size = max(1.0, float(np.square(back).sum()))
        near: Any = {"rtol": 1e-9, "atol": 1e-11 * size}
        assert_allclose(fit.readout, wp @ head, **near)
        assert_allclose(fit.squared_norm, (head**2).sum(axis=0), **near)
        spread = back @ back.T
        assert_allclose(mean.spread, wp @ spread @ wp.T, **near)
        assert_allclose(mean.trace, np.trace(spread), **near)
        missed = (np.eye(p) - back @ xp) @ (wp.T @ k)
        assert_allclose(mean.missed @ k, wp @ missed, **near)
        norm = (k * ((mean.missed - ridge * mean.spread) @ k)).sum(axis=0)
        assert_allclose(norm, (missed**2).sum(axis=0), **near)


def test_the_path_leaves_the_responses_as_they_were() -> None:
    x, y = some_data(10, 40, seed=8)
    kept = y.copy()
    readout = np.ones((2, 40))
    list(nested_path(lambda a, b: x[:, a:b], readout, y, np.arange(0, 41, 2), 0.1))
    assert np.array_equal(y, kept)  # same bits: untouched


def test_many_small_steps_do_not_accumulate_error() -> None:
    x, y = some_data(15, 900, seed=9)
    readout = np.random.default_rng(10).standard_normal((2, 900))
    sizes = np.arange(18, 901)
    fits = list(nested_path(lambda a, b: x[:, a:b], readout, y, sizes))
    averaged = list(nested_conditional(lambda a, b: x[:, a:b], readout, 15, sizes))
    for p in (30, 200, 899, 900):
        head = np.linalg.pinv(x[:, :p]) @ y
        fit = fits[p - 18]
        assert_allclose(fit.readout, readout[:, :p] @ head, rtol=1e-9, atol=1e-12)
        assert_allclose(fit.squared_norm, (head**2).sum(axis=0), rtol=1e-9)
        spread = readout[:, :p] @ np.linalg.pinv(x[:, :p]) @ np.linalg.pinv(x[:, :p]).T
        assert_allclose(averaged[p - 18].spread, spread @ readout[:, :p].T, rtol=1e-9, atol=1e-12)
