"""All nested sizes in one pass: trained heads, and what they are on average over the labels.

Serves the simulations of chapters 2 to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hmmtheory._checks import FloatArray

#: Up to this multiple of n the Gram matrix is too ill-conditioned, and features are factorised.
_NEAR_THRESHOLD = 1.1
#: A Gram inverse is recomputed when the model has grown by this factor since it last was.
_REFRESH = 1.5


class NestedFit(NamedTuple):
    """The trained head of one size, seen through the readout W.

    ``readout`` is W_p B̂ (d, q) and ``squared_norm`` the squared norm of each column of B̂ (q,).
    """

    readout: FloatArray
    squared_norm: FloatArray


class ConditionalFit(NamedTuple):
    """The trained head of one size, averaged over the labels given the features.

    With N = (XᵀX+λI)⁻¹ XᵀX (XᵀX+λI)⁻¹, which spreads the label noise, ``spread`` is W_p N W_pᵀ
    (d, d) and ``trace`` is tr N.  ``missed`` (d, d) maps K, the coefficients of B* = W_pᵀK, to
    W_p Δ, where Δ = E[B* - B̂ | X]; and ΔᵀΔ = Kᵀ (missed - λ spread) K.
    """

    missed: FloatArray
    spread: FloatArray
    trace: float


Columns = Callable[[int, int], FloatArray]


def nested_path(
    columns: Columns,
    readout: FloatArray,
    responses: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float = 0.0,
    steep: bool = False,
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
    steep : bool
        Whether the Gram matrix is too ill-conditioned to be inverted: X itself is factorised at
        every size then, and held.

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
        yield from _heads_by_qr(first, readout, responses, small, ridge)
    for p, gram in _grams(first, columns, readout, large, ridge, responses, steep):
        if gram.near is None:
            norm = (gram.solved * responses).sum(axis=0)
            yield NestedFit(
                gram.seen.T @ gram.solved, norm - ridge * np.square(gram.solved).sum(axis=0)
            )
        else:
            # Through X itself: near the threshold the Gram matrix would square its condition.
            q, root = gram.near
            head = q @ (root.T @ responses)
            yield NestedFit(readout[:, :p] @ head, np.square(head).sum(axis=0))


def nested_conditional(
    columns: Columns,
    readout: FloatArray,
    n_samples: int,
    sizes: NDArray[np.int64],
    ridge: float = 0.0,
    steep: bool = False,
) -> Iterator[ConditionalFit]:
    r"""Yield what every size's head is on average over the labels, in one pass.

    For rows that are independent of each other's label noise (book: Theorem 2.6).

    Parameters
    ----------
    columns, readout, sizes, ridge, steep
        As :func:`nested_path`.
    n_samples : int
        n, the number of rows.

    Yields
    ------
    ConditionalFit

    Notes
    -----
    As :func:`nested_path`.
    """
    small, large = sizes[sizes <= n_samples], sizes[sizes > n_samples]
    first = columns(0, min(n_samples, int(sizes[-1])))
    if small.size:
        yield from _conditional_by_qr(first, readout, small, ridge)
    frame, start = np.zeros((readout.shape[0], readout.shape[0])), 0
    for p, gram in _grams(first, columns, readout, large, ridge, steep=steep):
        weights = readout[:, start:p]
        frame += weights @ weights.T
        start = p
        trace = gram.trace
        if ridge > 0:
            trace -= ridge * float(np.square(gram.inverse).sum())
        yield ConditionalFit(frame - gram.seen.T @ gram.solved, gram.solved.T @ gram.solved, trace)


def _inverse_root(x: FloatArray, ridge: float) -> FloatArray:
    """Return R⁻¹ of x = QR (of x above √λ I with ridge), a root of (xᵀx + λI)⁻¹."""
    if x.shape[1] == 0:
        return np.zeros((0, 0))
    return _inverted(linalg.qr(_above_ridge(x, ridge), mode="r", check_finite=False)[0])


def _factors(x: FloatArray, ridge: float) -> tuple[FloatArray, FloatArray]:
    """Return Q, those rows that belong to x, and R⁻¹."""
    if x.shape[1] == 0:
        return x, np.zeros((0, 0))
    q, r = linalg.qr(_above_ridge(x, ridge), mode="economic", check_finite=False)
    return np.asarray(q[: x.shape[0]]), _inverted(r)


def _inverted(r: NDArray[Any]) -> FloatArray:
    return np.asarray(linalg.lapack.dtrtri(r[: r.shape[1]])[0])


def _above_ridge(x: FloatArray, ridge: float) -> FloatArray:
    return np.vstack([x, np.sqrt(ridge) * np.eye(x.shape[1])]) if ridge > 0 else x


def _heads_by_qr(
    x: FloatArray,
    readout: FloatArray,
    responses: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float,
) -> Iterator[NestedFit]:
    largest = int(sizes[-1])
    # The inverse of a leading block of R is the leading block of its inverse.
    q, inverse = _factors(x[:, :largest], ridge)
    coordinates = q.T @ responses
    seen = readout[:, :largest] @ inverse
    head = np.zeros((largest, responses.shape[1]))
    product = np.zeros((readout.shape[0], responses.shape[1]))
    start = 0
    for p in map(int, sizes):
        block = slice(start, p)
        head[:p] += inverse[:p, block] @ coordinates[block]
        product = product + seen[:, block] @ coordinates[block]
        start = p
        yield NestedFit(product, np.square(head[:p]).sum(axis=0))


def _conditional_by_qr(
    x: FloatArray, readout: FloatArray, sizes: NDArray[np.int64], ridge: float
) -> Iterator[ConditionalFit]:
    largest, d = int(sizes[-1]), readout.shape[0]
    inverse = _inverse_root(x[:, :largest], ridge)
    seen = readout[:, :largest] @ inverse
    traces = np.append(0.0, np.cumsum(np.square(inverse).sum(axis=0)))
    once, twice = np.zeros((2, d, d))
    if ridge > 0:
        # (XᵀX+λI)⁻¹ = UUᵀ with U = R⁻¹, and the leading blocks of UᵀU serve its square.
        overlap = inverse.T @ inverse
        squares = np.triu(np.square(overlap), 1).sum(axis=0) * 2.0 + np.diag(overlap) ** 2
        traces[1:] -= ridge * np.cumsum(squares)
    start = 0
    for p in map(int, sizes):
        old, new = seen[:, :start], seen[:, start:p]
        once = once + new @ new.T
        if ridge > 0:
            crossed = old @ overlap[:start, start:p] @ new.T
            twice = twice + crossed + crossed.T + new @ overlap[start:p, start:p] @ new.T
        start = p
        yield ConditionalFit(ridge * once, once - ridge * twice, float(traces[p]))


def _features_by_length(blocks: list[FloatArray], steep: bool) -> tuple[FloatArray, Any]:
    """Return Xᵀ and where each feature is; if steep, in the order that keeps short ones' digits."""
    tall = np.hstack(blocks).T
    if not steep:
        return tall, slice(None)
    order = np.argsort(-np.square(tall).sum(axis=1), kind="stable")
    return tall[order], np.argsort(order)


