"""Second moments of features and response: all that the risk of a linear head depends on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hmmtheory._validation import FloatArray, as_count, as_covariance, as_matrix
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.representations import LinearResponse, Representation

#: Eigenvalues of S below this fraction of the largest count as zero.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class Population:
    r"""Second moments of centred features x and response y (book: Definition 2.1).

    Parameters
    ----------
    feature_covariance : array_like, shape (p, p)
        :math:`S = E[x^\top x]`, symmetric positive semidefinite.
    cross_covariance : array_like, shape (p, q)
        :math:`C = E[x^\top y]`.
    response_covariance : array_like, shape (q, q)
        :math:`\Sigma_y = E[y^\top y]`, symmetric positive semidefinite.

    Raises
    ------
    ValueError
        If a matrix has the wrong shape, is not finite, asymmetric or indefinite, or if the
        three are not the moments of any (x, y).

    Examples
    --------
    >>> population = Population([[2.0]], [[1.0]], [[1.0]])
    >>> population.head.tolist(), population.residual_covariance.tolist()
    ([[0.5]], [[0.5]])
    """

    feature_covariance: FloatArray
    cross_covariance: FloatArray
    response_covariance: FloatArray

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(
            self,
            feature_covariance: ArrayLike,
            cross_covariance: ArrayLike,
            response_covariance: ArrayLike,
        ) -> None: ...

    def __post_init__(self) -> None:
        s = as_covariance("feature_covariance", self.feature_covariance)
        y = as_covariance("response_covariance", self.response_covariance)
        if y.shape[0] == 0:
            raise ValueError("response_covariance must have at least one row; got shape (0, 0)")
        c = as_matrix("cross_covariance", self.cross_covariance, (s.shape[0], y.shape[0]))
        object.__setattr__(self, "feature_covariance", s)
        object.__setattr__(self, "cross_covariance", c)
        object.__setattr__(self, "response_covariance", y)
        scale = float(np.abs(c).max(initial=0.0))
        if np.abs(s @ self.head - c).max(initial=0.0) > 1e-6 * scale:
            raise ValueError(
                "cross_covariance must lie in the range of feature_covariance; "
                "got a feature of zero variance that covaries with the response"
            )
        smallest = float(np.linalg.eigvalsh(self.residual_covariance).min())
        if smallest < -1e-8 * float(np.abs(y).max()):
            raise ValueError(
                "cross_covariance must not exceed what the two covariances allow; the residual "
                f"covariance has the eigenvalue {smallest:.3g}"
            )

    def __repr__(self) -> str:
        return f"Population(n_features={self.n_features}, n_outputs={self.n_outputs})"

    @classmethod
    def next_token(cls, hmm: GaussianHMM, representation: Representation) -> Population:
        r"""Return the exact moments when the head predicts the next state, y = z_{t+1}.

        :math:`S = W^\top \Sigma_z W + \sigma_u^2 I`, :math:`C = W^\top \Sigma_z A`,
        :math:`\Sigma_y = \Sigma_z`.

        Parameters
        ----------
        hmm : GaussianHMM
            The chain.
        representation : Representation
            The model.

        Raises
        ------
        ValueError
            If the chain and the representation have different dimensions.
        """
        return cls.downstream(hmm, representation, LinearResponse(np.eye(hmm.dim)))

    @classmethod
    def downstream(
        cls, hmm: GaussianHMM, representation: Representation, response: LinearResponse
    ) -> Population:
        r"""Return the exact moments for a label :math:`y = z_{t+1} V + \eta`.

        Parameters
        ----------
        hmm : GaussianHMM
            The chain.
        representation : Representation
            The model.
        response : LinearResponse
            The label.

        Raises
        ------
        ValueError
            If the chain, the representation and the response have different dimensions.
        """
        check_dimensions(hmm, representation, response)
        sigma, w, v = hmm.stationary_covariance, representation.weights, response.weights
        noise = representation.noise_std**2 * np.eye(representation.size)
        return cls(
            w.T @ sigma @ w + noise,
            w.T @ hmm.autocovariance(1) @ v,
            v.T @ sigma @ v + response.noise_covariance,
        )

    @classmethod
    def filtered(
        cls,
        hmm: GaussianHMM,
        representation: Representation,
        observation_noise_std: float,
        length: int | None = None,
    ) -> Population:
        r"""Return the exact moments when the model sees noisy tokens (book: Proposition 8.4).

        The frozen representation reads the Kalman posterior mean, :math:`x = \hat z W + u`, and the
        head predicts the next state.  :math:`\operatorname{Cov}(\hat z) = \Sigma_z - P` takes the
        place of :math:`\Sigma_z` in S and C.

        Parameters
        ----------
        hmm : GaussianHMM
            The chain.
        representation : Representation
            The model.
        observation_noise_std, length
            As :meth:`GaussianHMM.filter_covariance`.

        Raises
        ------
        ValueError
            If dimensions differ, or as :meth:`GaussianHMM.filter_covariance`.
        """
        check_dimensions(hmm, representation, LinearResponse(np.eye(hmm.dim)))
        sigma, w = hmm.stationary_covariance, representation.weights
        known = sigma - hmm.filter_covariance(observation_noise_std, length)
        noise = representation.noise_std**2 * np.eye(representation.size)
        return cls(w.T @ known @ w + noise, w.T @ known @ hmm.transition, sigma)

    @classmethod
    def from_samples(cls, features: Any, responses: Any) -> Population:
        """Return the plug-in moments of samples, centred (divisor N - 1).

        The plug-in residual covariance is optimistic by a factor of about 1 - p/(N - 1): the
        samples that fit the best head also judge it.  Use many more samples than features.

        Parameters
        ----------
        features : array_like, shape (N, p)
        responses : array_like, shape (N, q)

        Raises
        ------
        ValueError
            If either is not a finite matrix, N < 2, or their lengths differ.

        Warns
        -----
        UserWarning
            If N <= 10 p, where the optimism is 10 % or more.
        """
        x = as_matrix("features", features, (None, None))
        y = as_matrix("responses", responses, (x.shape[0], None))
        n_samples, n_features = x.shape
        if n_samples < 2:
            raise ValueError(f"features must have at least 2 rows; got {n_samples}")
        if n_samples <= 10 * n_features:
            warnings.warn(
                f"{n_samples} samples for {n_features} features: the plug-in residual covariance "
                "is optimistic by 10 % or more",
                stacklevel=2,
            )
        joint = np.cov(np.hstack([x, y]), rowvar=False).reshape(2 * (n_features + y.shape[1],))
        s, c = joint[:n_features, :n_features], joint[:n_features, n_features:]
        return cls(s, c, joint[n_features:, n_features:])

    @property
    def n_features(self) -> int:
        """The number of features p."""
        return int(self.feature_covariance.shape[0])

    @property
    def n_outputs(self) -> int:
        """The number of outputs q."""
        return int(self.response_covariance.shape[0])

    @cached_property
    def spectrum(self) -> tuple[FloatArray, FloatArray]:
        """Nonzero eigenvalues of S (r,), descending, and their eigenvectors (p, r)."""
        values, vectors = np.linalg.eigh(self.feature_covariance)
        keep = values > RANK_TOLERANCE * values.max(initial=0.0)
        return values[keep][::-1], vectors[:, keep][:, ::-1]

    @cached_property
    def head(self) -> FloatArray:
        r""":math:`B^* = S^+ C` (p, q), the best linear head (book: Proposition 2.2)."""
        values, vectors = self.spectrum
        return np.asarray((vectors / values) @ (vectors.T @ self.cross_covariance))

    @cached_property
    def residual_covariance(self) -> FloatArray:
        r""":math:`\Omega = \Sigma_y - C^\top S^+ C` (q, q), what no linear head removes."""
        omega = self.response_covariance - self.cross_covariance.T @ self.head
        return np.asarray(0.5 * (omega + omega.T))

    def truncate(self, size: int) -> Population:
        """Return the population of the first `size` features; `size` is in [0, p]."""
        size = as_count("size", size, minimum=0, maximum=self.n_features)
        return Population(
            self.feature_covariance[:size, :size],
            self.cross_covariance[:size],
            self.response_covariance,
        )


def check_dimensions(
    hmm: GaussianHMM, representation: Representation, response: LinearResponse
) -> None:
    """Raise ValueError unless chain, representation and response share the dimension d."""
    if representation.dim != hmm.dim:
        raise ValueError(
            f"representation must have the chain's dimension {hmm.dim}; got {representation.dim}"
        )
    if response.weights.shape[0] != hmm.dim:
        raise ValueError(
            f"response must have weights with {hmm.dim} rows; got {response.weights.shape[0]}"
        )
