"""Frozen representations and labels: their moments, their nesting, their normalisation."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import LinearResponse, Representation

Build = Callable[..., Representation]


def test_features_are_the_weighted_state_plus_white_noise() -> None:
    model = Representation(np.random.default_rng(0).standard_normal((3, 4)), noise_std=0.6)
    states = np.tile([[1.0, -2.0, 0.5]], (40_000, 1))
    noise = model.features(states, rng=1) - states @ model.weights
    n = len(states)
    assert np.abs(noise.mean(axis=0)).max() < 5 * 0.6 / np.sqrt(n)
    error = 0.36 * np.sqrt((1 + np.eye(4)) / n)
    assert np.abs((noise.T @ noise / n - 0.36 * np.eye(4)) / error).max() < 5


def test_features_without_noise_are_exact() -> None:
    model = Representation([[1.0, 2.0], [0.0, 3.0]], noise_std=0.0)
    assert np.array_equal(model.features([[1.0, 1.0], [2.0, 0.0]]), [[1.0, 5.0], [2.0, 4.0]])


@pytest.mark.parametrize("size", [0, 1, 4, 7])
def test_the_small_model_sees_the_first_features_of_the_large_one(size: int) -> None:
    model = Representation.gaussian(3, 7, rng=2)
    small = model.truncate(size)
    states = np.random.default_rng(3).standard_normal((5, 3))
    assert (small.dim, small.size, small.noise_std) == (3, size, model.noise_std)
    assert_allclose(
        small.features(states, rng=4), model.features(states, rng=4)[:, :size], rtol=1e-14
    )


def test_a_longer_gaussian_model_begins_with_a_shorter_one() -> None:
    short, long = (Representation.gaussian(4, size, signal=2.0, rng=5) for size in (6, 30))
    assert np.array_equal(long.weights[:, :6], short.weights)  # same bits: one seed


def test_gaussian_columns_have_mean_squared_norm_equal_to_the_signal() -> None:
    dim, size, signal = 5, 20_000, 3.0
    norms = np.square(Representation.gaussian(dim, size, signal, rng=6).weights).sum(axis=0)
    # s/d times a chi-square with d degrees of freedom has variance 2 s²/d.
    assert abs(norms.mean() - signal) < 5 * signal * np.sqrt(2 / dim / size)
    assert norms.var() == pytest.approx(2 * signal**2 / dim, rel=0.1)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_balanced_columns_are_orthogonal_up_to_the_dimension(size: int) -> None:
    weights = Representation.balanced(6, size, signal=2.5, rng=7).weights
    assert_allclose(weights.T @ weights, 2.5 * np.eye(size), atol=1e-13)


@pytest.mark.parametrize("size", [6, 7, 50])
def test_balanced_columns_are_a_tight_frame_beyond_the_dimension(size: int) -> None:
    weights = Representation.balanced(6, size, signal=2.5, rng=8).weights
    assert_allclose(weights @ weights.T, 2.5 * size / 6 * np.eye(6), atol=1e-12)
    assert np.square(weights).sum(axis=0).mean() == pytest.approx(2.5)


@pytest.mark.parametrize("build", [Representation.gaussian, Representation.balanced])
def test_a_model_of_size_zero_has_no_features(build: Build) -> None:
    model = build(3, 0, rng=0)
    assert model.features(np.ones((5, 3))).shape == (5, 0)


@pytest.mark.parametrize("build", [Representation.gaussian, Representation.balanced])
def test_the_same_rng_gives_the_same_weights_however_it_is_given(build: Build) -> None:
    reference = build(3, 5, rng=9).weights
    for rng in (np.random.SeedSequence(9), np.random.default_rng(9)):
        assert np.array_equal(build(3, 5, rng=rng).weights, reference)  # same bits: one seed
    assert not np.allclose(build(3, 5, rng=10).weights, reference)


def test_a_label_is_the_weighted_next_state_plus_noise_of_its_own_size() -> None:
    weights = np.array([[1.0, 0.0], [2.0, -1.0]])
    response = LinearResponse(weights, noise_std=[0.5, 2.0])
    states = np.tile([[1.0, 1.0]], (40_000, 1))
    labels = response.sample(states, rng=11)
    n = len(states)
    assert np.abs((labels.mean(axis=0) - [3.0, -1.0]) / [0.5, 2.0]).max() < 5 / np.sqrt(n)
    scale = np.outer([0.5, 2.0], [0.5, 2.0]) * np.sqrt((1 + np.eye(2)) / n)
    assert np.abs((np.cov(labels.T) - np.diag([0.25, 4.0])) / scale).max() < 5
    assert_allclose(response.noise_covariance, np.diag([0.25, 4.0]))


def test_one_noise_level_serves_every_output() -> None:
    assert_allclose(LinearResponse(np.eye(3), 0.5).noise_covariance, 0.25 * np.eye(3))


def test_a_label_without_noise_is_exact() -> None:
    response = LinearResponse([[1.0], [-1.0]])
    assert np.array_equal(response.sample(np.array([[3.0, 1.0]])), [[2.0]])


def test_the_weights_of_a_model_cannot_be_changed() -> None:
    given = np.ones((2, 3))
    model = Representation(given)
    given[0, 0] = 5.0
    assert model.weights[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        model.weights[0, 0] = 2.0