class _Gram(NamedTuple):
    inverse: FloatArray  # (XXᵀ + λI)⁻¹ (n, n); near the threshold only if there is a ridge
    trace: float  # of the inverse
    seen: FloatArray  # XW_pᵀ (n, d)
    solved: FloatArray  # the inverse times the responses, or else times `seen`
    near: tuple[FloatArray, FloatArray] | None  # near the threshold Q and R⁻¹ of Xᵀ instead


def _grams(
    x: FloatArray,
    columns: Columns,
    readout: FloatArray,
    sizes: NDArray[np.int64],
    ridge: float,
    responses: FloatArray | None = None,
    steep: bool = False,
) -> Iterator[tuple[int, _Gram]]:
    """Yield the Gram matrix's inverse of every size beyond n; the next size overwrites it."""
    if not sizes.size:
        return
    n, start, fresh = x.shape[0], x.shape[0], 0
    # BLAS updates in place; of the Gram matrix only the lower triangle is kept.
    gram = np.zeros((n, n), order="F")
    seen = x @ readout[:, :n].T
    inverse = solved = np.empty((0, 0))
    near, waiting = [x], [x]
    for p in map(int, sizes):
        # A long step is taken in blocks of n columns, so that memory does not grow with it.
        for left in range(start, p, n):
            block = columns(left, min(left + n, p))
            weights = readout[:, left : left + block.shape[1]]
            seen += block @ weights.T
            if steep or p <= _NEAR_THRESHOLD * n:
                near.append(block)
            waiting = [] if steep else [*waiting, block]
            if sum(b.shape[1] for b in waiting) >= 2 * n:
                gram = linalg.blas.dsyrk(1.0, np.hstack(waiting), 1.0, gram, lower=1, overwrite_c=1)
                waiting = []
        target = seen if responses is None else responses
        if steep or p <= _NEAR_THRESHOLD * n:
            tall, place = _features_by_length(near, steep)
            if responses is None:
                root = _inverse_root(tall, ridge)
                whole = root @ root.T if ridge > 0 else inverse
                trace = float(np.square(root).sum())
                yield p, _Gram(whole, trace, seen, root @ (root.T @ seen), None)
            else:
                q, root = _factors(tall, ridge)
                yield p, _Gram(inverse, np.nan, seen, solved, (q[place], root))
        else:
            near = []
            if p <= _REFRESH * fresh and 4 * (p - start) <= n:
                touched = inverse @ block
                middle = np.eye(p - start) + block.T @ touched
                step = linalg.lapack.dposv(middle, touched.T)[1]
                inverse = linalg.blas.dgemm(-1.0, touched, step, 1.0, inverse, overwrite_c=1)
                change = -step @ target if responses is not None else weights.T - step @ target
                solved += touched @ change
            else:
                if waiting:
                    gram = linalg.blas.dsyrk(
                        1.0, np.hstack(waiting), 1.0, gram, lower=1, overwrite_c=1
                    )
                    waiting = []
                factor = linalg.cho_factor(gram + ridge * np.eye(n), lower=True, check_finite=False)
                inverse = linalg.cho_solve(factor, np.eye(n, order="F"), check_finite=False)
                solved = linalg.cho_solve(factor, target, check_finite=False)
                fresh = p
            yield p, _Gram(inverse, float(np.trace(inverse)), seen, solved, None)
        start = p
