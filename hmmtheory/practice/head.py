"""The head of the book as a scikit-learn estimator, with model size as a parameter.

Serves chapter 13.  Everything that scikit-learn does with an estimator (search, validation curves,
pipelines, pickles) then works on p, the number of features, and on the ridge.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray, as_count, as_ridge, as_table, shown
from hmmtheory._linalg import centre, distinct_rows, least_squares, left_out_together, thin_svd
from hmmtheory.practice.classes import as_classes

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as missing:
    raise ImportError(
        "LinearHead needs scikit-learn 1.6 or later: pip install 'hmmtheory[practice]'"
    ) from missing

#: Penalties that are tried, in units of the largest eigenvalue of the features' scatter.
_GRID = np.append(np.logspace(-10, 2, 49), np.inf)
#: A group whose rows fit themselves to within this share of the digits tells nothing.
_OWN = 1e-9


class LinearHead(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""A linear head with intercept on the first features (book: Definition 2.4).

    Parameters
    ----------
    size : int, optional
        p, how many of the given columns to use; all if omitted, and 0 predicts the mean.
    ridge : {"loo"} or float
        :math:`\lambda \ge 0`, scikit-learn's ``alpha``: 0 is the head of minimum norm, with the
        peak at p = n - 1; ``"loo"`` takes the one of least leave-one-out error.  Rows of one group,
        or rows that are copies of each other in all columns, are then left out together.

    Attributes
    ----------
    coef_ : ndarray, shape (p,) or (q, p)
    intercept_ : float or ndarray, shape (q,)
    ridge_ : float
        The penalty used; infinite if the mean is the best guess.
    n_features_in_ : int

    Notes
    -----
    It passes scikit-learn's ``check_estimator``.  A weight of 2 is the same as the row twice
    (with ``"loo"`` where rows that are equal are copies, and not equal by chance).
    Without ridge, predictions do not depend on the units of the columns for p < n.

    Examples
    --------
    Double descent, as scikit-learn's own validation curve:

    >>> from sklearn.model_selection import ShuffleSplit, validation_curve
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2000, 80))
    >>> y = x.sum(axis=1) / 9 + rng.standard_normal(2000)
    >>> draws = ShuffleSplit(20, train_size=30, test_size=1000, random_state=0)
    >>> curve = dict(param_name="size", param_range=[2, 29, 80], cv=draws)
    >>> seen = validation_curve(
    ...     LinearHead(ridge=0.0), x, y, scoring="neg_mean_squared_error", **curve
    ... )[1].mean(axis=1)
    >>> bool(seen[1] < seen[2] < seen[0])
    True
    """

    def __init__(self, size: int | None = None, ridge: float | str = "loo") -> None:
        self.size = size
        self.ridge = ridge

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train the head.

        Parameters
        ----------
        X : array_like, shape (n, P)
            Features, one example a row.
        y : array_like, shape (n,) or (n, q)
            Labels.
        sample_weight : array_like, shape (n,), optional
            How often each row counts, >= 0.
        groups : array_like, shape (n,), optional
            Whose row it is: rows of one group are left out together.

        Returns
        -------
        LinearHead

        Raises
        ------
        ValueError
            If an array is not finite, lengths differ, `size` is not in 0 ... P, `ridge` is neither
            "loo" nor >= 0, or no two rows have weight.
        """
        x, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=np.float64, ensure_min_samples=2
        )
        x, y = as_table("X", x, (None, None)), np.asarray(y, dtype=np.float64)
        weights = _check_sample_weight(sample_weight, x, dtype=np.float64)
        if (weights < 0).any():
            raise ValueError(f"sample_weight must be >= 0; got {weights.min():.3g}")
        counted = weights > 0
        if counted.sum() < 2:
            raise ValueError(f"sample_weight must count two rows at least; got {counted.sum()}")
        whose = None if groups is None else as_classes("groups", groups, weights.size)[1]
        size = x.shape[1] if self.size is None else as_count("size", self.size, minimum=0)
        if size > x.shape[1]:
            raise ValueError(f"size must be at most {x.shape[1]}, the columns of X; got {size}")
        owner = _together(x[counted], None if whose is None else whose[counted])
        x, targets = x[counted, :size], y.reshape(y.shape[0], -1)[counted]
        weights = weights[counted]
        root = np.sqrt(weights)[:, None]
        self._mean, self._answer = (np.average(a, axis=0, weights=weights) for a in (x, targets))
        # centre() makes constant columns zero, where a weighted mean would leave rounding.
        seen = centre(x)
        seen = root * (seen - np.average(seen, axis=0, weights=weights))
        told = root * (targets - self._answer)
        self.ridge_ = self._penalty(seen, told, root, owner)
        head = least_squares(seen, told, self.ridge_).T
        flat = y.ndim == 1
        intercept = self._answer - head @ self._mean
        self.coef_ = head[0] if flat else head
        self.intercept_ = float(intercept[0]) if flat else intercept
        return self

    def _penalty(
        self, x: FloatArray, y: FloatArray, root: FloatArray, owner: NDArray[Any]
    ) -> float:
        if not isinstance(self.ridge, str):
            return as_ridge(self.ridge)
        if self.ridge != "loo":
            raise ValueError(f"ridge must be 'loo' or a number >= 0; got {shown(self.ridge)}")
        u, s, _ = thin_svd(x)
        if not s.any() or owner.max() == 0:
            return np.inf
        penalties = s[0] ** 2 * _GRID
        errors = [left_out(u, s, y, root, owner, penalty) for penalty in penalties]
        return float(penalties[int(np.argmin(errors))])

    def predict(self, X: Any) -> FloatArray:
        """Return the head's answers, shape (n,) or (n, q).

        Parameters
        ----------
        X : array_like, shape (n, P)
            Features with the columns that the head was trained on.

        Returns
        -------
        ndarray, shape (n,) or (n, q)

        Raises
        ------
        ValueError
            If `X` is not finite or has other columns.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        said = (x[:, : self._mean.size] - self._mean) @ self.coef_.T
        return np.asarray(said + (self._answer[0] if said.ndim == 1 else self._answer))


