"""The categorical hidden Markov model: discrete states that emit discrete tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmmtheory._checks import FloatArray, as_array, as_count, as_matrix, as_rng

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CategoricalHMM:
    r"""Hidden Markov model of tokens (book: Definition 1.1).

    .. math:: P(h_1 = i) = \mu_i, \quad P(h_{t+1} = j \mid h_t = i) = T_{ij}, \quad
              P(o_t = a \mid h_t = i) = E_{ia}

    Parameters
    ----------
    initial : array_like, shape (K,)
        :math:`\mu`, a probability vector.
    transition : array_like, shape (K, K)
        T, rows sum to 1.
    emission : array_like, shape (K, V)
        E, rows sum to 1.

    Raises
    ------
    ValueError
        If shapes don't agree, or a row is not a probability vector.

    Examples
    --------
    >>> coin = CategoricalHMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
    >>> coin.bigram.round(3).tolist()
    [[0.322, 0.178], [0.178, 0.322]]
    """

    initial: FloatArray
    transition: FloatArray
    emission: FloatArray

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(
            self, initial: ArrayLike, transition: ArrayLike, emission: ArrayLike
        ) -> None: ...

    def __post_init__(self) -> None:
        vector = as_array("initial", self.initial)
        if vector.ndim != 1:
            raise ValueError(f"initial must be a vector; got shape {vector.shape}")
        initial = _as_stochastic("initial", vector[None, :], (1, None))[0]
        k = initial.size
        object.__setattr__(self, "initial", initial)
        object.__setattr__(
            self, "transition", _as_stochastic("transition", self.transition, (k, k))
        )
        object.__setattr__(self, "emission", _as_stochastic("emission", self.emission, (k, None)))

    def __repr__(self) -> str:
        return f"CategoricalHMM(n_states={self.n_states}, n_tokens={self.n_tokens})"

    @property
    def n_states(self) -> int:
        """The number of hidden states K."""
        return int(self.emission.shape[0])

    @property
    def n_tokens(self) -> int:
        """The size V of the vocabulary."""
        return int(self.emission.shape[1])

    @cached_property
    def stationary_distribution(self) -> FloatArray:
        r""":math:`\pi` (K,), the solution of :math:`\pi T = \pi`, :math:`\sum_i \pi_i = 1`.

        Raises
        ------
        ValueError
            If the chain has more than one.
        """
        closed = _closed_states(self.transition)
        # Grassmann, Taksar and Heyman's elimination: no subtraction, so that each probability is
        # right relative to itself, however small.
        steps = self.transition[np.ix_(closed, closed)].copy()
        k = closed.size
        for last in range(k - 1, 0, -1):
            steps[:last, last] /= steps[last, :last].sum()
            steps[:last, :last] += np.outer(steps[:last, last], steps[last, :last])
        weights = np.ones(k)
        for state in range(1, k):
            weights[state] = weights[:state] @ steps[:state, state]
            # Far larger than its predecessors, it would overflow in the end.
            weights[: state + 1] /= weights[: state + 1].max()
        law = np.zeros(self.n_states)
        law[closed] = weights / weights.sum()
        return law

    @cached_property
    def bigram(self) -> FloatArray:
        r"""The stationary law of two consecutive tokens (V, V).

        .. math:: P(o_t = a, o_{t+1} = b) = \sum_{ij} \pi_i E_{ia} T_{ij} E_{jb}
        """
        joint = self.stationary_distribution[:, None] * self.transition
        return np.asarray(self.emission.T @ joint @ self.emission)

    def sample(self, n_sequences: int, length: int, rng: Any = None) -> tuple[IntArray, IntArray]:
        r"""Sample independent sequences that start from `initial`.

        Parameters
        ----------
        n_sequences, length : int
            How many sequences, and how many tokens in each.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Returns
        -------
        states, tokens : ndarray of int, shape (n_sequences, length)

        Raises
        ------
        ValueError
            If either count is below 1.
        """
        n_sequences = as_count("n_sequences", n_sequences)
        length = as_count("length", length)
        uniform = as_rng(rng).random((2, length, n_sequences))
        states = np.empty((n_sequences, length), dtype=np.int64)
        tokens = np.empty_like(states)
        step, emit = (np.cumsum(m, axis=1) for m in (self.transition, self.emission))
        cumulative = np.broadcast_to(np.cumsum(self.initial), (n_sequences, self.n_states))
        for t in range(length):
            states[:, t] = _invert(cumulative, uniform[0, t])
            tokens[:, t] = _invert(emit[states[:, t]], uniform[1, t])
            cumulative = step[states[:, t]]
        return states, tokens

    def filter(self, tokens: ArrayLike) -> FloatArray:
        r"""Return :math:`P(h_t = i \mid o_{1:t})` by the forward recursion.

        States that seem all but impossible are carried on by their logarithms: later tokens may
        show that the chain was there.

        Parameters
        ----------
        tokens : array_like of int, shape (n, T)
            Sequences with tokens in [0, V).

        Returns
        -------
        ndarray, shape (n, T, K)

        Raises
        ------
        ValueError
            If `tokens` is not such a matrix, or has probability zero under the model.
        """
        return self._forward(tokens)[0]

    def predict_next(self, tokens: ArrayLike) -> FloatArray:
        r"""Return :math:`P(o_{t+1} = a \mid o_{1:t})`.

        Parameters
        ----------
        tokens : array_like of int, shape (n, T)
            As :meth:`filter`.

        Returns
        -------
        ndarray, shape (n, T, V)

        Raises
        ------
        ValueError
            As :meth:`filter`.
        """
        return np.asarray(self.filter(tokens) @ self.transition @ self.emission)

    def log_likelihood(self, tokens: ArrayLike) -> FloatArray:
        r"""Return :math:`\log P(o_{1:T})` of each sequence, in nats.

        Parameters
        ----------
        tokens : array_like of int, shape (n, T)
            As :meth:`filter`.

        Returns
        -------
        ndarray, shape (n,)

        Raises
        ------
        ValueError
            As :meth:`filter`.
        """
        return np.asarray(self._forward(tokens)[1].sum(axis=1))

    def _forward(self, tokens: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return posteriors (n, T, K) and log P(o_t | o_{1:t-1}) (n, T)."""
        as_array("tokens", tokens)
        array = np.asarray(tokens)
        if array.ndim != 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"tokens must be a non-empty integer matrix (n, T); got {array.dtype} {array.shape}"
            )
        if array.min() < 0 or array.max() >= self.n_tokens:
            raise ValueError(
                f"tokens must lie in [0, {self.n_tokens}); got {array.min()} to {array.max()}"
            )
        posterior = np.empty((*array.shape, self.n_states))
        evidence = np.empty(array.shape)
        lost = np.zeros(array.shape[0], dtype=bool)
        prior = np.broadcast_to(self.initial, (array.shape[0], self.n_states))
        possible = prior > 0
        reach = self.transition > 0
        with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
            for t in range(array.shape[1]):
                emitted = self.emission.T[array[:, t]]
                joint = prior * emitted
                possible = possible & (emitted > 0)
                # Below this share of the whole, what is left loses digits or is lost for ever.
                lost |= (possible & (joint < 1e-200)).any(axis=1)
                evidence[:, t] = joint.sum(axis=1)
                posterior[:, t] = joint / evidence[:, t, None]
                prior = posterior[:, t] @ self.transition
                possible = possible @ reach
            evidence = np.log(evidence)
        for row in np.flatnonzero(lost):
            posterior[row], evidence[row] = self._log_forward(array[row])
        impossible = ~np.isfinite(evidence)
        if impossible.any():
            rows, places = np.nonzero(impossible)
            raise ValueError(
                f"tokens must be possible; sequence {rows[0]} has probability zero from position "
                f"{places[0]} on, as have {np.unique(rows).size} of {array.shape[0]} sequences"
            )
        return posterior, evidence

    def _log_forward(self, tokens: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the same of one sequence, by logarithms: slower, and nothing is lost."""
        with np.errstate(divide="ignore"):
            step, emit = np.log(self.transition), np.log(self.emission.T)
            state = np.log(self.initial)
        found = np.empty((tokens.size, self.n_states))
        evidence = np.full(tokens.size, -np.inf)
        for t, token in enumerate(tokens):
            if t > 0:
                moves = state[:, None] + step
                top = moves.max(axis=0)
                base = np.where(np.isfinite(top), top, 0.0)
                with np.errstate(divide="ignore", under="ignore"):
                    state = base + np.log(np.exp(moves - base).sum(axis=0))
            state = state + emit[token]
            top = state.max()
            if not np.isfinite(top):
                break
            with np.errstate(under="ignore"):
                evidence[t] = top + np.log(np.exp(state - top).sum())
                state = state - evidence[t]
                found[t] = np.exp(state)
        return found, evidence


def _closed_states(transition: FloatArray) -> IntArray:
    """Return the states of the only closed class; the graph of possible moves decides."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(transition > 0, directed=True, connection="strong")
    leaves = {int(label[i]) for i, j in np.argwhere(transition > 0) if label[i] != label[j]}
    closed = [c for c in range(count) if c not in leaves]
    if len(closed) > 1:
        raise ValueError(
            f"transition must have one stationary distribution; got {len(closed)} closed classes"
        )
    return np.asarray(np.flatnonzero(label == closed[0]), dtype=np.int64)


def _as_stochastic(name: str, value: Any, shape: tuple[int | None, int | None]) -> FloatArray:
    matrix = as_matrix(name, value, shape)
    if 0 in matrix.shape:
        raise ValueError(f"{name} must be non-empty; got shape {matrix.shape}")
    if (matrix < 0).any():
        raise ValueError(f"{name} must be non-negative; got {matrix.min():.6g}")
    sums = matrix.sum(axis=1)
    worst = sums[np.abs(sums - 1.0).argmax()]
    # Rows that came as float32 carry its rounding.
    if abs(worst - 1.0) > (1e-5 if getattr(value, "dtype", None) == np.float32 else 1e-6):
        raise ValueError(f"{name} must have rows that sum to 1; got {worst:.10g}")
    normalised = np.asarray(matrix / sums[:, None])
    normalised.flags.writeable = False
    return normalised


def _invert(cumulative: FloatArray, uniform: FloatArray) -> IntArray:
    """Return the index that each uniform number falls on in its row's cumulative distribution."""
    index = (uniform[:, None] >= cumulative).sum(axis=1)
    return np.asarray(np.minimum(index, cumulative.shape[1] - 1), dtype=np.int64)
