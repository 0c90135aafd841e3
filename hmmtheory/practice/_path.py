"""A pilot's ridge path: what rows say of heads that have not seen them, at every effective ridge.

Serves chapter 13.  A head of n labels has at the same effective ridge κ the same signal as the
pilot's; only its noise differs, by a known factor (deterministic equivalent): no estimate of S or
B* is needed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray
from hmmtheory._linalg import left_out_together, thin_svd

#: A row, or a group, whose leverage is nearer to 1 says nothing about a head that lacks it.
_SEEN = 1e-6


class RidgePath(NamedTuple):
    """Heads with intercept on N rows for k penalties, each judged by rows it has not seen.

    ``basis`` (N, r) and ``shares`` (k, r) make up the fit, ``leverages`` (k, N) its diagonal;
    ``residuals`` (k, N, q) are those of leave-one-out, or of leaving out a row's whole group.
    ``kappas`` (k,) are effective ridges, df₁ and df₂ (k,) their degrees of freedom.
    """

    ridges: FloatArray
    kappas: FloatArray
    df1: FloatArray
    df2: FloatArray
    basis: FloatArray
    shares: FloatArray
    leverages: FloatArray
    residuals: FloatArray

    def take(self, one: NDArray[Any]) -> RidgePath:
        """Return the path of some penalties."""
        return RidgePath(*(a if a is self.basis else a[one] for a in self))


def ridge_path(
    x: FloatArray,
    y: FloatArray,
    ridges: FloatArray | None = None,
    top: float = 1.0,
    owner: NDArray[Any] | None = None,
) -> RidgePath:
    r"""Return the path of rows x (N, p) and labels y (N, q), both to be centred.

    With :math:`d_i = s_i^2/(s_i^2+\lambda)`: df₁ = Σd_i, κ = λ/(N - 1 - df₁) and
    df₂ = df₁ + κ (d df₁/dλ)/(dκ/dλ).
    The penalties reach up to 10**top times the features' total variance; ``owner`` (N,) numbers
    the group of each row.
    """
    rows = x.shape[0]
    x = x - x.mean(axis=0)
    u, s, _ = thin_svd(x)
    kept = s > 1e-11 * max(float(s.max(initial=0.0)), 1e-300)
    u, t, centred = u[:, kept], np.square(s[kept]), y - y.mean(axis=0)
    if ridges is None:
        total, own = float(t.sum()), np.square(x).sum(axis=0)
        # Down to where a column in a small unit is free.
        shortest = own[own > 1e-22 * total].min(initial=total) if total else 1.0
        least = min(-5.5, np.log10(0.1 * shortest / (total or 1.0)))
        ridges = total / rows * np.logspace(least, top, 27 + round(4 * (-5.5 - least)))
    shares = t / (t + ridges[:, None])
    df1, slope = shares.sum(axis=1), -(shares / (t + ridges[:, None])).sum(axis=1)
    left = rows - 1 - df1
    kappas = ridges / left
    df2 = df1 + kappas * slope / (1 / left + ridges * slope / left**2)
    leverages = shares @ np.square(u).T + 1 / rows
    judged = (leverages.max(axis=1) < 1 - _SEEN) & (df2 < rows - 2)
    shares, leverages = shares[judged], leverages[judged]
    fitted = np.matmul(u, shares[:, :, None] * (u.T @ centred))
    residuals = (centred - fitted) / (1 - leverages)[:, :, None]
    ridges, kappas, df1, df2 = (a[judged] for a in (ridges, kappas, df1, df2))
    for group in () if owner is None else np.flatnonzero(np.bincount(owner) > 1):
        mine = np.flatnonzero(owner == group)
        hat = np.matmul(u[mine] * shares[:, None, :], u[mine].T) + 1 / rows
        residuals[:, mine] = left_out_together(hat, (centred - fitted)[:, mine], _SEEN)
    path = RidgePath(ridges, kappas, df1, df2, u, shares, leverages, residuals)
    return path.take(np.isfinite(residuals).all(axis=(1, 2)))
