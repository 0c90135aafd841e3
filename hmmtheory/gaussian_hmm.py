"""The Gaussian hidden Markov chain: a linear Gaussian state that the language model tracks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_count,
    as_matrix,
    as_number,
    as_rng,
    as_scale,
    warn_caller,
)
from hmmtheory._linalg import covariance_root, row_graded_system

#: So many doublings sum 2**64 terms.
_DOUBLINGS = 64
#: A further term below this share of the sum's root ends it.
_SPENT = 1e-18
#: Standard deviations alike within this share a unit when a covariance is rooted.
_ALIKE = 1e3
#: Standard deviations that differ by more than this are lost in float64.
_CARRIED = 1e14


@dataclass(frozen=True, eq=False)
class GaussianHMM:
    r"""Stationary Gaussian chain of token states (book: Definition 1.2).

    .. math::

        z_{t+1} = z_t A + \varepsilon_t, \qquad \varepsilon_t \sim N(0, \sigma_\varepsilon^2 I_d)

    States are rows.  Its stationary covariance solves the discrete Lyapunov equation
    :math:`\Sigma_z = A^\top \Sigma_z A + \sigma_\varepsilon^2 I` (book: Proposition 1.3).

    Parameters
    ----------
    transition : array_like, shape (d, d)
        The matrix A, of spectral radius below 1.
    noise_std : float
        :math:`\sigma_\varepsilon > 0`, in the units of the state.

    Raises
    ------
    ValueError
        If `transition` is not a finite square matrix of spectral radius below 1, or
        `noise_std` is not positive.

    Examples
    --------
    >>> chain = GaussianHMM([[0.6]], noise_std=0.8)
    >>> round(float(chain.stationary_covariance[0, 0]), 12)
    1.0
    """

    transition: FloatArray
    noise_std: float

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(self, transition: ArrayLike, noise_std: float) -> None: ...

    def __post_init__(self) -> None:
        matrix = as_matrix("transition", self.transition, (None, None))
        if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
            raise ValueError(f"transition must be square and non-empty; got shape {matrix.shape}")
        radius = float(np.abs(linalg.eigvals(matrix)).max())
        if radius >= 1.0:
            raise ValueError(f"transition must have spectral radius below 1; got {radius:.6g}")
        noise_std = as_scale("noise_std", self.noise_std, positive=True)
        object.__setattr__(self, "transition", matrix)
        object.__setattr__(self, "noise_std", noise_std)

    def __repr__(self) -> str:
        return f"GaussianHMM(dim={self.dim}, noise_std={self.noise_std:.4g})"

    @classmethod
    def rotation(cls, dim: int, persistence: float, rng: Any = None) -> GaussianHMM:
        r"""Return the standard chain: :math:`A = \rho Q`, Q a Haar-random orthogonal matrix.

        The innovation variance is :math:`1 - \rho^2`, so that :math:`\Sigma_z = I` exactly.

        Parameters
        ----------
        dim : int
            d, the dimension of the state.
        persistence : float
            :math:`\rho \in [0, 1)`.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Raises
        ------
        ValueError
            If `dim` < 1 or `persistence` is outside [0, 1).
        """
        dim = as_count("dim", dim)
        rho = as_number("persistence", persistence, minimum=0.0, maximum=1.0, open_maximum=True)
        q, r = linalg.qr(as_rng(rng).standard_normal((dim, dim)))
        # Haar measure needs the signs of R's diagonal moved into Q.
        orthogonal = np.asarray(q * np.where(np.diag(r) < 0, -1.0, 1.0), dtype=np.float64)
        return cls(rho * orthogonal, float(np.sqrt(1.0 - rho**2)))

    @property
    def dim(self) -> int:
        """The dimension d of the state."""
        return int(self.transition.shape[0])

    @cached_property
    def stationary_root(self) -> FloatArray:
        r"""R (d, d) with :math:`R^\top R = \Sigma_z`, its rows orthogonal, the longest first.

        Summed as squares, :math:`\sum_k (A^k)^\top A^k`, twice as many terms at each step: far from
        normal chains keep their small directions, which a solution for the covariance loses.
        """
        root, power = self.noise_std * np.eye(self.dim), self.transition
        for _ in range(_DOUBLINGS):
            more = root @ power
            if np.abs(more).max() <= _SPENT * np.abs(root).max():
                break
            root = np.asarray(linalg.qr(np.vstack([root, more]), mode="r")[0][: self.dim])
            power = power @ power
        s, _, vt = row_graded_system(root)
        if s.size < self.dim or s[0] > _CARRIED * s[-1]:
            warn_caller(
                "transition is so far from normal that float64 does not carry the states' "
                f"covariance: standard deviations from {s[-1]:.3g} to {s[0]:.3g}",
                RuntimeWarning,
            )
        graded = np.asarray(s[:, None] * vt)
        graded.flags.writeable = False
        return graded

    @cached_property
    def stationary_covariance(self) -> FloatArray:
        r""":math:`\Sigma_z` (d, d), the solution of the Lyapunov equation (exact)."""
        sigma = self.stationary_root.T @ self.stationary_root
        symmetric: FloatArray = np.array(0.5 * (sigma + sigma.T), dtype=np.float64)
        symmetric.flags.writeable = False
        return symmetric

    def autocovariance(self, lag: int) -> FloatArray:
        r"""Return :math:`E[z_t^\top z_{t+k}] = \Sigma_z A^k`, shape (d, d), for `lag` k >= 0."""
        power = np.linalg.matrix_power(self.transition, as_count("lag", lag, minimum=0))
        return np.asarray(self.stationary_covariance @ power)

    def filter_covariance(
        self, observation_noise_std: float, length: int | None = None
    ) -> FloatArray:
        r"""Return the error covariance of the state's posterior mean (book: Proposition 8.4).

        The tokens are noisy states, :math:`o_t = z_t + v_t`, :math:`v_t \sim N(0, \sigma_v^2 I)`.
        The posterior mean :math:`\hat z` of the last state given the last `length` tokens has
        :math:`\operatorname{Cov}(\hat z) = \Sigma_z - P` with P the matrix returned here.

        Parameters
        ----------
        observation_noise_std : float
            :math:`\sigma_v > 0`.
        length : int, optional
            Number of tokens seen, the context length; unlimited if omitted, when P solves the
            discrete algebraic Riccati equation.

        Returns
        -------
        ndarray, shape (d, d)

        Raises
        ------
        ValueError
            If `observation_noise_std` is not positive or `length` < 1.
        """
        noise_std = as_scale("observation_noise_std", observation_noise_std, positive=True)
        variance = noise_std**2
        if length is None:
            # The Riccati solution, in units of σ_ε², is the error before the last token is seen.
            ratio = (noise_std / self.noise_std) ** 2
            prior = _riccati(self.transition, 1.0 / ratio)
            return np.asarray(self.noise_std**2 * _update(prior, ratio)[1])
        posterior = _update(self.stationary_covariance, variance)[1]
        for _ in range(as_count("length", length) - 1):
            posterior = _update(self._predict(posterior), variance)[1]
        return posterior

    def filter(self, observations: ArrayLike, observation_noise_std: float) -> FloatArray:
        r"""Return the posterior means :math:`E[z_t \mid o_{1:t}]` of noisy tokens (Kalman filter).

        Parameters
        ----------
        observations : array_like, shape (n, T, d)
            Tokens :math:`o_t = z_t + v_t`, with the first state in the stationary law.
        observation_noise_std : float
            :math:`\sigma_v > 0`.

        Returns
        -------
        ndarray, shape (n, T, d)
            Their error covariance is :meth:`filter_covariance` with `length` t.

        Raises
        ------
        ValueError
            If `observations` has another shape or is not finite, or
            `observation_noise_std` is not positive.
        """
        noise_std = as_scale("observation_noise_std", observation_noise_std, positive=True)
        variance = noise_std**2
        tokens = as_array("observations", observations)
        if tokens.ndim != 3 or tokens.shape[2] != self.dim or tokens.shape[1] == 0:
            raise ValueError(
                f"observations must have shape (n, T, {self.dim}) with T >= 1; got {tokens.shape}"
            )
        means = np.empty_like(tokens)
        prior, expected = self.stationary_covariance, np.zeros((tokens.shape[0], self.dim))
        for t in range(tokens.shape[1]):
            gain, posterior = _update(prior, variance)
            means[:, t] = expected + (tokens[:, t] - expected) @ gain
            expected, prior = means[:, t] @ self.transition, self._predict(posterior)
        return means

    def _predict(self, posterior: FloatArray) -> FloatArray:
        """Return the next state's error covariance before its token is seen."""
        moved = self.transition.T @ posterior @ self.transition
        return np.asarray(moved + self.noise_std**2 * np.eye(self.dim))

    def sample(self, n_sequences: int, length: int, rng: Any = None) -> FloatArray:
        """Sample independent sequences that start in the stationary law.

        Parameters
        ----------
        n_sequences, length : int
            How many sequences, and how many states in each.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Returns
        -------
        ndarray, shape (n_sequences, length, d)

        Raises
        ------
        ValueError
            If either count is below 1.
        """
        n_sequences = as_count("n_sequences", n_sequences)
        length = as_count("length", length)
        states: FloatArray = as_rng(rng).standard_normal((n_sequences, length, self.dim))
        try:
            root = linalg.cholesky(self.stationary_covariance)
        except linalg.LinAlgError:  # far from normal: its squares are lost
            root = self.stationary_root
        states[:, 0] = states[:, 0] @ root
        states[:, 1:] *= self.noise_std
        for t in range(1, length):
            states[:, t] += states[:, t - 1] @ self.transition
        return states


