"""Factors, roots and least squares in any units, and every tolerance that they need.

What counts as zero is relative to each column's own length: rank is decided after columns are
scaled to equal length, and small directions keep as many right digits as large ones.  Serves
every chapter: S, B*, Ω and each trained head come from here.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from hmmtheory._checks import LARGEST, FloatArray, as_matrix

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
#: A penalty above this share of Σx² leaves the Gram matrix of features, or of rows, so well
#: conditioned that its Cholesky factor gives the head to 1e-9.
_HEAVY = {True: 1e-6, False: 1e-5}
#: Equal-length columns with a smaller reciprocal condition number are factorised with exact
#: products: plain LAPACK leaves eps over this, 1e-9 or so.
_ILL = 1e-6
#: Equal rows are copies if two columns have at least this share of the different rows as values,
#: and there are so many of those: fewer values are equal by chance.
_COPIED, _LEAST = 0.5, 8
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


def thin_svd(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the thin singular value decomposition of finite numbers, whatever LAPACK makes of it.

    Divide and conquer is fast, and on some processors does not converge where rows are repeated.
    """
    try:
        u, s, vt = linalg.svd(x, full_matrices=False, check_finite=False)
    except linalg.LinAlgError:
        u, s, vt = linalg.svd(x, full_matrices=False, check_finite=False, lapack_driver="gesvd")
    return u, s, vt


def as_covariance(name: str, value: ArrayLike) -> FloatArray:
    """Return `value` as a symmetric positive semidefinite matrix."""
    matrix = as_matrix(name, value, (None, None))
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be square; got shape {matrix.shape}")
    return as_covariances(name, matrix)


