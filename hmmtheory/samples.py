"""Moments of features and responses from samples, corrected for having been fitted to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from hmmtheory._bulk import Bulk, joined
from hmmtheory._checks import FloatArray, warn_caller
from hmmtheory._linalg import (
    SAMPLE_RANK_TOLERANCE,
    column_lengths,
    principal_directions,
    thin_svd,
)

#: Columns alike within this share of their lengths need no units of their own.
_ALIKE = 1e3


class SampleMoments(NamedTuple):
    """What samples say of S, B* and Ω, in the eigenbasis of S.

    ``eigenvalues`` (r,) descending and ``directions`` (p, r) belong to the covariance of all
    feature rows; ``head`` (r, q) holds the rows b_i of B* in that basis; ``residuals`` (N, q) of
    the labelled rows have covariance Ω on average; ``row_scales`` (N,) are their τ, with mean
    square 1.
    """

    eigenvalues: FloatArray
    directions: FloatArray
    head: FloatArray
    residual_covariance: FloatArray
    residuals: FloatArray
    row_scales: FloatArray


def sample_moments(x: FloatArray, y: FloatArray, unlabelled: FloatArray | Bulk) -> SampleMoments:
    """Estimate S from all rows, B* and Ω from the labelled ones.

    Three corrections make B* and Ω fair.  Each row's squared residual is divided by 1 - h, h its
    leverage: the product of its residual with its leave-one-out residual, unbiased for Ω when
    the noise is the same everywhere.  The squared coefficients carry noise of their own, which
    is taken off by soft thresholding so that signal and noise add up to each output's variance.
    And no more than half as many directions as labelled rows are judged: the signal beyond
    counts as noise.
    """
    n_rows, q = y.shape
    mean, centred, count = joined(x, unlabelled)
    values, vectors = principal_directions(centred, count)
    judged = min(values.size, (n_rows - 1) // 2)
    if judged < values.size:
        warn_caller(
            f"{n_rows} labelled samples can't judge {values.size} features: the signal beyond "
            f"the {judged} directions of largest variance counts as noise"
        )
    t = values[:judged]
    scores = (x - mean) @ (vectors[:, :judged] / np.sqrt(t))
    inside = scores - scores.mean(axis=0)
    targets = y - y.mean(axis=0)
    total = np.square(targets).sum(axis=0) / (n_rows - 1)

    inverse = _inverse_root(inside)
    if inverse is not None:
        basis = inside @ inverse
    else:
        # Labelled rows need not vary in every direction that unlabelled ones do.
        basis, lengths, turns = thin_svd(inside)
        seen = lengths > SAMPLE_RANK_TOLERANCE * lengths.max(initial=0.0)
        basis, inverse = basis[:, seen], turns[seen].T / lengths[seen]
    coefficients = inverse @ (basis.T @ targets)
    # Of the variance that noise gives each coefficient, in units of Ω.
    spread = np.square(inverse).sum(axis=1)
    kept = 1.0 - 1.0 / n_rows - np.square(basis).sum(axis=1)
    # A row that is fitted whatever its label says nothing of the noise.
    telling = kept > 1e-6
    residuals = np.zeros_like(targets)
    residuals[telling] = (targets - basis @ (basis.T @ targets))[telling] * np.sqrt(
        n_rows / telling.sum() / kept[telling, None]
    )
    # An output without visible signal keeps its own variance.
    noise = np.square(residuals).mean(axis=0)
    over = noise > total
    residuals[:, over] *= np.sqrt(total[over] / noise[over])
    noise = np.minimum(noise, total)

    head = np.zeros((values.size, q))
    for j in range(q):
        kept_share = _threshold(np.square(coefficients[:, j]), spread, float(total[j] - noise[j]))
        head[:judged, j] = coefficients[:, j] * np.sqrt(kept_share / t)
    return SampleMoments(
        values,
        vectors,
        head,
        residuals.T @ residuals / n_rows,
        residuals,
        _row_scales(_lengths(scores, x - mean, centred, count), judged),
    )


def _lengths(scores: FloatArray, x: FloatArray, centred: FloatArray, count: int) -> FloatArray:
    """Return each row's squared length in units of S; of columns in unlike units not by scores.

    Eigenvectors of such columns have no digits for the small ones.
    """
    units = column_lengths(centred)
    whole = scores.shape[1] == x.shape[1] > 0
    if not whole or units.max() <= _ALIKE * units.min():
        return np.asarray(np.square(scores).sum(axis=1))
    triangle = linalg.qr(centred / units, mode="r", check_finite=False)[0][: x.shape[1]]
    whitened = linalg.solve_triangular(triangle, (x / units).T, trans="T", check_finite=False)
    return np.asarray(np.square(whitened).sum(axis=0) * (count - 1))


def _inverse_root(scores: FloatArray) -> FloatArray | None:
    """Return R⁻¹ of scores = QR, or None if their Gram matrix is too ill-conditioned for it."""
    if scores.shape[1] == 0:
        return None
    gram = scores.T @ scores
    root, failed = linalg.lapack.dpotrf(gram)
    if failed or linalg.lapack.dpocon(root, np.abs(gram).sum(axis=0).max())[0] < 1e-6:
        return None
    return np.asarray(np.triu(linalg.lapack.dtrtri(root)[0]))


def _threshold(signal: FloatArray, spread: FloatArray, target: float) -> FloatArray:
    """Return the shares f_i in [0, 1] of the signals with Σ f_i s_i = target.

    f_i s_i = max(0, s_i - c w_i), the level c common to all: the more a direction's estimate
    owes to noise, the more it is cut.
    """
    if target <= 0 or signal.size == 0:
        return np.zeros_like(signal)
    ratio = np.divide(signal, spread, out=np.zeros_like(signal), where=spread > 0)
    order = np.argsort(ratio)[::-1]
    levels = (np.cumsum(signal[order]) - target) / np.cumsum(spread[order])
    level = max(float(levels.max(initial=0.0)), 0.0)
    cut = np.divide(level, ratio, out=np.ones_like(ratio), where=ratio > 0)
    return np.asarray(np.clip(1.0 - cut, 0.0, 1.0))


def _row_scales(squares: FloatArray, judged: int) -> FloatArray:
    """Return τ (N,), mean square 1, from the squared Mahalanobis lengths of rows.

    Gaussian rows have equal scales but lengths that scatter, by 2/r relative variance in r
    directions; that much is taken off the scatter seen.
    """
    if judged == 0 or not squares.any():
        return np.ones_like(squares)
    ratio = squares / squares.mean()
    seen = float(ratio.var())
    share = np.sqrt(max(0.0, 1.0 - 2.0 / judged / seen)) if seen > 0 else 0.0
    return np.asarray(np.sqrt(1.0 + share * (ratio - 1.0)))
