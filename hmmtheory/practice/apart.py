"""Heads on people they have not seen: a pilot's rows of one person know each other.

Serves chapter 13.  What people have in common beyond the features is noise to a head that meets
others, and no noise to the pilot's own rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmmtheory._checks import FloatArray
from hmmtheory._linalg import column_lengths
from hmmtheory.moments import Moments
from hmmtheory.practice._path import ridge_path

#: Penalties up to so many decades above the features' total variance.
_TOP = 4.0


class Apart(NamedTuple):
    """A pilot's squared errors by heads that lack the row, and that lack its whole group.

    ``together`` and ``apart`` (N,) are at the penalty that is best for each, or ``plain``, without
    any; ``harder`` is the second penalty over the first, at least 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> person = np.repeat(np.arange(20), 6)
    >>> x = rng.standard_normal((20, 5))[person] + 0.3 * rng.standard_normal((120, 5))
    >>> y = x[:, :1] + rng.standard_normal((20, 1))[person]
    >>> Apart.of(x, y, np.arange(120)).factor(), Apart.of(x, y, person).factor() > 1.1
    (1.0, True)
    """

    together: FloatArray
    apart: FloatArray
    harder: float
    plain: bool = False

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray, owner: NDArray[Any], plain: bool = False) -> Apart:
        """Return the errors of rows x (N, p) and labels y (N, q), by the group of each row.

        They are without ridge if `plain`, where the rows that are left tell such a head.
        """
        owner = np.unique(owner, return_inverse=True)[1]
        if owner.max(initial=0) in (0, x.shape[0] - 1):
            return cls(np.ones(x.shape[0]), np.ones(x.shape[0]), 1.0)
        if plain:  # in each column's own unit: without ridge, units mean nothing
            lengths = column_lengths(x - x.mean(axis=0))
            unit = x / np.where(lengths > 0, lengths, 1.0)
            paths = [ridge_path(unit, y, np.zeros(1), owner=whose) for whose in (None, owner)]
            if all(path.ridges.size for path in paths):
                both = [np.square(path.residuals[0]).sum(axis=1) for path in paths]
                return cls(both[0], both[1], 1.0, plain=True)
        best = []
        for whose in (None, owner):
            path = ridge_path(x, y, top=_TOP, owner=whose)
            if not path.ridges.size:
                return cls(np.ones(x.shape[0]), np.ones(x.shape[0]), 1.0)
            errors = np.square(path.residuals).sum(axis=2)
            k = int(errors.mean(axis=1).argmin())
            best.append((errors[k], float(path.ridges[k])))
        (together, low), (apart, high) = best
        return cls(together, apart, max(high / low, 1.0) if low > 0 else 1.0)

    def factor(self, left: Any = ()) -> float:
        """Return how many times the error is on groups not seen, without some rows; at least 1."""
        together, apart = (np.delete(e, np.asarray(left, int)) for e in self[:2])
        return max(float(apart.sum() / together.sum()), 1.0) if together.sum() > 0 else 1.0

    def moments(self, found: Moments, rows: int, left: Any = ()) -> Moments:
        """Return moments whose signal is as much noise as makes the risk so many times larger.

        The variance of the labels stays; the best head of as many labels as the pilot has rows
        errs by the factor more.  At one penalty the risk is linear in the share of the signal.
        """
        factor = self.factor(left)
        signal = (found.head.T * found.eigenvalues) @ found.head
        if factor == 1.0 or np.trace(signal) <= 0:
            return found
        best = 0.0 if self.plain else found.optimal_ridge(rows, intercept=True)
        level = factor * float(found.parts(rows, best, intercept=True).sum())
        noise, penalty = _less(found, 0.0, signal), best * self.harder
        most, least = (float(m.parts(rows, penalty, intercept=True).sum()) for m in (noise, found))
        share = (most - level) / (most - least) if most > least else 0.0
        return _less(found, float(np.clip(share, 0.0, 1.0)), signal)


def _less(found: Moments, share: float, signal: FloatArray) -> Moments:
    """Return moments with a share of the signal, the rest of it noise."""
    residuals = found.residuals
    if residuals is not None and found.row_scales is not None:
        scales = np.square(found.row_scales) / np.square(found.row_scales).mean()
        residuals = residuals + (1 - share) * scales[:, None, None] * signal
    return replace(
        found,
        head=np.sqrt(share) * found.head,
        residual_covariance=found.residual_covariance + (1 - share) * signal,
        residuals=residuals,
    )
