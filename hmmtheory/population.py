"""Second moments of features and response: all that the risk of a linear head depends on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from hmmtheory._bulk import as_bulk
from hmmtheory._checks import (
    FloatArray,
    as_a,
    as_count,
    as_flag,
    as_matrix,
    as_rows,
    as_table,
    warn_caller,
)
from hmmtheory._linalg import as_covariance, covariance_spectrum
from hmmtheory.categorical_hmm import CategoricalHMM
from hmmtheory.gaussian_hmm import GaussianHMM
from hmmtheory.moments import Moments
from hmmtheory.representations import LinearResponse, Representation
from hmmtheory.samples import sample_moments
from hmmtheory.signals import Reading, Signal

#: Lengths of features that spread further than this are units.
_GRADED = 1e3


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
    #: The signal and the representation that the moments were made from, if they were.
    _source: ClassVar[tuple[Signal, Representation] | None] = None
    #: The number of labelled rows that the moments were estimated from, if they were.
    _pilot: ClassVar[int | None] = None

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
        # In units of each feature's and each output's own standard deviation.
        units = np.outer(np.sqrt(np.diag(s)), np.sqrt(np.diag(y)))
        if (np.abs(c)[units > 0] > 1.001 * units[units > 0]).any():
            raise ValueError(
                "cross_covariance must not exceed what the two covariances allow; got an entry "
                f"of {np.abs(c).max():.3g}"
            )
        if (np.abs(s @ self.head - c) > 1e-6 * units).any():
            raise ValueError(
                "cross_covariance must lie in the range of feature_covariance; "
                "got a feature of zero variance that covaries with the response"
            )
        own = np.sqrt(np.diag(y))
        own[own == 0.0] = 1.0
        smallest = float(np.linalg.eigvalsh(self.residual_covariance / np.outer(own, own)).min())
        if smallest < -1e-8:
            raise ValueError(
                "cross_covariance must not exceed what the two covariances allow; the residual "
                f"covariance has the eigenvalue {smallest:.3g}, in units of the outputs' variances"
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
        dim = as_a("GaussianHMM", "hmm", hmm).dim
        return cls.downstream(hmm, representation, LinearResponse(np.eye(dim)))

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
        return cls.of_signal(Signal.of_state(hmm, response), representation)

    @classmethod
    def of_signal(cls, signal: Signal, representation: Representation) -> Population:
        r"""Return the exact moments of :math:`x = sW + u` and :math:`y = sM + e`.

        :math:`B^*` and :math:`\Omega` come from the signal, not as differences of the moments.

        Parameters
        ----------
        signal : hmmtheory.signals.Signal
            What features and label share.
        representation : Representation
            The model.

        Raises
        ------
        ValueError
            If the signal and the representation have different dimensions.
        """
        check_dimensions(signal.root.shape[1], representation)
        seen, y = signal.root @ representation.weights, signal.predictable
        found = object.__new__(cls)
        s = seen.T @ seen + representation.noise_std**2 * np.eye(representation.size)
        fields = (s, seen.T @ y, y.T @ y + signal.noise)
        names = ("feature_covariance", "cross_covariance", "response_covariance")
        for name, value in zip(names, fields, strict=True):
            value.flags.writeable = False
            object.__setattr__(found, name, value)
        object.__setattr__(found, "_source", (signal, representation))
        return found

    @classmethod
    def filtered(
        cls,
        hmm: GaussianHMM,
        representation: Representation,
        observation_noise_std: float,
        length: int | None = None,
    ) -> Population:
        r"""Return the exact moments when the model sees noisy tokens (book: Proposition 8.5).

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
            As :meth:`.GaussianHMM.filter_covariance`.

        Raises
        ------
        ValueError
            If dimensions differ, or as :meth:`.GaussianHMM.filter_covariance`.
        """
        signal = Signal.of_estimate(hmm, observation_noise_std, length)
        return cls.of_signal(signal, representation)

    @classmethod
    def tokens(
        cls, hmm: CategoricalHMM, embedding: ArrayLike, noise_std: float = 0.0
    ) -> Population:
        r"""Return the exact moments of token features when the head predicts the next token.

        With :math:`x_t = \operatorname{onehot}(o_t) M + u_t` and :math:`y_t =
        \operatorname{onehot}(o_{t+1})`, both centred, v the stationary law of a token and P that
        of two (:attr:`CategoricalHMM.bigram`): :math:`\Sigma_y = \operatorname{diag}(v) - v^\top
        v`, :math:`S = M^\top \Sigma_y M + \sigma_u^2 I`, :math:`C = M^\top (P - v^\top v)` (book:
        Proposition 9.1; exact, though nothing is Gaussian).

        Parameters
        ----------
        hmm : CategoricalHMM
            The chain, taken in its stationary law.
        embedding : array_like, shape (V, p)
            M, one row for each token.
        noise_std : float
            :math:`\sigma_u \ge 0`.

        Raises
        ------
        ValueError
            If `embedding` does not have V rows, or `noise_std` < 0.

        Examples
        --------
        >>> coin = CategoricalHMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
        >>> Population.tokens(coin, [[1.0], [-1.0]]).head.round(3).tolist()
        [[0.144, -0.144]]
        """
        tokens = as_a("CategoricalHMM", "hmm", hmm).n_tokens
        m = as_table("embedding", embedding, (tokens, None))
        return cls.of_signal(Signal.of_token(hmm), Representation(m, noise_std))

    @classmethod
    def from_samples(
        cls, features: Any, responses: Any, unlabelled: Any = None, correct: bool = True
    ) -> Population:
        r"""Return the moments that samples suggest, centred, with Ω and B* made fair.

        The samples that fit the best head also judge it, so that the plain residual covariance
        is optimistic by a factor of about 1 - p/N.  Here each residual meets its own
        leave-one-out residual, and the noise in the fitted coefficients is taken off by soft
        thresholding, so that each output's signal and noise add up to its sample variance
        (book: Proposition 13.2).  Empirical: Ω is unbiased when all rows have the same noise.

        Parameters
        ----------
        features : array_like, shape (N, p)
            Labelled rows, an array or a DataFrame.
        responses : array_like, shape (N, q) or (N,)
            Their labels.
        unlabelled : array_like, shape (M, p), optional
            Further rows of features, which make S more accurate.
        correct : bool
            False leaves the optimistic plug-in moments (divisor N - 1) as they are.

        Raises
        ------
        ValueError
            If an argument is not a finite matrix, N < 2, lengths differ, or plain moments are
            asked of unlabelled rows.

        Warns
        -----
        UserWarning
            If N - 1 < 2r, r the rank of the features: the signal outside the (N - 1)/2 directions
            of largest variance then counts as noise.  Without correction: if N <= 10 p, where the
            optimism is 10 % or more.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((400, 100))
        >>> y = x[:, :1] + rng.standard_normal((400, 1))
        >>> bool(abs(Population.from_samples(x, y).residual_covariance[0, 0] - 1.0) < 0.15)
        True
        """
        x, y = as_rows(features, responses)
        if not as_flag("correct", correct):
            if unlabelled is not None:
                raise ValueError("unlabelled must be None for plain moments; got rows")
            return cls._plug_in(x, y)._from_pilot(x.shape[0])
        found = sample_moments(x, y, as_bulk(unlabelled, features))
        t, v, b = found.eigenvalues, found.directions, found.head
        signal = (b.T * t) @ b
        whole = cls((v * t) @ v.T, (v * t) @ b, found.residual_covariance + signal)
        return whole._from_pilot(x.shape[0])

    def _from_pilot(self, n_rows: int | None) -> Population:
        object.__setattr__(self, "_pilot", n_rows)
        return self

    @classmethod
    def _plug_in(cls, x: FloatArray, y: FloatArray) -> Population:
        rows, p = x.shape
        if rows <= 10 * p:
            warn_caller(
                f"{rows} samples for {p} features: the plug-in residual covariance is optimistic "
                "by 10 % or more"
            )
        joint = np.cov(np.hstack([x, y]), rowvar=False).reshape(2 * (p + y.shape[1],))
        return cls(joint[:p, :p], joint[:p, p:], joint[p:, p:])

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
        return covariance_spectrum(self.feature_covariance)

    @cached_property
    def _reading(self) -> Reading | None:
        """What a task's signal says; None of a population given by its moments."""
        if self._source is None:
            return None
        signal, representation = self._source
        return next(signal.readings(representation, [representation.size]))

    @cached_property
    def moments(self) -> Moments:
        """What the theory needs of this population."""
        if self._reading is not None:
            return self._reading.moments
        values, vectors = self.spectrum
        head = vectors.T @ self.head
        return Moments(values, head, self.residual_covariance, pilot=self._pilot)

    @cached_property
    def head(self) -> FloatArray:
        r""":math:`B^* = S^+ C` (p, q), the best linear head (book: Proposition 2.2)."""
        lengths = np.sqrt(np.diag(self.feature_covariance))
        alike = lengths.max(initial=0.0) <= _GRADED * lengths.min(initial=np.inf)
        # In W K a column of another unit would cancel to its last digits.
        if self._source is not None and self._reading is not None and alike:
            return np.asarray(self._source[1].weights.T @ self._reading.coefficients)
        values, vectors = self.spectrum
        return np.asarray((vectors / values) @ (vectors.T @ self.cross_covariance))

    @cached_property
    def residual_covariance(self) -> FloatArray:
        r""":math:`\Omega = \Sigma_y - C^\top S^+ C` (q, q), what no linear head removes."""
        if self._reading is not None:
            return self._reading.moments.residual_covariance
        omega = self.response_covariance - self.cross_covariance.T @ self.head
        return np.asarray(0.5 * (omega + omega.T))

    def risk_of(self, head: ArrayLike) -> FloatArray:
        r"""Return the exact risk matrix :math:`\Omega + (B - B^*)^\top S (B - B^*)` of a head.

        Parameters
        ----------
        head : array_like, shape (p, q)
            B, the coefficients of a trained head.

        Returns
        -------
        ndarray, shape (q, q)
            Its trace is the total risk.

        Raises
        ------
        ValueError
            If `head` is not a finite (p, q) matrix.

        Examples
        --------
        >>> Population([[2.0]], [[1.0]], [[1.0]]).risk_of([[0.0]]).tolist()
        [[1.0]]
        """
        missed = as_table("head", head, self.cross_covariance.shape) - self.head
        return np.asarray(self.residual_covariance + missed.T @ self.feature_covariance @ missed)

    def truncate(self, size: int) -> Population:
        """Return the population of the first `size` features; `size` is in [0, p]."""
        size = as_count("size", size, minimum=0, maximum=self.n_features)
        if self._source is not None:
            signal, representation = self._source
            return Population.of_signal(signal, representation.truncate(size))
        return Population(
            self.feature_covariance[:size, :size],
            self.cross_covariance[:size],
            self.response_covariance,
        )._from_pilot(self._pilot)


def check_dimensions(dim: int, representation: Representation) -> None:
    """Raise ValueError unless the representation reads states of dimension `dim`."""
    if as_a("Representation", "representation", representation).dim != dim:
        raise ValueError(
            f"representation must have the chain's dimension {dim}; got {representation.dim}"
        )