def _update(prior: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
    """Return the Kalman gain, applied from the right to a row, and the posterior covariance."""
    gain = linalg.solve(prior + variance * np.eye(prior.shape[0]), prior, assume_a="pos")
    posterior = variance * gain
    return gain, 0.5 * (posterior + posterior.T)


def _riccati(transition: FloatArray, precision: float) -> FloatArray:
    """Return Π = AᵀΠ(I + gΠ)⁻¹A + I, by a recursion that doubles the tokens seen each time."""
    identity = np.eye(transition.shape[0])
    step, seen, prior = transition, precision * identity, identity
    for _ in range(60):
        both = linalg.solve(identity + seen @ prior, np.hstack([step, seen]))
        moved, known = np.hsplit(both, 2)
        more = step.T @ prior @ moved
        seen, step = seen + step @ known @ step.T, step @ moved
        seen, prior = 0.5 * (seen + seen.T), prior + 0.5 * (more + more.T)
        if np.abs(more).max() <= 1e-16 * np.abs(prior).max():
            break
    return np.asarray(prior)


def symmetric_root(covariance: ArrayLike) -> FloatArray:
    """Return R with RᵀR the covariance: symmetric, unless units differ so that small ones drown."""
    matrix = np.asarray(covariance, dtype=np.float64)
    own = np.sqrt(np.abs(np.diag(matrix)))
    seen = own[own > 0]
    if seen.size and seen.max() > _ALIKE * seen.min():
        return covariance_root(matrix)
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)
