"""Linear heads on frozen features: minimum norm, ridge, and all nested sizes in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hmmtheory._validation import FloatArray, as_array, as_matrix, as_number

#: Up to this multiple of n the Gram matrix is too ill-conditioned, and features are factorised.
_NEAR_THRESHOLD = 1.1
#: A Gram inverse is recomputed when the model has grown by this factor since it last was.
_REFRESH = 1.5


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
        :math:`\lambda \ge 0`, scikit-learn's ``alpha``.

    Returns
    -------
    ndarray, shape (p, q) or (p,)

    Raises
    ------
    ValueError
        If either array is not finite, lengths differ, there is no row, or `ridge` < 0.

    Examples
    --------
    >>> fit_head([[1.0, 1.0]], [[2.0]]).round(12).tolist()
    [[1.0], [1.0]]
    """
    x = as_matrix("features", features, (None, None))
    if x.shape[0] == 0:
        raise ValueError(f"features must have at least one row; got shape {x.shape}")
    y = as_array("responses", responses)
    flat = y.ndim == 1
    y = as_matrix("responses", y[:, None] if flat else y, (x.shape[0], None))
    lam = as_number("ridge", ridge, minimum=0.0)
    if x.shape[1] == 0:
        head = np.zeros((0, y.shape[1]))
    else:
        u, s, vt = linalg.svd(x, full_matrices=False)
        keep = s > max(x.shape) * np.finfo(np.float64).eps * s[0]
        gain = s[keep] / (s[keep] ** 2 + lam)
        head = vt[keep].T @ (gain[:, None] * (u[:, keep].T @ y))
    return np.asarray(head[:, 0] if flat else head)