def left_out(
    u: FloatArray, s: FloatArray, y: FloatArray, root: FloatArray, owner: NDArray[Any], ridge: float
) -> float:
    r"""Return the mean squared error of rows whose group was left out of the fit.

    With :math:`H = U\,\mathrm{diag}(s^2/(s^2+\lambda))\,U^\top + ww^\top` of the weighted rows, the
    residuals of a group that is left out are :math:`(I - H_{gg})^{-1}(y - Hy)_g`.

    Parameters
    ----------
    u, s : ndarray, shape (n, r), (r,)
        Singular system of the centred features, each row times the root of its weight.
    y : ndarray, shape (n, q)
        Centred labels, weighted likewise.
    root : ndarray, shape (n, 1)
        Roots of the weights.
    owner : ndarray of int, shape (n,)
        The number of each row's group.
    ridge : float
        The penalty.

    Returns
    -------
    float
        Infinite where a group decides its own fit.

    Examples
    --------
    >>> x, y, one = np.array([[-1.0], [1.0]]), np.array([[-1.0], [1.0]]), np.ones((2, 1))
    >>> round(left_out(x / 2**0.5, np.array([2**0.5]), y, one, np.arange(2), np.inf), 9)
    4.0
    """
    share = np.square(s) / (np.square(s) + ridge) if np.isfinite(ridge) else np.zeros_like(s)
    all_u = np.column_stack([u * np.sqrt(share), root / np.linalg.norm(root)])
    errors = y - u @ (share[:, None] * (u.T @ y))
    total = 0.0
    alone = np.bincount(owner)[owner] == 1
    kept = 1 - np.square(all_u[alone]).sum(axis=1)
    if (kept < _OWN).any():
        return np.inf
    total += float(np.square(errors[alone] / kept[:, None]).sum())
    for group in np.unique(owner[~alone]):
        rows = np.flatnonzero(owner == group)
        missed = left_out_together(all_u[rows] @ all_u[rows].T, errors[rows], _OWN)
        total += float(np.square(missed).sum())
    return np.inf if np.isnan(total) else total / float(np.square(root).sum())


def _together(x: FloatArray, groups: NDArray[Any] | None) -> NDArray[Any]:
    """Return the number of the group of each row; without groups, copies make one."""
    if groups is not None:
        return np.unique(groups, return_inverse=True)[1].ravel()
    _, place, copied = distinct_rows(x)
    return place if copied else np.arange(x.shape[0])
