"""The categorical chain against the enumeration of every path of its states."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hmmtheory import CategoricalHMM


def a_model(n_states: int, n_tokens: int, seed: int) -> CategoricalHMM:
    rng = np.random.default_rng(seed)
    return CategoricalHMM(
        rng.dirichlet(np.ones(n_states)),
        rng.dirichlet(np.ones(n_states), n_states),
        rng.dirichlet(np.ones(n_tokens), n_states),
    )


def joint(model: CategoricalHMM, path: tuple[int, ...], tokens: tuple[int, ...]) -> float:
    """Return P(s_{1:T} = path, o_{1:T} = tokens), one factor at a time."""
    probability = model.initial[path[0]] * model.emission[path[0], tokens[0]]
    for before, now, token in zip(path, path[1:], tokens[1:], strict=False):
        probability *= model.transition[before, now] * model.emission[now, token]
    return float(probability)


def by_enumeration(model: CategoricalHMM, tokens: tuple[int, ...]) -> np.ndarray:
    """Return P(s_T = i, o_{1:T}) as a sum over all paths, shape (K,)."""
    ends = np.zeros(model.n_states)
    for path in product(range(model.n_states), repeat=len(tokens)):
        ends[path[-1]] += joint(model, path, tokens)
    return ends


@pytest.mark.parametrize(("n_states", "n_tokens", "length"), [(1, 2, 3), (2, 3, 5), (4, 2, 4)])
def test_filter_prediction_and_likelihood_equal_the_sum_over_all_paths(
    n_states: int, n_tokens: int, length: int
) -> None:
    model = a_model(n_states, n_tokens, seed=n_states)
    tokens = np.random.default_rng(9).integers(n_tokens, size=(3, length))
    posterior, ahead = model.filter(tokens), model.predict_next(tokens)
    assert posterior.shape == (3, length, n_states)
    assert ahead.shape == (3, length, n_tokens)
    for row, sequence in enumerate(tokens.tolist()):
        whole = by_enumeration(model, tuple(sequence)).sum()
        assert model.log_likelihood(tokens)[row] == pytest.approx(np.log(whole), rel=1e-12)
        for t in range(length):
            prefix = tuple(sequence[: t + 1])
            ends = by_enumeration(model, prefix)
            assert_allclose(posterior[row, t], ends / ends.sum(), rtol=1e-11)
            following = [by_enumeration(model, (*prefix, a)).sum() for a in range(n_tokens)]
            assert_allclose(ahead[row, t], np.array(following) / ends.sum(), rtol=1e-11)


def test_the_likelihoods_of_all_sequences_add_up_to_one() -> None:
    model = a_model(3, 3, seed=1)
    every = np.array(list(product(range(3), repeat=6)))
    assert np.exp(model.log_likelihood(every)).sum() == pytest.approx(1.0, abs=1e-12)


def test_a_revealing_emission_makes_the_filter_certain() -> None:
    model = CategoricalHMM([0.2, 0.3, 0.5], np.full((3, 3), 1 / 3), np.eye(3)[[2, 0, 1]])
    posterior = model.filter([[2, 0, 1, 1]])[0]
    assert_allclose(posterior, np.eye(3)[[0, 1, 2, 2]], atol=1e-15)


def test_the_stationary_distribution_is_where_the_chain_ends_up() -> None:
    model = a_model(5, 3, seed=2)
    far = np.linalg.matrix_power(model.transition, 200)
    for row in far:
        assert_allclose(model.stationary_distribution, row, rtol=1e-11)


def test_a_chain_that_alternates_has_a_stationary_distribution_all_the_same() -> None:
    model = CategoricalHMM([1.0, 0.0], [[0.0, 1.0], [1.0, 0.0]], np.eye(2))
    assert_allclose(model.stationary_distribution, [0.5, 0.5], atol=1e-14)


def test_a_chain_in_two_closed_parts_has_no_single_stationary_distribution() -> None:
    model = CategoricalHMM([0.5, 0.5], np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="transition"):
        _ = model.stationary_distribution


def test_the_bigram_is_the_stationary_law_of_two_neighbouring_tokens() -> None:
    model = a_model(3, 4, seed=3)
    pi = model.stationary_distribution
    expected = np.zeros((4, 4))
    for i, j, a, b in product(range(3), range(3), range(4), range(4)):
        expected[a, b] += (
            pi[i] * model.emission[i, a] * model.transition[i, j] * model.emission[j, b]
        )
    assert_allclose(model.bigram, expected, rtol=1e-12)
    assert model.bigram.sum() == pytest.approx(1.0)
    assert_allclose(model.bigram.sum(axis=0), model.bigram.sum(axis=1), rtol=1e-12)
    # Started in the stationary law, the model's own likelihood is the bigram.
    started = CategoricalHMM(pi, model.transition, model.emission)
    pairs = np.array(list(product(range(4), repeat=2)))
    assert_allclose(np.exp(started.log_likelihood(pairs)), expected.ravel(), rtol=1e-12)


def test_sampled_tokens_follow_the_bigram_and_sampled_states_the_transition() -> None:
    model, n = a_model(3, 4, seed=4), 60_000
    started = CategoricalHMM(model.stationary_distribution, model.transition, model.emission)
    states, tokens = started.sample(n, 3, rng=5)
    counts = np.zeros((4, 4))
    np.add.at(counts, (tokens[:, 1], tokens[:, 2]), 1)
    error = np.sqrt(started.bigram * (1 - started.bigram) / n)
    assert np.abs((counts / n - started.bigram) / error).max() < 5
    for i in range(3):
        after = states[states[:, 0] == i, 1]
        frequency = np.bincount(after, minlength=3) / after.size
        expected = started.transition[i]
        deviation = np.sqrt(expected * (1 - expected) / after.size)
        assert np.abs((frequency - expected) / deviation).max() < 5


def test_sequences_start_from_the_initial_distribution_not_the_stationary_one() -> None:
    model, n = a_model(3, 2, seed=6), 40_000
    states, _ = model.sample(n, 1, rng=7)
    frequency = np.bincount(states[:, 0], minlength=3) / n
    error = np.sqrt(model.initial * (1 - model.initial) / n)
    assert np.abs((frequency - model.initial) / error).max() < 5
    assert np.abs((frequency - model.stationary_distribution) / error).max() > 10


def test_impossible_events_are_never_sampled() -> None:
    model = CategoricalHMM([0.0, 1.0], [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
    states, tokens = model.sample(500, 4, rng=0)
    assert np.array_equal(states, np.tile([1, 0, 1, 0], (500, 1)))
    assert np.array_equal(tokens, states)


def test_a_long_sequence_does_not_underflow() -> None:
    model, length = a_model(3, 4, seed=8), 20_000
    tokens = model.sample(1, length, rng=9)[1]
    likelihood = model.log_likelihood(tokens)[0]
    assert np.isfinite(likelihood)
    assert likelihood < np.log(np.finfo(float).tiny)  # exp of it would be zero
    assert_allclose(model.filter(tokens).sum(axis=2), 1.0, rtol=1e-12)
    # Chain rule: the log-likelihood is the sum of the log predictive probabilities.
    ahead = model.predict_next(tokens)[0, np.arange(length - 1), tokens[0, 1:]]
    first = np.log((model.initial @ model.emission)[tokens[0, 0]])
    assert likelihood == pytest.approx(first + np.log(ahead).sum(), rel=1e-10)


def test_the_same_rng_gives_the_same_tokens_however_it_is_given() -> None:
    model = a_model(2, 3, seed=10)
    reference = model.sample(4, 5, rng=11)
    for rng in (11, np.random.SeedSequence(11), np.random.default_rng(11)):
        for one, other in zip(model.sample(4, 5, rng=rng), reference, strict=True):
            assert np.array_equal(one, other)
    assert not np.array_equal(model.sample(4, 5, rng=12)[1], reference[1])
