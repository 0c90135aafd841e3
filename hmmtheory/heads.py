"""Linear heads on frozen features: minimum norm, ridge, and their cross-validation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import linalg

from hmmtheory._checks import (
    FloatArray,
    as_array,
    as_flag,
    as_matrix,
    as_option,
    as_ridge,
    as_table,
    shown,
)
from hmmtheory._linalg import (
    centre,
    least_squares,
    powers_of_two,
    rank_tolerance,
    singular_system,
)

#: Below this 1 - H is summed from squares: as a difference it would keep fewer than nine digits.
_CANCELS = 1e-6
#: Below this even the squares, of numbers that carry rounding, keep fewer than six digits.
_LOST = 1e-19


def fit_head(features: Any, responses: Any, ridge: float = 0.0) -> FloatArray:
    r"""Return the trained head :math:`(X^\top X + \lambda I)^{-1} X^\top Y` (book: Definition 2.4).

    At :math:`\lambda = 0` it is the minimum-norm least-squares head :math:`X^+ Y`, the limit of
    gradient descent from zero (Proposition 2.5).  There is no intercept: centre first.

    Parameters
    ----------
    features : array_like, shape (n, p)
        X, one example a row.
    responses : array_like, shape (n, q) or (n,)
        The labels Y.
    ridge : float
        :math:`\lambda \ge 0`, scikit-learn's ``alpha``; infinity gives the zero head.

    Returns
    -------
    ndarray, shape (p, q) or (p,)

    Raises
    ------
    ValueError
        If either array is not finite, lengths differ, there is no row, `ridge` < 0, or the head
        is beyond the range of float64.

    Warns
    -----
    RuntimeWarning
        If columns are collinear to about the last digit.

    Notes
    -----
    Columns may have any units: their rank is decided after scaling them to equal length, and
    columns that agree to rounding count as collinear.  Without ridge the error is 1e-9 of the
    largest coefficient, each in units of its own column, up to condition numbers of 1e12.  Where
    nearly collinear columns rest on a small ridge, it is what the features' last digits decide.

    Examples
    --------
    >>> fit_head([[1.0, 1.0]], [[2.0]]).round(12).tolist()
    [[1.0], [1.0]]
    """
    x = as_table("features", features, (None, None))
    if x.shape[0] == 0:
        raise ValueError(f"features must have at least one row; got shape {x.shape}")
    y = as_array("responses", responses)
    flat = y.ndim == 1
    y = as_table("responses", y[:, None] if flat else y, (x.shape[0], None))
    lam = as_ridge(ridge)
    head = least_squares(x, y, lam)
    return np.asarray(head[:, 0] if flat else head)


def cross_validation_scores(
    features: Any, responses: Any, ridges: Any, kind: str = "loo", intercept: bool = False
) -> FloatArray:
    r"""Return estimates of the total risk of ridge heads from the training examples alone.

    With :math:`H_\lambda = X(X^\top X + \lambda I)^{-1}X^\top` and residuals
    :math:`E = Y - H_\lambda Y`, leave-one-out is
    :math:`\frac1n\sum_i \|E_i\|^2/(1-H_{ii})^2`, exactly the mean squared error of n refits, and
    generalised cross-validation replaces :math:`H_{ii}` by its mean (book: Proposition 7.2).

    Parameters
    ----------
    features : array_like, shape (n, p)
        The features X.
    responses : array_like, shape (n, q)
        The labels Y.
    ridges : array_like, shape (k,)
        Penalties :math:`\lambda \ge 0`; zero is the head of minimum norm, infinity the zero head.
    kind : {"loo", "gcv"}
        Leave-one-out or generalised cross-validation.
    intercept : bool
        Whether each head has an intercept without penalty, fitted again in each refit.  Centring
        the arrays beforehand is not the same: the row left out has then been seen.

    Returns
    -------
    ndarray, shape (k,)

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, a penalty is negative, `kind` is unknown, or
        the scores are beyond the range of float64.

    Warns
    -----
    RuntimeWarning
        If rounding decides a row's residual, or columns are collinear to about the last digit.

    Notes
    -----
    A row that alone shows a direction (H = 1) is met exactly by the fit without ridge; what its
    refit says is the limit of :math:`\lambda \to 0`, and leave-one-out takes that.  Scores of
    labels without noise are right to 1e-24 of their squares.

    Examples
    --------
    >>> cross_validation_scores([[1.0], [1.0]], [[1.0], [3.0]], [1e-9]).round(6).tolist()
    [4.0]
    """
    x = as_matrix("features", features, (None, None))
    if 0 in x.shape:
        raise ValueError(f"features must be non-empty; got shape {x.shape}")
    if as_flag("intercept", intercept) and x.shape[0] < 2:
        raise ValueError(f"features must have at least 2 rows; got {x.shape[0]}")
    y = as_matrix("responses", responses, (x.shape[0], None))
    penalties = np.atleast_1d(as_array("ridges", ridges, finite=False))
    if penalties.ndim != 1 or not penalties.size or not (penalties >= 0).all():
        raise ValueError(f"ridges must be a vector of numbers >= 0; got {shown(ridges)}")
    kind = as_option("kind", kind, ("loo", "gcv"))
    unit = float(powers_of_two(np.abs(y).max(initial=0.0, keepdims=True))[0, 0]) if y.size else 1.0
    left_out = _residuals(x, y / unit, penalties, kind, intercept)
    with np.errstate(over="ignore"):
        scores = np.square(left_out).sum(axis=2).mean(axis=1) * unit * unit
    if not np.isfinite(scores).all():
        raise ValueError(
            f"responses must have squares within the range of float64; got up to {unit:.3g}"
        )
    return np.asarray(scores)


def _residuals(
    x: FloatArray, y: FloatArray, penalties: FloatArray, kind: str, intercept: bool
) -> FloatArray:
    """Return each row's residual over 1 - H, for each penalty (k, n, q)."""
    u, s, _ = singular_system(x, intercept)
    y = centre(y) if intercept else y
    reached = np.column_stack([np.full(x.shape[0], x.shape[0] ** -0.5), u]) if intercept else u
    # What is left over is a basis where a difference would cancel.
    outside = 1.0 - np.square(reached).sum(axis=1)
    if outside.min() > _CANCELS:
        unreached = y - reached @ (reached.T @ y)
    else:
        rest = linalg.qr(reached, check_finite=False)[0][:, reached.shape[1] :]
        outside, unreached = np.square(rest).sum(axis=1), rest @ (rest.T @ y)
    # A row that the fit meets whatever its label: the limit of λ → 0 gives its refit.
    met = np.sqrt(outside.clip(min=0.0)) <= rank_tolerance(x.shape)
    if kind == "gcv":
        met[:] = reached.shape[1] == x.shape[0]
    outside[met], unreached[met] = 0.0, 0.0
    lost = ~met & (outside < _LOST)
    if lost.any() and kind == "loo":
        warnings.warn(
            f"leave-one-out residuals of rows {np.flatnonzero(lost)[:5].tolist()} are rounding: "
            "the other rows hardly know the features in which these stand out",
            RuntimeWarning,
            stacklevel=3,
        )
    coordinates, leverage = u.T @ y, np.square(u)
    found = np.empty((penalties.size, *y.shape))
    for k, lam in enumerate(penalties):
        if s.size == 0 or np.isinf(lam):
            kept = unit_share = np.ones_like(s)
        else:
            squares, own = np.square(s / s[0]), lam / s[0] / s[0]
            kept = own / (squares + own)
            # Where nothing is outside, a common factor of residual and 1 - H cancels.
            unit_share = (squares[-1] + own) / (squares + own)
        residual = unreached + u @ (kept[:, None] * coordinates)
        complement = outside + leverage @ kept
        residual[met] = u[met] @ (unit_share[:, None] * coordinates)
        complement[met] = leverage[met] @ unit_share
        if kind == "gcv":
            complement = np.full_like(complement, complement.mean())
        found[k] = residual / complement[:, None]
    return found