def cross_validation_scores(
    features: Any, responses: Any, ridges: Any, kind: str = "loo"
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
        Positive penalties :math:`\lambda`.
    kind : {"loo", "gcv"}
        Leave-one-out or generalised cross-validation.

    Returns
    -------
    ndarray, shape (k,)

    Raises
    ------
    ValueError
        If an array is not finite, lengths differ, a penalty is not positive, or `kind` is
        unknown.

    Examples
    --------
    >>> cross_validation_scores([[1.0], [1.0]], [[1.0], [3.0]], [1e-9]).round(6).tolist()
    [4.0]
    """
    x = as_matrix("features", features, (None, None))
    if 0 in x.shape:
        raise ValueError(f"features must be non-empty; got shape {x.shape}")
    y = as_matrix("responses", responses, (x.shape[0], None))
    penalties = np.atleast_1d(as_array("ridges", ridges))
    if penalties.ndim != 1:
        raise ValueError(f"ridges must be a vector; got shape {penalties.shape}")
    if not penalties.size or (penalties <= 0).any():
        raise ValueError(f"ridges must be one or more positive numbers; got {ridges!r}")
    if kind not in ("loo", "gcv"):
        raise ValueError(f"kind must be 'loo' or 'gcv'; got {kind!r}")
    u, s, _ = linalg.svd(x, full_matrices=False)
    coordinates, leverage = u.T @ y, np.square(u)
    scores = np.empty(penalties.size)
    for k, lam in enumerate(penalties):
        # Written as 1 - H, since H alone is near 1 when p >= n and λ is small.
        kept = lam / (s**2 + lam)
        outside = 1.0 - leverage.sum(axis=1)
        residual = y - u @ coordinates + u @ (kept[:, None] * coordinates)
        complement = outside + leverage @ kept
        if kind == "gcv":
            complement = np.full_like(complement, complement.mean())
        scores[k] = np.mean(np.square(residual).sum(axis=1) / complement**2)
    return scores


class NestedFit(NamedTuple):
    """The trained head of one size, seen through the readout W.

    ``readout`` is W_p B̂ (d, q) and ``squared_norm`` the squared norm of each column of B̂ (q,).
    The other two are filled when the split is asked for.  ``shrink`` maps K, the coefficients of
    B* = W_pᵀK, to W_p Δ and the squared norms of the columns of Δ = E[B* - B̂ | X].  ``noise_gain``
    holds W_p N W_pᵀ and tr N, where N = (XᵀX+λI)⁻¹ XᵀX (XᵀX+λI)⁻¹ spreads the label noise.
    """

    readout: FloatArray
    squared_norm: FloatArray
    shrink: Callable[[FloatArray], tuple[FloatArray, FloatArray]] | None
    noise_gain: tuple[FloatArray, float] | None


def nested_path(
    columns: Callable[[int, int], FloatArray],
    readout: FloatArray,
    responses: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float = 0.0,
    split: bool = False,
) -> Iterator[NestedFit]:
    r"""Yield the trained head of every size from one pass over the features.

    Up to n features one QR factorisation of X (of X above :math:`\sqrt\lambda I` with ridge)
    serves every size, since its leading blocks are the smaller models' factors.  Beyond n the
    inverse of the Gram matrix :math:`XX^\top + \lambda I` grows by Woodbury updates.  The head
    itself is never formed there, so that memory does not grow with p.

    Parameters
    ----------
    columns : callable
        ``columns(start, stop)`` returns those features (n, stop - start); called in order.
    readout : ndarray, shape (d, P)
        The weights W.
    responses : ndarray, shape (n, q)
        The labels Y.
    sizes : ndarray of int
        Increasing sizes in [0, P].
    ridge : float
        :math:`\lambda \ge 0`.
    split : bool
        Whether to fill the bias and variance fields.

    Yields
    ------
    NestedFit

    Notes
    -----
    Without ridge the features must be linearly independent, as any with feature noise are.
    """
    n = responses.shape[0]
    small, large = sizes[sizes <= n], sizes[sizes > n]
    first = columns(0, min(n, int(sizes[-1])))
    if small.size:
        yield from _fits_by_qr(first, readout, responses, small, ridge, split)
    if large.size:
        yield from _fits_by_gram(first, columns, readout, responses, large, ridge, split)


def _fits_by_qr(
    x: FloatArray,
    readout: FloatArray,
    responses: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float,
    split: bool,
) -> Iterator[NestedFit]:
    n, largest = responses.shape[0], int(sizes[-1])
    x = x[:, :largest]
    if ridge > 0:
        x = np.vstack([x, np.sqrt(ridge) * np.eye(largest)])
    if largest:
        q, r = linalg.qr(x, mode="economic", check_finite=False)
        # The inverse of a leading block of R is the leading block of its inverse.
        inverse = np.triu(linalg.lapack.dtrtri(r)[0])
    else:
        q, inverse = x, np.zeros((0, 0))
    coordinates = q[:n].T @ responses
    seen = readout[:, :largest] @ inverse
    head = np.zeros((largest, responses.shape[1]))
    product = np.zeros((readout.shape[0], responses.shape[1]))
    start = 0
    for p in map(int, sizes):
        block = slice(start, p)
        head[:p] += inverse[:p, block] @ coordinates[block]
        product = product + seen[:, block] @ coordinates[block]
        start = p
        shrink, gain = None, None
        if split:
            shrink, gain = _split_by_qr(inverse[:p, :p], seen[:, :p], ridge)
        yield NestedFit(product, np.square(head[:p]).sum(axis=0), shrink, gain)


def _split_by_qr(
    inverse: FloatArray, seen: FloatArray, ridge: float
) -> tuple[Callable[[FloatArray], tuple[FloatArray, FloatArray]], tuple[FloatArray, float]]:
    gain, trace = seen @ seen.T, float(np.square(inverse).sum())
    if ridge > 0:
        twice = seen @ inverse.T
        gain = gain - ridge * (twice @ twice.T)
        trace -= ridge * float(np.square(inverse @ inverse.T).sum())

    def shrink(coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        inner = ridge * (seen.T @ coefficients)
        return seen @ inner, np.square(inverse @ inner).sum(axis=0)

    return shrink, (gain, trace)


def _fits_by_gram(
    x: FloatArray,
    columns: Callable[[int, int], FloatArray],
    readout: FloatArray,
    responses: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float,
    split: bool,
) -> Iterator[NestedFit]:
    n = responses.shape[0]
    # BLAS updates in place; of the Gram matrix only the lower triangle is kept.
    gram = linalg.blas.dsyrk(1.0, x, lower=1)
    seen = x @ readout[:, :n].T
    frame = readout[:, :n] @ readout[:, :n].T
    near = [x]
    inverse: FloatArray | None = None
    duals = responses
    start = fresh = n
    for p in map(int, sizes):
        if split:
            frame = frame.copy()
        # A long step is taken in blocks of n columns, so that memory does not grow with it.
        for left in range(start, p, n):
            block = columns(left, min(left + n, p))
            weights = readout[:, left : left + block.shape[1]]
            gram = linalg.blas.dsyrk(1.0, block, 1.0, gram, lower=1, overwrite_c=1)
            seen += block @ weights.T
            if split:
                frame += weights @ weights.T
        if p <= _NEAR_THRESHOLD * n:
            near.append(block)
            head, root = _head_by_dual_qr(np.hstack(near), responses, ridge)
            product, norm = readout[:, :p] @ head, np.square(head).sum(axis=0)
            if split:
                inverse = root @ root.T
        else:
            near.clear()
            if inverse is not None and p <= _REFRESH * fresh and 4 * (p - start) <= n:
                touched = inverse @ block
                middle = np.eye(p - start) + block.T @ touched
                step = linalg.lapack.dposv(middle, touched.T)[1]
                duals -= step.T @ (block.T @ duals)
                inverse = linalg.blas.dgemm(-1.0, touched, step, 1.0, inverse, overwrite_c=1)
            else:
                factor = linalg.cho_factor(gram + ridge * np.eye(n), lower=True, check_finite=False)
                duals = linalg.cho_solve(factor, responses, check_finite=False)
                inverse = linalg.cho_solve(factor, np.eye(n, order="F"), check_finite=False)
                fresh = p
            product = seen.T @ duals
            norm = (duals * responses).sum(axis=0) - ridge * np.square(duals).sum(axis=0)
        start = p
        if split and inverse is not None:
            yield NestedFit(product, norm, *_split_by_gram(inverse, seen.copy(), frame, ridge))
        else:
            yield NestedFit(product, norm, None, None)
        if p <= _NEAR_THRESHOLD * n:
            inverse = None


def _head_by_dual_qr(
    x: FloatArray, responses: FloatArray, ridge: float
) -> tuple[FloatArray, FloatArray]:
    """Return the head and a root of (XXᵀ + λI)⁻¹, with the condition number of X, not of XXᵀ."""
    n, p = x.shape
    tall = np.vstack([x.T, np.sqrt(ridge) * np.eye(n)]) if ridge > 0 else x.T
    q, r = linalg.qr(tall, mode="economic", check_finite=False)
    root = np.triu(linalg.lapack.dtrtri(r)[0])
    return q[:p] @ (root.T @ responses), root


def _split_by_gram(
    inverse: FloatArray, seen: FloatArray, frame: FloatArray, ridge: float
) -> tuple[Callable[[FloatArray], tuple[FloatArray, FloatArray]], tuple[FloatArray, float]]:
    mapped = inverse @ seen
    trace = float(np.trace(inverse)) - ridge * float(np.square(inverse).sum())

    def shrink(coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        clean, fitted = seen @ coefficients, mapped @ coefficients
        left = frame @ coefficients
        norm = (left * coefficients).sum(axis=0) - (clean * fitted).sum(axis=0)
        return left - seen.T @ fitted, norm - ridge * np.square(fitted).sum(axis=0)

    return shrink, (mapped.T @ mapped, trace)
