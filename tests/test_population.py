"""Population moments against samples, and the best head against conditioning a joint Gaussian."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import GaussianHMM, LinearResponse, Population, Representation


def a_setting(dim: int = 3, size: int = 5) -> tuple[GaussianHMM, Representation]:
    draw = np.random.default_rng(0).standard_normal((dim, dim))
    chain = GaussianHMM(0.8 * draw / np.abs(np.linalg.eigvals(draw)).max(), noise_std=0.6)
    return chain, Representation.gaussian(dim, size, signal=2.0, noise_std=0.7, rng=1)


def a_population(p: int, q: int, seed: int) -> Population:
    joint = np.cov(np.random.default_rng(seed).standard_normal((p + q, 3 * (p + q))))
    return Population(joint[:p, :p], joint[:p, p:], joint[p:, p:])


@pytest.mark.parametrize("label", ["next token", "downstream"])
def test_exact_moments_match_those_of_a_large_sample(label: str) -> None:
    chain, model = a_setting()
    response = LinearResponse([[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]], noise_std=[0.3, 1.5])
    n = 60_000
    rng = np.random.default_rng(2)
    pairs = chain.sample(n, 2, rng)
    x = model.features(pairs[:, 0], rng)
    if label == "next token":
        population, y = Population.next_token(chain, model), pairs[:, 1]
    else:
        population = Population.downstream(chain, model, response)
        y = response.sample(pairs[:, 1], rng)
    expected = np.block(
        [
            [population.feature_covariance, population.cross_covariance],
            [population.cross_covariance.T, population.response_covariance],
        ]
    )
    xy = np.hstack([x, y])
    diagonal = np.diag(expected)
    error = np.sqrt((np.outer(diagonal, diagonal) + expected**2) / n)
    assert np.abs((xy.T @ xy / n - expected) / error).max() < 5


@pytest.mark.parametrize(("p", "q"), [(1, 1), (4, 2), (3, 5)])
def test_head_and_residual_are_the_conditional_law_of_the_joint_gaussian(p: int, q: int) -> None:
    population = a_population(p, q, seed=p)
    joint = np.block(
        [
            [population.feature_covariance, population.cross_covariance],
            [population.cross_covariance.T, population.response_covariance],
        ]
    )
    precision = np.linalg.inv(joint)
    # y | x has precision Λ_yy and mean -x Λ_xy Λ_yy⁻¹.
    omega = np.linalg.inv(precision[p:, p:])
    assert_allclose(population.residual_covariance, omega, rtol=1e-9, atol=1e-12)
    assert_allclose(population.head, -precision[:p, p:] @ omega, rtol=1e-9, atol=1e-12)


def test_no_other_head_leaves_a_smaller_residual() -> None:
    population = a_population(4, 3, seed=5)
    s, c, y = (
        population.feature_covariance,
        population.cross_covariance,
        population.response_covariance,
    )
    rng = np.random.default_rng(6)
    for _ in range(20):
        head = population.head + 0.1 * rng.standard_normal((4, 3))
        error = y - c.T @ head - head.T @ c + head.T @ s @ head
        assert np.linalg.eigvalsh(error - population.residual_covariance).min() > 0


def test_the_next_token_is_predicted_no_better_than_its_innovation_allows() -> None:
    chain, _ = a_setting()
    sharp = Representation(np.eye(3), noise_std=0.0)
    exact = Population.next_token(chain, sharp)
    assert_allclose(exact.residual_covariance, chain.noise_std**2 * np.eye(3), atol=1e-12)
    assert_allclose(exact.head, chain.transition, atol=1e-12)


@pytest.mark.parametrize("size", [0, 2, 5])
def test_truncating_the_population_is_truncating_the_model(size: int) -> None:
    chain, model = a_setting()
    one = Population.next_token(chain, model).truncate(size)
    other = Population.next_token(chain, model.truncate(size))
    assert one.n_features == size
    for name in ("feature_covariance", "cross_covariance", "response_covariance"):
        assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-13, atol=1e-15)
    assert_allclose(one.residual_covariance, other.residual_covariance, rtol=1e-11)


def test_without_features_all_of_the_response_is_residual() -> None:
    population = a_population(3, 2, seed=7).truncate(0)
    assert population.head.shape == (0, 2)
    assert_allclose(population.residual_covariance, population.response_covariance)


def test_plug_in_moments_are_the_centred_moments_of_the_samples() -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((60, 3)) + 100.0
    y = rng.standard_normal((60, 2)) - 50.0
    population = Population.from_samples(x, y, correct=False)
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    assert_allclose(population.feature_covariance, xc.T @ xc / 59, rtol=1e-10)
    assert_allclose(population.cross_covariance, xc.T @ yc / 59, rtol=1e-10, atol=1e-12)
    assert_allclose(population.response_covariance, yc.T @ yc / 59, rtol=1e-10)
    with_intercept = np.linalg.lstsq(np.hstack([x, np.ones((60, 1))]), y, rcond=None)[0]
    assert_allclose(population.head, with_intercept[:3], rtol=1e-8, atol=1e-10)


def test_plug_in_residual_is_optimistic_by_one_minus_p_over_n_minus_one() -> None:
    truth, trials, n, p = a_population(6, 1, seed=9), 400, 61, 6
    rng = np.random.default_rng(10)
    root = np.linalg.cholesky(truth.feature_covariance)
    noise = np.sqrt(truth.residual_covariance[0, 0])
    found = np.empty(trials)
    for trial in range(trials):
        x = rng.standard_normal((n, p)) @ root.T
        y = x @ truth.head + noise * rng.standard_normal((n, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found[trial] = Population.from_samples(x, y, correct=False).residual_covariance[0, 0]
    ratio = found / truth.residual_covariance[0, 0]
    error = ratio.std(ddof=1) / np.sqrt(trials)
    assert abs(ratio.mean() - (1 - p / (n - 1))) < 4 * error
    assert abs(ratio.mean() - 1) > 10 * error


def test_few_samples_raise_a_warning_and_many_do_not() -> None:
    rng = np.random.default_rng(11)
    with pytest.warns(UserWarning, match="optimistic"):
        Population.from_samples(
            rng.standard_normal((20, 2)), rng.standard_normal((20, 1)), correct=False
        )


def test_a_single_feature_and_a_single_response_are_enough() -> None:
    x = np.arange(30.0)[:, None]
    population = Population.from_samples(x, 2 * x + 1)
    assert_allclose(population.head, [[2.0]], rtol=1e-12)
    assert_allclose(population.residual_covariance, [[0.0]], atol=1e-10)


def test_collinear_features_share_the_head_of_minimum_norm() -> None:
    base = a_population(2, 2, seed=12)
    # x = z M has rank 2 in 5 columns.
    mix = np.random.default_rng(13).standard_normal((2, 5))
    singular = Population(
        mix.T @ base.feature_covariance @ mix,
        mix.T @ base.cross_covariance,
        base.response_covariance,
    )
    assert_allclose(singular.residual_covariance, base.residual_covariance, rtol=1e-9)
    expected = np.linalg.pinv(singular.feature_covariance, rcond=1e-10)
    assert_allclose(singular.head, expected @ singular.cross_covariance, rtol=1e-8, atol=1e-10)
    assert_allclose(singular.head, np.linalg.pinv(mix) @ base.head, rtol=1e-8, atol=1e-10)
    assert singular.spectrum[0].shape == (2,)


def test_the_spectrum_rebuilds_the_feature_covariance() -> None:
    population = a_population(4, 1, seed=14)
    values, vectors = population.spectrum
    assert (np.diff(values) <= 0).all()
    rebuilt = sum(v * np.outer(u, u) for v, u in zip(values, vectors.T, strict=True))
    assert_allclose(rebuilt, population.feature_covariance, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("unit", [1e-7, 1e6, 1e8])
def test_the_head_of_a_task_knows_a_column_in_another_unit(unit: float) -> None:
    chain = GaussianHMM.rotation(3, 0.9, rng=0)
    weights = Representation.gaussian(3, 3, rng=1).weights.copy()
    weights[:, 0] *= unit
    population = Population.next_token(chain, Representation(weights, 0.0))
    right = np.linalg.solve(weights, chain.transition)  # the features tell the whole state
    assert_allclose(population.head / right, 1.0, rtol=1e-5)
    assert_allclose(population.risk_of(right), population.residual_covariance, atol=1e-9)
