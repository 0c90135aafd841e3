"""What the theory needs to know of features and response, and the one place where it is used.

Serves every chapter: the risk of R1 to R3′ is evaluated by :meth:`.Moments.risk` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hmmtheory._bulk import as_bulk
from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_count,
    as_flag,
    as_matrix,
    as_number,
    as_option,
    as_order,
    as_ridge,
    as_rows,
    shown,
)
from hmmtheory._linalg import as_covariances
from hmmtheory._search import minimise_over_ridge, nearby_ridge, ridge_within
from hmmtheory.factors import (
    as_row_scales,
    as_spectrum,
    effective_ridge,
    elliptical_factors_of,
    factors_of,
    uniform_error,
)
from hmmtheory.samples import sample_moments

ROWS = ("elliptical", "gaussian")
#: Row scales enter the theory through this many groups of rows of similar scale.
_SCALE_GROUPS = 64
#: Eigenvalues times penalties that are looked at in one go.
_AT_ONCE = 500_000


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
    own_error : callable, optional
        Computes `relative_error` when it is first asked for.
    """

    noise: FloatArray
    bias: FloatArray
    variance: FloatArray
    own_error: Callable[[], float] | None = field(default=None, repr=False)

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

    @cached_property
    def relative_error(self) -> float:
        """How far the total may be off, as :meth:`.Moments.relative_error`; NaN if unknown."""
        return float("nan") if self.own_error is None else self.own_error()

    def __repr__(self) -> str:
        return self._shown("")

    def __str__(self) -> str:
        error = self.relative_error
        return self._shown("" if np.isnan(error) else f" ± {100 * error:.2g} %")

    def _shown(self, error: str) -> str:
        noise, bias, variance = (np.trace(m) for m in (self.noise, self.bias, self.variance))
        return (
            f"Risk(total={self.total:.4g}{error}, noise={noise:.4g}, bias={bias:.4g}, "
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
    pilot : int, optional
        The number of labelled rows that all this was estimated from; None if it is exact.

    Raises
    ------
    ValueError
        If shapes don't agree, a number is not finite or out of range, a covariance is none, one
        of `row_scales` and `residuals` is missing, or row scales come with multiplicities or
        kurtosis, for which there is no formula.

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
    pilot: int | None = None

    if TYPE_CHECKING:  # what callers may pass; the fields say what they read

        def __init__(
            self,
            eigenvalues: ArrayLike,
            head: ArrayLike,
            residual_covariance: ArrayLike,
            multiplicities: ArrayLike | None = None,
            kurtosis: float = 0.0,
            row_scales: ArrayLike | None = None,
            residuals: ArrayLike | None = None,
            pilot: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        t, m = as_spectrum(self.eigenvalues, self.multiplicities)
        omega = as_matrix("residual_covariance", self.residual_covariance, (None, None))
        q = omega.shape[0]
        omega = as_matrix("residual_covariance", omega, (q, q))
        head = as_matrix("head", self.head, (t.size, q))
        told = (m * t) @ np.square(head)
        given: dict[str, Any] = {
            "eigenvalues": t,
            "head": head,
            "residual_covariance": as_covariances("residual_covariance", omega, told),
            "kurtosis": as_number("kurtosis", self.kurtosis, minimum=-2.0),
        }
        if self.multiplicities is not None:
            given["multiplicities"] = m
        if (self.row_scales is None) != (self.residuals is None):
            missing = "row_scales" if self.row_scales is None else "residuals"
            raise ValueError(f"{missing} must come with its twin; got None")
        if self.row_scales is not None:
            if self.multiplicities is not None or self.kurtosis != 0.0:
                raise ValueError(
                    "row_scales must be None where there are multiplicities or kurtosis; got some"
                )
            scales = as_row_scales(self.row_scales)
            residuals = as_array("residuals", self.residuals)
            if residuals.shape != (scales.size, q, q):
                raise ValueError(
                    f"residuals must have shape {(scales.size, q, q)}; got {residuals.shape}"
                )
            given |= {
                "row_scales": scales,
                "residuals": as_covariances("residuals", residuals, told),
            }
        if self.pilot is not None:
            given["pilot"] = as_count("pilot", self.pilot)
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
        r"""Return what samples suggest, with Ω and B* made fair (book: Proposition 13.2).

        Parameters
        ----------
        features : array_like, shape (N, p)
            Labelled rows, an array or a DataFrame.
        responses : array_like, shape (N, q) or (N,)
            Their labels.
        unlabelled : array_like, shape (M, p), optional
            Further rows of features, which make S more accurate.
        rows : {"elliptical", "gaussian"}
            Whether unequal row scales are taken into account (Theorem 15.2).

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
        found = sample_moments(x, y, as_bulk(unlabelled, features))
        moments = cls(found.eigenvalues, found.head, found.residual_covariance, pilot=x.shape[0])
        if not elliptical or not np.ptp(found.row_scales) > 0:
            return moments
        order = np.argsort(found.row_scales, kind="stable")
        groups = np.array_split(order, min(_SCALE_GROUPS, order.size))
        scales = np.sqrt([np.square(found.row_scales[g]).mean() for g in groups])
        residuals = [found.residuals[g].T @ found.residuals[g] / g.size for g in groups]
        return replace(moments, row_scales=scales, residuals=np.array(residuals))

    @classmethod
    def from_chunks(
        cls,
        features: Any,
        responses: Any,
        chunks: Any,
        rows: str = "elliptical",
        progress: bool = False,
    ) -> Moments:
        """Return what :meth:`from_samples` does, the rows without labels read in one pass.

        Their memory is that of one chunk.  The numbers are those of all rows at once, to 1e-10.

        Parameters
        ----------
        features, responses, rows
            As :meth:`from_samples`.
        chunks : iterable of array_like, shape (m, p)
            Tables of rows without labels; or what reads them itself: a memory map, a Dask array,
            the path of a .npy or .parquet file.
        progress : bool
            Whether a bar on standard error counts the tables; of an iterable alone.

        Raises
        ------
        ValueError
            As :meth:`from_samples`, or if there is no row.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x, more = rng.standard_normal((50, 3)), rng.standard_normal((900, 3))
        >>> y = x.sum(axis=1) + rng.standard_normal(50)
        >>> one = Moments.from_chunks(x, y, (more[k : k + 100] for k in range(0, 900, 100)))
        >>> bool(np.isclose(one.risk(20).total, Moments.from_samples(x, y, more).risk(20).total))
        True
        """
        whole = isinstance(chunks, np.ndarray | str | PathLike) or hasattr(chunks, "to_delayed")
        if not whole and not isinstance(chunks, Iterable):
            raise ValueError(f"chunks must be an iterable of tables; got {shown(chunks)}")
        if as_flag("progress", progress) and not whole:
            from tqdm.auto import tqdm

            chunks = tqdm(chunks, unit="chunk")
        chunks = chunks if whole else iter(chunks)
        return cls.from_samples(features, responses, chunks, rows)

    def risk(
        self,
        n_samples: int,
        ridge: float = 0.0,
        order: int | str = "uniform",
        intercept: bool = False,
    ) -> Risk:
        r"""Return the risk of a head trained on n independent examples.

        Parameters
        ----------
        n_samples, ridge, order
            As :func:`.head_risk`.
        intercept : bool
            Whether the head has an intercept: n - 1 labels are left for the slopes, and the
            risk grows by 1 + 1/n (Proposition 13.1, exact for Gaussian rows).

        Returns
        -------
        Risk

        Raises
        ------
        ValueError
            As :func:`.head_risk`, or if n < 2 with an intercept.
        """
        parts = self._parts(n_samples, [ridge], order, intercept, diagonal=False)[0]
        own = partial(self.relative_error, n_samples, ridge, order, intercept)
        return Risk(parts[0], parts[1], parts[2], own)

    def relative_error(
        self,
        n_samples: int,
        ridge: float = 0.0,
        order: int | str = "uniform",
        intercept: bool = False,
    ) -> float:
        r"""Return how far the total :meth:`risk` may be off, as a share of it (empirical).

        The sum of five, each calibrated by simulation so that 19 of 20 errors are smaller:

        - the distance of the order asked for from the uniform one;
        - for that one, :func:`.uniform_error` times the excess' share of the risk;
        - of kurtosis, six times the square of the change that it makes;
        - of unequal rows, 3/n times the logarithm of what they multiply the risk by;
        - of N pilot rows of r directions, :math:`2.2 \sqrt{2/(N - \min(r, N/2))}`, about what a
          variance scatters by, and, for variances that scatter without enough ridge to forget
          them, :math:`(r/N)^2` times the excess' share.

        It knows nothing of rows that depend on each other, of features that are neither Gaussian
        nor independent, or of a model that does not hold.

        Parameters
        ----------
        n_samples, ridge, order, intercept
            As :meth:`risk`.

        Returns
        -------
        float
            0 where the formula is exact, and where the risk is infinite.

        Raises
        ------
        ValueError
            As :meth:`risk`.

        Examples
        --------
        >>> Moments([1.0], [[0.6]], [[0.64]]).relative_error(n_samples=10)
        0.0
        """
        n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
        # An intercept multiplies the risk of n - 1 labels by what is known.
        n = n - 1 if intercept else n
        t, m = self.eigenvalues, self.multiplicities

        def total(moments: Moments, order: int | str) -> float:
            return float(moments.parts(n, ridge, order).sum())

        best = total(self, "uniform")
        asked = best if order == "uniform" else total(self, order)
        if np.isinf(asked) or np.isinf(best) or best <= 0.0:
            return 0.0
        excess = 1.0 - float(np.trace(self.residual_covariance)) / best
        error = abs(asked / best - 1.0) + uniform_error(t, n, ridge, m) * excess
        if self.kurtosis != 0.0:
            error += 6.0 * (best / total(replace(self, kurtosis=0.0), "uniform") - 1.0) ** 2
        if self.row_scales is not None:
            equal = replace(self, row_scales=None, residuals=None)
            error += 3.0 / n * abs(float(np.log(best / total(equal, "uniform"))))
        if self.pilot is not None:
            count = t.size if m is None else float(m.sum())
            # Directions that fill the pilot's rows hide how many there are.
            full = ridge == 0.0 and count >= self.pilot - 1
            unsure = 1.0 if full else 1.0 - self._from_ridge(n, ridge)
            error += 2.2 * np.sqrt(2.0 / (self.pilot - min(count, self.pilot / 2)))
            error += (count / self.pilot) ** 2 * unsure * excess
        return float(error)

    def _from_ridge(self, n: int, ridge: float) -> float:
        """Return which part of the gap n - df₂ is the ridge's (n - df₁)."""
        t, m = self.eigenvalues, self.multiplicities
        if np.isinf(ridge) or t.size == 0:
            return 1.0
        kappa = effective_ridge(t, n, ridge, m)
        if kappa == 0.0:
            return 1.0
        m = np.ones_like(t) if m is None else m
        left = ridge / kappa
        return float(left / (left + m @ (t * kappa / np.square(t + kappa))))

    def slim(self) -> Moments:
        """Return moments of one output with the same eigenvalues, total risk and error."""
        residuals = self.residuals
        return replace(
            self,
            head=np.sqrt(np.square(self.head).sum(axis=1, keepdims=True)),
            residual_covariance=np.array([[np.trace(self.residual_covariance)]]),
            residuals=None
            if residuals is None
            else residuals.trace(axis1=1, axis2=2)[:, None, None],
        )

    def parts(
        self,
        n_samples: int,
        ridge: float = 0.0,
        order: int | str = "uniform",
        intercept: bool = False,
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
        return np.asarray(self._parts(n_samples, [ridge], order, intercept, diagonal=True)[0])

    def optimal_ridge(
        self,
        n_samples: int,
        order: int | str = "uniform",
        intercept: bool = False,
        near: float | None = None,
    ) -> float:
        """Return the penalty of least total :meth:`risk`; infinity where no head beats none.

        Parameters
        ----------
        n_samples, order, intercept
            As :meth:`risk`.
        near : float, optional
            The best penalty of much the same moments, positive and finite: the answer is sought
            within three decades of it, to a per cent, in less time.

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
        scale, least = float(m @ self.eigenvalues / m.sum()) * n, float(self.eigenvalues.min()) * n
        some = max(_AT_ONCE // self.eigenvalues.size, 1)

        def excess(order: int | str, ridges: FloatArray) -> FloatArray:
            # Without the noise, which is there at every penalty and would drown small gains.
            blocks = (ridges[k : k + some] for k in range(0, ridges.size, some))
            found = [self._parts(n, block, order, intercept, diagonal=True) for block in blocks]
            return np.asarray(np.concatenate(found)[:, 1:].sum(axis=(1, 2)))

        if near is not None:
            at = as_number("near", near, minimum=0.0, open_minimum=True)
            return ridge_within(partial(excess, order), at)
        if order != "uniform":
            return minimise_over_ridge(partial(excess, order), scale, least)
        # The uniform order costs most, and its least value is near that of the second.
        start = minimise_over_ridge(partial(excess, 2), scale, least, roughly=True)
        return nearby_ridge(partial(excess, order), start)

    def _parts(
        self, n_samples: int, ridges: Any, order: int | str, intercept: bool, diagonal: bool
    ) -> FloatArray:
        """Evaluate Ω, Σ wᵢbᵢᵀbᵢ and vΩ: matrices (k, 3, q, q) or their diagonals (k, 3, q)."""
        n = as_count("n_samples", n_samples, minimum=2 if as_flag("intercept", intercept) else 1)
        slopes, order = n - 1 if intercept else n, as_order(order)
        lam = np.array([as_ridge(ridge) for ridge in ridges])
        t, m, nu = self.eigenvalues, self.multiplicities, self.kurtosis if order != 1 else 0.0
        if self.row_scales is None or self.residuals is None:
            m = np.ones_like(t) if m is None else m
            weights, gain = factors_of(t, m, slopes, lam, order, nu)
            gains, noises = gain[:, None], self.residual_covariance[None]
        else:
            weights, gains = elliptical_factors_of(t, slopes, self.row_scales, lam, order)
            noises = self.residuals
        b, omega = self.head, self.residual_covariance
        if diagonal:
            omega, noises = np.diag(omega), np.diagonal(noises, axis1=1, axis2=2)
            bias = weights @ np.square(b)
        else:
            bias = (b.T * weights[:, None, :]) @ b
        flat = noises.reshape(len(noises), -1)
        # An infinite factor leaves an exact zero at zero.
        finite = np.where(np.isfinite(gains), gains, 0.0)
        added = finite @ flat / len(flat)
        if (endless := ~np.isfinite(gains)).any():
            added[(endless.astype(float) @ np.abs(flat)) > 0] = np.inf
        parts = np.stack(
            [np.broadcast_to(omega, bias.shape), bias, added.reshape(bias.shape)], axis=1
        )
        if intercept:
            # The error of the fitted mean, (1/n) times the risk, counts as variance.
            parts[:, 2] += parts.sum(axis=1) / n
        return parts
