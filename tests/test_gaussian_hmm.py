"""The Gaussian chain: its stationary law by other routes, and its samples against it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import GaussianHMM


def a_chain(
    dim: int = 4, radius: float = 0.9, noise_std: float = 0.7, seed: int = 0
) -> GaussianHMM:
    draw = np.random.default_rng(seed).standard_normal((dim, dim))
    return GaussianHMM(radius * draw / np.abs(np.linalg.eigvals(draw)).max(), noise_std)


@pytest.mark.parametrize("dim", [1, 2, 5, 12])
@pytest.mark.parametrize("radius", [0.0, 0.5, 0.99])
def test_one_step_of_the_chain_leaves_its_covariance_unchanged(dim: int, radius: float) -> None:
    chain = a_chain(dim, radius, seed=dim)
    a, sigma = chain.transition, chain.stationary_covariance
    after = a.T @ sigma @ a + chain.noise_std**2 * np.eye(dim)
    assert_allclose(after, sigma, rtol=0, atol=1e-10 * np.abs(sigma).max())
    assert_allclose(sigma, sigma.T, rtol=0, atol=0)
    assert np.linalg.eigvalsh(sigma).min() > 0


def test_stationary_covariance_solves_the_vectorised_linear_system() -> None:
    chain = a_chain(5)
    kron = np.kron(chain.transition.T, chain.transition.T)
    vec = np.linalg.solve(np.eye(25) - kron, chain.noise_std**2 * np.eye(5).ravel())
    assert_allclose(chain.stationary_covariance, vec.reshape(5, 5), rtol=1e-9)


def test_stationary_covariance_is_the_sum_of_all_past_innovations() -> None:
    chain = a_chain(3, radius=0.6)
    total, power = np.zeros((3, 3)), np.eye(3)
    for _ in range(200):
        total += chain.noise_std**2 * power.T @ power
        power = power @ chain.transition
    assert_allclose(chain.stationary_covariance, total, rtol=1e-11, atol=1e-13)


def test_a_one_dimensional_chain_is_an_autoregression() -> None:
    chain = GaussianHMM([[-0.8]], noise_std=0.5)
    variance = 0.25 / (1 - 0.64)
    assert_allclose(chain.stationary_covariance, [[variance]], rtol=1e-12)
    for lag in range(5):
        assert_allclose(chain.autocovariance(lag), [[variance * (-0.8) ** lag]], rtol=1e-12)


def test_a_memoryless_chain_has_only_its_innovations() -> None:
    chain = GaussianHMM(np.zeros((3, 3)), noise_std=2.0)
    assert_allclose(chain.stationary_covariance, 4 * np.eye(3), atol=1e-12)
    assert_allclose(chain.autocovariance(1), np.zeros((3, 3)), atol=0)


def test_samples_have_the_stationary_moments_at_every_time_and_lag() -> None:
    chain, length, n = a_chain(3), 5, 60_000
    z = chain.sample(n, length, rng=1)
    sigma = chain.stationary_covariance
    root_n = np.sqrt(n)
    for t in (0, length - 1):
        assert np.abs(z[:, t].mean(axis=0) * root_n / np.sqrt(np.diag(sigma))).max() < 5
    variances = np.outer(np.diag(sigma), np.diag(sigma))
    for first, lag in [(0, 0), (length - 1, 0), (0, 1), (length - 2, 1), (0, length - 1)]:
        expected = sigma @ np.linalg.matrix_power(chain.transition, lag)
        # Isserlis: Var(ab) = Var a Var b + Cov(a, b)² for centred Gaussians.
        standard_error = np.sqrt(variances + expected**2) / root_n
        found = z[:, first].T @ z[:, first + lag] / n
        assert np.abs((found - expected) / standard_error).max() < 5
        assert_allclose(chain.autocovariance(lag), expected, rtol=1e-12)


def test_innovations_are_white_and_independent_of_the_past() -> None:
    chain, n = a_chain(3, noise_std=0.7), 60_000
    z = chain.sample(n, 3, rng=2)
    innovation = z[:, 2] - z[:, 1] @ chain.transition
    spread = innovation.T @ innovation / n
    error = 0.49 * np.sqrt((1 + np.eye(3)) / n)
    assert np.abs((spread - 0.49 * np.eye(3)) / error).max() < 5
    for past in (z[:, 0], z[:, 1]):
        scale = 0.7 * past.std(axis=0)[:, None] / np.sqrt(n)
        assert np.abs(past.T @ innovation / n / scale).max() < 5


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize("persistence", [0.0, 0.3, 0.95])
def test_a_rotation_chain_is_white_and_turns_without_stretching(
    dim: int, persistence: float
) -> None:
    chain = GaussianHMM.rotation(dim, persistence, rng=3)
    stretch = chain.transition @ chain.transition.T
    assert_allclose(stretch, persistence**2 * np.eye(dim), atol=1e-13)
    assert_allclose(chain.stationary_covariance, np.eye(dim), atol=1e-12)
    assert chain.noise_std == pytest.approx(np.sqrt(1 - persistence**2))


def test_rotations_are_uniform_over_the_orthogonal_group() -> None:
    draws = [GaussianHMM.rotation(2, 0.5, rng=seed).transition / 0.5 for seed in range(2000)]
    entries = np.array(draws).reshape(2000, 4)
    assert np.abs(entries.mean(axis=0) / (entries.std(axis=0) / np.sqrt(2000))).max() < 4.5
    # E q⁴ = 3/(d(d+2)) on the sphere, and reflections are as likely as turns.
    fourth = entries**4
    assert np.abs((fourth.mean(axis=0) - 3 / 8) / fourth.std(axis=0)).max() * np.sqrt(2000) < 4.5
    turns = (np.linalg.det(np.array(draws)) > 0).mean()
    assert abs(turns - 0.5) < 4.5 * 0.5 / np.sqrt(2000)


def test_the_same_rng_gives_the_same_sample_however_it_is_given() -> None:
    chain = a_chain()
    reference = chain.sample(3, 4, rng=7)
    for rng in (7, np.random.SeedSequence(7), np.random.default_rng(7), np.random.PCG64(7)):
        assert np.array_equal(chain.sample(3, 4, rng=rng), reference)  # same bits: one seed
    assert not np.array_equal(chain.sample(3, 4, rng=8), reference)
    assert reference.shape == (3, 4, 4)


def test_a_generator_is_advanced_by_sampling() -> None:
    chain, rng = a_chain(), np.random.default_rng(0)
    assert not np.array_equal(chain.sample(2, 2, rng=rng), chain.sample(2, 2, rng=rng))


def test_the_parameters_of_a_chain_cannot_be_changed() -> None:
    given = 0.5 * np.eye(2)
    chain = GaussianHMM(given, 1.0)
    given[0, 0] = 0.9
    assert chain.transition[0, 0] == 0.5
    for array in (chain.transition, chain.stationary_covariance):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 2.0
