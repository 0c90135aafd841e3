"""Hidden states that seem lost, chains that nearly fall apart, and tokens that can't be."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from hmmtheory import CategoricalHMM


def log_filter(chain: CategoricalHMM, tokens: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-likelihood and last posterior, by logarithms from the start."""
    with np.errstate(divide="ignore"):
        step, emit, state = (np.log(m) for m in (chain.transition, chain.emission, chain.initial))
    state = state + emit[:, tokens[0]]
    for token in tokens[1:]:
        state = logsumexp(state[:, None] + step, axis=0) + emit[:, token]
    total = logsumexp(state)
    return float(total), np.exp(state - total)


def left_right(k: int) -> CategoricalHMM:
    transition = 0.97 * np.eye(k) + 0.03 * np.eye(k, k=1)
    transition[-1, -1] = 1.0
    rows = np.arange(1.0, 6.0) ** np.linspace(-3, 3, k)[:, None]
    rows[:, 0] = 0.0
    rows[0, 0], rows[-1, 1] = 5.0, 0.0
    return CategoricalHMM(np.eye(k)[0], transition, rows / rows.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reverse", [False, True])
def test_a_filter_with_zeros_agrees_with_logarithms(seed: int, reverse: bool) -> None:
    chain = left_right(6)
    tokens = chain.sample(1, 1500, rng=seed)[1]
    if reverse:  # a long stay in an unlikely place, which only the last token reveals
        chain = CategoricalHMM(
            [1.0, 0.0], [[0.9, 0.1], [0.0, 1.0]], [[0.9, 0.1, 0], [0.1, 0.8, 0.1]]
        )
        tokens = np.array([[0] * (300 + 400 * seed) + [2]])
    likelihood, posterior = log_filter(chain, tokens[0])
    assert_allclose(chain.log_likelihood(tokens), [likelihood], rtol=1e-10)
    assert_allclose(chain.filter(tokens)[0, -1], posterior, rtol=1e-10, atol=1e-300)


def test_a_state_that_seemed_lost_comes_back() -> None:
    chain = CategoricalHMM([0.5, 0.5], np.eye(2), [[0.999, 0.001], [0.001, 0.999]])
    tokens = np.array([[0] * 150 + [1] * 155, [0] * 305])
    # Two coins, one of which was thrown throughout.
    one, two = (150 * np.log(a) + 155 * np.log(1 - a) for a in (0.999, 0.001))
    assert_allclose(chain.log_likelihood(tokens)[0], np.logaddexp(one, two) + np.log(0.5))
    assert_allclose(chain.predict_next(tokens)[0, -1], [0.001, 0.999])


def test_a_hundred_thousand_tokens_lose_nothing() -> None:
    chain = CategoricalHMM([0.5, 0.5], np.eye(2), [[0.6, 0.4], [0.4, 0.6]])
    tokens = np.arange(100_000)[None, :] % 2
    tokens[0, :1000] = 0  # state 2 falls to 1e-88 of the whole, and stays possible
    ones = int(tokens.sum())
    both = [(100_000 - ones) * np.log(a) + ones * np.log(1 - a) for a in (0.6, 0.4)]
    assert_allclose(chain.log_likelihood(tokens)[0], np.logaddexp(*both) + np.log(0.5), rtol=1e-10)


def test_an_impossible_sequence_is_named() -> None:
    chain = CategoricalHMM([1.0, 0.0], np.eye(2), np.eye(2))
    with pytest.raises(
        ValueError, match=r"sequence 1 has probability zero from position 2 .* 2 of 3"
    ):
        chain.filter([[0, 0, 0], [0, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize("coupling", [1e-3, 1e-15, 1e-46, 1e-300])
def test_a_nearly_reducible_chain_has_the_right_law(coupling: float) -> None:
    # Birth and death: detailed balance gives the law exactly.
    up, down = np.array([coupling, 0.25, coupling]), np.array([0.5, coupling, 0.25])
    transition = np.diag(up, 1) + np.diag(down, -1)
    transition += np.diag(1.0 - transition.sum(axis=1))
    law = [Fraction(1)]
    for a, b in zip(up, down, strict=True):
        law.append(law[-1] * Fraction(a) / Fraction(b))
    expected = np.array([float(x / sum(law)) for x in law])
    found = CategoricalHMM(np.eye(4)[0], transition, np.eye(4)).stationary_distribution
    assert_allclose(found, expected, rtol=1e-12)


def test_states_that_are_left_for_ever_have_probability_zero() -> None:
    chain = CategoricalHMM([0.5, 0.5], [[0.5, 0.5], [0.0, 1.0]], np.eye(2))
    assert chain.stationary_distribution.tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="2 closed classes"):
        _ = CategoricalHMM([0.5, 0.5], np.eye(2), np.eye(2)).stationary_distribution


def test_softmax_rows_in_single_precision_are_accepted() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    rows = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    chain = CategoricalHMM(np.full(3, 1 / 3), np.eye(3), rows)
    assert_allclose(chain.emission.sum(axis=1), 1.0, rtol=1e-14)
    with pytest.raises(ValueError, match="sum to 1"):
        CategoricalHMM(np.full(3, 1 / 3), np.eye(3), rows.astype(np.float64) * 1.001)
