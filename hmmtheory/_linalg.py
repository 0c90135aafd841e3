"""Directions of variance in any units: what counts as zero is relative to each column's own scale.

Serves every chapter: S, B* and Ω are read off these directions.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from hmmtheory._checks import FloatArray

#: Eigenvalues of S below this fraction of the largest count as zero.
RANK_TOLERANCE = 1e-12
#: Eigenvalues of a sample covariance below this fraction of the largest count as zero.
SAMPLE_RANK_TOLERANCE = 1e-10
#: Columns whose lengths differ by more than this are taken to have different units.
_GRADED = 1e2


def principal_directions(centred: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues (r,), descending, and eigenvectors (p, r) of a sample covariance."""
    rows, p = centred.shape
    if p == 0:
        return np.empty(0), np.empty((0, 0))
    largest = float(np.abs(centred).max())
    if largest == 0.0:
        return np.empty(0), np.empty((p, 0))
    scales = np.sqrt(np.square(centred / largest).sum(axis=0))
    # What centring leaves of a constant column is rounding, and no direction.
    scales[scales <= 1e-14 * scales.max()] = 0.0
    varies = scales > 0
    if scales[varies].max() > _GRADED * scales[varies].min():
        lengths, vectors = graded_system(centred, largest * scales)
        return np.square(lengths) / (rows - 1), vectors
    tall = p <= rows
    product = centred.T @ centred if tall else centred @ centred.T
    values, vectors = np.linalg.eigh(product / (rows - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > SAMPLE_RANK_TOLERANCE * max(float(values[0]), 0.0)
    values, vectors = values[keep], vectors[:, keep]
    if not tall:
        vectors = centred.T @ vectors / np.sqrt(values * (rows - 1))
    return values, vectors


def graded_system(x: FloatArray, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return singular values (r,), descending, and right vectors (p, r) of columns of any units.

    The rank is that of columns of equal length; `scales` (p,) are the columns' lengths.
    One-sided Jacobi rotations then give small singular values as many right digits as large
    ones (Demmel and Veselić 1992).
    """
    rows = x.shape[0]
    kept = np.flatnonzero(scales > 0)
    equal = np.linalg.svd(x[:, kept] / scales[kept], compute_uv=False)
    rank = int((equal > 4 * max(x.shape) * np.finfo(np.float64).eps * equal[0]).sum())
    triangle, order = linalg.qr(x[:, kept], mode="r", pivoting=True)
    triangle = triangle[: min(rows, kept.size)]
    # Of the transpose: its columns, the triangle's rows, fall in length.
    lengths, left, _, work, *_ = linalg.lapack.dgejsv(triangle.T, joba=2, jobu=0, jobv=3)
    vectors = np.zeros((x.shape[1], rank))
    vectors[kept[order]] = left[:, :rank]
    return np.asarray(lengths[:rank] * (work[0] / work[1])), vectors


def covariance_spectrum(s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return nonzero eigenvalues (r,), descending, and eigenvectors (p, r) of a covariance."""
    scales = np.sqrt(np.diag(s))
    varies = scales > 0
    if not varies.any():
        return np.empty(0), np.empty((s.shape[0], 0))
    if scales[varies].max() > _GRADED * scales[varies].min():
        # S = DCD with C of unit diagonal: a root of C, then the units.
        inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=varies)
        values, vectors = np.linalg.eigh(inverse[:, None] * s * inverse)
        keep = values > RANK_TOLERANCE * values[-1]
        root = np.sqrt(values[keep])[:, None] * vectors[:, keep].T * scales
        lengths, directions = graded_system(root, scales)
        return np.square(lengths), directions
    values, vectors = np.linalg.eigh(s)
    keep = values > RANK_TOLERANCE * values[-1]
    return values[keep][::-1], vectors[:, keep][:, ::-1]
