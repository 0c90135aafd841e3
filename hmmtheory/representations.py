"""Frozen representations, nested in their size, and the labels a head is asked to predict."""

from __future__ import annotations

from dataclasses import dataclass
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
    as_table,
)


@dataclass(frozen=True, eq=False)
class Representation:
    r"""Frozen representation of the token state (book: Definition 1.5).

    .. math:: x = zW + u, \qquad u \sim N(0, \sigma_u^2 I_P)

    The model of size p uses the first p columns of W, so the sizes are nested:
    ``representation.truncate(p)`` is the model of size p.

    Parameters
    ----------
    weights : array_like, shape (d, P)
        The weights W.
    noise_std : float
        :math:`\sigma_u \ge 0`, in the units of the feature.

    Raises
    ------
    ValueError
        If `weights` is not a finite matrix or `noise_std` is negative.

    Examples
    --------
    >>> Representation([[1.0, 0.0, 2.0]]).truncate(2).weights.shape
    (1, 2)
    """

    weights: FloatArray
    noise_std: float = 1.0

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(self, weights: ArrayLike, noise_std: float = 1.0) -> None: ...

    def __post_init__(self) -> None:
        weights = as_table("weights", self.weights, (None, None))
        if weights.shape[0] == 0:
            raise ValueError(f"weights must have at least one row; got shape {weights.shape}")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "noise_std", as_scale("noise_std", self.noise_std))

    def __repr__(self) -> str:
        return f"Representation(dim={self.dim}, size={self.size}, noise_std={self.noise_std:.4g})"

    @classmethod
    def gaussian(
        cls, dim: int, size: int, signal: float = 1.0, noise_std: float = 1.0, rng: Any = None
    ) -> Representation:
        r"""Return W with i.i.d. columns from :math:`N(0, (s/d) I_d)`.

        Parameters
        ----------
        dim, size : int
            d and P.
        signal : float
            s >= 0, the mean squared norm of a column.
        noise_std : float
            :math:`\sigma_u \ge 0`.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Raises
        ------
        ValueError
            If `dim` < 1, `size` < 0, or `signal` or `noise_std` is negative.
        """
        dim, size = as_count("dim", dim), as_count("size", size, minimum=0)
        signal = as_number("signal", signal, minimum=0.0)
        # Drawn column by column, so that a longer W begins with a shorter one's columns.
        columns = as_rng(rng).standard_normal((size, dim)).T
        return cls(np.sqrt(signal / dim) * columns, noise_std)

    @classmethod
    def balanced(
        cls, dim: int, size: int, signal: float = 1.0, noise_std: float = 1.0, rng: Any = None
    ) -> Representation:
        r"""Return the balanced W of one size (R4): orthogonal columns, or a tight frame.

        For p <= d the columns are orthogonal with squared norm s; for p >= d,
        :math:`WW^\top = (sp/d) I_d`.  Truncating it to another size does not leave it balanced.

        Parameters
        ----------
        dim, size : int
            d and p.
        signal : float
            s >= 0, the mean squared norm of a column.
        noise_std : float
            :math:`\sigma_u \ge 0`.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Raises
        ------
        ValueError
            If `dim` < 1, `size` < 0, or `signal` or `noise_std` is negative.
        """
        dim, size = as_count("dim", dim), as_count("size", size, minimum=0)
        signal = as_number("signal", signal, minimum=0.0)
        draw = as_rng(rng).standard_normal((max(dim, size), min(dim, size)))
        q = linalg.qr(draw, mode="economic")[0] if size else draw
        weights = np.sqrt(signal) * q if size <= dim else np.sqrt(signal * size / dim) * q.T
        return cls(weights, noise_std)

    @property
    def dim(self) -> int:
        """The dimension d of the state."""
        return int(self.weights.shape[0])

    @property
    def size(self) -> int:
        """The model size P, the number of features."""
        return int(self.weights.shape[1])

    def truncate(self, size: int) -> Representation:
        """Return the nested model of the first `size` features; `size` is in [0, P]."""
        size = as_count("size", size, minimum=0, maximum=self.size)
        return Representation(self.weights[:, :size], self.noise_std)

    def features(self, states: Any, rng: Any = None) -> FloatArray:
        """Return x = zW + u for every row of `states`.

        Parameters
        ----------
        states : array_like, shape (n, d)
            Token states, one a row.
        rng : int, Generator, SeedSequence or None
            Draws u, feature by feature: the first p features do not depend on P.

        Returns
        -------
        ndarray, shape (n, P)

        Raises
        ------
        ValueError
            If `states` is not a finite (n, d) matrix.
        """
        states = as_matrix("states", states, (None, self.dim))
        noise = as_rng(rng).standard_normal((self.size, states.shape[0])).T
        return np.asarray(states @ self.weights + self.noise_std * noise)


@dataclass(frozen=True, eq=False)
class LinearResponse:
    r"""A downstream label :math:`y_t = z_{t+1} V + \eta_t`, :math:`\eta_t \sim N(0, N_\eta)`.

    With V = I and no label noise it is the next token state itself, the default everywhere.

    Parameters
    ----------
    weights : array_like, shape (d, q)
        The weights V.
    noise_std : float or array_like, shape (q,)
        Standard deviation of the label noise, one for all outputs or one for each.

    Raises
    ------
    ValueError
        If `weights` is not a finite matrix with a column, or `noise_std` is negative or
        of another length than q.
    """

    weights: FloatArray
    noise_std: FloatArray

    def __init__(self, weights: Any, noise_std: Any = 0.0) -> None:
        matrix = as_matrix("weights", weights, (None, None))
        if 0 in matrix.shape:
            raise ValueError(f"weights must be non-empty; got shape {matrix.shape}")
        std = np.atleast_1d(as_array("noise_std", noise_std))
        if std.shape not in {(1,), (matrix.shape[1],)}:
            raise ValueError(
                f"noise_std must be a number or {matrix.shape[1]} numbers; got shape {std.shape}"
            )
        if (std < 0).any():
            raise ValueError(f"noise_std must be non-negative; got {noise_std!r}")
        std = np.array(np.broadcast_to(std, matrix.shape[1]))
        std.flags.writeable = False
        object.__setattr__(self, "weights", matrix)
        object.__setattr__(self, "noise_std", std)

    @property
    def noise_covariance(self) -> FloatArray:
        r""":math:`N_\eta` (q, q), diagonal."""
        return np.asarray(np.diag(self.noise_std**2))

    def sample(self, next_states: Any, rng: Any = None) -> FloatArray:
        """Sample labels for the states that follow the features' states.

        Parameters
        ----------
        next_states : array_like, shape (n, d)
            The states z_{t+1}, one a row.
        rng : int, Generator, SeedSequence or None
            Passed to `numpy.random.default_rng`.

        Returns
        -------
        ndarray, shape (n, q)

        Raises
        ------
        ValueError
            If `next_states` is not a finite (n, d) matrix.
        """
        states = as_matrix("next_states", next_states, (None, self.weights.shape[0]))
        noise = as_rng(rng).standard_normal((states.shape[0], self.noise_std.size))
        return np.asarray(states @ self.weights + noise * self.noise_std)