def as_covariances(name: str, matrix: FloatArray, beside: ArrayLike = 0.0) -> FloatArray:
    """Return square matrices (..., q, q) if all are symmetric positive semidefinite.

    What is left of variances from which those `beside` them were taken may be off by rounding.
    """
    variances = np.abs(np.diagonal(matrix, axis1=-2, axis2=-1)) + np.asarray(beside)
    if ((variances > LARGEST**2) | ((variances > 0) & (variances < LARGEST**-2))).any():
        raise ValueError(
            f"{name} must have variances between {LARGEST**-2:g} and {LARGEST**2:g}; got "
            f"{variances.min():.3g} to {variances.max():.3g}"
        )
    # Each entry in units of its row and column, so that no unit hides what is wrong elsewhere.
    own = np.sqrt(variances)
    units = own[..., :, None] * own[..., None, :]
    transposed = np.swapaxes(matrix, -1, -2)
    gap = np.abs(matrix - transposed)
    if (gap > COVARIANCE_SLACK * np.maximum(units, COVARIANCE_SLACK * np.abs(matrix))).any():
        raise ValueError(
            f"{name} must be symmetric; it differs from its transpose by {gap.max():.3g}"
        )
    symmetric = 0.5 * (matrix + transposed)
    correlation = np.divide(symmetric, units, out=np.zeros_like(symmetric), where=units > 0)
    smallest = float(np.linalg.eigvalsh(correlation).min(initial=0.0))
    if smallest < -COVARIANCE_SLACK or (symmetric[units == 0] != 0).any():
        least = float(np.linalg.eigvalsh(symmetric).min(initial=0.0))
        raise ValueError(
            f"{name} must be positive semidefinite; its smallest eigenvalue is {least:.3g}, that "
            f"of its correlations {smallest:.3g}"
        )
    symmetric.flags.writeable = False
    return symmetric


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

    The columns `picked` alone span the rest, and in their order `rows` is triangular.
    """

    basis: FloatArray  # (n, r)
    rows: FloatArray  # (r, p)
    picked: NDArray[Any]  # (r,) int
    ill: bool  # whether columns were nearly collinear


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


def factorise(x: FloatArray, intercept: bool = False, root: float = 0.0) -> _Factors:
    """Return the factors of columns of any units, centred if there is an intercept.

    With root = √λ the matrix has rows √λ I above x, so that least squares is ridge.
    """
    centred = centre(x) if intercept else x
    units = powers_of_two(np.hypot(column_lengths(centred), root))
    scaled, above = x / units, np.diag(root / units)[: x.shape[1] if root > 0 else 0]
    q, r, order = linalg.qr(
        np.vstack([above, centred / units]), mode="economic", pivoting=True, check_finite=False
    )
    sizes = np.abs(np.diag(r))
    rank = int((sizes > rank_tolerance(x.shape) * sizes.max(initial=0.0)).sum())
    picked, others = order[:rank], order[rank:]
    rows = np.empty((rank, x.shape[1]))
    rows[:, order] = r[:rank]
    basis = np.asarray(q[:, :rank])
    if rank and sizes[rank - 1] < _ILL * sizes[0]:
        turn = linalg.lapack.dtrtri(r[:rank, :rank])[0]
        apart = np.vstack([above[:, picked] @ turn, _product(scaled[:, picked], turn, intercept)])
        basis, second = linalg.qr(apart, mode="economic", check_finite=False)
        if np.linalg.cond(second) > _UNRESOLVED:
            warnings.warn(
                "features are collinear to about the last digit: numbers that depend on their "
                "smallest direction are not to be trusted",
                RuntimeWarning,
                stacklevel=4,
            )
        coefficients = turn @ r[:rank, rank:]
        for _ in range(2 if others.size else 0):
            missed = _residual(scaled[:, picked], scaled[:, others], [coefficients], intercept)
            missed = basis[above.shape[0] :].T @ missed
            coefficients += turn @ linalg.solve_triangular(second, missed)
        triangle = second @ r[:rank, :rank]
        rows[:, picked], rows[:, others] = triangle, triangle @ coefficients
        return _Factors(np.asarray(basis), rows * units, picked, True)
    return _Factors(np.asarray(basis), rows * units, picked, False)


def _product(a: FloatArray, b: FloatArray, intercept: bool) -> FloatArray:
    high, low = exact_product(a, b)
    return _centred(high, low) if intercept else high + low


def _residual(x: FloatArray, y: FloatArray, parts: list[FloatArray], intercept: bool) -> FloatArray:
    """Return y - x (sum of parts), each digit right."""
    return _product(
        np.hstack([*[x] * len(parts), y]),
        np.vstack([*(-part for part in parts), np.eye(y.shape[1])]),
        intercept,
    )


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
    x: FloatArray, intercept: bool = False, ill: bool = False
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return U (n, r), s (r,) descending and Vᵀ (r, p) of x, or of its centred columns.

    The null space is left out, and each singular value has the same relative accuracy, whatever
    the units of the columns (Demmel and Veselić 1992): 1e-9 for condition numbers of up to 1e12
    of equal-length columns.  `ill` says that a plain decomposition is known not to do.
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
    plain = not (ill or (intercept and p >= n))
    if plain and lengths.size and lengths.max() <= _GRADED * lengths.min():
        u, s, vt = thin_svd(centred)
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


def row_graded_system(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return s (r,) descending, U (m, r) and Vᵀ (r, n) of x (m, n), its rows of any length."""
    if not x.any():
        return np.empty(0), np.empty((x.shape[0], 0)), np.empty((0, x.shape[1]))
    if x.shape[1] >= x.shape[0]:
        left, s, vt = _jacobi(x)
    else:
        right, s, turned = _jacobi(x.T)
        left, vt = turned.T, right.T
    kept = s > 0
    return s[kept], left[:, kept], vt[kept]


