"""Moments from samples: fair noise, fair heads, and honest limits."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hmmtheory import Population
from hmmtheory.samples import principal_directions, sample_moments

NONE = np.empty((0, 0))


def linear(n: int, p: int, q: int, noise: float, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    t = 1.0 / np.arange(1, p + 1)
    head = rng.standard_normal((p, q)) / np.sqrt(p)
    x = rng.standard_normal((n, p)) * np.sqrt(t)
    return x, x @ head + noise * rng.standard_normal((n, q)), t, head


def test_residual_covariance_is_unbiased_where_the_plug_in_is_not() -> None:
    n, p, trials = 60, 20, 600
    found, plain = np.empty((2, trials))
    for trial in range(trials):
        x, y, _, _ = linear(n, p, 1, 1.0, seed=trial)
        found[trial] = Population.from_samples(x, y).residual_covariance[0, 0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain[trial] = Population.from_samples(x, y, correct=False).residual_covariance[0, 0]
    error = found.std(ddof=1) / np.sqrt(trials)
    assert abs(found.mean() - 1.0) < 4 * error + 0.005
    assert_allclose(plain.mean(), 1 - p / (n - 1), atol=4 * error)


def test_residuals_over_one_minus_leverage_are_the_leave_one_out_products() -> None:
    x, y, _, _ = linear(30, 4, 2, 0.5, seed=0)
    found = sample_moments(x, y, np.empty((0, 4)))
    expected = np.empty((2, 2))
    total = np.zeros((2, 2))
    for i in range(30):
        rest = np.delete(np.arange(30), i)
        design = np.hstack([np.ones((30, 1)), x])
        inside = y[i] - design[i] @ np.linalg.lstsq(design, y, rcond=None)[0]
        outside = y[i] - design[i] @ np.linalg.lstsq(design[rest], y[rest], rcond=None)[0]
        total += np.outer(inside, outside)
    expected = total / 30
    assert_allclose(found.residual_covariance, expected, rtol=1e-9)


def test_signal_and_noise_add_up_to_the_variance_of_each_output() -> None:
    x, y, _, _ = linear(200, 30, 3, 0.7, seed=1)
    population = Population.from_samples(x, y)
    assert_allclose(np.diag(population.response_covariance), y.var(axis=0, ddof=1), rtol=1e-10)


def test_the_signal_is_not_inflated_by_noise() -> None:
    found: list[float] = []
    plain: list[float] = []
    for seed in range(200):
        x, y, t, head = linear(100, 30, 1, 1.0, seed=seed)
        truth = float(t @ head[:, 0] ** 2)
        for correct, into in ((True, found), (False, plain)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                population = Population.from_samples(x, y, correct=correct)
            signal = np.trace(population.head.T @ population.cross_covariance)
            into.append(float(signal) / truth)
    error = np.std(found) / np.sqrt(len(found))
    # Soft thresholding can't turn negative, hence the small allowance.
    assert abs(np.mean(found) - 1) < 4 * error + 0.05
    assert np.mean(plain) > 1.2


def test_each_output_is_judged_by_itself() -> None:
    x, y, _, _ = linear(80, 10, 3, 1.0, seed=3)
    together = sample_moments(x, y, np.empty((0, 10)))
    for j in range(3):
        alone = sample_moments(x, y[:, j : j + 1], np.empty((0, 10)))
        assert_allclose(together.head[:, j], alone.head[:, 0], rtol=1e-10, atol=1e-12)
        assert_allclose(
            together.residual_covariance[j, j], alone.residual_covariance[0, 0], rtol=1e-10
        )


def test_pure_noise_has_no_head() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((400, 20))
    y = rng.standard_normal((400, 1))
    population = Population.from_samples(x, y)
    assert np.square(population.head).sum() < 0.1
    assert_allclose(population.residual_covariance[0, 0], y.var(ddof=1), rtol=0.1)


def test_too_few_rows_warn_and_count_the_rest_as_noise() -> None:
    x, y, _, _ = linear(40, 60, 1, 0.1, seed=5)
    with pytest.warns(UserWarning, match="19 directions"):
        few = Population.from_samples(x, y)
    assert few.feature_covariance.shape == (60, 60)
    assert np.linalg.matrix_rank(few.feature_covariance) == 39
    assert few.residual_covariance[0, 0] > 0.01


def test_unlabelled_rows_make_the_feature_covariance_more_accurate() -> None:
    x, y, t, _ = linear(60, 20, 1, 0.5, seed=6)
    extra = np.random.default_rng(7).standard_normal((20_000, 20)) * np.sqrt(t)
    without, given = Population.from_samples(x, y), Population.from_samples(x, y, extra)
    truth = np.diag(t)
    gaps = [np.linalg.norm(p.feature_covariance - truth) for p in (without, given)]
    assert gaps[1] < gaps[0] / 5
    assert_allclose(
        np.diag(given.residual_covariance), np.diag(without.residual_covariance), rtol=1e-9
    )


def test_a_direction_that_only_unlabelled_rows_show_does_no_harm() -> None:
    x, y, _, _ = linear(60, 5, 1, 0.5, seed=11)
    silent = np.hstack([x, np.zeros((60, 2))])
    extra = np.random.default_rng(12).standard_normal((500, 7))
    with_silent = Population.from_samples(silent, y, extra)
    without = Population.from_samples(x, y, extra[:, :5])
    assert_allclose(with_silent.residual_covariance, without.residual_covariance, rtol=1e-8)
    alone = Population.from_samples(x, y)
    assert_allclose(with_silent.residual_covariance, alone.residual_covariance, rtol=1e-8)


def test_a_row_that_is_fitted_whatever_its_label_says_nothing_of_the_noise() -> None:
    x, y, _, _ = linear(60, 3, 1, 0.5, seed=13)
    lone = np.zeros((60, 1))
    lone[0] = 1.0
    found = Population.from_samples(np.hstack([x, lone]), y)
    rest = Population.from_samples(x[1:], y[1:])
    assert_allclose(found.residual_covariance, rest.residual_covariance, rtol=1e-8)


def test_frames_and_series_are_accepted() -> None:
    x, y, _, _ = linear(50, 4, 1, 0.5, seed=8)
    frame, series = pd.DataFrame(x, columns=list("abcd")), pd.Series(y[:, 0])
    found, expected = Population.from_samples(frame, series), Population.from_samples(x, y)
    assert_allclose(found.head, expected.head)


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_principal_directions_diagonalise_the_covariance(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(9).standard_normal(shape)
    x -= x.mean(axis=0)
    values, vectors = principal_directions(x)
    assert values.size == min(shape[1], shape[0] - 1)
    covariance = np.cov(x, rowvar=False)
    assert_allclose((vectors * values) @ vectors.T, covariance, atol=1e-12)
    assert_allclose(vectors.T @ vectors, np.eye(values.size), atol=1e-9)
    assert (np.diff(values) <= 0).all()


def test_gaussian_rows_have_equal_scales_and_others_their_own() -> None:
    rng = np.random.default_rng(10)
    x = rng.standard_normal((3000, 40))
    y = rng.standard_normal((3000, 1))
    flat = sample_moments(x, y, np.empty((0, 40))).row_scales
    assert np.square(flat).std() < 0.06
    tau = rng.uniform(0.4, 1.6, 3000)
    found = sample_moments(tau[:, None] * x, y, np.empty((0, 40))).row_scales
    assert np.corrcoef(found, tau)[0, 1] > 0.93
    truth = tau**2 / np.square(tau).mean()
    assert_allclose(np.square(found).std(), truth.std(), rtol=0.05)
