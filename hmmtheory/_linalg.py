"""Factors, roots and least squares in any units, and every tolerance that they need.

What counts as zero is relative to each column's own length: rank is decided after columns are
scaled to equal length, and small directions keep as many right digits as large ones.  Serves
every chapter: S, B*, Ω and each trained head come from here.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from hmmtheory._checks import FloatArray

_EPS = float(np.finfo(np.float64).eps)
#: Eigenvalues of a covariance of rounded numbers (unit diagonal) below this fraction of the
#: largest count as zero: a covariance squares the condition number, and its entries are rounded.
RANK_TOLERANCE = 1e-12
#: Singular values of a sample below this fraction of the largest count as zero.
SAMPLE_RANK_TOLERANCE = 1e-10
#: Correlations may be off by this much before a covariance counts as indefinite or asymmetric:
#: moments estimated in float32, or typed with eight digits, still pass.
COVARIANCE_SLACK = 1e-8
#: Column lengths that spread further than this are graded: plain LAPACK would lose the digits of
#: the smallest (it leaves eps times the spread), Jacobi rotations do not.
_GRADED = 1e4
#: Features whose lengths spread further than this get a minimum-norm head by ordered rows.
_ROWS = 1e2
#: A penalty above this share of Σx² (its root) leaves the Gram matrix a condition below 1e4.
_HEAVY = 1e-2
#: Equal-length columns with a smaller reciprocal condition number are factorised with exact
#: products: plain LAPACK leaves eps over this, 1e-9 or so.
_ILL = 1e-6
#: Eigenvalues of a Gram matrix above this fraction of the largest are right to 1e-9.
_GRAM = 1e-6
#: Beyond this condition number one pass of exact products did not separate the columns.
_UNRESOLVED = 1e3


def rank_tolerance(shape: tuple[int, ...]) -> float:
    """Return the fraction of the largest singular value of equal-length columns that is rounding.

    Householder's errors grow with the root of the size in practice; sixteen of them is a margin
    that also takes in columns each rounded once, as °F computed from °C.
    """
    return 16.0 * float(np.sqrt(max(shape))) * _EPS


def column_lengths(x: FloatArray) -> FloatArray:
    """Return the norm of every column, without overflow or underflow on the way."""
    top = np.abs(x).max(axis=0, initial=0.0)
    unit = np.where(top > 0, top, 1.0)
    return np.asarray(unit * np.sqrt(np.square(x / unit).sum(axis=0)))


def powers_of_two(lengths: FloatArray) -> FloatArray:
    """Return the power of two near each length, which scales without rounding; 1 for zero."""
    return np.asarray(np.exp2(np.rint(np.log2(np.where(lengths > 0, lengths, 1.0)))))


class _Factors(NamedTuple):
    """x = basis @ rows, the basis orthonormal; r = rank.

    Where columns were nearly collinear, `turn` (r, r) takes the columns `picked` to coordinates
    in the basis' span that are well conditioned: x[:, picked] @ turn.
    """

    basis: FloatArray  # (n, r)
    rows: FloatArray  # (r, p)
    picked: NDArray[Any]  # (r,) int
    turn: FloatArray | None


def exact_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a @ b to about twice the working precision, as a sum of two matrices.

    Rows and columns are cut into slices of so few bits that BLAS multiplies them without
    rounding (Ozaki et al. 2012).
    """
    bits = int((53 - np.log2(max(a.shape[1], 2))) // 2)
    left, right = _slices(a, 1, bits), _slices(b, 0, bits)
    high, low = np.zeros((2, a.shape[0], b.shape[1]))
    for total in range(len(left) + len(right) - 2, -1, -1):
        for i in range(max(0, total - len(right) + 1), min(total + 1, len(left))):
            term = left[i] @ right[total - i]
            whole = high + term
            back = whole - high
            low += (high - (whole - back)) + (term - back)
            high = whole
    return high, low


def _slices(a: FloatArray, axis: int, bits: int) -> list[FloatArray]:
    found, rest = [], a
    for _ in range(-(-100 // bits)):
        top = np.abs(rest).max(axis=axis, keepdims=True, initial=0.0)
        if not top.any():
            break
        grid = np.exp2(np.ceil(np.log2(np.where(top > 0, top, 1.0))) + (53 - bits))
        part = (rest + grid) - grid
        found.append(part)
        rest = rest - part
    return found or [np.zeros_like(a)]


def factorise(x: FloatArray, intercept: bool = False) -> _Factors:
    """Return the factors of a matrix with columns of any units, or of its centred columns."""
    centred = centre(x) if intercept else x
    units = powers_of_two(column_lengths(centred))
    equal = centred / units
    tolerance = rank_tolerance(x.shape)
    q, r, order = linalg.qr(equal, mode="economic", pivoting=True, check_finite=False)
    sizes = np.abs(np.diag(r))
    rank = int((sizes > tolerance * sizes.max(initial=0.0)).sum())
    picked, others = order[:rank], order[rank:]
    rows = np.empty((rank, x.shape[1]))
    rows[:, order] = r[:rank]
    basis = q[:, :rank]
    turn = None
    if rank and sizes[rank - 1] < _ILL * sizes[0]:
        turn = linalg.lapack.dtrtri(r[:rank, :rank])[0] * 1.0
        scaled = x / units
        basis, second = linalg.qr(
            _product(scaled[:, picked], turn, intercept), mode="economic", check_finite=False
        )
        if np.linalg.cond(second) > _UNRESOLVED:
            warnings.warn(
                "features are collinear to about the last digit: numbers that depend on their "
                "smallest direction are not to be trusted",
                RuntimeWarning,
                stacklevel=4,
            )
        coefficients = turn @ r[:rank, rank:]
        if others.size:
            both = np.hstack([scaled[:, others], scaled[:, picked]])
            for _ in range(2):
                step = np.vstack([np.eye(others.size), -coefficients])
                missed = basis.T @ _product(both, step, intercept)
                coefficients += turn @ linalg.solve_triangular(second, missed)
        triangle = second @ r[:rank, :rank]
        rows[:, picked], rows[:, others] = triangle, triangle @ coefficients
    return _Factors(np.asarray(basis), rows * units, picked, turn)


def _product(a: FloatArray, b: FloatArray, intercept: bool) -> FloatArray:
    high, low = exact_product(a, b)
    return _centred(high, low) if intercept else high + low


def centre(x: FloatArray) -> FloatArray:
    """Return x less its column means; columns that are constant to rounding become zero."""
    varies = np.ptp(x, axis=0) > 4 * _EPS * np.abs(x).max(axis=0, initial=0.0)
    return np.asarray(np.where(varies, _centred(x, 0.0), 0.0))


def _centred(high: FloatArray, low: FloatArray | float) -> FloatArray:
    """Return high + low less its means; the later passes take off the rounding of the first."""
    moved = (high - high.mean(axis=0)) + low
    moved = moved - moved.mean(axis=0)
    return np.asarray(moved - moved.mean(axis=0))


def singular_system(
    x: FloatArray, intercept: bool = False
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return U (n, r), s (r,) descending and Vᵀ (r, p) of x, or of its centred columns.

    The null space is left out, and each singular value has the same relative accuracy, whatever
    the units of the columns (Demmel and Veselić 1992): 1e-9 for condition numbers of up to 1e12
    of equal-length columns.
    """
    n, p = x.shape
    top = float(np.abs(x).max(initial=0.0))
    if top == 0.0:
        return np.empty((n, 0)), np.empty(0), np.empty((0, p))
    unit = float(powers_of_two(np.array([top]))[0])
    x = x / unit
    centred = centre(x) if intercept else x
    lengths = column_lengths(centred)
    lengths = lengths[lengths > 0]
    if lengths.size and lengths.max() <= _GRADED * lengths.min() and not (intercept and p >= n):
        u, s, vt = linalg.svd(centred, full_matrices=False, check_finite=False)
        if s[-1] > _ILL * s[0]:
            return u, s * unit, vt
    factors = factorise(x, intercept)
    if factors.picked.size == 0:
        return np.empty((n, 0)), np.empty(0), np.empty((0, p))
    left, s, vt = _jacobi(factors.rows)
    return factors.basis @ left, s * unit, vt


def _jacobi(rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return U, s, Vᵀ of a wide matrix of full rank, its rows and columns of any units."""
    s, right, left, work, _, failed = linalg.lapack.dgejsv(rows.T, joba=2, jobu=0, jobv=0, jobt=1)
    if failed:
        raise ValueError("features must have singular values; their computation did not converge")
    return left, s * (work[0] / work[1]), right[:, : s.size].T


def principal_directions(centred: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues (r,), descending, and eigenvectors (p, r) of a sample covariance."""
    rows, p = centred.shape
    # What centring leaves of a constant column is rounding, and no direction.
    centred = centre(centred)
    lengths = column_lengths(centred)
    if lengths.size and 0.0 < lengths.max() <= _GRADED * lengths.min() and lengths.max() < 1e150:
        tall = p < rows
        values, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
        # The vector of ones is known to be in the null space of a wide centred matrix.
        sums = np.abs(centred.sum(axis=0))
        skip = 0 if tall or (sums > rows * _EPS * lengths).any() else 1
        if values[min(skip, values.size - 1)] > _GRAM * values[-1]:
            values, vectors = values[skip:][::-1], vectors[:, skip:][:, ::-1]
            if not tall:
                vectors = centred.T @ vectors / np.sqrt(values)
            return values / (rows - 1), vectors
    _, s, vt = singular_system(centred)
    return np.square(s / np.sqrt(rows - 1)), vt.T


def graded_system(x: FloatArray, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return singular values (r,), descending, and right vectors (p, r) of columns of any units."""
    _, s, vt = singular_system(x)
    return s, vt.T


def equilibrate(s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return scales D (p,) and correlations C (p, p) of a covariance S = DCD.

    An entry that no scales allow, covariance with a column of zero variance, becomes infinite.
    """
    scales = np.sqrt(np.abs(np.diag(s)))
    unit = np.where(scales > 0, scales, 1.0)
    correlation = s / unit[:, None] / unit
    still = scales == 0
    wrong = (still[:, None] | still) & (s != 0)
    correlation[wrong] = np.inf
    return scales, correlation


def is_semidefinite(s: FloatArray) -> bool:
    """Return whether a symmetric matrix is positive semidefinite, in units of its own columns."""
    _, correlation = equilibrate(s)
    if not np.isfinite(correlation).all():
        return False
    return bool(np.linalg.eigvalsh(correlation).min(initial=0.0) >= -COVARIANCE_SLACK)


def covariance_spectrum(s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return nonzero eigenvalues (r,), descending, and eigenvectors (p, r) of a covariance.

    S = DCD with C of unit diagonal: the rank is that of C, then come the units D.
    """
    scales, correlation = equilibrate(s)
    if not scales.any():
        return np.empty(0), np.empty((s.shape[0], 0))
    if scales.max() <= np.sqrt(_GRADED) * scales.min():
        values, vectors = np.linalg.eigh(s)
        if values[0] > _GRAM * values[-1]:
            return values[::-1], vectors[:, ::-1]
    values, vectors = _correlation_spectrum(correlation)
    _, lengths, right = _jacobi(np.sqrt(values)[:, None] * vectors.T * scales)
    return np.square(lengths), right.T


def covariance_root(s: FloatArray) -> FloatArray:
    """Return R (p, p) with RᵀR = S: the symmetric root of the correlations, then the units.

    It is unique, unlike eigenvectors, so that x = gR draws the same on every machine.
    """
    scales, correlation = equilibrate(s)
    values, vectors = _correlation_spectrum(correlation)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T * scales)


def _correlation_spectrum(correlation: FloatArray) -> tuple[FloatArray, FloatArray]:
    values, vectors = np.linalg.eigh(correlation)
    # The entries are rounded sums, of whose errors this is a bound seen in practice.
    least = max(1e-13, 8 * values.size * _EPS) * values.max(initial=0.0)
    return values[values > least], vectors[:, values > least]


def least_squares(x: FloatArray, y: FloatArray, ridge: float = 0.0) -> FloatArray:
    r"""Return the head :math:`(X^\top X+\lambda I)^{-1}X^\top Y` (p, q), minimum norm at λ = 0.

    Columns may have any units and be collinear; columns that agree to rounding count as one.
    The error is 1e-9 of the largest coefficient, each in units of its column, up to condition
    numbers of 1e12.

    Raises
    ------
    ValueError
        If the head is beyond the range of float64.
    """
    lengths = column_lengths(x)
    top, tallest = float(lengths.max(initial=0.0)), float(np.abs(y).max(initial=0.0))
    head = np.zeros((x.shape[1], y.shape[1]))
    if top == 0.0 or tallest == 0.0 or np.isinf(ridge):
        return head
    unit, height = powers_of_two(np.array([top, tallest]))
    kept = lengths > 0
    scaled = _scaled_head(
        x[:, kept] / unit, y / height, float(np.sqrt(ridge) / unit), lengths[kept] / unit
    )
    with np.errstate(over="ignore"):
        head[kept] = scaled * (height / unit)
    if not np.isfinite(head).all():
        raise ValueError(
            "features must be of a scale at which the head is within the range of float64; got "
            f"columns of lengths from {lengths[kept].min():.3g} to {top:.3g}"
        )
    return head


def _scaled_head(x: FloatArray, y: FloatArray, root: float, lengths: FloatArray) -> FloatArray:
    """Return the head of features and labels of about unit size, root = √λ in their units."""
    n, p = x.shape
    if root > _HEAVY * np.linalg.norm(lengths):
        # The ridge alone makes the Gram matrix well conditioned.
        factor = linalg.cho_factor((x.T @ x if p <= n else x @ x.T) + root**2 * np.eye(min(n, p)))
        return x.T @ linalg.cho_solve(factor, y) if p > n else linalg.cho_solve(factor, x.T @ y)
    if p <= n:
        # Ridge is least squares with rows √λ I; above the others, since they may be the longest.
        units = powers_of_two(np.hypot(lengths, root))
        tall, labels = x / units, y
        if root > 0:
            tall = np.vstack([np.diag(root / units), tall])
            labels = np.vstack([np.zeros((p, y.shape[1])), y])
        turned, r = linalg.qr_multiply(tall, labels.T, mode="right")
        if linalg.lapack.dtrcon(r)[0] > _ILL:
            return np.asarray(linalg.solve_triangular(r, turned.T) / units[:, None])
        factors = factorise(tall)
        if factors.picked.size == p:
            return _refined(tall, labels, factors) / units[:, None]
    elif lengths.max() <= _ROWS * lengths.min():
        tall = np.vstack([x.T, root * np.eye(n)]) if root > 0 else x.T
        q, r = linalg.qr(tall, mode="economic", check_finite=False)
        if linalg.lapack.dtrcon(r)[0] > _ILL:
            return np.asarray(q[:p] @ linalg.solve_triangular(r, y, trans=1))
    return _shortest(x, y, root)


def _refined(x: FloatArray, y: FloatArray, factors: _Factors) -> FloatArray:
    """Return the least-squares head of nearly collinear columns.

    Labels that these explain almost entirely need residuals with more digits than they have.
    """
    head = np.zeros((x.shape[1], y.shape[1]))
    triangle = factors.rows[:, factors.picked]
    for _ in range(3):
        high, low = exact_product(x, head)
        step = factors.basis.T @ ((y - high) - low)
        head[factors.picked] += linalg.solve_triangular(triangle, step)
    return head


def _shortest(x: FloatArray, y: FloatArray, root: float) -> FloatArray:
    """Return the ridge head, or that of minimum norm, of a matrix of any rank and units.

    Rows in falling order and column pivots keep Householder's errors small in each row (Cox and
    Higham 1998).
    """
    p, factors = x.shape[1], factorise(x)
    rank = factors.picked.size
    tall = np.vstack([factors.rows.T, root * np.eye(rank)]) if root > 0 else factors.rows.T
    order = np.argsort(-np.abs(tall).max(axis=1))
    q, r, pivots = linalg.qr(tall[order], mode="economic", pivoting=True, check_finite=False)
    # Below the head √λ α, α the coefficients of the rows.
    whole = np.zeros((tall.shape[0], y.shape[1]))
    target = factors.basis.T @ y
    for left in range(1 if factors.turn is None else 3, 0, -1):
        whole[order] += q @ linalg.solve_triangular(r, target[pivots], trans=1)
        if left > 1:
            high, low = exact_product(x, whole[:p])
            target = factors.basis.T @ ((y - high) - low)
            target -= root * whole[p:] if root > 0 else 0.0
    return whole[:p]