def principal_directions(
    centred: FloatArray, count: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues (r,), descending, and eigenvectors (p, r) of a sample covariance.

    `count` says how many rows were centred, where `centred` only has their squares.
    """
    rows, p = centred.shape
    freedom = (rows if count is None else count) - 1
    # What centring leaves of a constant column is rounding, and no direction.
    still = np.ptp(centred, axis=0) <= 4 * _EPS * np.abs(centred).max(axis=0, initial=0.0)
    centred = np.where(still, 0.0, centred) if still.any() else centred
    lengths, ill = column_lengths(centred), False
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
            return values / freedom, vectors
        ill = values[0] < 0.5 * _ILL**2 * values[-1]
    _, s, vt = singular_system(centred, ill=bool(ill))
    s, vt = s[:freedom], vt[:freedom]  # centred rows span no more: what is left is rounding
    return np.square(s / np.sqrt(freedom)), vt.T


def distinct_rows(x: FloatArray) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """Return the first of each row's equals, each row's place among those, and if they are copies.

    Equal rows of columns that have few values are no copies: they are drawn again.  One column
    alone does not tell the two apart.
    """
    if len({hash(row.tobytes()) for row in x + 0.0}) == len(x):
        return np.arange(len(x)), np.arange(len(x)), False
    _, first, place = np.unique(x, axis=0, return_index=True, return_inverse=True)
    rich = (np.unique(column).size >= _COPIED * first.size for column in x.T)
    return first, place.ravel(), first.size >= _LEAST and sum(rich) >= 2


def left_out_together(hat: FloatArray, errors: FloatArray, least: float) -> FloatArray:
    """Return the errors of rows that a fit lacks, from their errors (..., m, q) in a fit with them.

    `hat` (..., m, m) is their block H of what turns labels into fitted values; the answer is
    (I - H)⁻¹ times the errors, and NaN where an eigenvalue of I - H is below `least`: there the
    rows decide their own fit.
    """
    within = np.eye(hat.shape[-1]) - hat
    unknown = np.linalg.eigvalsh(within)[..., 0] < least
    within[unknown] = np.eye(hat.shape[-1])
    found = np.linalg.solve(within, errors)
    found[unknown] = np.nan
    return np.asarray(found)


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


def least_squares(x: FloatArray, y: FloatArray, ridge: float) -> FloatArray:
    r"""Return the head :math:`(X^\top X+\lambda I)^{-1}X^\top Y` (p, q), minimum norm at λ = 0.

    Columns may have any units and be collinear; columns that agree to rounding count as one.
    The error is that of :func:`.fit_head`.

    Raises
    ------
    ValueError
        If the head is beyond the range of float64.
    """
    units, parts = _head(x, y, ridge, intercept=False)
    with np.errstate(over="ignore"):
        head = sum(parts) / units[:, None]
    if not np.isfinite(head).all():
        raise ValueError(
            "features must be of a scale at which the head is within the range of float64; got "
            f"columns of lengths down to {column_lengths(x).min():.3g}"
        )
    return np.asarray(head)


def predict(
    x: FloatArray, y: FloatArray, new: FloatArray, ridge: float, intercept: bool
) -> FloatArray:
    """Return what the head trained on x and y says of new rows (m, q).

    Where columns are nearly collinear the head is large, and sums with it cancel: they are then
    taken to twice the precision.
    """
    units, parts = _head(x, y, ridge, intercept)
    level = y.mean(axis=0) if intercept else 0.0
    if len(parts) == 1:
        rows = new - x.mean(axis=0) if intercept else new
        return np.asarray((rows / units) @ parts[0] + level)
    n, rows = x.shape[0], np.vstack([x, new]) / units
    high, low = exact_product(np.hstack([rows] * len(parts)), np.vstack(parts))
    if intercept:
        high = high - high[:n].mean(axis=0)
        high = high - (high + low)[:n].mean(axis=0)
    return np.asarray((high + low)[n:] + level)


def _head(
    x: FloatArray, y: FloatArray, ridge: float, intercept: bool
) -> tuple[FloatArray, list[FloatArray]]:
    """Return units of the columns (p,) and the head in these, as a sum of matrices."""
    centred = centre(x) if intercept else x
    labels = centre(y) if intercept else y
    lengths = column_lengths(centred)
    top, tallest = float(lengths.max(initial=0.0)), float(np.abs(labels).max(initial=0.0))
    if top == 0.0 or tallest == 0.0 or np.isinf(ridge):
        return np.ones(lengths.size), [np.zeros((x.shape[1], y.shape[1]))]
    unit, height = powers_of_two(np.array([top, tallest]))
    root, kept = float(np.sqrt(ridge) / unit), lengths > 0
    units = powers_of_two(np.hypot(lengths / unit, root))
    found = _plain_head(centred[:, kept] / unit, labels / height, root, lengths[kept] / unit)
    if found is None:
        # The last digits count: they are those of the columns as given.
        parts = _refined_head(x[:, kept] / unit, y / height, root, units[kept], intercept)
    else:
        parts = [found * units[kept, None]]
    whole = np.zeros((len(parts), x.shape[1], y.shape[1]))
    whole[:, kept] = parts
    return units * unit, list(whole * height)


def _separates(r: NDArray[Any]) -> bool:
    """Whether a triangular factor is so well conditioned that plain LAPACK keeps the digits."""
    # As L U with L the identity: older SciPy has no dtrcon.
    return bool(linalg.lapack.dgecon(r, np.abs(r).sum(axis=0).max())[0] > _ILL)


def _plain_head(
    x: FloatArray, y: FloatArray, root: float, lengths: FloatArray
) -> FloatArray | None:
    """Return the head by one factorisation, or None where it would not keep the digits."""
    n, p = x.shape
    if root**2 > _HEAVY[p <= n] * float(lengths @ lengths):
        # The ridge alone makes the Gram matrix well conditioned.
        factor = linalg.cho_factor((x.T @ x if p <= n else x @ x.T) + root**2 * np.eye(min(n, p)))
        solved = linalg.cho_solve(factor, y if p > n else x.T @ y)
        return np.asarray(x.T @ solved if p > n else solved)
    if p <= n:
        # Ridge is least squares with rows √λ I; above the others, since they may be the longest.
        units = powers_of_two(np.hypot(lengths, root))
        tall, labels = x / units, y
        if root > 0:
            tall = np.vstack([np.diag(root / units), tall])
            labels = np.vstack([np.zeros((p, y.shape[1])), y])
        turned, r = linalg.qr_multiply(tall, labels.T, mode="right")
        if _separates(r):
            return np.asarray(linalg.solve_triangular(r, turned.T) / units[:, None])
    elif lengths.max() <= _ROWS * lengths.min():
        tall = np.vstack([x.T, root * np.eye(n)]) if root > 0 else x.T
        q, r = linalg.qr(tall, mode="economic", check_finite=False)
        if _separates(r):
            return np.asarray(q[:p] @ linalg.solve_triangular(r, y, trans=1))
    return None


def _refined_head(
    x: FloatArray, y: FloatArray, root: float, units: FloatArray, intercept: bool
) -> list[FloatArray]:
    """Return the head times units, as a sum of corrections, of a matrix of any rank and units."""
    p, equal = x.shape[1], x / units
    target = centre(y) if intercept else y
    factors = factorise(x, intercept, root)
    parts: list[FloatArray] = []
    if factors.picked.size == p:
        # Least squares, with rows √λ I above.
        triangle, above = factors.rows[:, factors.picked], (root / units)[:, None]
        upper = np.zeros((p if root > 0 else 0, y.shape[1]))
        for _ in range(3):
            step = np.zeros((p, y.shape[1]))
            step[factors.picked] = linalg.solve_triangular(
                triangle, factors.basis.T @ np.vstack([upper, target])
            )
            parts.append(step * units[:, None])
            target = _residual(equal, y, parts, intercept)
            upper = -above * sum(parts) if root > 0 else upper
        return parts
    # The shortest head.  Rows in falling order and column pivots keep Householder's errors small
    # in each row (Cox and Higham 1998).
    factors = factorise(x, intercept) if root > 0 else factors
    rank = factors.picked.size
    tall = np.vstack([factors.rows.T, root * np.eye(rank)]) if root > 0 else factors.rows.T
    order = np.argsort(-np.abs(tall).max(axis=1))
    q, r, pivots = linalg.qr(tall[order], mode="economic", pivoting=True, check_finite=False)
    whole, step = np.zeros((2, tall.shape[0], y.shape[1]))
    for _ in range(3 if factors.ill else 1):
        # Below the head is √λ α, α the coefficients of the rows.
        inside = factors.basis.T @ target - root * (whole[p:] if root > 0 else 0.0)
        step[order] = q @ linalg.solve_triangular(r, inside[pivots], trans=1)
        whole = whole + step
        parts.append(step[:p] * units[:, None])
        if factors.ill:
            target = _residual(equal, y, parts, intercept)
    return parts
