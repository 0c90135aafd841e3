"""The Kalman filter as a language model, against conditioning of the joint Gaussian."""

import itertools
from typing import Any

import numpy as np
import pytest

from hmmtheory import GaussianHMM, Population, Representation

CHAIN = GaussianHMM([[0.8, 0.3, 0.0], [0.0, 0.5, 0.2], [0.1, 0.0, 0.9]], 0.5)
TOKEN_NOISE = 0.7


def joint_covariance(chain, length):
    """Return the covariance of (z_1, …, z_T) by the Lyapunov series, not by a solver."""
    stationary, power = np.zeros((chain.dim, chain.dim)), np.eye(chain.dim)
    for _ in range(4000):
        stationary += chain.noise_std**2 * power.T @ power
        power = power @ chain.transition
    blocks: Any = [[None] * length for _ in range(length)]
    for i in range(length):
        for j in range(i, length):
            blocks[i][j] = stationary @ np.linalg.matrix_power(chain.transition, j - i)
            blocks[j][i] = blocks[i][j].T
    return np.block(blocks), stationary


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_filter_is_the_conditional_mean_of_the_joint_gaussian(length):
    states = CHAIN.sample(5, length, rng=0)
    tokens = states + TOKEN_NOISE * np.random.default_rng(1).standard_normal(states.shape)
    joint, stationary = joint_covariance(CHAIN, length)
    observed = joint + TOKEN_NOISE**2 * np.eye(joint.shape[0])
    weights = np.linalg.solve(observed, joint[:, -3:])
    np.testing.assert_allclose(
        CHAIN.filter(tokens, TOKEN_NOISE)[:, -1], tokens.reshape(5, -1) @ weights, atol=1e-11
    )
    error = stationary - joint[:, -3:].T @ weights
    np.testing.assert_allclose(CHAIN.filter_covariance(TOKEN_NOISE, length), error, atol=1e-11)


def test_an_unlimited_context_solves_the_riccati_equation():
    error = CHAIN.filter_covariance(TOKEN_NOISE)
    prior = CHAIN.transition.T @ error @ CHAIN.transition + CHAIN.noise_std**2 * np.eye(3)
    posterior = np.linalg.inv(np.linalg.inv(prior) + np.eye(3) / TOKEN_NOISE**2)
    np.testing.assert_allclose(error, posterior, atol=1e-12)
    np.testing.assert_allclose(error, CHAIN.filter_covariance(TOKEN_NOISE, 200), atol=1e-12)


def test_a_longer_context_leaves_less_error():
    errors = [CHAIN.filter_covariance(TOKEN_NOISE, length) for length in range(1, 8)]
    for shorter, longer in itertools.pairwise(errors):
        assert np.linalg.eigvalsh(shorter - longer).min() > -1e-14


def test_the_filtered_population_has_the_moments_of_simulated_filtering():
    model = Representation.gaussian(3, 4, rng=2)
    n, length = 40_000, 5
    rng = np.random.default_rng(3)
    states = CHAIN.sample(n, length + 1, rng)
    tokens = states[:, :length] + TOKEN_NOISE * rng.standard_normal((n, length, 3))
    x = model.features(CHAIN.filter(tokens, TOKEN_NOISE)[:, -1], rng)
    y = states[:, length]
    population = Population.filtered(CHAIN, model, TOKEN_NOISE, length)
    for left, right, exact in (
        (x, x, population.feature_covariance),
        (x, y, population.cross_covariance),
        (y, y, population.response_covariance),
    ):
        products = left[:, :, None] * right[:, None, :]
        error = products.std(axis=0) / np.sqrt(n)
        assert (np.abs(products.mean(axis=0) - exact) < 5 * error).all()


def test_noiseless_tokens_give_back_the_next_token_population():
    model = Representation.gaussian(3, 4, rng=2)
    exact = Population.next_token(CHAIN, model)
    limit = Population.filtered(CHAIN, model, 1e-6, 3)
    np.testing.assert_allclose(limit.feature_covariance, exact.feature_covariance, atol=1e-10)
    np.testing.assert_allclose(limit.cross_covariance, exact.cross_covariance, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: CHAIN.filter_covariance(0.0), "observation_noise_std"),
        (lambda: CHAIN.filter_covariance(1.0, 0), "length"),
        (lambda: CHAIN.filter(np.zeros((2, 3)), 1.0), "observations"),
        (lambda: CHAIN.filter(np.zeros((2, 4, 2)), 1.0), "observations"),
        (lambda: CHAIN.filter(np.full((2, 4, 3), np.nan), 1.0), "observations"),
        (lambda: CHAIN.filter(np.zeros((2, 4, 3)), -1.0), "observation_noise_std"),
        (
            lambda: Population.filtered(CHAIN, Representation.gaussian(2, 4, rng=0), 1.0),
            "representation",
        ),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()
