"""The Gaussian hidden Markov chain: a linear Gaussian state that the language model tracks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from hmmtheory._validation import FloatArray, as_count, as_matrix, as_number, as_rng


@dataclass(frozen=True, eq=False)
class GaussianHMM:
    r"""Stationary Gaussian chain of token states (book: Definition 1.2).

    .. math:: z_{t+1} = z_t A + \varepsilon_t, \qquad \varepsilon_t \sim N(0, \sigma_\varepsilon^2 I_d)

    States are rows.  Its stationary covariance solves the discrete Lyapunov equation
    :math:`\Sigma_z = A^\top \Sigma_z A + \sigma_\varepsilon^2 I` (book: Proposition 1.3).

    Parameters
    ----------
    transition : array_like, shape (d, d)
        A.  Its spectral radius must be below 1.
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

    def __post_init__(self) -> None:
        matrix = as_matrix("transition", self.transition, (None, None))
        if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
            raise ValueError(f"transition must be square and non-empty; got shape {matrix.shape}")
        radius = float(np.abs(linalg.eigvals(matrix)).max())
        if radius >= 1.0:
            raise ValueError(f"transition must have spectral radius below 1; got {radius:.6g}")
        noise_std = as_number("noise_std", self.noise_std, minimum=0.0, open_minimum=True)
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
        return cls(rho * q * np.where(np.diag(r) < 0, -1.0, 1.0), float(np.sqrt(1.0 - rho**2)))

    @property
    def dim(self) -> int:
        """The dimension d of the state."""
        return int(self.transition.shape[0])

    @cached_property
    def stationary_covariance(self) -> FloatArray:
        r""":math:`\Sigma_z` (d, d), solved from the Lyapunov equation (exact)."""
        sigma = linalg.solve_discrete_lyapunov(
            self.transition.T, self.noise_std**2 * np.eye(self.dim)
        )
        sigma = 0.5 * (sigma + sigma.T)
        sigma.flags.writeable = False
        return sigma

    def autocovariance(self, lag: int) -> FloatArray:
        r"""Return :math:`E[z_t^\top z_{t+k}] = \Sigma_z A^k`, shape (d, d), for `lag` k >= 0."""
        power = np.linalg.matrix_power(self.transition, as_count("lag", lag, minimum=0))
        return np.asarray(self.stationary_covariance @ power)

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
        states = as_rng(rng).standard_normal((n_sequences, length, self.dim))
        states[:, 0] = states[:, 0] @ linalg.cholesky(self.stationary_covariance)
        states[:, 1:] *= self.noise_std
        for t in range(1, length):
            states[:, t] += states[:, t - 1] @ self.transition
        return states


def symmetric_root(covariance: ArrayLike) -> FloatArray:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    return np.asarray((vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T)
