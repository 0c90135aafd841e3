"""The categorical chain against hmmlearn: sampling, filter, prediction and likelihood."""

import numpy as np
import pytest
from hmmlearn import hmm as hmmlearn
from numpy.testing import assert_allclose

from hmmtheory import CategoricalHMM

#: (K, V): one state, as many tokens as states, more of either.
SHAPES = [(1, 3), (2, 2), (3, 8), (7, 4)]


def a_chain(n_states: int, n_tokens: int, seed: int) -> CategoricalHMM:
    rng = np.random.default_rng(seed)
    return CategoricalHMM(
        rng.dirichlet(np.full(n_states, 0.7)),
        rng.dirichlet(np.full(n_states, 0.4), n_states),
        rng.dirichlet(np.full(n_tokens, 0.4), n_states),
    )


def in_hmmlearn(chain: CategoricalHMM, implementation: str = "log") -> hmmlearn.CategoricalHMM:
    """Return hmmlearn's model with our parameters; nothing is fitted."""
    model = hmmlearn.CategoricalHMM(chain.n_states, implementation=implementation)
    model.n_features = chain.n_tokens
    model.startprob_, model.transmat_ = chain.initial, chain.transition
    model.emissionprob_ = chain.emission
    return model


def as_column(sequences: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Return hmmlearn's input: all sequences in one column, and their lengths."""
    return np.concatenate(sequences)[:, None], [len(sequence) for sequence in sequences]


@pytest.mark.parametrize("implementation", ["log", "scaling"])
@pytest.mark.parametrize(("n_states", "n_tokens"), SHAPES)
def test_each_sequence_has_the_likelihood_that_hmmlearn_gives_it(
    n_states: int, n_tokens: int, implementation: str
) -> None:
    chain = a_chain(n_states, n_tokens, seed=n_states)
    model = in_hmmlearn(chain, implementation)
    tokens = chain.sample(5, 40, rng=1)[1]
    expected = [model.score(sequence[:, None]) for sequence in tokens]
    assert_allclose(chain.log_likelihood(tokens), expected, rtol=1e-10)
    # hmmlearn adds independent sequences up.
    assert model.score(*as_column(list(tokens))) == pytest.approx(
        chain.log_likelihood(tokens).sum(), rel=1e-10
    )


@pytest.mark.parametrize("implementation", ["log", "scaling"])
@pytest.mark.parametrize(("n_states", "n_tokens"), SHAPES)
def test_the_filter_is_the_smoothed_posterior_at_the_end_of_each_prefix(
    n_states: int, n_tokens: int, implementation: str
) -> None:
    chain = a_chain(n_states, n_tokens, seed=10 + n_states)
    tokens = chain.sample(3, 25, rng=2)[1]
    prefixes = [sequence[: t + 1] for sequence in tokens for t in range(25)]
    column, lengths = as_column(prefixes)
    posterior = in_hmmlearn(chain, implementation).predict_proba(column, lengths)
    last = posterior[np.cumsum(lengths) - 1].reshape(3, 25, n_states)
    assert_allclose(chain.filter(tokens), last, rtol=1e-9, atol=1e-12)
    if n_states > 1:  # inside a sequence the two differ: the smoother knows the future
        whole = in_hmmlearn(chain).predict_proba(*as_column(list(tokens)))
        assert np.abs(chain.filter(tokens) - whole.reshape(3, 25, n_states)).max() > 0.01


@pytest.mark.parametrize(("n_states", "n_tokens"), SHAPES)
def test_the_prediction_is_a_ratio_of_hmmlearns_likelihoods(n_states: int, n_tokens: int) -> None:
    chain = a_chain(n_states, n_tokens, seed=20 + n_states)
    model = in_hmmlearn(chain)
    tokens = chain.sample(2, 12, rng=3)[1]
    for row, sequence in enumerate(tokens):
        longer = [np.append(sequence, a)[:, None] for a in range(n_tokens)]
        ratio = np.exp([model.score(one) - model.score(sequence[:, None]) for one in longer])
        assert_allclose(chain.predict_next(tokens)[row, -1], ratio, rtol=1e-9, atol=1e-12)


def test_at_length_20000_filter_and_likelihood_still_agree() -> None:
    chain, length = a_chain(5, 6, seed=30), 20_000
    tokens = chain.sample(1, length, rng=4)[1]
    model = in_hmmlearn(chain)
    likelihood = chain.log_likelihood(tokens)[0]
    assert likelihood < np.log(np.finfo(float).tiny)  # its exponential is zero in floating point
    assert likelihood == pytest.approx(model.score(tokens.T), rel=1e-10)
    column, lengths = as_column([tokens[0, :stop] for stop in (1, 100, 9_999, length)])
    last = model.predict_proba(column, lengths)[np.cumsum(lengths) - 1]
    filtered = chain.filter(tokens)[0]
    assert_allclose(filtered[np.array(lengths) - 1], last, rtol=1e-6, atol=1e-9)
    assert_allclose(filtered.sum(axis=1), 1.0, rtol=1e-12)
    # Our filter and a backward pass give hmmlearn's smoothed posterior at every position.
    backward = np.ones(chain.n_states)
    smoothed = np.empty_like(filtered)
    for t in range(length - 1, -1, -1):
        smoothed[t] = filtered[t] * backward
        backward = chain.transition @ (chain.emission[:, tokens[0, t]] * backward)
        backward /= backward.sum()
    smoothed /= smoothed.sum(axis=1, keepdims=True)
    assert_allclose(smoothed, model.predict_proba(tokens.T), rtol=1e-6, atol=1e-9)


def moments(states: np.ndarray, tokens: np.ndarray, chain: CategoricalHMM) -> np.ndarray:
    """Return each sequence's frequencies of states, tokens, and pairs at two lags (n, m)."""
    state, token = np.eye(chain.n_states)[states], np.eye(chain.n_tokens)[tokens]
    parts = [state.mean(axis=1), token.mean(axis=1)]
    for left, right in ((state, state), (token, token)):
        for lag in (1, 3):
            pairs = np.einsum("nta,ntb->nab", left[:, :-lag], right[:, lag:])
            parts.append(pairs.reshape(len(pairs), -1) / (states.shape[1] - lag))
    parts.append(token[:, 0])  # where the initial law still shows
    return np.hstack(parts)


def worst_score(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of means in standard errors, over moments that vary."""
    error = np.sqrt(one.var(axis=0) / len(one) + other.var(axis=0) / len(other))
    moving = error > 0
    assert np.array_equal(one.mean(axis=0)[~moving], other.mean(axis=0)[~moving])
    difference = one.mean(axis=0) - other.mean(axis=0)
    return float(np.abs(difference[moving] / error[moving]).max())


@pytest.mark.parametrize(("n_states", "n_tokens"), [(2, 2), (3, 5)])
def test_sampled_sequences_have_hmmlearns_moments(n_states: int, n_tokens: int) -> None:
    chain, length = a_chain(n_states, n_tokens, seed=40 + n_states), 20
    model, random = in_hmmlearn(chain), np.random.RandomState(5)
    drawn = [model.sample(length, random_state=random) for _ in range(400)]
    theirs = moments(
        np.array([states for _, states in drawn]),
        np.array([tokens[:, 0] for tokens, _ in drawn]),
        chain,
    )
    assert worst_score(moments(*chain.sample(20_000, length, rng=6), chain), theirs) < 5
    # The comparison sees a chain with slightly other transitions.
    nudged = 0.85 * chain.transition + 0.15 / n_states
    other = CategoricalHMM(chain.initial, nudged, chain.emission)
    assert worst_score(moments(*other.sample(20_000, length, rng=6), chain), theirs) > 8


@pytest.mark.parametrize(("n_states", "n_tokens"), SHAPES)
def test_the_stationary_distribution_is_hmmlearns(n_states: int, n_tokens: int) -> None:
    chain = a_chain(n_states, n_tokens, seed=50 + n_states)
    assert_allclose(
        chain.stationary_distribution, in_hmmlearn(chain).get_stationary_distribution(), atol=1e-12
    )
