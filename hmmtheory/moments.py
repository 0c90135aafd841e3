"""What the theory needs to know of features and response, and the one place where it is used.

Serves every chapter: the risk of R1 to R3′ is evaluated by :meth:`.Moments.risk` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_count,
    as_flag,
    as_matrix,
    as_number,
    as_option,
    as_order,
    as_rows,
    as_unlabelled,
)
from hmmtheory.factors import elliptical_factors, minimise_over_ridge, risk_factors
from hmmtheory.samples import sample_moments

ROWS = ("elliptical", "gaussian")
#: Row scales enter the theory through this many groups of rows of similar scale.
_SCALE_GROUPS = 64


@dataclass(frozen=True, eq=False)
class Risk:
    """Risk matrix of a trained head, split into three parts, each (q, q) in units of y².

    Attributes
    ----------
    noise : ndarray, shape (q, q)
        The residual covariance Ω, which no head removes.
    bias : ndarray, shape (q, q)
        What the average trained head misses.
    variance : ndarray, shape (q, q)
        What the training noise adds.
    """

    noise: FloatArray
    bias: FloatArray
    variance: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """The risk R = noise + bias + variance (q, q)."""
        return self.noise + self.bias + self.variance

    @property
    def total(self) -> float:
        """The trace of R: "the" risk."""
        return float(np.trace(self.matrix))

    @property
    def excess(self) -> float:
        """The trace of R - Ω, what training on n labels costs."""
        return float(np.trace(self.bias + self.variance))

    def __repr__(self) -> str:
        noise, bias, variance = (np.trace(m) for m in (self.noise, self.bias, self.variance))
        return (
            f"Risk(total={self.total:.4g}, noise={noise:.4g}, bias={bias:.4g}, "
            f"variance={variance:.4g})"
        )


@dataclass(frozen=True, eq=False)
class Moments:
    r"""All that the risk of a linear head depends on (book: Chapter 4).

    With :math:`t_i` the eigenvalues of S, :math:`b_i` the rows of B* in its eigenbasis, and
    weights :math:`w_i` and v from :func:`.risk_factors`, the risk is
    :math:`\Omega + \sum_i w_i b_i^\top b_i + v\,\Omega`.

    Parameters
    ----------
    eigenvalues : array_like, shape (k,)
        Positive eigenvalues of S.
    head : array_like, shape (k, q)
        The rows :math:`b_i`; of a repeated eigenvalue, any with the same :math:`b_i^\top b_i`.
    residual_covariance : array_like, shape (q, q)
        :math:`\Omega`, what no linear head removes.
    multiplicities : array_like, shape (k,), optional
        How often each eigenvalue occurs; once if omitted.
    kurtosis : float
        Excess kurtosis of independent whitened features; 0 for Gaussian rows.
    row_scales : array_like, shape (g,), optional
        Scales of equally large groups of rows, if rows are not equally long.
    residuals : array_like, shape (g, q, q), optional
        The residual covariance of each group; needed with `row_scales`.

    Raises
    ------
    ValueError
        If shapes don't agree, a number is not finite or out of range, one of `row_scales` and
        `residuals` is missing, or row scales come with multiplicities or kurtosis, for which
        there is no formula.

    Examples
    --------
    >>> Moments([1.0], [[0.6]], [[0.64]]).risk(n_samples=10)
    Risk(total=0.72, noise=0.64, bias=0, variance=0.08)
    """

    eigenvalues: FloatArray
    head: FloatArray
    residual_covariance: FloatArray
    multiplicities: FloatArray | None = None
    kurtosis: float = 0.0
    row_scales: FloatArray | None = None
    residuals: FloatArray | None = None

    def __post_init__(self) -> None:
        t = as_array("eigenvalues", self.eigenvalues)
        omega = as_matrix("residual_covariance", self.residual_covariance, (None, None))
        q = omega.shape[0]
        given: dict[str, Any] = {
            "eigenvalues": t,
            "head": as_matrix("head", self.head, (t.size, q)),
            "residual_covariance": as_matrix("residual_covariance", omega, (q, q)),
            "kurtosis": as_number("kurtosis", self.kurtosis, minimum=-2.0),
        }
        if self.multiplicities is not None:
            given["multiplicities"] = as_array("multiplicities", self.multiplicities)
        if (self.row_scales is None) != (self.residuals is None):
            missing = "row_scales" if self.row_scales is None else "residuals"
            raise ValueError(f"{missing} must come with its twin; got None")
        if self.row_scales is not None:
            if self.multiplicities is not None or self.kurtosis != 0.0:
                raise ValueError(
                    "row_scales must be None where there are multiplicities or kurtosis; got some"
                )
            scales = as_array("row_scales", self.row_scales)
            residuals = as_array("residuals", self.residuals)
            if residuals.shape != (scales.size, q, q):
                raise ValueError(
                    f"residuals must have shape {(scales.size, q, q)}; got {residuals.shape}"
                )
            given |= {"row_scales": scales, "residuals": residuals}
        for name, value in given.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        count = self.eigenvalues.size if self.multiplicities is None else self.multiplicities.sum()
        return f"Moments({count:.0f} directions, {self.n_outputs} outputs)"

    @property
    def n_outputs(self) -> int:
        """The number of outputs q."""
        return int(self.residual_covariance.shape[0])

    @classmethod
    def from_samples(
        cls, features: Any, responses: Any, unlabelled: Any = None, rows: str = "elliptical"
    ) -> Moments:
        r"""Return what samples suggest, with Ω and B* made fair (book: Proposition 12.2).

        Parameters
        ----------
        features : array_like, shape (N, p)
            Labelled rows, an array or a DataFrame.
        responses : array_like, shape (N, q) or (N,)
            Their labels.
        unlabelled : array_like, shape (M, p), optional
            Further rows of features, which make S more accurate.
        rows : {"elliptical", "gaussian"}
            Whether unequal row scales are taken into account (Theorem 11.2).

        Raises
        ------
        ValueError
            As :meth:`.Population.from_samples`, or if `rows` is unknown.

        Warns
        -----
        UserWarning
            As :meth:`.Population.from_samples`.
        """
        elliptical = as_option("rows", rows, ROWS) == "elliptical"
        x, y = as_rows(features, responses)
        found = sample_moments(x, y, as_unlabelled(unlabelled, features))
        moments = cls(found.eigenvalues, found.head, found.residual_covariance)
        if not elliptical or not np.ptp(found.row_scales) > 0:
            return moments
        order = np.argsort(found.row_scales, kind="stable")
        groups = np.array_split(order, min(_SCALE_GROUPS, order.size))
        scales = np.sqrt([np.square(found.row_scales[g]).mean() for g in groups])
        residuals = [found.residuals[g].T @ found.residuals[g] / g.size for g in groups]
        return replace(moments, row_scales=scales, residuals=np.array(residuals))

    def risk(
        self, n_samples: int, ridge: float = 0.0, order: int | str = 2, intercept: bool = False
    ) -> Risk:
        r"""Return the risk of a head trained on n independent examples.

        Parameters
        ----------
        n_samples, ridge, order
            As :func:`.head_risk`.
        intercept : bool
            Whether the head has an intercept: n - 1 labels are left for the slopes, and the
            risk grows by 1 + 1/n (Proposition 12.1, exact for Gaussian rows).

        Returns
        -------
        Risk

        Raises
        ------
        ValueError
            As :func:`.head_risk`, or if n < 2 with an intercept.
        """
        return Risk(*self._parts(n_samples, ridge, order, intercept, diagonal=False))

    def parts(
        self, n_samples: int, ridge: float = 0.0, order: int | str = 2, intercept: bool = False
    ) -> FloatArray:
        """Return noise, bias and variance of each output (3, q), the diagonals of :meth:`risk`.

        Parameters
        ----------
        n_samples, ridge, order, intercept
            As :meth:`risk`.

        Returns
        -------
        ndarray, shape (3, q)

        Raises
        ------
        ValueError
            As :meth:`risk`.
        """
        return self._parts(n_samples, ridge, order, intercept, diagonal=True)

    def optimal_ridge(self, n_samples: int, order: int | str = 2, intercept: bool = False) -> float:
        """Return the penalty of least total :meth:`risk`; infinity where no head beats none.

        Parameters
        ----------
        n_samples, order, intercept
            As :meth:`risk`.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            As :meth:`risk`.
        """
        n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
        order = as_order(order)
        if self.eigenvalues.size == 0 or not self.head.any():
            return float("inf")
        m = np.ones_like(self.eigenvalues) if self.multiplicities is None else self.multiplicities
        scale = float(m @ self.eigenvalues / m.sum()) * n

        def excess(lam: float) -> float:
            # Without the noise, which is there at every penalty and would drown small gains.
            return float(self.parts(n, lam, order, intercept)[1:].sum())

        return minimise_over_ridge(excess, scale)

    def _parts(
        self, n_samples: int, ridge: float, order: int | str, intercept: bool, diagonal: bool
    ) -> FloatArray:
        """Evaluate Ω, Σ wᵢbᵢᵀbᵢ and vΩ: matrices (3, q, q) or their diagonals (3, q)."""
        n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
        slopes = n - 1 if intercept else n
        t, m, nu = self.eigenvalues, self.multiplicities, self.kurtosis
        if self.row_scales is None or self.residuals is None:
            weights, gain = risk_factors(t, slopes, ridge, m, order, nu)
            gains, noises = np.array([gain]), self.residual_covariance[None]
        else:
            weights, gains = elliptical_factors(t, slopes, self.row_scales, ridge, order)
            noises = self.residuals
        b, omega = self.head, self.residual_covariance
        if diagonal:
            omega, noises = np.diag(omega), np.diagonal(noises, axis1=1, axis2=2)
            bias = weights @ np.square(b)
        else:
            bias = (b.T * weights) @ b
        # An infinite factor leaves an exact zero at zero.
        factors = gains.reshape(-1, *[1] * omega.ndim)
        added = np.multiply(factors, noises, out=np.zeros(noises.shape), where=noises != 0.0)
        parts = np.array([omega, bias, added.mean(axis=0)])
        if intercept:
            # The error of the fitted mean, (1/n) times the risk, counts as variance.
            parts[2] += parts.sum(axis=0) / n
        return parts
